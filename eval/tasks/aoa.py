"""Age of acquisition, one checkpoint at a time: the surprisal of each target word in its contexts.

`cdi_childes.json`: word -> [{"context": the text before it, …}, …], 504 words with 8,005 contexts. As in the official
program, words of one letter are left out, the context is stripped and followed by one space, and the surprisal is that
of the tokens that reach into the word. In masked models each of these is masked in turn and the word's others are seen:
their surprisals do not compare with those of causal ones. A context too long for the model loses its beginning, of
which a line is printed; the official program has NaN there, or reads on where positions are not learned. What the
checkpoints say together is the work of `python -m eval.aoa`.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.scorer.items import Choice, Item, Scores, refuse_broken
from eval.tasks.json_rows import has_half_character, read_object
from eval.tasks.questions import Gold, Questions

if TYPE_CHECKING:
    from eval.scorer.log_probs import Scorer
    from eval.scorer.prefix_rows import Encoded

FILE = "cdi_childes.json"  # the other file of the folder, cdi_human.csv, is for `python -m eval.aoa`
REMEDY = "fetch the file again"


@dataclass(frozen=True)
class Acquisition(Questions):
    """The words in their contexts, in the file's order: one item a context, whose one choice is the word."""

    items: list[Item]
    rows: list[dict]
    """{"target_word", "context_id", "context"} of each item, as the official surprisal.json has them."""

    def first(self, limit: int | None) -> "Acquisition":
        """Only the first `limit` contexts."""
        return replace(self, items=self.items[:limit], rows=self.rows[:limit])

    def ask(self, scorer: "Scorer", label: str) -> Scores:
        """The log-probability of each word, nats."""
        from eval.scorer.log_probs import encode

        encoded = encode(scorer.tokenizer, [item.choices[0] for item in self.items], scorer.backend)
        longest = scorer.longest
        if long := sum(longest is not None and len(entry.ids) > longest for entry in encoded):
            print(
                f"aoa: {long:,} of {len(encoded):,} contexts lose their beginning: the model reads {longest} tokens"
            )
            encoded = [shortened(entry, longest, scorer.tokenizer.all_special_ids) for entry in encoded]
        return [[float(value)] for value in scorer.token_sums(encoded, label)]

    def summarise(self, scores: Scores) -> dict:
        """The contract of `Questions.summarise`, with a mean surprisal in nats as the score: low is good.

        It is the mean over words of the mean over contexts; its error is that of drawing other words. "chance" says
        nothing here: that of a word hangs on its tokens.
        """
        refuse_broken(scores, "aoa")
        by_word: dict[str, list[float]] = {}
        for row, (value,) in zip(self.rows, scores, strict=True):
            by_word.setdefault(row["target_word"], []).append(-value)
        means = [statistics.fmean(values) for values in by_word.values()]
        cell = {
            "score": statistics.fmean(means),
            "standard_error": statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None,
            "items": len(self.items),
            "ties": 0,
        }
        rest = {"chance": 0.0, "official_score": cell["score"], "words": len(means)}
        return {"metric": "surprisal", **cell, **rest, "by_subtask": {"aoa": cell}, "by_phenomenon": {}}

    def predictions(self, scores: Scores) -> dict:
        """The rows of the official surprisal.json but for the checkpoint's name, which a model does not know."""
        rows = zip(self.rows, scores, strict=True)
        return {"results": [row | {"surprisal": -value} for row, (value,) in rows]}

    def per_item(self, scores: Scores) -> dict:
        """The surprisal of each row, nats."""
        return {"aoa": {"surprisal": [-value for (value,) in scores]}}

    def gold(self) -> Gold:
        """The words in their contexts."""
        keys = ("target_word", "context_id", "context")
        return Gold(contexts=[tuple(row[key] for key in keys) for row in self.rows])

    def graded(self, rows: list[dict], place: str, remedy: str) -> dict:
        """No score of one model alone."""
        raise UserError(f"{place}: ages of acquisition are scored by `python -m eval.aoa`")


def load(files: list[Path]) -> Acquisition:
    """The words of two letters and more in their contexts; a UserError that says where the file is wrong."""
    rows = [row for path in files for row in _rows(path)]
    if not rows:
        raise UserError(f"{files[0]} has no word in a context: {REMEDY}")
    items = [
        Item(
            f"{row['target_word']}_{row['context_id']}",
            "aoa",
            (Choice(f"{row['context'].strip()} ", row["target_word"].strip()),),
        )
        for row in rows
    ]
    return Acquisition(items, rows)


def shortened(entry: "Encoded", longest: int, special: Sequence[int]) -> "Encoded":
    """The last `longest` tokens of a sequence, or its start token and the last `longest` - 1."""
    if len(entry.ids) <= longest:
        return entry
    start = int(entry.ids[0] in special)
    return type(entry)(*(part[:start] + part[len(part) - longest + start :] for part in entry))


def with_step(rows: Sequence[dict], step: str, word_count: int) -> list[dict]:
    """Rows of one checkpoint as the official surprisal.json has them: its name and its words of exposure in front."""
    return [{"step": step, "word_count": word_count, **row} for row in rows]


def _rows(path: Path) -> list[dict]:
    rows = []
    for word, contexts in read_object(path).items():
        if not word.strip() or not isinstance(contexts, list):
            raise UserError(f"{path}, word {word!r}, has no list of contexts: {REMEDY}")
        for number, entry in enumerate(contexts):
            context = entry.get("context") if isinstance(entry, dict) else None
            if not isinstance(context, str) or has_half_character(word + context):
                raise UserError(
                    f"{path}, word {word!r}, context {number}, has no text in 'context': {REMEDY}"
                )
            rows.append({"target_word": word, "context_id": number, "context": context})
    return [row for row in rows if len(row["target_word"]) > 1]

"""Reading: does the surprisal of a word explain how long people look at it?

`reading_data.csv` (de Varda, Marelli and Amenta 2023): 1,726 words of 205 sentences with four eye-tracking measures and
self-paced reading times. A score is the gain in R^2 when the word's surprisal joins the published regression, as a
fraction of what that left unexplained: "rt", the mean over the eye-tracking measures, and "spr", where the baseline
knows the word before and its surprisal as well (spill-over). The task's score is the mean of the two. A predictor of
pure noise gains 1 in (rows - parameters) on average: 0.0006.

Surprisals are those of the official program, for causal and for masked models, with its peculiarities
(eval/tasks/reading_words.py). `load_spaced` asks for words with the space before them: no official task, but one that
compares models of any tokenizer. One peculiarity is the file's: its one "None" ("None of the city people …") was read
as a missing value and put back, but only as a context of the word itself: the row after it has no surprisal of the word
before. 206 rows have none, 205 of them first words.
"""

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.scorer.items import Choice, Item, Scores, refuse_broken
from eval.tasks.csv_files import number, read_table, text
from eval.tasks.gains import gain, gains_without_each_sentence, jackknife_error
from eval.tasks.questions import Gold, Questions, finite
from eval.tasks.reading_words import official_sequences, spaced_sequences

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from eval.scorer.log_probs import Scorer

EYE_TRACKING = ("RTfirstfix", "RTfirstpass", "RTgopast", "RTrightbound")
SELF_PACED = "self_paced_reading_time"
BASELINE = ("Subtlex_log10", "length", "context_length")
SPILL_OVER = (*BASELINE, "prev_length", "prev_pred")
MEASURED = (*BASELINE, "prev_length", *EYE_TRACKING, SELF_PACED)
MAY_LACK = "Subtlex_log10"  # the log frequency, of words that the frequency list does not have
FEWEST_ROWS = 40  # the largest regression has 17 parameters


@dataclass(frozen=True)
class Reading(Questions):
    """The rows of the file. Choice 0 of an item is the word, choice 1, if any, the word before, each in its context."""

    items: list[Item]
    columns: dict[str, list[float]]
    """The numbers that the regressions need, one an item; NaN where the file has none. "sentence": which one."""
    spaced: bool = False
    """True: a word's tokens are those that it and the space before it have in the text, as in every other task."""

    def __post_init__(self) -> None:
        if len(self.complete) < FEWEST_ROWS:
            raise UserError(
                f"reading: {len(self.complete)} complete rows are too few for its regressions, "
                f"which need {FEWEST_ROWS}: fetch the file again"
            )

    @property
    def complete(self) -> list[int]:
        """The rows that have all that the largest regression asks for."""
        known = zip(self.items, self.columns[MAY_LACK], strict=True)
        return [
            row for row, (item, value) in enumerate(known) if len(item.choices) == 2 and not math.isnan(value)
        ]

    def first(self, limit: int | None) -> "Reading":
        """Only the first `limit` rows; more, and a line that says so, where the regressions need more."""
        if limit is not None and limit < (fewest := self.complete[FEWEST_ROWS - 1] + 1):
            print(f"reading: its regressions need {fewest} rows, so it takes these and not {limit}")
            limit = fewest
        columns = {name: values[:limit] for name, values in self.columns.items()}
        return replace(self, items=self.items[:limit], columns=columns)

    def ask(self, scorer: "Scorer", label: str) -> Scores:
        """The log-probability of each word, nats; a UserError where the model has too few positions."""
        sequences_of = spaced_sequences if self.spaced else official_sequences
        items = sequences_of(scorer.tokenizer, self.items, scorer.backend)
        entries = [entry for item in items for choice in item for entry in choice]
        longest = max(entries, key=lambda entry: len(entry.ids))
        if not scorer.reads(longest):
            raise scorer.too_long(longest, f"a sentence of {label}")
        sums = iter(scorer.token_sums(entries, label))
        return [[math.fsum(next(sums) for _ in choice) for choice in item] for item in items]

    def summarise(self, scores: Scores) -> dict:
        """The contract of `Questions.summarise`; errors are those of drawing other sentences (a jackknife)."""
        refuse_broken(scores, "reading")
        data = self.frame(scores)
        gains = {name: gain(data, name, BASELINE) for name in EYE_TRACKING}
        values = {"rt": statistics.fmean(gains.values()), "spr": gain(data, SELF_PACED, SPILL_OVER)}
        without = without_each_sentence(data)
        rows = {"rt": len(data[[*BASELINE]].dropna()), "spr": len(data[[*SPILL_OVER]].dropna())}
        score = statistics.fmean(values.values())
        return {
            "metric": "r2_gain",
            "score": score,
            "standard_error": jackknife_error(sum(without.values()) / len(without)),
            "chance": 0.0,
            "items": len(self.items),
            "ties": 0,
            "official_score": score,
            "by_subtask": {
                name: {
                    "score": value,
                    "standard_error": jackknife_error(without[name]),
                    "items": rows[name],
                    "ties": 0,
                }
                for name, value in values.items()
            },
            "by_phenomenon": {},
        }

    def frame(self, scores: Scores) -> "pd.DataFrame":
        """One row an item: the columns of the file, and the surprisals "pred" and "prev_pred" (NaN: none), in nats."""
        import pandas as pd

        return pd.DataFrame(self.columns | self.surprisals(scores))

    def surprisals(self, scores: Scores) -> dict[str, list[float]]:
        """The surprisal of each word ("pred") and of the word before ("prev_pred", NaN where there is none), nats."""
        return {
            "pred": [-row[0] for row in scores],
            "prev_pred": [-row[1] if len(row) == 2 else math.nan for row in scores],
        }

    def predictions(self, scores: Scores) -> dict:
        """The official form. Where there is no word before, "prev_pred" is NaN, which JSON proper has no word for."""
        found = self.surprisals(scores)
        rows = zip(found["pred"], found["prev_pred"], strict=True)
        predicted = [{"id": row, "pred": pred, "prev_pred": prev} for row, (pred, prev) in enumerate(rows)]
        return {"reading": {"predictions": predicted}}

    def per_item(self, scores: Scores) -> dict:
        """score -> {"without": what it is without each sentence in turn}: two models' differences have an error by it.

        No row has a share in the scores; the surprisals stand in the predictions.
        """
        without = without_each_sentence(self.frame(scores))
        return {name: {"without": values.tolist()} for name, values in without.items()}

    def gold(self) -> Gold:
        """Which rows have no word before."""
        return Gold(
            no_previous=frozenset(row for row, item in enumerate(self.items) if len(item.choices) < 2)
        )

    def graded(self, rows: list[dict], place: str, remedy: str) -> dict:
        """By the surprisals of the word and of the one before, where the item has one."""
        names = ("pred", "prev_pred")
        return self.summarise(
            [
                [-finite(row, name, place, remedy) for name in names[: len(item.choices)]]
                for item, row in zip(self.items, rows, strict=True)
            ]
        )


def without_each_sentence(data: "pd.DataFrame") -> dict[str, "np.ndarray"]:
    """Both scores, of all sentences but one: one number a sentence each."""
    gains = [gains_without_each_sentence(data, name, BASELINE) for name in EYE_TRACKING]
    return {"rt": sum(gains) / len(gains), "spr": gains_without_each_sentence(data, SELF_PACED, SPILL_OVER)}


def load(files: list[Path]) -> Reading:
    """The rows of `reading_data.csv`, in the file's order; a UserError that names the line of whatever is wrong."""
    items: list[Item] = []
    columns: dict[str, list[float]] = {name: [] for name in ("sentence", *MEASURED)}
    for path in files:
        for place, row in read_table(path, ["item", "word", "prev_item", "prev_word", "sent_id", *MEASURED]):
            choices = [Choice(row["item"] or "None", text(row, "word", place))]
            if row["prev_item"] not in ("", "None"):
                choices.append(Choice(row["prev_item"], text(row, "prev_word", place)))
            items.append(Item(f"reading_{len(items)}", "reading", tuple(choices)))
            columns["sentence"].append(number(row, "sent_id", place))
            for name in MEASURED:
                columns[name].append(number(row, name, place, may_lack=name == MAY_LACK))
    return Reading(items, columns)


def load_spaced(files: list[Path]) -> Reading:
    """The same rows, asked for with a space before each word; not what the official program asks for."""
    read = load(files)
    items = [
        replace(
            item, choices=tuple(Choice(choice.context, f" {choice.completion}") for choice in item.choices)
        )
        for item in read.items
    ]
    return replace(read, items=items, spaced=True)

"""Questions where only the best choice counts: accuracy, ties, standard errors, the official form of predictions.

The official scorer of 2025 answers a tie with choice 0, which is nearly always the right one (a constant model gets
100 % of the pairs that are permutations); that of 2026 draws. Here a tie between k choices is worth the 1/k that
guessing is worth; the figure of 2025 stands beside it, and is the headline where the tie rule says so. Everything is a
fraction of 1.
"""

import hashlib
import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.scorer.items import Item, Scores, by_key, by_subtask, first_items, refuse_broken, rows_of
from eval.scorer.ties import best_choices, credit
from eval.tasks.questions import Gold, Questions, Report, texts_by_key

if TYPE_CHECKING:
    from eval.scorer.log_probs import Scorer

TIE_RULES = ("shared", "official")
"""A tie between k choices is worth 1/k, or goes to the first of them, as in the official program of 2025. That of 2026
draws one, which is worth 1/k too."""
SPLITS = ("regular", "ambiref", "move_contents")  # of entity tracking, as the official report orders them


@dataclass(frozen=True)
class Choices(Questions):
    """Minimal pairs, EWoK, entity tracking, COMPS, Global PIQA: how often the answer is the likeliest choice."""

    items: list[Item]
    mean_over: str = "subtasks"
    """The score is the plain mean over subtasks, or over "phenomena" of the mean over their subtasks."""
    shown: str = "completion"
    """What a prediction quotes of the choice: its "completion", or the whole "text"."""
    per_token: bool = False
    """A choice is as likely as its tokens are on average, not all together."""
    tie_rule: str = "shared"

    def first(self, limit: int | None) -> "Choices":
        """Only the first `limit` items of each subtask."""
        return replace(self, items=first_items(self.items, limit))

    def ask(self, scorer: "Scorer", label: str) -> Scores:
        """Scores that tell which choice of each item is highest, and no more."""
        from eval.scorer.certainty import choose

        return choose(scorer, self.items, label, per_token=self.per_token)

    @cached_property
    def groups(self) -> dict[str, dict[str, list[int]]]:
        """Phenomenon -> subtask -> places of its items; what has no phenomenon stands under ""."""
        members = rows_of(self.items, lambda item: item.subtask)
        groups: dict[str, dict[str, list[int]]] = {}
        for subtask, rows in members.items():
            groups.setdefault(self.items[rows[0]].phenomenon or "", {})[subtask] = rows
        return groups

    def summarise(self, scores: Scores) -> dict:
        """The contract of `Questions.summarise`, and further:

        "tie_rule", "shared_score"; "standard_error_clusters": the error of drawing other subtasks, not other
        items; "identical": uids of the items whose answer stands twice among the choices, beyond any model. In
        "by_subtask" also "weight": what the subtask counts in the score, which is the sum of all, weighted; and
        "predicted": the share of its predictions that are the answer, with no credit for ties.
        """
        refuse_broken(scores)
        earned, tied = self.credits(scores), [len(best_choices(row)) > 1 for row in scores]
        right = [
            self.quote(item, row) == self.answer(item) for item, row in zip(self.items, scores, strict=True)
        ]
        subtasks = {
            name: _cell(earned, tied, rows)
            | {"weight": self._weight(phenomenon), "predicted": _average([right[row] for row in rows])}
            | ({"phenomenon": phenomenon} if phenomenon else {})
            for phenomenon, members in self.groups.items()
            for name, rows in members.items()
        }
        phenomena = {
            name: _macro([subtasks[subtask] for subtask in members])
            for name, members in sorted(self.groups.items())
            if name
        }
        total = _macro(list((phenomena if self.mean_over == "phenomena" else subtasks).values()))
        return {
            "metric": "accuracy",
            **total,
            "standard_error_clusters": _cluster_error([cell["score"] for cell in subtasks.values()]),
            "chance": self._mean([1 / len(item.choices) for item in self.items]),
            "tie_rule": self.tie_rule,
            "shared_score": self._mean(replace(self, tie_rule="shared").credits(scores)),
            "official_score": self._mean(replace(self, tie_rule="official").credits(scores)),
            "identical": [item.uid for item in self.items if _answer_is_doubled(item)],
            "by_subtask": {item.subtask: subtasks[item.subtask] for item in self.items},
            "by_phenomenon": phenomena,
        }

    def _weight(self, phenomenon: str) -> float:
        """What a subtask of this phenomenon counts in the score."""
        if self.mean_over == "phenomena":
            return 1 / (len(self.groups) * len(self.groups[phenomenon]))
        return 1 / sum(map(len, self.groups.values()))

    def credits(self, scores: Scores) -> list[float]:
        """What each item earns by the tie rule, 0-1."""
        pairs = zip(self.items, scores, strict=True)
        if self.tie_rule == "official":
            return [float(best_choices(row)[0] == item.gold) for item, row in pairs]
        return [credit(row, item.gold) for item, row in pairs]

    def _mean(self, values: Sequence[float]) -> float:
        """The score's mean of one value an item."""
        means = [
            [_average([values[row] for row in rows]) for rows in members.values()]
            for members in self.groups.values()
        ]
        if self.mean_over == "phenomena":
            return _average([_average(group) for group in means])
        return _average([mean for group in means for mean in group])

    def predictions(self, scores: Scores) -> dict:
        """The official form: key -> {"predictions": [{"id", "pred": the chosen completion}]}, in file order.

        It has no word for a tie. So one of the tied choices is drawn by a hash of the item, the same on every run
        and machine and right as often as guessing is; under the official rule it is the first of them.
        """
        told = [
            {"id": item.uid, "pred": self.quote(item, row)}
            for item, row in zip(self.items, scores, strict=True)
        ]
        return {key: {"predictions": rows} for key, rows in by_key(self.items, told).items()}

    def quote(self, item: Item, scores: Sequence[float]) -> str:
        """What a prediction quotes of the item's choice."""
        best = best_choices(scores)
        chosen = best[0] if self.tie_rule == "official" else best[_draw(item, len(best))]
        return getattr(item.choices[chosen], self.shown)

    def answer(self, item: Item) -> str:
        """What it quotes where it is right."""
        return getattr(item.choices[item.gold], self.shown)

    def per_item(self, scores: Scores) -> dict:
        """subtask -> {"credit": what each item earns, 0-1, "best": "01" where of two choices the second is highest}.

        The credit is that of the tie rule. The best choices (of a tie all: "11") are what the model said.
        """
        earned = by_subtask(self.items, self.credits(scores))
        best = by_subtask(self.items, [_marks(row) for row in scores])
        return {name: {"credit": earned[name], "best": best[name]} for name in earned}

    def with_ties(self, rule: str) -> "Choices":
        """No setting of the model: it is asked the same."""
        return replace(self, tie_rule=rule)

    def report(self, result: dict, per_item: dict) -> Report:
        """Percent right, by each thing that the items are labelled by, in order of appearance."""
        earned = {name: iter(found["credit"]) for name, found in per_item.items()}
        groups: dict[str, dict[str, list[float]]] = {}
        for item in self.items:
            value = next(earned[item.subtask])
            for label, name in item.labels or (("UID", item.subtask),):
                groups.setdefault(label, {}).setdefault(name, []).append(value)
        sections = {
            label: {name: 100 * sum(found) / len(found) for name, found in values.items()}
            for label, values in groups.items()
        }
        averaged = sections["UID"]
        if self.mean_over == "phenomena":
            averaged = _splits(averaged)
            sections["UID"] |= averaged
        return Report("ACCURACY", sections, _plain_mean(averaged.values()))

    def gold(self) -> Gold:
        """The texts that a prediction can quote."""
        return Gold(texts_by_key(self.items, self.shown))

    def graded(self, rows: list[dict], place: str, remedy: str) -> dict:
        """By 1 for the choice that a prediction names, 0 for the others; of two with one text the answer."""
        scores = []
        for item, row in zip(self.items, rows, strict=True):
            texts = [getattr(choice, self.shown).strip() for choice in item.choices]
            said = str(row["pred"]).strip()
            if said not in texts:
                raise UserError(f"{place}: the prediction of {item.uid} is no choice of it: {remedy}")
            choice = item.gold if texts[item.gold] == said else texts.index(said)
            scores.append([float(index == choice) for index in range(len(texts))])
        return self.summarise(scores)

    def recall(self, stored: dict) -> Scores:
        """Scores with the best choices that `per_item` stored: they tell by every tie rule what the model's would."""
        best = {name: iter(columns["best"]) for name, columns in stored.items()}
        return [[float(mark) for mark in next(best[item.subtask])] for item in self.items]


def _splits(percents: dict[str, float]) -> dict[str, float]:
    """Entity tracking: the mean over the subtasks of each split that is there."""
    members = {split: [percents[name] for name in percents if name.startswith(split)] for split in SPLITS}
    return {split: _plain_mean(found) for split, found in members.items() if found}


def _plain_mean(values: Collection[float]) -> float:
    """Added up in order, as the official program does, so that the second decimal rounds alike."""
    return sum(values) / len(values)


def _cell(earned: Sequence[float], tied: Sequence[bool], rows: Sequence[int]) -> dict:
    values = [earned[row] for row in rows]
    error = _standard_error(math.fsum(values), len(rows))
    ties = sum(tied[row] for row in rows)
    return {"score": _average(values), "standard_error": error, "items": len(rows), "ties": ties}


def _macro(cells: list[dict]) -> dict:
    """Unweighted mean over K cells; its standard error is sqrt(sum_k se_k^2) / K.

    That is the error of drawing other items of the same kinds, each on its own; no seed of training is in it.
    """
    return {
        "score": _average([cell["score"] for cell in cells]),
        "standard_error": math.sqrt(math.fsum(cell["standard_error"] ** 2 for cell in cells)) / len(cells),
        "items": sum(cell["items"] for cell in cells),
        "ties": sum(cell["ties"] for cell in cells),
    }


def _standard_error(earned: float, count: int) -> float:
    """sqrt(p (1 - p) / n) with p = (x + 1) / (n + 2) for x of n points: never 0, as it would be for n of n.

    One more success and one more failure than seen is Laplace's rule; Agresti and Coull (1998) show what it mends.
    """
    p = (earned + 1) / (count + 2)
    return math.sqrt(p * (1 - p) / count)


def _cluster_error(scores: Sequence[float]) -> float | None:
    """Standard deviation of K subtask scores / sqrt(K): how the mean would move with other paradigms; None for one.

    The items of a paradigm are written by one template and share its fate (Miller 2024, "Adding error bars to
    evals", on clustered questions), so this is several times the error of drawing items.
    """
    return statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else None


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _marks(scores: Sequence[float]) -> str:
    best = best_choices(scores)
    return "".join("1" if choice in best else "0" for choice in range(len(scores)))


def _answer_is_doubled(item: Item) -> bool:
    answer = item.choices[item.gold]
    return item.choices.count(answer) > 1


def _draw(item: Item, k: int) -> int:
    """A number in 0 … k - 1 that depends on nothing but the item."""
    if k == 1:
        return 0
    text = "\n".join([item.uid, *(choice.text for choice in item.choices)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % k

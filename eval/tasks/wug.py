"""Wug tests: does the model inflect words that do not exist as people do? One JSON object a line.

`sentences` holds the whole sentences, one a form, split by tabs; `ratio` is the share of people who chose the first.
The model's share is the softmax of the sentences' log-probabilities (over all of them: two nominalizations, three
past tenses). The score is Spearman's rank correlation of the two shares over rows. The official program has them in
float32, in which all shares close to 1 are 1: so it is by the official tie rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eval.scorer.items import Choice, Item, Scores, by_subtask, first_items, refuse_broken
from eval.tasks.choices import TIE_RULES, Choices
from eval.tasks.correlation import resampled, spearman
from eval.tasks.json_rows import read_rows, same_count
from eval.tasks.questions import Gold, Questions, Report, finite, texts_by_key

if TYPE_CHECKING:
    from eval.scorer.log_probs import Scorer


@dataclass(frozen=True)
class Wug(Questions):
    """Rows with the share of people who chose the first sentence, by uid."""

    items: list[Item]
    ratios: dict[str, float]
    tie_rule: str = "shared"
    """ "official": shares in float32, in which many tie."""

    def first(self, limit: int | None) -> "Wug":
        """Only the first `limit` rows."""
        return replace(self, items=first_items(self.items, limit))

    def ask(self, scorer: "Scorer", label: str) -> Scores:
        """The log-probabilities of the sentences, nats."""
        return scorer.score(self.items, label)

    def summarise(self, scores: Scores) -> dict:
        """The contract of `Questions.summarise`; the standard error is a bootstrap over rows."""
        refuse_broken(scores)
        counts = self._choices.summarise(scores)
        people, shares = self._people, {rule: self.with_ties(rule).shares(scores) for rule in TIE_RULES}
        by_rule = {rule: float(spearman(shares[rule], people)) for rule in TIE_RULES}
        found = {
            "score": by_rule[self.tie_rule],
            "standard_error": bootstrap_error(shares[self.tie_rule], people),
            "items": counts["items"],
            "ties": counts["ties"],
        }
        return {
            "metric": "spearman",
            **found,
            "chance": 0.0,
            "tie_rule": self.tie_rule,
            "shared_score": by_rule["shared"],
            "official_score": by_rule["official"],
            "identical": counts["identical"],
            "by_subtask": {self.items[0].subtask: found},
            "by_phenomenon": {},
        }

    def predictions(self, scores: Scores) -> dict:
        """The official form: the likeliest sentence, which counts for nothing, and "prob", which does."""
        found = self._choices.predictions(scores)
        shares = iter(self.shares(scores))
        for subtask in found.values():
            for row in subtask["predictions"]:
                row["prob"] = next(shares)
        return found

    def shares(self, scores: Scores) -> list[float]:
        """The model's share of the first sentence of each row."""
        share = single_share if self.tie_rule == "official" else first_share
        return [share(row) for row in scores]

    def per_item(self, scores: Scores) -> dict:
        """subtask -> {"prob": the model's share, "ratio": that of people, "nats": of each sentence}."""
        columns = {"prob": self.shares(scores), "ratio": self._people, "nats": scores}
        parts = {name: by_subtask(self.items, values) for name, values in columns.items()}
        return {subtask: {name: parts[name][subtask] for name in parts} for subtask in parts["prob"]}

    def with_ties(self, rule: str) -> "Wug":
        """No setting of the model: it is asked the same."""
        return replace(self, tie_rule=rule)

    def recall(self, stored: dict) -> Scores:
        """The scores, from what `per_item` stored."""
        return [row for columns in stored.values() for row in columns["nats"]]

    def report(self, result: dict, per_item: dict) -> Report:
        """The correlation, which stays as it is."""
        return Report("SPEARMAN'S RHO", {"UID": {"avg": result["score"]}}, result["score"])

    def gold(self) -> Gold:
        """The sentences; what people say most often may well come first in every row."""
        return Gold(texts_by_key(self.items, "completion"), by_place=False)

    def graded(self, rows: list[dict], place: str, remedy: str) -> dict:
        """By Spearman's correlation of "prob" with the share of people; 0 if all are one value."""
        from scipy.stats import spearmanr

        model = [finite(row, "prob", place, remedy) for row in rows]
        orders = min(len(set(model)), len(set(self._people))) > 1
        score = float(spearmanr(model, self._people).statistic) if orders else 0.0
        return {"metric": "spearman", "score": score, "standard_error": None}

    @property
    def _choices(self) -> Choices:
        return Choices(self.items, tie_rule="official")

    @property
    def _people(self) -> list[float]:
        return [self.ratios[item.uid] for item in self.items]


def load(subtask: str, files: list[Path]) -> Wug:
    """Every row of the JSON-lines `files` in file order."""
    items: list[Item] = []
    ratios = {}
    count = None
    for path in files:
        for row in read_rows(path):
            sentences = row.text("sentences").split("\t")
            if len(sentences) < 2 or not all(sentence.strip() for sentence in sentences):
                raise row.fault("has no two sentences split by a tab in 'sentences'")
            count = same_count(row, sentences, count, "sentences")
            uid = f"{subtask}_{len(items)}"
            items.append(Item(uid, subtask, tuple(Choice("", sentence) for sentence in sentences)))
            ratios[uid] = row.fraction("ratio")
    return Wug(items, ratios)


def first_share(scores: Sequence[float]) -> float:
    """exp(s_0) / sum_k exp(s_k) of scores in nats."""
    top = max(scores)
    return math.exp(scores[0] - top) / math.fsum(math.exp(score - top) for score in scores)


def single_share(scores: Sequence[float]) -> float:
    """The same in float32, as the official program has it: shares close to 1 become equal there."""
    import numpy as np

    weights = np.exp(np.float32(scores) - np.float32(max(scores)), dtype=np.float32)
    return float(weights[0] / weights.sum(dtype=np.float32))


def bootstrap_error(model: Sequence[float], people: Sequence[float]) -> float | None:
    """Standard error of their rank correlation, by a bootstrap over rows; None where one side orders nothing."""
    if min(len(set(model)), len(set(people))) == 1:
        return None
    return float(resampled(spearman, model, people).standard_error)

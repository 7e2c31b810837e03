"""What a kind of task can do: be asked, be worth something, be told in the official forms, be read back from them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from babylm_data.errors import UserError
from eval.scorer.items import Item, Scores, by_key

if TYPE_CHECKING:
    from eval.scorer.log_probs import Scorer


@dataclass(frozen=True)
class Gold:
    """What the data say of a section of a submission file. What does not concern it is empty."""

    choices: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    """key -> of each row, the texts that a prediction can be, in the order of the choices."""
    no_previous: frozenset[int] | None = None
    """Rows without a word before."""
    contexts: list[tuple[str, int, str]] = field(default_factory=list)
    """(word, number of the context, context) of each row."""
    by_place: bool = True
    """False: always naming the first choice, or the last, is no sign of anything."""


@dataclass(frozen=True)
class Report:
    """What best_temperature_report.txt holds."""

    metric: str
    sections: dict[str, dict[str, float]]
    """What the official program groups by -> its values -> the score."""
    average: float


class Questions(ABC):
    """A task that has been read: what the scorer is asked, and what its answers are worth.

    `scores` are those of `items`, in their order. All of a summary is fractions of 1 or correlations.
    """

    items: list[Item]
    tie_rule: str | None = None
    """What a tie is worth; None where ties are worth nothing else. A kind that has one can also `recall` scores from
    what `per_item` stored."""

    @abstractmethod
    def first(self, limit: int | None) -> Self:
        """The same with only the first `limit` items of each subtask (None: all)."""

    @abstractmethod
    def ask(self, scorer: "Scorer", label: str) -> Scores:
        """The answers: log-probabilities in nats where they count, else just what tells which choice is highest."""

    @abstractmethod
    def summarise(self, scores: Scores) -> dict:
        """The result as `scores.json` holds it; a UserError for scores that are not finite.

        {"metric": "accuracy", "spearman", …, "score", "standard_error" (None: not known), "chance" (0 for a
        correlation or a gain), "items", "ties", "official_score" (that of the official program of 2025, where choice
        0 wins a tie), "by_subtask" and "by_phenomenon" ({} if there are none): {name: {"score", "standard_error",
        "items", "ties"}}}
        """

    @abstractmethod
    def predictions(self, scores: Scores) -> dict:
        """The official predictions.json of the task."""

    @abstractmethod
    def per_item(self, scores: Scores) -> dict:
        """{subtask: {column: one value an item}}, what the score is made of.

        `python -m eval.compare` compares credits item by item, and correlations by a bootstrap; no other columns.
        """

    def with_ties(self, rule: str) -> Self:
        """The same, its ties worth what `rule` says; itself where ties are worth nothing else."""
        return self

    def report(self, result: dict, per_item: dict) -> Report | None:
        """The official report, from what was stored; None if the official program writes none."""
        return None

    @abstractmethod
    def gold(self) -> Gold:
        """What a submission's rows are checked by."""

    @abstractmethod
    def graded(self, rows: list[dict], place: str, remedy: str) -> dict:
        """The result of predictions alone, a row an item in their order; a UserError for one that cannot be."""


def finite(row: dict, key: str, place: str, remedy: str) -> float:
    """A finite number of a prediction."""
    value = row.get(key)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise UserError(f"{place}: row {row['id']} has {value!r} in {key!r}, no finite number: {remedy}")
    return float(value)


def texts_by_key(items: Sequence[Item], shown: str) -> dict[str, list[tuple[str, ...]]]:
    """key -> of each row the texts of its choices, stripped as the official scorer compares them."""
    return by_key(items, [tuple(getattr(choice, shown).strip() for choice in item.choices) for item in items])

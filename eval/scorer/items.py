"""Items: what a task asks of the scorer. A score that is not finite is never "correct" in silence.

One that is NaN or infinite, which the official scorer answers with choice 0, refuses the whole task.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babylm_data.errors import UserError


@dataclass(frozen=True, slots=True)
class Choice:
    """One continuation: the tokens of `completion` are scored, those of `context` only stand before them."""

    context: str
    completion: str

    @property
    def text(self) -> str:
        """What the model reads."""
        return self.context + self.completion


@dataclass(frozen=True, slots=True)
class Item:
    """One question: `choices[gold]` is the answer. `uid` is the official id, `<key>_<row>`."""

    uid: str
    subtask: str
    choices: tuple[Choice, ...]
    gold: int = 0
    phenomenon: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """(name, value) of what the official report groups by, in its order; without any it groups by subtask."""

    @property
    def key(self) -> str:
        """What its prediction stands under: its subtask, or its own name where the official form has one for each."""
        return self.uid.rpartition("_")[0]


class TooLong(UserError):
    """The model has too few positions for an item: no fault of its weights or of the data."""


Scores = Sequence[Sequence[float]]  # an item's log-probabilities in nats, one per choice


def refuse_broken(scores: Scores, task: str = "the task") -> None:
    """Raise UserError if any score (nats) is NaN or infinite: such a model has no result."""
    if broken := sum(not all(map(math.isfinite, row)) for row in scores):
        raise UserError(
            f"{task}: {broken:,} of {len(scores):,} items have non-finite scores: "
            "the model is broken, this task has no result"
        )


def first_items(items: Sequence[Item], limit: int | None) -> list[Item]:
    """The first `limit` items of each subtask (None: all), in order."""
    taken: Counter[str] = Counter()
    kept = []
    for item in items:
        taken[item.subtask] += 1
        if limit is None or taken[item.subtask] <= limit:
            kept.append(item)
    return kept


def rows_of(items: Sequence[Item], key: Callable[[Item], str]) -> dict[str, list[int]]:
    """The places of the items that share a key, by key, both in order of appearance."""
    rows: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        rows.setdefault(key(item), []).append(index)
    return rows


def by_subtask(items: Sequence[Item], values: Sequence) -> dict[str, list]:
    """One value an item -> subtask: its items' values, in order."""
    return _grouped(items, values, lambda item: item.subtask)


def by_key(items: Sequence[Item], values: Sequence) -> dict[str, list]:
    """One value an item -> the key it is published under: its items' values, in order."""
    return _grouped(items, values, lambda item: item.key)


def _grouped(items: Sequence[Item], values: Sequence, key: Callable[[Item], str]) -> dict[str, list]:
    return {name: [values[row] for row in rows] for name, rows in rows_of(items, key).items()}

"""Items, and what their scores are worth. A tie or a number that is not finite is never "correct" in silence.

Everything here is a fraction 0-1 unless it says nats. The official scorer answers a tie with choice 0,
which is always the right one (a constant model gets 100 % of the pairs that are permutations): that
figure is reported as `official_accuracy` beside ours, which gives a tie between k choices the 1/k that
guessing is worth. Ties are counted (`ties`). A score that is NaN or infinite, which the official scorer also
answers with choice 0, refuses the whole task: the error counts such items, and the task has no result.
"""

import hashlib
import math
from collections.abc import Sequence
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
    """One question: `choices[gold]` is the answer. `uid` is the official id, `<subtask>_<row>`."""

    uid: str
    subtask: str
    choices: tuple[Choice, ...]
    gold: int = 0
    phenomenon: str | None = None


Scores = Sequence[Sequence[float]]  # an item's log-probabilities in nats, one per choice


def best_choices(scores: Sequence[float]) -> list[int]:
    """The choices that share the highest score. Equality is exact: equal token sequences are scored once."""
    top = max(scores)
    return [index for index, score in enumerate(scores) if score == top]


def credit(scores: Sequence[float], gold: int) -> float:
    """1 for the answer alone on top, 1/k if it shares the top with k - 1 others, else 0."""
    best = best_choices(scores)
    return 1 / len(best) if gold in best else 0.0


def refuse_broken(scores: Scores, task: str) -> None:
    """Raise UserError if any score (nats) is NaN or infinite: such a model has no accuracy."""
    if broken := sum(not all(map(math.isfinite, row)) for row in scores):
        raise UserError(
            f"{task}: {broken:,} of {len(scores):,} items have non-finite scores: "
            "the model is broken, this task has no result"
        )


def summarise(items: Sequence[Item], scores: Scores, task: str = "the task") -> dict:
    """Macro accuracy over subtasks, with its parts, as `scores.json` holds it. Refuses non-finite scores."""
    refuse_broken(scores, task)
    earned = [credit(row, item.gold) for item, row in zip(items, scores, strict=True)]
    first_wins = [float(best_choices(row)[0] == item.gold) for item, row in zip(items, scores, strict=True)]
    guesses = [1 / len(item.choices) for item in items]
    tied = [len(best_choices(row)) > 1 for row in scores]
    members: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        members.setdefault(item.subtask, []).append(index)

    def cell(rows: list[int]) -> dict:
        accuracy = _mean(earned, rows)
        error = _standard_error(math.fsum(earned[row] for row in rows), len(rows))
        ties = sum(tied[row] for row in rows)
        return {"accuracy": accuracy, "standard_error": error, "items": len(rows), "ties": ties}

    subtasks = {name: cell(rows) for name, rows in members.items()}
    phenomena = {item.subtask: item.phenomenon for item in items if item.phenomenon is not None}
    total = _macro(list(subtasks.values()))
    return {
        "accuracy": total["accuracy"],
        "standard_error": total["standard_error"],
        "chance": _macro_mean(guesses, members),
        "items": total["items"],
        "ties": total["ties"],
        "official_accuracy": _macro_mean(first_wins, members),
        "by_subtask": subtasks,
        "by_phenomenon": {
            phenomenon: _macro([subtasks[name] for name in subtasks if phenomena.get(name) == phenomenon])
            for phenomenon in sorted(set(phenomena.values()))
        },
    }


def _standard_error(earned: float, count: int) -> float:
    """sqrt(p (1 - p) / n) with p = (x + 1) / (n + 2) for x of n points: never 0, as it would be for n of n.

    One more success and one more failure than seen is Laplace's rule; Agresti and Coull (1998) show what it mends.
    """
    p = (earned + 1) / (count + 2)
    return math.sqrt(p * (1 - p) / count)


def _mean(values: Sequence[float], rows: Sequence[int]) -> float:
    return math.fsum(values[row] for row in rows) / len(rows)


def _macro_mean(values: Sequence[float], members: dict[str, list[int]]) -> float:
    return math.fsum(_mean(values, rows) for rows in members.values()) / len(members)


def _macro(cells: list[dict]) -> dict:
    """Unweighted mean over K subtasks; its standard error is sqrt(sum_k se_k^2) / K.

    That is the error of drawing other items of the same kinds, each on its own; no seed of training is in it.
    """
    return {
        "accuracy": math.fsum(cell["accuracy"] for cell in cells) / len(cells),
        "standard_error": math.sqrt(math.fsum(cell["standard_error"] ** 2 for cell in cells)) / len(cells),
        "items": sum(cell["items"] for cell in cells),
        "ties": sum(cell["ties"] for cell in cells),
    }


def predictions(items: Sequence[Item], scores: Scores) -> dict:
    """The official form: subtask -> {"predictions": [{"id", "pred": the chosen completion}]}, in file order.

    It has no word for a tie, so one of the tied choices is drawn, by a hash of the item: the same on every
    run and machine, and right as often as guessing is.
    """
    table: dict[str, dict] = {}
    for item, values in zip(items, scores, strict=True):
        best = best_choices(values)
        chosen = item.choices[best[_draw(item, len(best))]].completion
        rows = table.setdefault(item.subtask, {"predictions": []})["predictions"]
        rows.append({"id": item.uid, "pred": chosen})
    return table


def _draw(item: Item, k: int) -> int:
    """A number in 0 … k - 1 that depends on nothing but the item."""
    if k == 1:
        return 0
    text = "\n".join([item.uid, *(choice.text for choice in item.choices)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % k

"""How sure the difference of two recipes is, each trained with the same seeds and scored on the same items.

The difference d of one item under one seed is taken for a mean, plus what the seed adds, plus what the item adds, plus
the rest: seeds and items as drawn from many, subtasks as the ones there are. The variance of the mean is then that of
the seeds' means, plus that of the items' means, less the rest, which is in both. The rest falls with more seeds, so it
stays with them, and is taken off the items. The interval adds what each part reaches, squared: Student's t for the
seeds, which are few, and the normal distribution for the items (Howe 1974; Graybill and Wang 1980). Taken off the
seeds, it would leave nothing of them wherever few happen to agree, and far in the tail, where the correction for many
cells looks, that is where most false differences would be. tests/test_seeds.py holds both on simulated data.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from eval.compare.paired import Columns, Weights, columns_of

LEVEL = 0.95
POWER = 0.8  # with which so many seeds would settle a difference
MOST = 1000  # seeds beyond which nobody goes
NOTHING = 1e-12  # a spread that is rounding
TURNS = 50  # of halving, for a p-value
Numbers = float | np.ndarray


def seed_difference(a: Sequence[Columns], b: Sequence[Columns], weights: Weights) -> dict:
    """Score of `a` less that of `b` on a choice task, one set of items.json columns a seed, the same seeds in order.

    {"a", "b", "difference", "seeds", "by_seed", "seed_error", "item_error", "interval", "p_value", "seeds_to_settle"};
    with one seed the noise of training is not known, and interval and p-value are None.
    """
    share = np.array([weights[name] for name in a[0]])
    share /= share.sum()
    earned = [[np.array([run[name]["credit"] for run in side]) for name in a[0]] for side in (a, b)]
    deltas = [mine - theirs for mine, theirs in zip(*earned, strict=True)]  # (seeds, items) of each subtask
    by_seed = share @ np.array([delta.mean(1) for delta in deltas])
    seeds = len(by_seed)
    items = share**2 @ [_of_items(delta) for delta in deltas]
    rest = share**2 @ [_of_rest(delta) for delta in deltas] if seeds > 1 else 0.0
    scores = [float(share @ [part.mean() for part in side]) for side in earned]
    return _told(scores, by_seed, item_variance=max(0.0, float(items - rest)))


def paired_runs(a: Sequence[float], b: Sequence[float]) -> dict:
    """As `seed_difference`, of numbers without items, such as bits per byte: by the seeds' differences alone.

    Where these are all one, nothing is known of the noise, and interval and p-value are None.
    """
    return _told([float(np.mean(a)), float(np.mean(b))], np.subtract(a, b), item_variance=0.0)


def difference_of(
    a: Sequence[Columns], b: Sequence[Columns], weights: Weights, scores: Sequence[Sequence[float]]
) -> dict:
    """By items where a task has what each earned, else by the `scores` of the two sides."""
    if all("credit" in columns_of(run) for run in (*a, *b)):
        return seed_difference(a, b, weights)
    return paired_runs(*scores)


def _of_items(delta_SI: np.ndarray) -> float:
    """Variance of the mean over items, by the spread of the items' own means over seeds."""
    count = delta_SI.shape[1]
    return float(delta_SI.mean(0).var(ddof=1) / count) if count > 1 else 0.0


def _of_rest(delta_SI: np.ndarray) -> float:
    """Variance of the mean by what is left of a difference without the parts of its seed and its item."""
    seeds, count = delta_SI.shape
    if count < 2:
        return 0.0
    left = delta_SI - delta_SI.mean(0) - delta_SI.mean(1, keepdims=True) + delta_SI.mean()
    return float((left**2).sum() / ((seeds - 1) * (count - 1)) / (seeds * count))


def _told(scores: list[float], by_seed: np.ndarray, *, item_variance: float) -> dict:
    seeds, value = len(by_seed), float(by_seed.mean())
    found = {
        "a": scores[0],
        "b": scores[1],
        "difference": value,
        "seeds": seeds,
        "by_seed": by_seed.tolist(),
        "seed_error": None,
        "item_error": math.sqrt(item_variance),
        "interval": None,
        "p_value": None,
        "seeds_to_settle": None,
    }
    if seeds < 2 or (item_variance == 0 and np.ptp(by_seed) < NOTHING):
        return found
    seed_variance = float(by_seed.var(ddof=1)) / seeds
    reach = float(_reach(LEVEL, seed_variance, item_variance, seeds))
    return found | {
        "seed_error": math.sqrt(seed_variance),
        "interval": [value - reach, value + reach],
        "p_value": _p_value(abs(value), seed_variance, item_variance, seeds),
        "seeds_to_settle": seeds_to_settle(abs(value), seed_variance * seeds, item_variance),
    }


def _reach(level: float, seed_variance: Numbers, item_variance: float, seeds: Numbers) -> Numbers:
    """Half of the interval."""
    end = (1 + level) / 2
    return np.sqrt(stdtrit(seeds - 1, end) ** 2 * seed_variance + ndtri(end) ** 2 * item_variance)


def _p_value(value: float, seed_variance: float, item_variance: float, seeds: int) -> float:
    """One less the level of the interval that just reaches 0."""
    low, high = 0.0, 1.0
    for _ in range(TURNS):
        middle = (low + high) / 2
        if _reach(middle, seed_variance, item_variance, seeds) < value:
            low = middle
        else:
            high = middle
    return 1 - low


def seeds_to_settle(
    value: float, variance_of_one: float, item_variance: float, level: float = LEVEL
) -> int | None:
    """The fewest seeds with which a difference of this size would be told from 0, four times in five; None if none do.

    More seeds make the noise of training small, and never that of the items.
    """
    seeds = np.arange(2, MOST + 1)
    of_seeds = variance_of_one / seeds
    needed = _reach(level, of_seeds, item_variance, seeds) + ndtri(POWER) * np.sqrt(of_seeds + item_variance)
    enough = np.flatnonzero(value > needed)
    return int(seeds[enough[0]]) if len(enough) else None

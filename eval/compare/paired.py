"""How sure the difference of two models is that answered the same items. Fractions of 1; intervals are of 95 %.

Two models find the same items hard, so the difference is measured item by item: its error is far smaller than
sqrt(se_a^2 + se_b^2), which would hold if they had answered different items.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from eval.tasks.correlation import RESAMPLES, resampled, spearman
from eval.tasks.gains import jackknife_error

Z = 1.959963984540054  # the normal distribution holds 95 % between -Z and Z
Credits = Mapping[str, Sequence[float]]  # subtask -> what each item earned, 0-1
Columns = Mapping[
    str, Mapping[str, Sequence]
]  # subtask -> column -> one value an item, as items.json holds them


Weights = Mapping[str, float]
"""subtask -> what it counts in its task's score, as `scores.json` says; of some of them, in proportion."""


def weights_of(result: dict) -> Weights:
    """The weights of a choice task's subtasks; {} of any other."""
    if result["metric"] != "accuracy":
        return {}
    return {name: cell["weight"] for name, cell in result["by_subtask"].items()}


def squared_error(deltas: np.ndarray) -> float:
    """Squared standard error of the mean of paired differences, each -1 … 1.

    Half an item more in each cell of the table of who is right, so that it is never 0: the interval of Agresti and
    Min (2005) for paired proportions, which keeps its coverage where few items differ.
    """
    n = len(deltas) + 2
    return float((np.sum(deltas**2) + 1 - np.sum(deltas) ** 2 / n) / n**2)


def sign_test(better: int, worse: int) -> float:
    """Exact two-sided p-value of `better` of the items that differ: McNemar's test, in its binomial form."""
    from scipy.stats import binomtest

    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def normal_test(value: float, error: float) -> float:
    """Two-sided p-value of a difference and its standard error, by the normal distribution."""
    from scipy.stats import norm

    return float(2 * norm.sf(abs(value) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values as they are after looking at all of them (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="holm")[1].tolist() if len(p_values) else []


def choice_difference(a: Credits, b: Credits, weights: Weights) -> dict:
    """The score of `a` less that of `b` over some subtasks of a choice task.

    "interval_items": were other items of the same subtasks drawn. "interval_subtasks": were other subtasks drawn
    (jackknife over subtasks, Student's t), None if they show no spread; the items of a subtask of BLiMP come from one
    template, so this is the one to go by for a claim beyond these very subtasks. "p_value" goes with
    "interval_items": it is of "difference" and its error, as the score is no mean over all items alike and a test on
    these could take the other side; of one subtask, where it is, the exact sign test on the items that differ.
    """
    share = np.array([weights[name] for name in a])
    share /= share.sum()
    deltas = [np.subtract(a[name], b[name]) for name in a]
    means = np.array([delta.mean() for delta in deltas])
    scores = [float(share @ [np.mean(side[name]) for name in a]) for side in (a, b)]
    value = float(share @ means)
    error = math.sqrt(share**2 @ [squared_error(delta) for delta in deltas])
    pooled = np.concatenate(deltas)
    better, worse = int(np.sum(pooled > 0)), int(np.sum(pooled < 0))
    return {
        "a": scores[0],
        "b": scores[1],
        "difference": value,
        "standard_error": error,
        "interval_items": [value - Z * error, value + Z * error],
        "interval_subtasks": _over_subtasks(means, share, value),
        "items": len(pooled),
        "better": better,
        "worse": worse,
        "p_value": sign_test(better, worse) if len(a) == 1 else normal_test(value, error),
    }


def item_difference(a: Columns, b: Columns, weights: Weights) -> dict:
    """The difference as the columns of the same items ask for it, of choices, a correlation or a score that is known
    without each cluster of items (then its error alone); {} for none of these. `weights` are of choices.
    """
    columns = columns_of(a)
    if "credit" in columns:
        earned = ({name: side[name]["credit"] for name in side} for side in (a, b))
        return choice_difference(*earned, weights)
    if {"prob", "ratio"} <= columns and len(a) == 1:
        (mine,), (other,) = a.values(), b.values()
        return correlation_difference(mine["prob"], other["prob"], mine["ratio"])
    if "without" in columns:
        deltas = [np.subtract(a[name]["without"], b[name]["without"]) for name in a]
        return {"standard_error": jackknife_error(sum(deltas) / len(deltas))}
    return {}


def columns_of(items: Columns) -> set[str]:
    """The columns that every subtask has: they tell which kind of task this is."""
    return set.intersection(*(set(columns) for columns in items.values())) if items else set()


def _over_subtasks(means: np.ndarray, share: np.ndarray, value: float) -> list[float] | None:
    """`value` give or take t times its jackknife error: sqrt(K / (K - 1) sum_k w_k^2 (mean_k - value)^2).

    None for one subtask, and where all differ by the same: that spread would be no spread.
    """
    from scipy.stats import t

    count = len(means)
    if np.ptp(means) < 1e-12:
        return None
    error = math.sqrt(count / (count - 1) * share**2 @ (means - value) ** 2)
    reach = float(t.ppf(0.975, count - 1)) * error
    return [value - reach, value + reach]


def correlation_difference(
    a: Sequence[float], b: Sequence[float], truth: Sequence[float], *, resamples: int = RESAMPLES
) -> dict:
    """Spearman's correlation of `a` with `truth` less that of `b`: a bootstrap over the items, percentiles."""

    def statistic(a, b, truth, axis=-1):
        return spearman(a, truth, axis) - spearman(b, truth, axis)

    data = tuple(np.asarray(values, dtype=float) for values in (a, b, truth))
    known = {"difference": float(statistic(*data)), "items": len(data[0])}
    if len(data[0]) < 2:
        return known
    if np.array_equal(data[0], data[1]):
        return known | {"standard_error": 0.0, "interval_items": [0.0, 0.0]}
    found = resampled(statistic, *data, resamples=resamples)
    interval = [float(end) for end in found.confidence_interval]
    return known | {"standard_error": float(found.standard_error), "interval_items": interval}


def run_difference(a: Sequence[float], b: Sequence[float]) -> dict:
    """The mean score of the runs `a` less that of the runs `b`, each trained with a seed of its own.

    Welch's t interval and p-value, None with fewer than two runs on a side, or where no run differs from another.
    """
    from scipy.stats import ttest_ind

    found = {
        "difference": float(np.mean(a) - np.mean(b)),
        "a": float(np.mean(a)),
        "b": float(np.mean(b)),
        "runs": [len(a), len(b)],
        "standard_deviations": [float(np.std(side, ddof=1)) if len(side) > 1 else None for side in (a, b)],
        "interval_runs": None,
        "p_value": None,
    }
    if min(len(a), len(b)) < 2:
        return found
    if np.ptp(a) > 0 or np.ptp(b) > 0:
        test = ttest_ind(a, b, equal_var=False)
        found["interval_runs"] = [float(end) for end in test.confidence_interval(0.95)]
        found["p_value"] = float(test.pvalue)
    return found

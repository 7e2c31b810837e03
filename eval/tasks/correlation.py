"""Spearman's rank correlation, and how far it moves when other items are drawn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 5000


def spearman(
    x: "Sequence[float] | np.ndarray", y: "Sequence[float] | np.ndarray", axis: int = -1
) -> "np.ndarray":
    """Rank correlations along `axis`; 0 where one side is constant and orders nothing."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=axis) for values in (x, y)]
    x, y = (rank - rank.mean(axis=axis, keepdims=True) for rank in ranks)
    scale = np.sqrt((x**2).sum(axis=axis) * (y**2).sum(axis=axis))
    return np.where(scale > 0, (x * y).sum(axis=axis) / np.where(scale > 0, scale, 1), 0.0)


def resampled(statistic: Callable, *columns: Sequence[float], resamples: int = RESAMPLES):
    """scipy's bootstrap of `statistic(*columns, axis=…)` over 2 or more items, seeded; percentile interval."""
    import numpy as np
    from scipy.stats import bootstrap

    return bootstrap(
        columns,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=500,
        method="percentile",
        rng=np.random.default_rng(0),
    )

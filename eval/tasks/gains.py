"""How much better a regression gets by a surprisal: the gain in R^2, and how it would move with other sentences."""

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def gain(data: "pd.DataFrame", measure: str, predictors: Sequence[str]) -> float:
    """(R^2 with "pred" - R^2 without) / (1 - R^2 without) of the regression on `predictors` and their pairs' products.

    Rows where a predictor is missing are left out of both.
    """
    import statsmodels.formula.api as smf
    from statsmodels.tools.sm_exceptions import SingularMatrixWarning

    rows = data[[measure, *predictors, "pred"]].dropna()
    baseline = f"{measure} ~ ({' + '.join(predictors)}) ** 2"
    with warnings.catch_warnings():
        # a surprisal that is the same everywhere leaves coefficients open, but not R^2
        warnings.simplefilter("ignore", SingularMatrixWarning)
        without, joined = (
            smf.ols(formula, rows).fit().rsquared for formula in (baseline, f"{baseline} + pred")
        )
    return float((joined - without) / (1 - without))


def gains_without_each_sentence(
    data: "pd.DataFrame", measure: str, predictors: Sequence[str]
) -> "np.ndarray":
    """`gain` with each sentence of `data` left out in turn: one number a sentence, in the order of their ids.

    Of an orthonormal basis of the regressors, only the small matrix of inner products changes with a sentence.
    """
    import numpy as np
    import scipy.linalg
    import statsmodels.formula.api as smf

    rows = data[[measure, *predictors, "pred", "sentence"]].dropna()
    design = smf.ols(f"{measure} ~ ({' + '.join(predictors)}) ** 2", rows)
    times, sentences = design.endog, rows["sentence"].to_numpy()
    basis = scipy.linalg.orth(design.exog)  # (rows, R)
    rest = rows["pred"].to_numpy() - basis @ (basis.T @ rows["pred"].to_numpy())
    if np.linalg.norm(rest) <= 1e-9 * np.linalg.norm(rows["pred"]):
        return np.zeros(data["sentence"].nunique())  # the baseline says all that the surprisal could
    basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    whole, products, squares = basis.T @ basis, basis.T @ times, times @ times
    gains = []
    for sentence in np.unique(data["sentence"]):
        part, part_times = basis[sentences == sentence], times[sentences == sentence]
        inner, outer = whole - part.T @ part, products - part.T @ part_times
        unexplained = [
            squares
            - part_times @ part_times
            - outer[:k] @ np.linalg.pinv(inner[:k, :k], rcond=1e-9, hermitian=True) @ outer[:k]
            for k in (len(inner) - 1, len(inner))
        ]
        gains.append(1 - unexplained[1] / unexplained[0])
    return np.array(gains)


def jackknife_error(estimates: "np.ndarray") -> float | None:
    """sqrt((S - 1) / S * sum (estimate - mean)^2) of S estimates, each without one sentence; None for one.

    The jackknife over clusters (Efron and Stein 1981).
    """
    count = len(estimates)
    return math.sqrt((count - 1) * float(estimates.var())) if count > 1 else None

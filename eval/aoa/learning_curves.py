"""When a word is learned, by a child or by a model: a sigmoid through its learning curve, read off at a threshold.

f(x) = a / (1 + exp(-b (x - c))) + d. A child's x is the age in months, f the share of children who say the word, the
threshold one half. A model's x is log10(words of exposure + 1), f minus the surprisal, the threshold half-way between
chance and the least surprisal (Chang and Bergen 2022). Two rules for models:

"2026", as the official program has it since its correction, and nearer to the paper: one point a checkpoint, the mean
over contexts; chance is the surprisal for a model that knows nothing, ln(vocabulary) nats for each token of the word.

"2025", as the official program was first published, for comparison with its scores: one point a context and checkpoint,
so that one easy context sets the least surprisal; chance is log2(300,000) = 18.2, which is bits beside surprisals in
nats, for any vocabulary and word. With 8,192 tokens, where not even knowing nothing costs more than 9.0 nats a token,
most curves never rise through such a threshold. Its fits are unbounded; where one runs off, an age changes from run to
run by some 1e-4, in the official program as here.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np

RULES = ("2026", "2025")
CHANCE_2025 = math.log2(300_000)
NO_FIT, FLAT, NEVER, OUTSIDE = (
    "the curve has no sigmoid",
    "the sigmoid does not rise",
    "the sigmoid does not cross the threshold",
    "the threshold is crossed outside of what was measured",
)
"""Why a word has no age."""


def sigmoid(x: np.ndarray, a: float, b: float, c: float, d: float) -> np.ndarray:
    """a / (1 + exp(-b (x - c))) + d; a steep one may overflow to its limit d."""
    with np.errstate(over="ignore"):
        return a / (1 + np.exp(-b * (x - c))) + d


def fit(
    x: np.ndarray, y: np.ndarray, guess: Sequence[float], tries: int, bounds: tuple | None = None
) -> tuple[float, ...] | None:
    """(a, b, c, d) of least squares from `guess` on; None if `tries` evaluations do not settle it."""
    from scipy.optimize import OptimizeWarning, curve_fit

    bounds = bounds or (-np.inf, np.inf)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which is not used
            return tuple(map(float, curve_fit(sigmoid, x, y, p0=guess, bounds=bounds, maxfev=tries)[0]))
    except (RuntimeError, ValueError):  # it did not converge; it left the bounds or the numbers
        return None


def crossing(curve: tuple[float, ...] | None, threshold: float, least: float) -> float | str:
    """Where the sigmoid reaches `threshold`, or why it does not; a and b at `least` or below are flat."""
    if curve is None:
        return NO_FIT
    a, b, c, d = curve
    if a <= least or b <= least:
        return FLAT
    if not d < threshold < a + d or a / (threshold - d) <= 1:  # the second: by rounding
        return NEVER
    return c - math.log(a / (threshold - d) - 1) / b


def child_age(months: np.ndarray, shares: np.ndarray) -> float | str:
    """Months at which half of the children say a word, or why that is not known."""
    guess = (1.0, 0.1, float(months.mean()), 0.0)
    bounds = ((0, 0, months[0], -0.5), (2, 1, months[-1], 0.5))
    age = crossing(fit(months, shares, guess, 1000, bounds), 0.5, least=0)
    return OUTSIDE if isinstance(age, float) and not months[0] <= age <= months[-1] else age


def model_age(exposure: np.ndarray, surprisals: np.ndarray, rule: str, chance: float) -> float | str:
    """log10(words of exposure + 1) at which a model has learned a word, or why that is not known.

    `exposure`: words at each of S checkpoints, rising. `surprisals`: (S, contexts), nats. `chance`: the surprisal
    of the word for a model that knows nothing, nats; rule "2025" does not ask for it.
    """
    if rule == "2025":
        # the order of the points, which the last bits of a fit depend on, is that of the official file
        log_exposure, known = np.log10(np.repeat(exposure, surprisals.shape[1]) + 1), -surprisals.ravel()
        chance, bounds, tries, least = CHANCE_2025, None, 1000, 0.0
    else:
        means = np.array([row.mean() for row in np.ascontiguousarray(surprisals)])
        log_exposure, known = np.log10(exposure + 1), -means
        low, high, span = known.min(), known.max(), known.max() - known.min()
        bounds = (
            (0, 0, log_exposure.min() - 1, low - 2 * span - 1),
            (10 * span + 1, 100, log_exposure.max() + 1, high + 1),
        )
        tries, least = 20_000, 1e-6
    guess = (known.max() - known.min(), 1.0, log_exposure.mean(), known.min())
    # written out as the official program does: where a fit has run off, rounding decides the fifth figure
    threshold = -(chance - 0.5 * (chance + known.max()))
    age = crossing(fit(log_exposure, known, guess, tries, bounds), threshold, least)
    return OUTSIDE if isinstance(age, float) and not log_exposure[0] <= age <= log_exposure[-1] else age

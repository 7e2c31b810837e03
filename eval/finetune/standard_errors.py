"""Standard errors of drawing the examples, from what a result of fine-tuning holds: fractions of 1, no predictions."""

import math


def standard_error(metric: str, score: float, *, accuracy: float, examples: int) -> float | None:
    """Standard error of an accuracy or a binary F1 of one model on `examples` drawn examples; None where not known.

    Accuracy p: sqrt(p (1 - p) / (n - 1)).

    F1 = 2 tp / (2 tp + fp + fn) leaves out the true negatives. Of the m = tp + fp + fn others the share p = tp / m
    are true positives, so F1 = 2 p / (1 + p), p = F1 / (2 - F1), dF1/dp = 2 / (1 + p)^2, and by the delta method
    SE = 2 / (1 + p)^2 * sqrt(p (1 - p) / m). That m is drawn too changes nothing to first order: tp - p m is a sum over
    the n examples of terms with mean 0 and variance (m / n) p (1 - p), so its variance over m^2 is again p (1 - p) / m.
    The errors are those of the accuracy, fp + fn = n (1 - accuracy) = m (1 - p), which gives m.
    """
    if examples < 2 or metric not in ("accuracy", "f1"):
        return None
    if metric == "accuracy":
        return math.sqrt(score * (1 - score) / (examples - 1))
    share = score / (2 - score)
    if share == 0:  # no true positive: to first order it could not be otherwise, which says nothing
        return None
    if share == 1:  # no errors: m is not known, and no m gives another value
        return 0.0
    counted = examples * (1 - accuracy) / (1 - share)
    return 2 / (1 + share) ** 2 * math.sqrt(share * (1 - share) / counted)


def mean_standard_error(metric: str, by_seed: list[dict[str, float]], examples: int) -> float | None:
    """The most that drawing the examples adds to the mean over seeds of one metric; None where not known.

    The seeds answer the same examples, so their errors do not average out: the standard deviation of a mean is at most
    the mean of the standard deviations, and that it is where all seeds answer alike.
    """
    found = [
        standard_error(metric, seed[metric], accuracy=seed["accuracy"], examples=examples)
        for seed in by_seed
        if {metric, "accuracy"} <= seed.keys()
    ]
    if not found or None in found or len(found) < len(by_seed):
        return None
    return math.fsum(found) / len(found)

"""What a tie is, and what an answer that shares the top is worth.

A tie is never "correct" in silence: ties are counted, and what one is worth is said (`Choices.tie_rule`).
"""

from collections.abc import Sequence

TIE = 1e-9
"""Nats. Scores this close are equal: sums of the same token log-probabilities in another order, as a model without
context gives for two permutations, differ by the rounding of the sum (about 1e-13), which knows no grammar."""


def best_choices(scores: Sequence[float]) -> list[int]:
    """The choices that share the highest score, `TIE` nats or less below it, in order."""
    top = max(scores)
    return [index for index, score in enumerate(scores) if top - score <= TIE]


def credit(scores: Sequence[float], gold: int) -> float:
    """1 for the answer alone on top, 1/k if it shares the top with k - 1 others, else 0."""
    best = best_choices(scores)
    return 1 / len(best) if gold in best else 0.0

"""Which choice is highest, computed no more precisely than the question needs, and no less.

Most pairs of sentences are nats apart, and half the digits decide them in half the time. So there is a ladder:

    bfloat16 products    everything                          decides what is further apart than a measured bound
    float32              what the bound leaves in doubt      decides what is further apart than CLOSE
    float64              the rest                            under ties.TIE nats it is a tie

The bound is measured, not assumed: on a sample spread over the items, and on every item that is computed again
(those are the ones near a decision), the error of bfloat16 is the spread of (bfloat16 - float32) over an item's
choices. The bound is SAFETY times the largest error seen; whenever an error raises it, the items that it now
reaches are computed again too, until nothing changes.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from babylm_data.memory import is_full_memory
from babylm_data.speed import multiplies_fast
from eval.scorer.items import Item
from eval.scorer.log_probs import Scorer
from eval.scorer.prefix_rows import Encoded, distinct

SAMPLE = 512  # items on which the error is measured first
SAFETY = 1.5  # of the bound over the largest error seen
CLOSE = 1e-3  # nats: what float32, in sums over batches of any shape, can tell apart


def in_float64(scorer: Scorer) -> Scorer:
    """The same with a copy of the model in float64; on the processor where the device has no such numbers."""
    model = copy.deepcopy(scorer.model)
    if model.device.type == "mps":
        model = model.cpu()
    twin = copy.copy(scorer)
    twin.model, twin.cells = model.double(), max(1, scorer.cells // 2)  # of numbers twice as wide
    return twin


class Doubt:
    """The scores of items with any number of choices, and how sure each is."""

    def __init__(self, items: Sequence[Item], encoded: list[Encoded], *, per_token: bool = False) -> None:
        """`encoded` are the choices of all items one after the other; a score is a sum over tokens, or their mean."""
        self.sequences, places = distinct(encoded)
        self.divisors_S = np.array(
            [max(1, sum(entry.scored)) if per_token else 1 for entry in self.sequences]
        )
        members = iter(places)
        counts = [len(item.choices) for item in items]
        self.members_IC = np.full(
            (len(items), max(counts, default=1)), -1
        )  # I = items, C = choices; -1: none
        for row, count in zip(self.members_IC, counts, strict=True):
            row[:count] = [next(members) for _ in range(count)]
        self.alike = np.array([len(set(row[row >= 0])) == 1 for row in self.members_IC])
        self.scores_IC = np.full(self.members_IC.shape, -np.inf)

    def fill(self, sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Put the sums of the sequences into items number `rows`; the scores that stood there, to compare."""
        old = self.scores_IC[rows]
        members = self.members_IC[rows]
        self.scores_IC[rows] = np.where(members >= 0, (sums / self.divisors_S)[members], -np.inf)
        return old

    def doubtful(self, bound: float) -> np.ndarray:
        """Items whose two best scores are no further apart than `bound`, or are no numbers."""
        if self.scores_IC.shape[1] < 2:
            return np.zeros(len(self.scores_IC), bool)
        best = np.partition(self.scores_IC, -2, axis=1)
        with np.errstate(invalid="ignore"):
            return ~(best[:, -1] - best[:, -2] > bound) & ~self.alike

    def finite(self) -> np.ndarray:
        """Items all of whose choices have a number for a score."""
        return (np.isfinite(self.scores_IC) | (self.members_IC < 0)).all(axis=1)

    def ask(self, scorer: Scorer, rows: np.ndarray, label: str) -> np.ndarray:
        """Score items number `rows` with `scorer`; the scores that stood there, to compare."""
        needed = np.unique(self.members_IC[rows])
        needed = needed[needed >= 0]
        sums = np.zeros(len(self.sequences))
        sums[needed] = scorer.sums([self.sequences[index] for index in needed], label)
        return self.fill(sums, rows)

    def error(self, old_IC: np.ndarray, rows: np.ndarray) -> float:
        """Largest spread of (old - new) over the choices of one item, nats."""
        with np.errstate(invalid="ignore"):
            change = np.where(self.members_IC[rows] >= 0, old_IC - self.scores_IC[rows], 0.0)
        known = np.isfinite(change).all(axis=1)
        change = np.where(self.members_IC[rows] >= 0, change, change[:, :1])[known]
        return float(np.ptp(change, axis=1).max(initial=0.0))


def choose(
    scorer: Scorer, items: Sequence[Item], label: str = "scoring", *, per_token: bool = False
) -> list[list[float]]:
    """Scores in nats (`per_token`: nats a token) of each item's choices; how far apart they are is rough, which is
    highest is not.
    """
    choices = [choice for item in items for choice in item.choices]
    names = [item.uid for item in items for _ in item.choices]
    doubt = Doubt(items, scorer.encode(choices, names), per_token=per_token)
    everything = np.arange(len(items))
    if scorer.model.dtype != torch.float32:
        doubt.ask(scorer, everything, label)
    else:
        _float32(scorer, doubt, everything, label)
        rest = np.flatnonzero(doubt.doubtful(CLOSE) & doubt.finite())
        if len(rest):
            doubt.ask(in_float64(scorer), rest, f"{label}, float64")
    return [row[: len(item.choices)].tolist() for row, item in zip(doubt.scores_IC, items, strict=True)]


def _float32(scorer: Scorer, doubt: Doubt, everything: np.ndarray, label: str) -> None:
    """Fill in scores that decide every item whose choices are more than CLOSE apart in float32."""
    device = scorer.model.device
    if len(everything) <= 2 * SAMPLE or not multiplies_fast("bf16", device.type):
        doubt.ask(scorer, everything, label)
        return
    try:
        with torch.autocast(device.type, torch.bfloat16):
            doubt.ask(scorer, everything, label)
    except (RuntimeError, TypeError) as error:  # some models hold numbers that bfloat16 has no room for
        if is_full_memory(error):
            raise
        doubt.ask(scorer, everything, label)
        return
    settled = np.zeros(len(everything), bool)
    rows = everything[:: len(everything) // SAMPLE]
    bound = 0.0
    while len(rows):
        bound = max(bound, SAFETY * doubt.error(doubt.ask(scorer, rows, f"{label}, float32"), rows), CLOSE)
        settled[rows] = True
        rows = np.flatnonzero(doubt.doubtful(bound) & ~settled)

"""What a model is asked: a pure function of (blocks of tokens, seed, step) gives the batch of a whole optimiser step.

An objective names its targets. Shape suffixes: B sequences, T positions, N = B * T positions in one row.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from babylm_data.tokens import Blocks

IGNORE = -100  # target of a position that carries no loss


class Batch(NamedTuple):
    """Inputs and their targets; what is to be predicted at a position stands at that position."""

    inputs_BT: Tensor
    targets_BT: Tensor
    starts: np.ndarray
    """(B,) where in the token stream of its split each sequence begins; an array, so that no device takes it along."""
    stream: str
    """The split whose tokens these are."""
    places_N: Tensor | None
    """Positions that have a target, in order, counted through the rows; None where all have."""

    @classmethod
    def of(cls, inputs_BT: Tensor, targets_BT: Tensor, starts: np.ndarray, stream: str) -> "Batch":
        """A batch on the CPU, where looking for targets makes nobody wait."""
        has_target_N = targets_BT.flatten() != IGNORE
        places_N = None if has_target_N.all() else has_target_N.nonzero().squeeze(1)
        return cls(inputs_BT, targets_BT, starts, stream, places_N)

    @property
    def num_targets(self) -> int:
        """Positions that carry loss: what a sum over the batch is divided by."""
        return self.inputs_BT.numel() if self.places_N is None else len(self.places_N)

    def rows(self, start: int, stop: int) -> "Batch":
        """The sequences from number `start` up to `stop`."""
        parts = (part[start:stop] for part in (self.inputs_BT, self.targets_BT, self.starts))
        return Batch.of(*parts, self.stream)

    def split(self, size: int) -> list["Batch"]:
        """All of it, `size` sequences at a time."""
        return [self.rows(start, start + size) for start in range(0, len(self.inputs_BT), size)]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, which is not waited for."""
        there = {
            name: tensor.to(device, non_blocking=True)
            for name in ("inputs_BT", "targets_BT", "places_N")
            if (tensor := getattr(self, name)) is not None
        }
        return self._replace(**there)


Targets = Callable[[Blocks, int, int], Batch]
"""From blocks of T + 1 tokens, the seed of the run and the number of the step; on the CPU."""


def next_token(blocks: Blocks, seed: int, step: int) -> Batch:
    """The first T tokens are inputs, the last T their targets; nothing is drawn."""
    tokens_BT1 = torch.from_numpy(blocks.tokens)
    return Batch.of(tokens_BT1[:, :-1], tokens_BT1[:, 1:], blocks.starts, blocks.split)

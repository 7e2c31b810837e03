"""The mean of a model's weights over steps, which is exported in the place of the last ones.

ema     mean <- d mean + (1 - d) weights, d = min(1 - 1 / (ema * steps), (1 + n) / (10 + n)) at the n-th step: it grows
        with what there is to keep, as TensorFlow's ExponentialMovingAverage has it, lest the first weights stay
tail    mean of the weights after each of the last steps (Polyak and Juditsky 1992; Izmailov et al. 2018)
"""

import contextlib
import math
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from train_teachers.config import Averaging


class AveragedWeights(nn.Module):
    """A running mean of the parameters of a model, checkpointed beside them; what is frozen is left out."""

    def __init__(self, model: nn.Module, averaging: Averaging, *, steps: int) -> None:
        super().__init__()
        self.averaging = averaging
        self.begins = steps - math.ceil(steps * averaging.tail) if averaging.tail else 0
        """The first step after which weights count."""
        self.kept = 1 - 1 / max(1.0, steps * averaging.ema) if averaging.ema else None
        """Of an exponential mean, at each step."""
        self._model = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.means = nn.ParameterList(
            nn.Parameter(parameter.detach().clone(), requires_grad=False) for parameter in self._model
        )

    @torch.no_grad()
    def add(self, step: int) -> None:
        """Count the weights as they are after step number `step` (from 0)."""
        n = step - self.begins
        if n <= 0:  # before the tail, and at its first step, there is nothing but these
            share = 1.0
        elif self.averaging.tail:
            share = 1 / (n + 1)
        else:
            share = 1 - min(self.kept, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(self.means), self._model, share)

    def settle(self) -> None:
        """Give the model the mean for good."""
        self._take(self.means)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model has the mean for its weights."""
        last = [parameter.detach().clone() for parameter in self._model]
        self.settle()
        try:
            yield
        finally:
            self._take(last)

    @torch.no_grad()
    def _take(self, weights: Iterable[torch.Tensor]) -> None:
        for parameter, weight in zip(self._model, weights, strict=True):
            parameter.copy_(weight)

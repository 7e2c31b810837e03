"""What a training run minimises: the interface of an objective, and the hard loss.

Shape suffixes: B sequences, T positions, N = B * T positions in one row, V vocabulary.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORE = -100  # target of a position that carries no loss


class Batch(NamedTuple):
    """Inputs and next-token targets; the shift has been made, a target of IGNORE is masked."""

    inputs_BT: Tensor
    targets_BT: Tensor

    @classmethod
    def from_sequences(cls, tokens_BT1: Tensor) -> "Batch":
        """Sequences of T + 1 tokens: the first T are inputs, the last T their targets."""
        return cls(tokens_BT1[:, :-1], tokens_BT1[:, 1:])

    @property
    def num_targets(self) -> int:
        """Positions that carry loss: what a sum over the batch is divided by."""
        return int((self.targets_BT != IGNORE).sum())


class Objective(nn.Module):
    """What is minimised. A module, so that whatever it owns is optimised and saved by construction.

    Calling it with (student, batch) returns one unweighted sum over the target positions per term. The loop
    multiplies the terms that stand in `weights` by them, divides once by the number of target tokens of the whole
    optimiser step, and logs every term unweighted, per token; a term without a weight is only logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[str, float] = {}
        """Coefficient of each term at this step; they need not sum to 1."""
        self.sources: dict[str, str] = {}
        """What it was made from beside the config: name -> hash, so that a resumed run is the same run."""
        self.flops_per_token = 0.0
        """Arithmetic beside the student's own, such as the teachers' forward passes."""
        self.own_optimizers: dict[str, torch.optim.Optimizer] = {}
        """Of the parameters that `train_own` trains, by kind; they are checkpointed with the rest."""
        self.moments = (0.0,)
        """Progress (0-1) at which the terms that count may be others than before; each counts at one of them."""

    def begin_step(self, progress: float, *, every_term: bool = False) -> None:
        """Called before each step with the share (0-1) of the run that is done: sets what changes over the run.

        With `every_term` also the terms that do not count then are computed: to measure them.
        """

    @contextlib.contextmanager
    def learning(
        self, student: nn.Module, batch: Batch
    ) -> Iterator[dict[str, Callable[[], dict[str, Tensor]]]]:
        """What the objective trains by itself (critics, filters), unfrozen; their losses on the batch, by kind."""
        yield {}

    def train_own(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Called after `begin_step`, before the gradients of the step: one turn of what trains by itself.

        Returns the losses of that, per token, to be logged.
        """
        return {}


def wide(values: Tensor) -> Tensor:
    """In float32, or in float64 where it was that before: losses are never summed in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def hard_N(logits_NV: Tensor, targets_N: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the next token, in nats per position; 0 where the target is IGNORE.

    With label smoothing s the target is (1 - s) times the next token plus s / V of every token.
    """
    return F.cross_entropy(
        wide(logits_NV), targets_N, ignore_index=IGNORE, reduction="none", label_smoothing=label_smoothing
    )


class HardObjective(Objective):
    """Next-token cross-entropy alone: how teachers and the no-distillation control are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {"hard": 1.0}

    def forward(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """{"hard": sum over target positions}."""
        logits_BTV = student(input_ids=batch.inputs_BT, use_cache=False).logits
        return {"hard": hard_N(logits_BTV.flatten(0, 1), batch.targets_BT.flatten()).sum()}


def held_out_hard(student: nn.Module, sequences: Tensor, *, micro_batch_size: int) -> float:
    """Hard loss in nats per token on held-out sequences (S, T + 1): the one number models are selected by."""
    return held_out_terms(student, HardObjective(), sequences, micro_batch_size=micro_batch_size)["hard"]


@torch.no_grad()
def held_out_terms(
    student: nn.Module, objective: Objective, sequences: Tensor, *, micro_batch_size: int
) -> dict[str, float]:
    """Each term per token on held-out sequences (S, T + 1), at the temperatures of the end of the run.

    What is drawn at random is drawn alike each time, so the values of one run can be compared.
    """
    totals, count, was_training = {}, 0, student.training
    student.eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective.begin_step(1.0, every_term=True)
        for part in sequences.split(micro_batch_size):
            batch = Batch.from_sequences(part)
            for name, total in objective(student, batch).items():
                totals[name] = totals.get(name, 0.0) + total.item()
            count += batch.num_targets
    student.train(was_training)
    return {name: total / count for name, total in totals.items() if name in objective.weights}

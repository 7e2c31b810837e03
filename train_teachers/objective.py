"""What a training run minimises: the protocol, and the hard loss.

Shape suffixes: B sequences, T positions, N = B * T positions in one row, V vocabulary.
"""

from typing import NamedTuple, Protocol

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


class Objective(Protocol):
    """An nn.Module, so that whatever it owns is optimised and saved by construction.

    Calling it with (student, batch) returns one unweighted sum over the target positions per term; the loop
    weights them with `weights`, divides once by the number of target tokens of the whole optimiser step, and
    logs each term unweighted, per token.
    """

    weights: dict[str, float]
    """Coefficient of each term; they need not sum to 1."""
    sources: dict[str, str]
    """What it was made from beside the config: name -> hash, so that a resumed run is the same run."""
    flops_per_token: float
    """Arithmetic beside the student's own, such as the teachers' forward passes."""

    def __call__(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]: ...


def hard_N(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy with the next token, in nats per position; 0 where the target is IGNORE."""
    return F.cross_entropy(logits_NV.float(), targets_N, ignore_index=IGNORE, reduction="none")


class HardObjective(nn.Module):
    """Next-token cross-entropy alone: how teachers and the no-distillation control are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.sources, self.flops_per_token = {"hard": 1.0}, {}, 0.0

    def forward(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits_BTV = student(input_ids=batch.inputs_BT, use_cache=False).logits
        return {"hard": hard_N(logits_BTV.flatten(0, 1), batch.targets_BT.flatten()).sum()}


@torch.no_grad()
def held_out_hard(student: nn.Module, sequences: Tensor, *, micro_batch_size: int) -> float:
    """Hard loss in nats per token on held-out sequences (S, T + 1): the one number models are selected by."""
    objective, total, count = HardObjective(), 0.0, 0
    was_training = student.training
    student.eval()
    for part in sequences.split(micro_batch_size):
        batch = Batch.from_sequences(part)
        total += objective(student, batch)["hard"].item()
        count += batch.num_targets
    student.train(was_training)
    return total / count

"""Deep supervision: output heads on shallow layers of the student (Luo et al. 2022, arXiv 2202.07846)."""

import torch
from torch import Tensor, nn

from distill.config import Heads
from distill.losses import forward_kl_N, logprobs
from train_teachers.objective import hard_N
from train_teachers.outputs import Output


class OutputHead(nn.Module):
    """A norm and a linear map from hidden states to logits."""

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)  # states of inner blocks have no scale of their own
        self.linear = nn.Linear(width, vocab_size, bias=False)

    def forward(self, states_ND: Tensor) -> Output:
        """What the logits of the targets are made of."""
        return Output(self.norm(states_ND), self.linear.weight, None)


def head_loss_N(logits_NV: Tensor, targets_N: Tensor, soft_targets: dict[str, Tensor], loss: Heads) -> Tensor:
    """hard * cross-entropy + sum over teachers of soft_k * T^2 * KL(teacher_k || head), nats per position."""
    total_N = loss.hard * hard_N(logits_NV, targets_N)
    head_NV = logprobs(logits_NV, loss.temperature)
    for teacher, weight in loss.soft.items():
        total_N = total_N + weight * loss.temperature**2 * forward_kl_N(soft_targets[teacher], head_NV)
    return total_N


def head_shares(sums_H: Tensor, *, adaptive: bool) -> Tensor:
    """Shares of H heads, which sum to 1 and carry no gradient: in proportion to their losses, or all alike.

    The paper allocates its weights by the losses too; this is the plainest such rule.
    """
    sums_H = sums_H.detach()
    alike_H = torch.full_like(sums_H, 1 / len(sums_H))
    return torch.where(sums_H.sum() > 0, sums_H / sums_H.sum(), alike_H) if adaptive else alike_H

"""The soft loss: a divergence from the soft targets of one teacher, or of several made into one.

With fixed weights, one temperature and forward KL, sum_k w_k KL(p_k || q) = (sum_k w_k) KL(p || q) + constant, where
p is the mean of the p_k in proportion to w_k: `separate` and `mean_probs` then send the same gradient, and
`mean_probs` costs one divergence instead of K.

Shape suffixes: N positions, V vocabulary, K teachers.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distill import losses as L
from distill.config import Soft
from distill.losses import logprobs, mixture
from train_teachers.objective import IGNORE, hard_N, wide


def soft_N(
    loss: Soft,
    student_NV: Tensor,
    teachers: dict[str, Tensor],
    targets_N: Tensor,
    temperature: Tensor,
    shares_K: Tensor,
    seq_len: int,
) -> dict[str, Tensor]:
    """The values (N,) of the soft loss by term, from logits (N, V): `soft.<teacher>`, or one `soft`.

    `shares_K` are the teachers' weights as proportions, in the order of `teachers`.
    """
    distance, scale = divergence(loss), _scale(loss, temperature, seq_len)
    student_logprobs_NV, logits = logprobs(student_NV, temperature), list(teachers.values())
    if loss.combine != "separate":
        target_NV = combined_NV(loss.combine, logits, shares_K, temperature)
        return {"soft": scale * distance(target_NV, student_logprobs_NV)}
    values = [scale * distance(logprobs(part, temperature), student_logprobs_NV) for part in logits]
    if loss.adaptive is None:
        return {f"soft.{name}": value_N for name, value_N in zip(teachers, values, strict=True)}
    shares_KN = adaptive_shares_KN(loss.adaptive, loss.adaptive_per, values, logits, targets_N, shares_K)
    return {"soft": (shares_KN * torch.stack(values)).sum(0)}


def divergence(loss: Soft) -> Callable[[Tensor, Tensor], Tensor]:
    """The divergence (teacher, student), both (N, V) log-probabilities -> (N,)."""
    return {
        "forward_kl": L.forward_kl_N,
        "reverse_kl": L.reverse_kl_N,
        "jsd": partial(L.jsd_N, beta=loss.beta),
        "skewed_kl": partial(L.skewed_kl_N, skew=loss.skew),
        "skewed_reverse_kl": partial(L.skewed_reverse_kl_N, skew=loss.skew),
        "adaptive_kl": partial(L.adaptive_kl_N, head=loss.head),
        "total_variation": L.total_variation_N,
    }[loss.divergence]


def _scale(loss: Soft, temperature: Tensor, seq_len: int) -> Tensor | float:
    """T^2 keeps the size of a gradient that falls with 1 / T^2; total variation is no such divergence."""
    square = 1.0 if loss.divergence == "total_variation" else temperature**2
    return square * (seq_len if loss.reduction == "batchmean_compat" else 1)


def combined_NV(
    rule: Literal["mean_probs", "mean_logits", "mean_log_probs"],
    logits: list[Tensor],
    shares_K: Tensor,
    temperature: Tensor,
) -> Tensor:
    """Log-probabilities of the one target made of K teachers' logits (N, V); shares are positive and sum to 1.

    mean_logits lets the teacher with the larger logits decide (a shift of a teacher's logits changes nothing, a
    factor does); mean_log_probs is the normalised geometric mean: the same as mean_logits, in fact, since
    normalisers are constants to the softmax; it is kept for who looks for it by that name.
    """
    if rule == "mean_probs":
        return mixture([logprobs(part, temperature) for part in logits], shares_K)
    mean_NV = sum(share * wide(part) for share, part in zip(shares_K, logits, strict=True))
    return logprobs(mean_NV, temperature)


def adaptive_shares_KN(
    rule: Literal["teacher_loss", "inverse", "max", "min"],
    per: Literal["token", "batch"],
    divergences: list[Tensor],
    logits: list[Tensor],
    targets_N: Tensor,
    proportions_K: Tensor,
) -> Tensor:
    """Shares (K, N) of the teachers, which sum to 1 over K and carry no gradient.

    teacher_loss: softmax of minus the teachers' cross-entropy, that is the posterior of a teacher given the true
    token (for two teachers the confidence of CA-MKD, Zhang et al. 2022); inverse: in proportion to
    1 / divergence; max, min: all to the teacher farthest from or nearest to the student. `proportions_K` are
    the prior: they multiply before normalising (max and min only leave out who has none). Per batch the mean over
    the target tokens of a micro-batch decides.
    """
    is_target_N = targets_N != IGNORE

    def per_place(values: list[Tensor]) -> Tensor:
        stacked_KN = torch.stack(values).detach()
        if per == "token":
            return stacked_KN
        mean_K1 = (stacked_KN * is_target_N).sum(1, keepdim=True) / is_target_N.sum()
        return mean_K1.expand_as(stacked_KN)

    if rule == "teacher_loss":
        losses_KN = per_place([hard_N(part, targets_N) for part in logits])
        return torch.softmax(proportions_K.log()[:, None] - losses_KN, dim=0)
    distance_KN = per_place(divergences)
    if rule == "inverse":
        inverse_KN = proportions_K[:, None] / distance_KN.clamp_min(1e-6)
        return inverse_KN / inverse_KN.sum(0)
    off_K1 = (proportions_K == 0)[:, None]
    if rule == "max":
        chosen_N = distance_KN.masked_fill(off_K1, -torch.inf).argmax(0)
    else:
        chosen_N = distance_KN.masked_fill(off_K1, torch.inf).argmin(0)
    return F.one_hot(chosen_N, len(divergences)).T.to(distance_KN.dtype)

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
from distill.soft_targets import Kept
from train_teachers.objective import hard_N, wide


def soft_N(
    loss: Soft,
    student_NV: Tensor,
    teachers: dict[str, Tensor | Kept],
    targets_N: Tensor,
    temperature: Tensor,
    shares_K: Tensor,
    seq_len: int,
    evidence_K: Tensor | None = None,
) -> dict[str, Tensor]:
    """The values (N,) of the soft loss by term, from logits (N, V): `soft.<teacher>`, or one `soft`.

    A teacher may be what a cache has kept of it; of teachers made into one target there may be that alone.
    `shares_K` are the teachers' weights as proportions, in the order of `teachers`. `evidence_K` is the mean of
    `evidence_KN` over a batch, which then decides for all of its tokens.
    """
    if loss.combine != "separate":
        known = next(iter(teachers.values()))
        if not isinstance(known, Kept):
            known = combined_NV(loss.combine, list(teachers.values()), shares_K, temperature)
        scale = _scale(loss, temperature, seq_len)
        return {"soft": scale * divergence_N(loss, known, logprobs(student_NV, temperature))}
    values_KN = divergences_KN(loss, student_NV, teachers, temperature, seq_len)
    if loss.adaptive is None:
        return {f"soft.{name}": value_N for name, value_N in zip(teachers, values_KN, strict=True)}
    if evidence_K is None:
        found_KN = evidence_KN(loss, values_KN, teachers, targets_N)
    else:
        found_KN = evidence_K[:, None].expand_as(values_KN)
    return {"soft": (adaptive_shares_KN(loss.adaptive, found_KN, shares_K) * values_KN).sum(0)}


def divergences_KN(
    loss: Soft, student_NV: Tensor, teachers: dict[str, Tensor | Kept], temperature: Tensor, seq_len: int
) -> Tensor:
    """The student's divergence from each teacher, as it counts in the loss."""
    student_logprobs_NV = logprobs(student_NV, temperature)
    targets = (part if isinstance(part, Kept) else logprobs(part, temperature) for part in teachers.values())
    values = [divergence_N(loss, target, student_logprobs_NV) for target in targets]
    return _scale(loss, temperature, seq_len) * torch.stack(values)


def divergence_N(loss: Soft, target: Tensor | Kept, student_logprobs_NV: Tensor) -> Tensor:
    """The divergence from log-probabilities (N, V), or as far as a cache has them."""
    if not isinstance(target, Kept):
        return divergence(loss)(target, student_logprobs_NV)
    if target.logs_NK is None:
        return target.estimate_kl_N(student_logprobs_NV)
    return divergence(loss)(*target.lump(student_logprobs_NV))


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
    rule: Literal["mean_probs", "mean_logits"],
    logits: list[Tensor],
    shares_K: Tensor,
    temperature: Tensor,
) -> Tensor:
    """Log-probabilities of the one target made of K teachers' logits (N, V); shares are positive and sum to 1.

    Logits that are alone are the target: of one teacher, or made into one before.
    mean_logits lets the teacher with the larger logits decide (a shift of a teacher's logits changes nothing, a
    factor does). It is the normalised geometric mean of the probabilities as well: normalisers are constants to the
    softmax.
    """
    if len(logits) == 1:
        return logprobs(logits[0], temperature)
    if rule == "mean_probs":
        return mixture([logprobs(part, temperature) for part in logits], shares_K)
    mean_NV = sum(share * wide(part) for share, part in zip(shares_K, logits, strict=True))
    return logprobs(mean_NV, temperature)


def evidence_KN(loss: Soft, values_KN: Tensor, teachers: dict[str, Tensor], targets_N: Tensor) -> Tensor:
    """What decides how much each teacher counts: its cross-entropy with the true token, or its divergence."""
    if loss.adaptive == "teacher_loss":
        return torch.stack([hard_N(part, targets_N) for part in teachers.values()])
    return values_KN.detach()


def adaptive_shares_KN(
    rule: Literal["teacher_loss", "inverse", "max", "min"], evidence_KN: Tensor, proportions_K: Tensor
) -> Tensor:
    """Shares (K, N) of the teachers, which sum to 1 over K and carry no gradient.

    teacher_loss: softmax of minus the teachers' cross-entropy, that is the posterior of a teacher given the true
    token (for two teachers the confidence of CA-MKD, Zhang et al. 2022); inverse: in proportion to
    1 / divergence; max, min: all to the teacher farthest from or nearest to the student. `proportions_K` are
    the prior: they multiply before normalising (max and min only leave out who has none).
    """
    if rule == "teacher_loss":
        return torch.softmax(proportions_K.log()[:, None] - evidence_KN, dim=0)
    if rule == "inverse":
        inverse_KN = proportions_K[:, None] / evidence_KN.clamp_min(1e-6)
        return inverse_KN / inverse_KN.sum(0)
    off_K1 = (proportions_K == 0)[:, None]
    if rule == "max":
        chosen_N = evidence_KN.masked_fill(off_K1, -torch.inf).argmax(0)
    else:
        chosen_N = evidence_KN.masked_fill(off_K1, torch.inf).argmin(0)
    return F.one_hot(chosen_N, len(evidence_KN)).T.to(evidence_KN.dtype)

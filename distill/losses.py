"""The losses as pure functions: one value per position, nothing reduced, nothing masked.

Shape suffixes: N positions, V vocabulary, D width, H heads, K teachers, T keys that a position may attend to. The
objective masks and sums, the loop divides once. Everything is computed in float32 or better.
Divergences take log-probabilities (already at their temperature) and are in nats.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from train_teachers.objective import wide

ONE = 2**52  # a probability of 1 where probabilities are counted in integers


def logprobs(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """log softmax(logits / temperature) over the last dimension."""
    return F.log_softmax(wide(logits) / temperature, dim=-1)


# --- divergences of the student q from the teacher p, both (N, V) log-probabilities -> (N,) ---------------------


def forward_kl_N(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    """KL(p || q) = sum_v p_v (log p_v - log q_v) (Hinton, Vinyals and Dean 2015)."""
    return (p_NV.exp() * (p_NV - q_NV)).sum(-1)


def reverse_kl_N(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    """KL(q || p), the divergence of MiniLLM (Gu et al. 2024), per token."""
    return forward_kl_N(q_NV, p_NV)


def jsd_N(p_NV: Tensor, q_NV: Tensor, *, beta: float = 0.5) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q; Jensen-Shannon at 0.5.

    Generalised as in Agarwal et al. 2024 (GKD). Its size goes to 0 with beta and with 1 - beta.
    """
    m_NV = mixture([p_NV, q_NV], [beta, 1 - beta])
    return beta * forward_kl_N(p_NV, m_NV) + (1 - beta) * forward_kl_N(q_NV, m_NV)


def skewed_kl_N(p_NV: Tensor, q_NV: Tensor, *, skew: float = 0.1) -> Tensor:
    """KL(p || skew p + (1 - skew) q) (Ko et al. 2024, DistiLLM)."""
    return forward_kl_N(p_NV, mixture([p_NV, q_NV], [skew, 1 - skew]))


def skewed_reverse_kl_N(p_NV: Tensor, q_NV: Tensor, *, skew: float = 0.1) -> Tensor:
    """KL(q || (1 - skew) p + skew q) (Ko et al. 2024, DistiLLM)."""
    return forward_kl_N(q_NV, mixture([p_NV, q_NV], [1 - skew, skew]))


def adaptive_kl_N(p_NV: Tensor, q_NV: Tensor, *, head: float = 0.5) -> Tensor:
    """(g_h KL(p || q) + g_t KL(q || p)) / (g_h + g_t) (Wu et al. 2024, arXiv 2404.02657).

    g_h, g_t: sum of |p - q| over the head and the tail of p; the head is the smallest set of tokens that holds a
    probability of at least `head`. The g are constants to the gradient.
    """
    with torch.no_grad():
        sorted_NV, order_NV = p_NV.exp().sort(dim=-1, descending=True)
        # in integers: on a GPU the sums of floating-point numbers depend on the order in which they are formed
        whole_NV = (sorted_NV.double() * ONE).long()
        before_NV = whole_NV.cumsum(-1) - whole_NV  # probability of the tokens before this one
        gap_NV = (p_NV.exp() - q_NV.exp()).abs().gather(-1, order_NV)
        head_N = torch.where(before_NV < int(head * ONE), gap_NV, 0.0).sum(-1)
        total_N = gap_NV.sum(-1)
        share_N = torch.where(total_N > 0, head_N / total_N, 0.5)
    return share_N * forward_kl_N(p_NV, q_NV) + (1 - share_N) * reverse_kl_N(p_NV, q_NV)


def total_variation_N(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    """Half of sum_v |p_v - q_v|: a probability, not nats (Wen et al. 2023, f-DISTILL)."""
    return 0.5 * (p_NV.exp() - q_NV.exp()).abs().sum(-1)


def mixture(parts: list[Tensor], weights: list[float] | Tensor) -> Tensor:
    """log sum_k w_k exp(parts_k): log-probabilities of a mixture; weights are positive and sum to 1."""
    logs = weights.to(parts[0].dtype).log() if isinstance(weights, Tensor) else map(math.log, weights)
    return torch.logsumexp(torch.stack([part + w for part, w in zip(parts, logs, strict=True)]), dim=0)


# --- other losses on outputs: (N, V) -> (N,) --------------------------------------------------------------------


def z_loss_N(logits_NV: Tensor) -> Tensor:
    """Square of the log of the softmax's normaliser (Chowdhery et al. 2022, PaLM)."""
    return wide(logits_NV).logsumexp(-1).square()


def output_cosine_N(
    student_NV: Tensor, teacher_NV: Tensor, *, of: Literal["probs", "logits"] = "probs"
) -> Tensor:
    """1 - cosine of the angle between the two outputs, from logits; of logits or of probabilities."""
    if of == "probs":
        student_NV, teacher_NV = logprobs(student_NV).exp(), logprobs(teacher_NV).exp()
    return cosine_N(student_NV, teacher_NV)


def output_wasserstein_N(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    """sum_v |p_(v) - q_(v)| over *sorted* probabilities (Boizard et al. 2024, universal logit distillation).

    The Wasserstein-1 distance of the two sets of V probabilities, times V: the tokens' names do not matter.
    """
    p_NV, q_NV = (logs.exp().sort(dim=-1, descending=True).values for logs in (p_NV, q_NV))
    return (p_NV - q_NV).abs().sum(-1)


# --- comparisons of hidden states: projected student (N, D), teacher (N, D) -> (N,) -----------------------------


def mse_N(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Mean over the width of the squared difference (Romero et al. 2015, FitNets)."""
    return (wide(student_ND) - wide(teacher_ND)).square().mean(-1)


def squared_norm_N(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Sum over the width of the squared difference: D times `mse_N`."""
    return (wide(student_ND) - wide(teacher_ND)).square().sum(-1)


def cosine_N(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """1 - cosine of the angle between the two (Sanh et al. 2019, DistilBERT)."""
    return 1 - F.cosine_similarity(wide(student_ND), wide(teacher_ND), dim=-1)


def normalised_mse_N(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Squared difference of the two at length 1, summed over the width: 2 - 2 cos (Sun et al. 2019, PKD)."""
    return squared_norm_N(F.normalize(wide(student_ND), dim=-1), F.normalize(wide(teacher_ND), dim=-1))


def info_nce_N(
    student_ND: Tensor, teacher_ND: Tensor, is_target_N: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """-log of the softmax share of a token's own teacher state among those of all target tokens of the batch.

    Cosine similarity over `temperature`; student states are the queries (van den Oord et al. 2018; Tian et al. 2020).
    Small, but not zero, where the student equals the teacher.
    """
    with torch.autocast(student_ND.device.type, enabled=False):  # three digits of bf16, over 0.1, are too few
        similarity_NN = F.normalize(wide(student_ND), dim=-1) @ F.normalize(wide(teacher_ND), dim=-1).T
    # not minus infinity: where nothing counts, the gradient of that is no number
    least = torch.finfo(similarity_NN.dtype).min
    similarity_NN = (similarity_NN / temperature).masked_fill(~is_target_N, least)
    own_N = torch.where(is_target_N, similarity_NN.diagonal(), 0.0)
    return torch.logsumexp(similarity_NN, dim=-1) - own_N


# --- comparisons of attention maps, averaged over heads: rows (N, T) that sum to 1 -> (N,) ----------------------


def attention_mse_N(student_NT: Tensor, teacher_NT: Tensor) -> Tensor:
    """Sum over keys of the squared difference (a mean would change with padding)."""
    return squared_norm_N(student_NT, teacher_NT)


def attention_kl_N(student_NT: Tensor, teacher_NT: Tensor) -> Tensor:
    """KL(teacher || student) of the two distributions over keys, nats (Wang et al. 2020, MiniLM)."""
    tiny = torch.finfo(torch.float32).tiny
    p_NT, q_NT = wide(teacher_NT), wide(student_NT)
    return (p_NT * (p_NT.clamp_min(tiny).log() - q_NT.clamp_min(tiny).log())).sum(-1)


# --- by the names that a config has for them --------------------------------------------------------------------

HIDDEN = {
    "mse": mse_N,
    "cosine": cosine_N,
    "normalised_mse": normalised_mse_N,
    "sum_compat": squared_norm_N,
}
ATTENTION = {"mse": attention_mse_N, "kl": attention_kl_N}

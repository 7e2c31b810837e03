"""The losses as pure functions: one value per position, nothing reduced, nothing masked.

Shape suffixes: N positions, V vocabulary, D width. The objective masks and sums, the loop divides once.
"""

import torch.nn.functional as F
from torch import Tensor


def soft_N(student_logits_NV: Tensor, teacher_logits_NV: Tensor, *, temperature: float) -> Tensor:
    """KL(teacher || student) at `temperature` in nats per position, times temperature squared.

    T^2 * sum_v p_v (log p_v - log q_v), p = softmax(teacher / T), q = softmax(student / T). The square keeps the
    size of the gradient independent of the temperature (Hinton, Vinyals and Dean 2015, section 2).
    """
    student_logprobs_NV = F.log_softmax(student_logits_NV.float() / temperature, dim=-1)
    teacher_logprobs_NV = F.log_softmax(teacher_logits_NV.float() / temperature, dim=-1)
    terms_NV = teacher_logprobs_NV.exp() * (teacher_logprobs_NV - student_logprobs_NV)
    return temperature**2 * terms_NV.sum(-1)


def hidden_mse_N(projected_student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Mean over the width of the squared difference, per position (Romero et al. 2015, FitNets)."""
    return (projected_student_ND.float() - teacher_ND.float()).square().mean(-1)

"""Wasserstein distances between the states of student and teacher as two sets of tokens.

Three estimates: a trained critic (Kantorovich-Rubinstein duality, W_1), random directions (closed form on a line),
and Sinkhorn's entropic transport. All look at one micro-batch, so unlike every other loss their values depend on
`micro_batch_size`. Shape suffixes: N tokens, M of them, D width, R directions.
"""

import os

import torch
from torch import Tensor, nn

from train_teachers.objective import wide

TURNS = 200  # of Sinkhorn's solver at most


class Critic(nn.Sequential):
    """The function whose mean differs most between teacher and student states: an MLP (N, D) -> (N,)."""

    def __init__(self, width: int, hidden: tuple[int, ...]) -> None:
        sizes = [width, *hidden]
        layers = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]  # noqa: B905
        super().__init__(*layers, nn.Linear(sizes[-1], 1, bias=False), nn.Flatten(0))

    def forward(self, states_ND: Tensor) -> Tensor:
        """In float32 under any autocast: its slope is held near 1, and differences of its values count."""
        with torch.autocast(states_ND.device.type, enabled=False):
            return super().forward(wide(states_ND))


def critic_distance_N(critic: Critic, student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """critic(teacher) - critic(student); its mean is W_1 for the best critic of slope 1.

    Its gradient to the student is that of -E[critic(student)]: the teacher's part is a constant.
    """
    return critic(teacher_ND) - critic(student_ND)


def critic_loss(critic: Critic, student_ND: Tensor, teacher_ND: Tensor, *, gradient_penalty: float) -> Tensor:
    """What the critic minimises: -W_1 + penalty * E[(|gradient at a point between the two| - 1)^2].

    Gulrajani et al. 2017 (WGAN-GP), with one point per token, evenly drawn between its student and teacher state.
    """
    student_ND, teacher_ND = wide(student_ND.detach()), wide(teacher_ND.detach())
    between_N1 = torch.rand(len(student_ND), 1, device=student_ND.device, dtype=student_ND.dtype)
    points_ND = torch.lerp(student_ND, teacher_ND, between_N1).requires_grad_()
    (slope_ND,) = torch.autograd.grad(critic(points_ND).sum(), points_ND, create_graph=True)
    penalty_N = (slope_ND.norm(dim=-1) - 1).square()
    loss_N = gradient_penalty * penalty_N - critic_distance_N(critic, student_ND, teacher_ND)
    return loss_N.sum() / max(1, len(loss_N))  # of a micro-batch in which nothing counts: 0


def sliced_wasserstein(
    student_ND: Tensor, teacher_ND: Tensor, is_target_N: Tensor, *, directions: int
) -> Tensor:
    """Mean over random directions of W_1 between the two sets of N projected tokens (Bonneel et al. 2015).

    On a line the best transport pairs the sorted values. `ot.sliced_wasserstein_distance` gives the same, but with
    a number of tokens that depends on the mask, which would be compiled anew for each.
    """
    student_ND, teacher_ND = wide(student_ND), wide(teacher_ND)
    drawn_DR = torch.randn(student_ND.shape[1], directions, device=student_ND.device, dtype=student_ND.dtype)
    drawn_DR = drawn_DR / drawn_DR.norm(dim=0)
    with torch.autocast(student_ND.device.type, enabled=False):
        student_NR, teacher_NR = student_ND @ drawn_DR, teacher_ND @ drawn_DR
    # masked tokens go to one place behind all others on both sides, where they pair with each other at no cost
    behind = torch.maximum(student_NR.detach().amax(), teacher_NR.amax()) + 1
    student_NR, teacher_NR = (
        torch.where(is_target_N[:, None], values, behind).sort(dim=0).values
        for values in (student_NR, teacher_NR)
    )
    return (student_NR - teacher_NR).abs().mean(1).sum() / is_target_N.sum().clamp_min(1)


@torch.compiler.disable  # how many tokens count, and how often the solver turns, is known when it runs
def sinkhorn_divergence(
    student_ND: Tensor, teacher_ND: Tensor, is_target_N: Tensor, *, points: int, regularisation: float
) -> Tensor:
    """OT(s, t) - (OT(s, s) + OT(t, t)) / 2 of entropic transport (Feydy et al. 2019): 0 for equal sets.

    OT = min over plans P of sum P * squared distance + e KL(P || product), e = `regularisation` times the mean
    squared distance within the teacher's set. Plans come from POT and are constants to the gradient, which at the
    minimum they may be. On at most `points` tokens, evenly spaced among the target tokens.
    """
    chosen = is_target_N.nonzero().squeeze(1)
    every = torch.linspace(0, len(chosen) - 1, min(points, len(chosen)), device=chosen.device)
    student, teacher = (wide(states[chosen[every.round().long()]]) for states in (student_ND, teacher_ND))
    if len(chosen) < 2:  # one plan is possible, or none
        return _squared_distances(student, teacher).sum()
    spread = _squared_distances(teacher, teacher).mean()
    entropy = regularisation * spread.clamp_min(
        torch.finfo(spread.dtype).tiny
    )  # of equal tokens there is none
    both = _entropic_cost(student, student, entropy) + _entropic_cost(teacher, teacher, entropy)
    return _entropic_cost(student, teacher, entropy) - both / 2


def _squared_distances(a_MD: Tensor, b_MD: Tensor) -> Tensor:
    with torch.autocast(a_MD.device.type, enabled=False):
        square = a_MD.square().sum(1)[:, None] + b_MD.square().sum(1)[None] - 2 * a_MD @ b_MD.T
    return square.clamp_min(0)


def _entropic_cost(a_MD: Tensor, b_MD: Tensor, entropy: Tensor) -> Tensor:
    # POT asks every array library that it finds, and JAX, where it is installed, takes most of a GPU as it wakes
    os.environ.setdefault("POT_BACKEND_DISABLE_JAX", "1")
    import ot

    costs_MM = _squared_distances(a_MD, b_MD)
    with torch.no_grad():
        uniform = torch.full((len(a_MD),), 1 / len(a_MD), dtype=a_MD.dtype, device=a_MD.device)
        plan_MM = ot.sinkhorn(
            uniform, uniform, costs_MM, entropy, method="sinkhorn_log", numItermax=TURNS, warn=False
        )
        divergence = torch.xlogy(plan_MM, plan_MM * len(a_MD) ** 2).sum()
    return (plan_MM * costs_MM).sum() + entropy * divergence

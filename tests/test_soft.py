"""Soft targets of one teacher and of several."""

import pytest
import torch
from test_losses import CLOSE, N, V, draw

from distill import losses as L
from distill.config import Soft
from distill.soft import divergences_KN, evidence_KN, soft_N
from train_teachers.targets import IGNORE

TEACHERS = {"a": draw(N, V, seed=1), "b": draw(N, V, seed=2, scale=4.0)}
TARGETS = torch.tensor([3, 1, IGNORE, 0, 10, 5])


def values(student, *, weight=(0.25, 0.5), teachers=TEACHERS, seq_len=16, **options):
    loss = Soft(weight=dict.fromkeys(teachers, 1.0), **options)
    shares = torch.tensor(weight, dtype=torch.float64) / sum(weight)
    temperature = torch.tensor(loss.temperature, dtype=torch.float64)
    evidence = None
    if loss.looks_at_micro_batch:
        apart = divergences_KN(loss, student, teachers, temperature, seq_len)
        evidence = evidence_KN(loss, apart, teachers, TARGETS)[:, TARGETS != IGNORE].mean(1)
    return soft_N(loss, student, teachers, TARGETS, temperature, shares, seq_len, evidence)


@pytest.fixture
def student():
    return draw(N, V, seed=3).requires_grad_()


def gradient(total, student):
    return torch.autograd.grad(total, student)[0]


def test_with_fixed_weights_separate_terms_and_the_mean_of_probabilities_send_the_same_gradient(student):
    """sum_k w_k KL(p_k || q) = (sum_k w_k) KL(p || q) + a constant."""
    apart, together = values(student), values(student, combine="mean_probs")
    left, right = 0.25 * apart["soft.a"] + 0.5 * apart["soft.b"], 0.75 * together["soft"]
    torch.testing.assert_close(gradient(left.sum(), student), gradient(right.sum(), student), **CLOSE)
    other = draw(N, V, seed=4).requires_grad_()
    moved = values(other), values(other, combine="mean_probs")
    constant = 0.25 * moved[0]["soft.a"] + 0.5 * moved[0]["soft.b"] - 0.75 * moved[1]["soft"]
    torch.testing.assert_close(left - right, constant, **CLOSE)


def test_the_mean_of_log_probabilities_is_the_mean_of_logits(student):
    """Normalisers are constants to the softmax."""
    geometric = values(student, combine="mean_logits")["soft"]
    logs = [(L.logprobs(x, 2.0) * w) for x, w in zip(TEACHERS.values(), (1 / 3, 2 / 3), strict=True)]
    target = L.logprobs(sum(logs))
    torch.testing.assert_close(geometric, 4 * L.forward_kl_N(target, L.logprobs(student, 2.0)), **CLOSE)


@pytest.mark.parametrize(
    "options",
    [
        *({"combine": rule} for rule in ("mean_probs", "mean_logits")),
        *({"adaptive": rule} for rule in ("teacher_loss", "inverse", "max", "min")),
    ],
    ids=str,
)
def test_teachers_that_agree_are_one_teacher(student, options):
    twins = {"a": TEACHERS["a"], "b": TEACHERS["a"].clone()}
    alone = values(student, teachers={"a": TEACHERS["a"]}, weight=(1.0,))["soft.a"]
    torch.testing.assert_close(values(student, teachers=twins, **options)["soft"], alone, **CLOSE)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_divergence_is_multiplied_by_temperature_squared_and_total_variation_is_not(student, temperature):
    q = L.logprobs(student, temperature)
    p = L.logprobs(TEACHERS["a"], temperature)
    kl = values(student, temperature=temperature)["soft.a"]
    torch.testing.assert_close(kl, temperature**2 * L.forward_kl_N(p, q), **CLOSE)
    tv = values(student, temperature=temperature, divergence="total_variation")["soft.a"]
    torch.testing.assert_close(tv, L.total_variation_N(p, q), **CLOSE)


def test_temperature_squared_keeps_the_size_of_the_gradient():
    """For logits that differ little, the gradient tends to (student - teacher) / V at any temperature."""
    student, teacher = (0.01 * draw(N, V, seed=3)).requires_grad_(), {"a": 0.01 * TEACHERS["a"]}
    norms = [
        gradient(
            values(student, teachers=teacher, weight=(1.0,), temperature=t)["soft.a"].sum(), student
        ).norm()
        for t in (1.0, 4.0)
    ]
    assert norms[0].item() == pytest.approx(norms[1].item(), rel=0.02)


def test_batchmean_compat_is_a_sum_over_the_positions_of_a_sequence(student):
    """KLDivLoss(reduction="batchmean") on (B, T, V) divides by B alone."""
    plain, compat = (
        values(student, reduction=r, seq_len=3)["soft.a"] for r in ("token_mean", "batchmean_compat")
    )
    B, T = 2, 3
    p, q = (L.logprobs(x, 2.0).view(B, T, V) for x in (TEACHERS["a"], student))
    theirs = 4 * torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)
    torch.testing.assert_close(compat.mean(), theirs, **CLOSE)
    torch.testing.assert_close(compat, T * plain, **CLOSE)


def shares(student, **options):
    """How much each teacher counts at each position, read off the value of the term."""
    apart = values(student)
    total = values(student, **options)["soft"]
    return (total - apart["soft.b"]) / (apart["soft.a"] - apart["soft.b"])


def test_teacher_loss_weighs_by_the_probability_of_the_true_token(student):
    equal = {"weight": (0.5, 0.5)}
    real = TARGETS != IGNORE
    p = [L.logprobs(x).exp()[torch.arange(N), TARGETS.clamp(min=0)] for x in TEACHERS.values()]
    found = shares(student, adaptive="teacher_loss", **equal)
    torch.testing.assert_close(found[real], (p[0] / (p[0] + p[1]))[real], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("rule", ["inverse", "max", "min"])
def test_the_other_rules_weigh_by_the_distance_from_the_student(student, rule):
    a, b = values(student).values()
    expected = {
        "inverse": (1 / a) / (1 / a + 1 / b),
        "max": (a > b).double(),
        "min": (a < b).double(),
    }[rule]
    found = shares(student, adaptive=rule, weight=(0.5, 0.5))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("rule", ["teacher_loss", "inverse", "max", "min"])
def test_a_teacher_without_a_share_is_never_chosen(student, rule):
    found = shares(student, adaptive=rule, weight=(0.0, 0.5))
    torch.testing.assert_close(found, torch.zeros(N, dtype=torch.float64), atol=1e-6, rtol=1e-6)


def test_per_batch_all_tokens_have_the_shares_of_the_mean(student):
    found = shares(student, adaptive="inverse", adaptive_per="batch", weight=(0.5, 0.5))
    real = TARGETS != IGNORE
    a, b = (value[real].mean() for value in values(student).values())
    torch.testing.assert_close(found, ((1 / a) / (1 / a + 1 / b)).expand(N), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("rule", ["teacher_loss", "inverse", "max", "min"])
def test_adaptive_shares_carry_no_gradient(student, rule):
    apart = values(student)
    share = shares(student, adaptive=rule).detach()
    fixed = share * apart["soft.a"] + (1 - share) * apart["soft.b"]
    ours = values(student, adaptive=rule)["soft"]
    torch.testing.assert_close(
        gradient(ours.sum(), student), gradient(fixed.sum(), student), atol=1e-6, rtol=1e-6
    )

"""Each loss against a plain reference in float64, its gradient, its zero, and its blindness to other positions."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from distill import losses as L
from train_teachers.objective import hard_N
from train_teachers.targets import IGNORE

N, V = 6, 11
CLOSE = {"atol": 1e-9, "rtol": 1e-9}


def draw(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def p():
    return L.logprobs(draw(N, V, seed=1))


@pytest.fixture
def q():
    return L.logprobs(draw(N, V, seed=2))


def by_hand(formula):
    """A reference as a loop over positions and tokens in plain Python floats."""

    def reference(p_NV, q_NV):
        rows = zip(p_NV.exp().tolist(), q_NV.exp().tolist(), strict=True)
        return torch.tensor([formula(p, q) for p, q in rows], dtype=torch.float64)

    return reference


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mix(p, q, share):
    return [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]


def adaptive(p, q, head=0.5):
    order = sorted(range(len(p)), key=lambda v: -p[v])
    held, gaps = 0.0, [0.0, 0.0]
    for v in order:
        gaps[held >= head] += abs(p[v] - q[v])
        held += p[v]
    return (gaps[0] * kl(p, q) + gaps[1] * kl(q, p)) / sum(gaps)


DIVERGENCES = {
    "forward_kl": (L.forward_kl_N, by_hand(kl)),
    "reverse_kl": (L.reverse_kl_N, by_hand(lambda p, q: kl(q, p))),
    "js": (L.jsd_N, by_hand(lambda p, q: 0.5 * kl(p, mix(p, q, 0.5)) + 0.5 * kl(q, mix(p, q, 0.5)))),
    "jsd": (
        partial(L.jsd_N, beta=0.2),
        by_hand(lambda p, q: 0.2 * kl(p, mix(p, q, 0.2)) + 0.8 * kl(q, mix(p, q, 0.2))),
    ),
    "skewed_kl": (partial(L.skewed_kl_N, skew=0.1), by_hand(lambda p, q: kl(p, mix(p, q, 0.1)))),
    "skewed_reverse_kl": (
        partial(L.skewed_reverse_kl_N, skew=0.1),
        by_hand(lambda p, q: kl(q, mix(p, q, 0.9))),
    ),
    "adaptive_kl": (L.adaptive_kl_N, by_hand(adaptive)),
    "total_variation": (
        L.total_variation_N,
        by_hand(lambda p, q: 0.5 * sum(abs(a - b) for a, b in zip(p, q, strict=True))),
    ),
    "output_wasserstein": (
        L.output_wasserstein_N,
        by_hand(lambda p, q: sum(abs(a - b) for a, b in zip(sorted(p), sorted(q), strict=True))),
    ),
}
OUTPUTS = {
    "cosine of probs": (
        L.output_cosine_N,
        lambda s, t: 1 - F.cosine_similarity(s.softmax(-1), t.softmax(-1)),
    ),
    "cosine of logits": (partial(L.output_cosine_N, of="logits"), lambda s, t: 1 - F.cosine_similarity(s, t)),
    "z_loss": (lambda s, t: L.z_loss_N(s), lambda s, t: s.exp().sum(-1).log() ** 2),
}
STATES = {
    "mse": (L.mse_N, lambda s, t: F.mse_loss(s, t, reduction="none").mean(-1)),
    "sum_compat": (L.squared_norm_N, lambda s, t: F.mse_loss(s, t, reduction="none").sum(-1)),
    "cosine": (L.cosine_N, lambda s, t: F.cosine_embedding_loss(s, t, torch.ones(N), reduction="none")),
    "normalised_mse": (L.normalised_mse_N, lambda s, t: 2 - 2 * F.cosine_similarity(s, t)),
    "attention_mse": (L.attention_mse_N, lambda s, t: ((s - t) ** 2).sum(-1)),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_equals_a_loop_over_tokens(name, p, q):
    ours, reference = DIVERGENCES[name]
    torch.testing.assert_close(ours(p, q), reference(p, q), **CLOSE)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_is_zero_when_the_student_equals_the_teacher(name, p):
    assert DIVERGENCES[name][0](p, p.clone()).abs().max() < 1e-12


@pytest.mark.parametrize("name", sorted(set(DIVERGENCES) - {"adaptive_kl"}))
def test_the_gradient_of_a_divergence_is_that_of_finite_differences(name, p):
    logits = draw(N, V, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: DIVERGENCES[name][0](p, L.logprobs(z)), logits)


def test_the_head_of_adaptive_kl_is_summed_up_in_integers_which_add_alike_in_any_order(p, monkeypatch):
    kinds, cumsum = [], torch.Tensor.cumsum
    monkeypatch.setattr(torch.Tensor, "cumsum", lambda x, dim: kinds.append(x.dtype) or cumsum(x, dim))
    L.adaptive_kl_N(p, p.flip(-1))
    assert kinds == [torch.int64]


def test_the_gradient_of_adaptive_kl_takes_its_shares_as_constants(p):
    """Not that of finite differences, which would move the shares too."""
    logits = draw(N, V, seed=3).requires_grad_()
    (ours,) = torch.autograd.grad(L.adaptive_kl_N(p, L.logprobs(logits)).sum(), logits)
    q = L.logprobs(logits)
    values = [loss(p, q) for loss in (L.adaptive_kl_N, L.forward_kl_N, L.reverse_kl_N)]
    share = ((values[0] - values[2]) / (values[1] - values[2])).detach()
    (reference,) = torch.autograd.grad((share * values[1] + (1 - share) * values[2]).sum(), logits)
    torch.testing.assert_close(ours, reference, atol=1e-7, rtol=1e-7)


def test_forward_kl_is_kl_div_of_torch(p, q):
    torch.testing.assert_close(
        L.forward_kl_N(p, q), F.kl_div(q, p, reduction="none", log_target=True).sum(-1), **CLOSE
    )


def test_divergences_are_in_nats():
    """A teacher sure of one of two tokens, a student that does not know: log 2 nats."""
    sure, unsure = L.logprobs(torch.tensor([[50.0, 0.0]])), L.logprobs(torch.zeros(1, 2))
    assert L.forward_kl_N(sure, unsure).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_loss_on_logits_equals_torch_and_has_the_right_gradient(name):
    ours, reference = OUTPUTS[name]
    s, t = draw(N, V, seed=1).requires_grad_(), draw(N, V, seed=2)
    torch.testing.assert_close(ours(s, t), reference(s, t), **CLOSE)
    assert torch.autograd.gradcheck(lambda x: ours(x, t), s)
    assert name == "z_loss" or ours(s, s.detach()).abs().max() < 1e-12


@pytest.mark.parametrize("name", STATES)
def test_a_distance_of_states_equals_torch(name):
    ours, reference = STATES[name]
    s, t = draw(N, 5, seed=1), draw(N, 5, seed=2)
    torch.testing.assert_close(ours(s, t), reference(s, t), **CLOSE)


@pytest.mark.parametrize("name", STATES)
def test_a_distance_of_states_is_zero_for_equal_states_and_has_the_right_gradient(name):
    ours, _ = STATES[name]
    s, t = draw(N, 5, seed=1).requires_grad_(), draw(N, 5, seed=2)
    assert ours(s, s.detach()).abs().max() < 1e-12
    assert torch.autograd.gradcheck(lambda x: ours(x, t), s)


def test_attention_kl_is_the_divergence_of_the_rows_and_ignores_keys_that_cannot_be_seen():
    s, t = draw(N, 5, seed=1).softmax(-1).requires_grad_(), draw(N, 5, seed=2).softmax(-1)
    reference = F.kl_div(s.log(), t, reduction="none").sum(-1)
    torch.testing.assert_close(L.attention_kl_N(s, t), reference, **CLOSE)
    masked = [F.pad(x, (0, 3)) for x in (s, t)]
    torch.testing.assert_close(L.attention_kl_N(*masked), reference, **CLOSE)
    assert L.attention_kl_N(s, s.detach()).abs().max() < 1e-12
    assert torch.autograd.gradcheck(lambda x: L.attention_kl_N(x, t), s)


def test_info_nce_is_cross_entropy_over_the_batch_of_teacher_states():
    s, t, real = draw(N, 5, seed=1).requires_grad_(), draw(N, 5, seed=2), torch.ones(N, dtype=torch.bool)
    similarity = F.cosine_similarity(s[:, None], t[None], dim=-1) / 0.2
    reference = F.cross_entropy(similarity, torch.arange(N), reduction="none")
    torch.testing.assert_close(L.info_nce_N(s, t, real, temperature=0.2), reference, **CLOSE)
    assert torch.autograd.gradcheck(lambda x: L.info_nce_N(x, t, real), s)
    assert L.info_nce_N(t, t, real).mean() < L.info_nce_N(s, t, real).mean()


def test_info_nce_does_not_change_with_padding():
    s, t, real = draw(N, 5, seed=1), draw(N, 5, seed=2), torch.ones(N, dtype=torch.bool)
    longer = [torch.cat([x, draw(3, 5, seed=9)]) for x in (s, t)]
    padded = L.info_nce_N(*longer, torch.cat([real, torch.zeros(3, dtype=torch.bool)]))
    torch.testing.assert_close(padded[:N], L.info_nce_N(s, t, real), **CLOSE)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_loss_gives_one_value_per_position_that_depends_on_that_position_alone(name, p, q):
    ours, _ = DIVERGENCES[name]
    assert ours(p, q).shape == (N,)
    torch.testing.assert_close(ours(p, q)[2:4], ours(p[2:4], q[2:4]))


def test_a_mixture_is_the_log_of_the_weighted_sum(p, q):
    torch.testing.assert_close(L.mixture([p, q], [0.3, 0.7]).exp(), 0.3 * p.exp() + 0.7 * q.exp(), **CLOSE)


def test_the_hard_loss_is_cross_entropy_and_zero_where_masked():
    logits, targets = draw(N, V), torch.tensor([3, 1, IGNORE, 0, 10, IGNORE])
    values = hard_N(logits, targets)
    assert values[2] == values[5] == 0
    reference = -F.log_softmax(logits, -1)[torch.arange(N), targets.clamp(min=0)]
    torch.testing.assert_close(values[[0, 1, 3, 4]], reference[[0, 1, 3, 4]])


def test_label_smoothing_spreads_a_share_of_the_target_evenly():
    logits, targets = draw(N, V), torch.tensor([3, 1, 2, 0, 10, 5])
    logs = F.log_softmax(logits, -1)
    reference = -(0.9 * logs[torch.arange(N), targets] + 0.1 * logs.mean(-1))
    torch.testing.assert_close(hard_N(logits, targets, label_smoothing=0.1), reference, **CLOSE)
    smoothed = partial(hard_N, targets_N=targets, label_smoothing=0.1)
    assert torch.autograd.gradcheck(smoothed, logits.requires_grad_())


def test_losses_are_computed_in_float32_whatever_comes_in():
    half = draw(N, V).bfloat16()
    assert (
        L.logprobs(half).dtype == L.mse_N(half, half).dtype == L.cosine_N(half, half).dtype == torch.float32
    )
    assert hard_N(half, torch.zeros(N, dtype=torch.long)).dtype == torch.float32

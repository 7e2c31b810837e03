"""Deep supervision: what a head minimises, and how much each head counts."""

import pytest
import torch
import torch.nn.functional as F
from test_losses import CLOSE, N, V, draw

from distill.config import Heads
from distill.heads import head_loss_N, head_shares
from distill.losses import logprobs
from train_teachers.targets import IGNORE

TARGETS = torch.tensor([3, 1, IGNORE, 0, 10, 5])
TEACHERS = {"a": draw(N, V, seed=1), "b": draw(N, V, seed=2)}


def loss(**options):
    return Heads(
        weight=1.0, layers=[1], **{"hard": 0.3, "soft": {"a": 0.5, "b": 0.25}, "temperature": 2.0} | options
    )


def value(logits, **options):
    targets = {name: logprobs(part, 2.0) for name, part in TEACHERS.items()}
    return head_loss_N(logits, TARGETS, targets, loss(**options))


def test_a_head_minimises_its_hard_loss_and_its_divergence_from_each_teacher():
    logits = draw(N, V, seed=3)
    expected = 0.3 * F.cross_entropy(logits, TARGETS, reduction="none", ignore_index=IGNORE)
    for name, weight in (("a", 0.5), ("b", 0.25)):
        p, q = F.log_softmax(TEACHERS[name] / 2, -1), F.log_softmax(logits / 2, -1)
        expected = expected + weight * 4 * F.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(value(logits), expected, **CLOSE)
    assert torch.autograd.gradcheck(value, logits.requires_grad_())


def test_a_head_that_equals_its_only_teacher_is_at_its_goal():
    assert value(TEACHERS["a"], hard=0.0, soft={"a": 1.0}).abs().max() < 1e-12


def test_heads_count_in_proportion_to_their_losses_and_the_shares_carry_no_gradient():
    sums = torch.tensor([1.0, 3.0], requires_grad=True)
    shares = head_shares(sums, adaptive=True)
    assert shares.tolist() == [0.25, 0.75] and not shares.requires_grad
    assert head_shares(sums, adaptive=False).tolist() == [0.5, 0.5]


def test_heads_that_learn_from_nothing_are_refused():
    with pytest.raises(ValueError, match="heads learn from hard or soft"):
        loss(hard=0.0, soft={})

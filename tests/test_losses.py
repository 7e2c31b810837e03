import math

import pytest
import torch
import torch.nn.functional as F

from distill.losses import hidden_mse_N, soft_N
from train_teachers.objective import IGNORE, hard_N


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return lambda n=6, v=11: 3 * torch.randn(n, v, generator=generator, requires_grad=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_soft_loss_is_kl_div_of_torch_times_temperature_squared(logits, temperature):
    student, teacher = logits(), logits().detach()
    reference = F.kl_div(
        F.log_softmax(student / temperature, -1), F.softmax(teacher / temperature, -1), reduction="none"
    )
    ours = soft_N(student, teacher, temperature=temperature)
    torch.testing.assert_close(ours, temperature**2 * reference.sum(-1), atol=1e-5, rtol=1e-5)


def test_the_soft_loss_is_in_nats():
    """A teacher sure of one of two tokens, a student that does not know: log 2 nats."""
    ours = soft_N(torch.zeros(1, 2), torch.tensor([[50.0, 0.0]]), temperature=1.0)
    assert ours.item() == pytest.approx(math.log(2))


def test_losses_are_zero_when_the_student_equals_the_teacher(logits):
    same = logits()
    assert soft_N(same, same.detach(), temperature=2.0).abs().max() < 1e-6
    assert hidden_mse_N(same, same.detach()).max() == 0


def test_temperature_squared_keeps_the_size_of_the_gradient(logits):
    """For logits that differ little, the gradient tends to (student - teacher) / V at any temperature."""
    student = (0.01 * logits().detach()).requires_grad_()
    teacher = 0.01 * logits().detach()
    norms = []
    for temperature in (1.0, 4.0):
        (gradient,) = torch.autograd.grad(soft_N(student, teacher, temperature=temperature).sum(), student)
        norms.append(gradient.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


def test_a_loss_gives_one_value_per_position_that_depends_on_that_position_alone(logits):
    student, teacher = logits(), logits().detach()
    whole = soft_N(student, teacher, temperature=2.0)
    assert whole.shape == (6,)
    torch.testing.assert_close(whole[2:4], soft_N(student[2:4], teacher[2:4], temperature=2.0))


def test_the_hidden_loss_is_a_mean_over_the_width(logits):
    student, teacher = logits(), logits().detach()
    reference = ((student - teacher) ** 2).sum(-1) / 11
    torch.testing.assert_close(hidden_mse_N(student, teacher), reference)


def test_the_hard_loss_is_cross_entropy_and_zero_where_masked(logits):
    student, targets = logits(), torch.tensor([3, 1, IGNORE, 0, 10, IGNORE])
    values = hard_N(student, targets)
    assert values[2] == values[5] == 0
    reference = -F.log_softmax(student, -1)[torch.arange(6), targets.clamp(min=0)]
    torch.testing.assert_close(values[[0, 1, 3, 4]], reference[[0, 1, 3, 4]])


def test_losses_are_computed_in_float32_whatever_comes_in(logits):
    student, teacher = logits().bfloat16(), logits().detach().bfloat16()
    assert soft_N(student, teacher, temperature=2.0).dtype == torch.float32
    assert hidden_mse_N(student, teacher).dtype == torch.float32

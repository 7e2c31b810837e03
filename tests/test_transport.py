"""Wasserstein distances against cases whose answer is known."""

import math

import ot
import pytest
import torch
from test_losses import draw

from distill.learners import descend
from distill.transport import (
    Critic,
    critic_distance_N,
    critic_loss,
    sinkhorn_divergence,
    sliced_wasserstein,
)

ALL = torch.ones(400, dtype=torch.bool)


def gaussian(shift, width, count=400, seed=1):
    """Tokens around a point: two such sets with different shifts have W_1 = |difference of the shifts|."""
    return draw(count, width, seed=seed, scale=1.0) + torch.as_tensor(shift, dtype=torch.float64)


def estimate(critic, student, teacher, *, steps, lr):
    optimizer = torch.optim.Adam(critic.parameters(), lr=lr)
    for _ in range(steps):
        loss = critic_loss(critic, student, teacher, gradient_penalty=10.0)
        descend({"critic": loss}, optimizer)
    return critic_distance_N(critic, student, teacher).mean().item()


def test_a_trained_critic_estimates_the_distance_of_two_points_sets_on_a_line():
    """Exactly known: W_1 of samples on a line is the mean difference of the sorted values; within 15 %."""
    torch.manual_seed(0)
    student, teacher = gaussian(0.0, 1).float(), gaussian(2.0, 1, seed=2).float()
    exact = (student.sort(dim=0).values - teacher.sort(dim=0).values).abs().mean().item()
    found = estimate(Critic(1, (64, 64)), student, teacher, steps=300, lr=3e-3)
    assert found == pytest.approx(exact, rel=0.15)


def test_a_trained_critic_estimates_the_distance_of_two_gaussians():
    """W_1 of a Gaussian and itself moved by d is |d|; within 20 %."""
    torch.manual_seed(0)
    student, teacher = gaussian(0.0, 4).float(), gaussian([3.0, 0, 0, 0], 4, seed=1).float()
    assert estimate(Critic(4, (64, 64)), student, teacher, steps=300, lr=3e-3) == pytest.approx(3.0, rel=0.2)


def test_the_students_gradient_is_that_of_minus_the_critics_mean():
    torch.manual_seed(0)
    critic, student, teacher = Critic(3, (8,)).double(), gaussian(0.0, 3).requires_grad_(), gaussian(1.0, 3)
    (ours,) = torch.autograd.grad(critic_distance_N(critic, student, teacher).sum(), student)
    (reference,) = torch.autograd.grad(-critic(student).sum(), student)
    torch.testing.assert_close(ours, reference)


def test_the_gradient_penalty_is_zero_for_a_critic_of_slope_one_and_counts_each_token():
    torch.manual_seed(0)
    critic = Critic(1, (2,)).double()
    with torch.no_grad():  # relu(x) - relu(-x) = x
        critic[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        critic[0].bias.zero_()
        critic[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    student, teacher = gaussian(0.0, 1), gaussian(1.0, 1, seed=2)
    means = teacher.mean() - student.mean()
    torch.testing.assert_close(critic_loss(critic, student, teacher, gradient_penalty=10.0), -means)
    with torch.no_grad():
        critic[2].weight.mul_(3)
    torch.testing.assert_close(
        critic_loss(critic, student, teacher, gradient_penalty=10.0),
        -3 * means + 10 * torch.tensor(4.0).double(),
    )


def test_the_gradient_of_a_critics_loss_goes_through_its_penalty():
    torch.manual_seed(0)
    sizes = [Critic(3, (8,)).double(), gaussian(0.0, 3, count=9), gaussian(1.0, 3, count=9, seed=2)]
    critic, student, teacher = sizes
    critic[1] = torch.nn.Softplus()  # finite differences of a kink say nothing
    names, values = zip(*critic.named_parameters(), strict=True)

    def of_parameters(*parameters):
        torch.manual_seed(4)
        with torch.nn.utils.stateless._reparametrize_module(
            critic, dict(zip(names, parameters, strict=True))
        ):
            return critic_loss(critic, student, teacher, gradient_penalty=10.0)

    values = tuple(value.detach().clone().requires_grad_() for value in values)
    assert torch.autograd.gradcheck(of_parameters, values)


def test_sliced_wasserstein_is_that_of_pot():
    student, teacher = gaussian(0.0, 5), gaussian([1.0, 0, 0, 2, 0], 5, seed=2)
    torch.manual_seed(3)
    ours = sliced_wasserstein(student, teacher, ALL, directions=50)
    torch.manual_seed(3)
    drawn = torch.randn(5, 50, dtype=torch.float64)
    drawn = drawn / drawn.norm(dim=0)
    theirs = ot.sliced_wasserstein_distance(student, teacher, projections=drawn, p=1)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_sliced_wasserstein_of_a_moved_set_is_the_mean_length_of_the_move_seen_from_all_sides():
    """E|<d, u>| over unit vectors u in D dimensions: |d| Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2)); within 5 %."""
    torch.manual_seed(0)
    student = gaussian(0.0, 6)
    found = sliced_wasserstein(student, student + 2.0, ALL, directions=4000)
    expected = 2 * math.sqrt(6) * math.gamma(3) / (math.sqrt(math.pi) * math.gamma(3.5))
    assert found.item() == pytest.approx(expected, rel=0.05)


def test_sinkhorn_without_much_entropy_is_the_squared_distance_of_the_move():
    """Debiased, the squared transport cost of a set and itself moved by d is |d|^2; within 5 %."""
    student = gaussian(0.0, 3, count=100)
    moved = student + torch.tensor([2.0, 0.0, 0.0])
    found = sinkhorn_divergence(student, moved, ALL[:100], points=100, regularisation=0.05)
    assert found.item() == pytest.approx(4.0, rel=0.05)


def test_sinkhorn_is_the_debiased_entropic_cost_of_its_definition():
    """Against the dual of the problem, solved by a plain loop over potentials until nothing moves."""
    student, teacher = gaussian(0.0, 3, count=12), 1.5 * gaussian([1.0, 0, 0], 3, count=12, seed=2)
    within = torch.cdist(teacher, teacher).square().mean()
    entropy = 0.5 * within

    def cost(a, b):
        C, m = torch.cdist(a, b).square(), math.log(12)
        f, g = torch.zeros(12, dtype=torch.float64), torch.zeros(12, dtype=torch.float64)
        for _ in range(2000):
            f = -entropy * torch.logsumexp((g[None, :] - C) / entropy - m, dim=1)
            g = -entropy * torch.logsumexp((f[:, None] - C) / entropy - m, dim=0)
        return f.mean() + g.mean()

    expected = cost(student, teacher) - (cost(student, student) + cost(teacher, teacher)) / 2
    found = sinkhorn_divergence(student, teacher, ALL[:12], points=12, regularisation=0.5)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def distances():
    torch.manual_seed(0)
    critic = Critic(3, (8,)).double()
    return {
        "critic": lambda s, t, real: critic_distance_N(critic, s, t)[real].mean(),
        "sliced": lambda s, t, real: sliced_wasserstein(s, t, real, directions=16),
        "sinkhorn": lambda s, t, real: sinkhorn_divergence(s, t, real, points=500, regularisation=0.1),
    }


@pytest.mark.parametrize("name", ["sliced", "sinkhorn"])
def test_a_distance_of_sets_is_zero_for_equal_sets_and_blind_to_padding(name):
    distance, student, teacher = (
        distances()[name],
        gaussian(0.0, 3, count=60),
        gaussian(1.0, 3, count=60, seed=2),
    )
    real = ALL[:60]
    assert abs(distance(student, student.clone(), real).item()) < 1e-9
    longer = [torch.cat([x, 100 * draw(9, 3, seed=8)]) for x in (student, teacher)]
    mask = torch.cat([real, ~ALL[:9]])
    values = []
    for arguments in ((student, teacher, real), (*longer, mask)):
        torch.manual_seed(5)
        values.append(distance(*arguments))
    torch.testing.assert_close(values[0], values[1], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["critic", "sliced", "sinkhorn"])
def test_the_gradient_of_a_distance_of_sets_is_that_of_finite_differences(name):
    distance, teacher = distances()[name], gaussian(1.0, 3, count=12, seed=2)

    def fixed(student):
        torch.manual_seed(5)
        return distance(student, teacher, ALL[:12])

    student = gaussian(0.0, 3, count=12).requires_grad_()
    assert torch.autograd.gradcheck(fixed, student, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["sliced", "sinkhorn"])
def test_a_student_that_follows_the_distance_alone_comes_closer(name):
    distance, teacher = distances()[name], gaussian(2.0, 3, count=100, seed=2)
    student = gaussian(0.0, 3, count=100).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.2)
    first = distance(student, teacher, ALL[:100]).item()
    for _ in range(20):
        optimizer.zero_grad()
        loss = distance(student, teacher, ALL[:100])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * first


def test_a_student_that_follows_its_critic_comes_closer():
    torch.manual_seed(0)
    teacher, student = (
        gaussian(3.0, 2, count=100, seed=2).float(),
        gaussian(0.0, 2, count=100).float().requires_grad_(),
    )
    critic, optimizer = Critic(2, (32, 32)), torch.optim.Adam([student], lr=0.05)
    own = torch.optim.RMSprop(critic.parameters(), lr=3e-3)
    real = ALL[:100]
    first = sliced_wasserstein(student, teacher, real, directions=64).item()
    for _ in range(60):
        for _ in range(5):
            descend({"c": critic_loss(critic, student, teacher, gradient_penalty=10.0)}, own)
        optimizer.zero_grad()
        critic_distance_N(critic, student, teacher).mean().backward()
        optimizer.step()
    assert sliced_wasserstein(student, teacher, real, directions=64).item() < 0.3 * first

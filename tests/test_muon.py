"""Our Muon against torch's, in every number format, orientation and number of processes; NorMuon against its paper."""

import math

import pytest
import torch
from torch import nn

from train_teachers import muon
from train_teachers.muon import Muon, newton_schulz, newton_schulz_by_gram

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
SHAPES = [(8, 8), (24, 8), (8, 8), (8, 24), (6, 10), (8, 8)]


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients(step: int) -> list[torch.Tensor]:
    return [p.detach() for p in parameters(100 + step)]


def take_steps(optimizer: torch.optim.Optimizer, steps: int = 4) -> list[torch.Tensor]:
    params = optimizer.param_groups[0]["params"]
    for step in range(steps):
        for param, gradient in zip(params, gradients(step), strict=True):
            param.grad = gradient.clone()
        optimizer.step()
    return [param.detach() for param in params]


def with_neurons(neurons: int | None) -> list[dict]:
    return [{"params": parameters()} if neurons is None else {"params": parameters(), "neurons": neurons}]


def torchs(params: list[nn.Parameter], **options) -> torch.optim.Muon:
    return torch.optim.Muon(params, adjust_lr_fn="match_rms_adamw", **options)


@pytest.fixture
def exact(monkeypatch):
    """torch's Muon without its rounding to bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())


@pytest.mark.parametrize("options", [{}, {"nesterov": False}, {"weight_decay": 0.0, "momentum": 0.5}])
@pytest.mark.parametrize("numbers", [1, 150, 2**18])
def test_it_takes_the_steps_of_torchs_muon(exact, monkeypatch, options, numbers):
    monkeypatch.setattr(muon, "CPU_NUMBERS", numbers)
    ours = take_steps(Muon(parameters(), lr=0.02, dtype=torch.float32, **options))
    theirs = take_steps(torchs(parameters(), lr=0.02, **options))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-6, rtol=0)


def normuon(neurons: int, lr: float = 0.02, decay: float = 0.1, steps: int = 4) -> list[torch.Tensor]:
    """Algorithm 1 of Li et al. (2025), a matrix at a time."""
    params = [p.detach().clone() for p in parameters()]
    momenta, seconds = ([torch.zeros_like(p) for p in params] for _ in range(2))
    for step in range(steps):
        for param, momentum, second, gradient in zip(params, momenta, seconds, gradients(step), strict=True):
            momentum.lerp_(gradient, 0.05)
            direction = gradient.lerp(momentum, 0.95)
            x = (direction / direction.norm())[None]
            update = newton_schulz(x if x.shape[1] <= x.shape[2] else x.mT, COEFFICIENTS, 5)[0]
            update = update if update.shape == param.shape else update.mT
            second.lerp_(update.square().mean(1 - neurons, keepdim=True).expand_as(second), 0.05)
            update = update / (second.sqrt() + 1e-8)
            size = 0.2 * lr * math.sqrt(param.numel()) / update.norm()
            param.mul_(1 - lr * decay).sub_(size * update)
    return params


@pytest.mark.parametrize("neurons", [0, 1])
@pytest.mark.parametrize("numbers", [1, 150, 2**18])
def test_with_neurons_it_takes_the_steps_of_normuon(monkeypatch, neurons, numbers):
    monkeypatch.setattr(muon, "CPU_NUMBERS", numbers)
    ours = take_steps(Muon(with_neurons(neurons), lr=0.02, dtype=torch.float32))
    for mine, right in zip(ours, normuon(neurons), strict=True):
        torch.testing.assert_close(mine, right, atol=1e-5, rtol=0)


def test_in_bfloat16_it_is_as_near_to_the_exact_steps_as_torchs(exact, monkeypatch):
    right = take_steps(torchs(parameters(), lr=0.02))
    monkeypatch.undo()
    runs = [Muon(parameters(), lr=0.02, dtype=torch.bfloat16), torchs(parameters(), lr=0.02)]
    ours, theirs = (
        sum(float((a - b).square().sum()) for a, b in zip(take_steps(run), right, strict=True))
        for run in runs
    )
    assert 0 < ours < 1.5 * theirs


def test_its_state_goes_to_torchs_muon_and_back():
    ours, theirs = Muon(parameters(), lr=0.02, dtype=torch.float32), torchs(parameters(), lr=0.02)
    take_steps(theirs)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    for mine, other in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert torch.equal(mine["momentum_buffer"], other["momentum_buffer"])


@pytest.mark.parametrize("neurons", [None, 0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_found_an_infinite_gradient_changes_nothing(value, neurons):
    optimizer = Muon(with_neurons(neurons), lr=0.02, dtype=torch.float32)

    def tensors_of_state():
        return [tensor for state in optimizer.state.values() for tensor in state.values()]

    before = [tensor.clone() for tensor in take_steps(optimizer)]
    earlier = [tensor.clone() for tensor in tensors_of_state()]
    params = optimizer.param_groups[0]["params"]
    params[1].grad[0, 0] = value
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert all(map(torch.equal, params, before))
    assert len(earlier) == len(before) * (1 if neurons is None else 2)
    assert all(map(torch.equal, tensors_of_state(), earlier))
    optimizer.found_inf = torch.tensor(0.0)
    params[1].grad[0, 0] = 0.0
    optimizer.step()
    assert not any(map(torch.equal, params, before))


@pytest.mark.parametrize("spread", [0, 2, 6, 12])
def test_both_ways_of_the_iteration_give_one_polynomial_however_flat_the_matrix(spread):
    generator = torch.Generator().manual_seed(0)
    u, v = (
        torch.linalg.qr(torch.randn(3, rows, 16, generator=generator, dtype=torch.float64))[0]
        for rows in (16, 40)
    )
    x = u * torch.logspace(0, -spread, 16, dtype=torch.float64) @ v.mT
    x = x / x.norm(dim=(1, 2), keepdim=True)
    right = newton_schulz(x, COEFFICIENTS, 5)
    torch.testing.assert_close(newton_schulz_by_gram(x, COEFFICIENTS, 5), right, atol=1e-9, rtol=0)
    rounded = newton_schulz_by_gram(x.float(), COEFFICIENTS, 5)
    assert (rounded - right).norm() < 1e-3 * right.norm()
    assert torch.linalg.svdvals(right).max() < 1.3


def test_a_matrix_of_zeros_stays_where_it_is():
    optimizer = Muon([nn.Parameter(torch.ones(4, 4))], lr=0.1, weight_decay=0.0, dtype=torch.float32)
    (param,) = optimizer.param_groups[0]["params"]
    param.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.equal(param, torch.ones(4, 4))


# exchanges of a step: shapes, up to orientation; with neurons those that are turned go apart
@pytest.mark.parametrize(("neurons", "turns"), [(None, 3), (0, 4)])
@pytest.mark.parametrize("world", [2, 5])
def test_processes_that_share_the_work_get_the_update_of_one(monkeypatch, world, neurons, turns):
    """The processes are played one after the other: each computes its share, all receive everybody's."""
    alone = take_steps(Muon(with_neurons(neurons), lr=0.02, dtype=torch.float32), steps=1)
    shares: list[torch.Tensor] = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world)

    def collect(every, mine):
        shares.append(mine)
        count = len(every) // world
        place = (len(shares) - 1) % turns  # which exchange of the step this is
        every[rank * count : (rank + 1) * count] = mine
        for other in range(rank):
            every[other * count : (other + 1) * count] = shares[other * turns + place]

    monkeypatch.setattr(torch.distributed, "all_gather_single", collect)
    for rank in range(world):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        shared = take_steps(Muon(with_neurons(neurons), lr=0.02, dtype=torch.float32), steps=1)
    for mine, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=0)

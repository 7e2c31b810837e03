"""What is asked of the machine. A GPU is played by what the code would see of one."""

import os

import pytest
import torch

from train_teachers.device import WORKSPACE, be_deterministic
from train_teachers.language_model import checkpoint_activations


@pytest.fixture
def products(monkeypatch):
    """What each matrix product of `be_deterministic` sees of the workspace variable."""
    seen = []

    class Tensor:
        def __matmul__(self, other):
            seen.append(os.environ.get(WORKSPACE))

    monkeypatch.setattr(torch, "ones", lambda *_, **__: Tensor())
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    yield seen
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_operation_that_cannot_give_the_same_bits_twice_is_refused_not_warned_of(device, products):
    torch.use_deterministic_algorithms(False)
    be_deterministic(torch.device(device))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_the_first_product_on_a_gpu_sees_the_workspace_variable_and_no_later_one_does(products, monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    be_deterministic(torch.device("cuda"))
    assert products == [":4096:8"]
    assert WORKSPACE not in os.environ


def test_a_workspace_that_the_user_has_chosen_stays(products, monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":16:8")
    be_deterministic(torch.device("cuda"))
    assert os.environ[WORKSPACE] == ":16:8"


@pytest.mark.parametrize("name", ["activation_checkpointing_enable", "gradient_checkpointing_enable"])
def test_activations_are_checkpointed_by_either_name_of_it(name):
    asked = []
    checkpoint_activations(type("Model", (), {name: lambda _, options: asked.append(options)})())
    assert asked == [{"use_reentrant": False}]

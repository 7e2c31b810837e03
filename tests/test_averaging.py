"""The mean of the weights: which one it is, that training knows nothing of it, and that it is what leaves the run."""

import json

import pytest
import torch
from safetensors.torch import load_file
from test_loop import curve, metrics, weights
from torch import nn

from train_teachers.averaging import AveragedWeights
from train_teachers.config import Averaging
from train_teachers.step import Stepper

KINDS = pytest.mark.parametrize("averaging", [{"ema": 0.1}, {"tail": 0.5}], ids=["ema", "tail"])


def averaged(averaging: Averaging, walk: list[float]) -> float:
    """The mean of a model of one weight, which is each of `walk` after one step more."""
    model = nn.Linear(1, 1, bias=False)
    mean = AveragedWeights(model, averaging, steps=len(walk))
    for step, weight in enumerate(walk):
        nn.init.constant_(model.weight, weight)
        mean.add(step)
    with mean.in_place():
        found = model.weight.item()
    assert model.weight.item() == walk[-1]
    return found


@pytest.mark.parametrize(("share", "counted"), [(1.0, 10), (0.35, 4), (0.1, 1), (0.001, 1)])
def test_a_tail_is_the_plain_mean_of_the_last_weights(share, counted):
    walk = torch.randn(10, generator=torch.Generator().manual_seed(0)).tolist()
    assert averaged(Averaging(tail=share), walk) == pytest.approx(sum(walk[-counted:]) / counted, rel=1e-5)


def exponential(walk: list, kept: float) -> list:
    """The mean after each step of a walk."""
    means = [walk[0]]
    for n, weight in enumerate(walk[1:], start=1):
        share = min(kept, (1 + n) / (10 + n))
        means.append(share * means[-1] + (1 - share) * weight)
    return means


def test_an_exponential_mean_keeps_little_at_first_and_what_it_says_later():
    walk = torch.randn(200, generator=torch.Generator().manual_seed(0)).tolist()
    ema = Averaging(ema=0.05)  # of 200 steps 10: it keeps 0.9
    assert averaged(ema, walk) == pytest.approx(exponential(walk, 0.9)[-1], rel=1e-4)
    assert averaged(ema, [5.0]) == 5.0
    assert averaged(Averaging(ema=0.1), [5.0, *[1.0] * 30]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("steps", [50, 2_000, 100_000])
def test_what_an_exponential_mean_looks_back_on_is_reached_within_every_run(steps):
    mean = AveragedWeights(nn.Linear(1, 1), Averaging(ema=0.1), steps=steps)
    assert steps / 9 > 1 / (1 - mean.kept) == pytest.approx(0.1 * steps)


def test_before_the_tail_the_weights_are_as_they_are():
    model = nn.Linear(1, 1, bias=False)
    mean = AveragedWeights(model, Averaging(tail=0.1), steps=100)
    nn.init.constant_(model.weight, 3.0)
    mean.add(42)
    assert mean.means[0].item() == 3.0


@pytest.mark.parametrize("given", [{}, {"ema": 0.1, "tail": 0.1}])
def test_a_mean_is_of_one_kind(given):
    with pytest.raises(ValueError, match="give one of the two"):
        Averaging(**given)


@KINDS
def test_training_goes_on_from_its_own_weights_and_what_leaves_it_is_their_mean(
    train_tiny, monkeypatch, averaging
):
    walk, honest = [], Stepper.__call__

    def noted(self, *given):
        result = honest(self, *given)
        walk.append({name: p.detach().clone() for name, p in self.trained.student.named_parameters()})
        return result

    monkeypatch.setattr(Stepper, "__call__", noted)
    options = {"data": {"words": 700}, "log_every": 1, "words_scale": 2e-5, "revisions": True}
    plain = train_tiny(name="plain", **options)
    steps, walk[:] = len(walk), []
    mean = train_tiny(name="mean", averaging=averaging, **options)

    judged = [[line for line in metrics(folder) if "val/hard" in line] for folder in (plain, mean)]
    assert [line["val/unaveraged"] for line in judged[1]] == [line["val/hard"] for line in judged[0]]
    assert judged[1][-1]["val/hard"] != judged[1][-1]["val/unaveraged"]
    summary = json.loads((mean / "summary.json").read_text())
    assert summary["val/hard"] == judged[1][-1]["val/hard"] and "mean of the weights" in summary["averaging"]

    exported, last = (load_file(folder / "export" / "model.safetensors") for folder in (mean, plain))
    assert all(torch.equal(walk[-1][name], last[name]) for name in last)
    assert any(not torch.equal(exported[name], last[name]) for name in last)
    begins = steps - -(-steps // 2) if "tail" in averaging else 0
    marks = {revision["name"]: revision["step"] for revision in summary["revisions"]}
    assert max(marks.values()) > begins + 1 and (min(marks.values()) <= begins or "ema" in averaging)
    folders = {mean / "revisions" / name: step for name, step in marks.items()} | {mean / "export": steps}
    for folder, step in folders.items():
        found = load_file(folder / "model.safetensors")
        for name, tensor in found.items():
            weights = [each[name] for each in walk[:step]]
            if "ema" in averaging:
                expected = exponential(weights, 1 - 1 / (0.1 * steps))[-1]
            else:  # before the tail the weights as they are
                counted = weights[begins:] or weights[-1:]
                expected = sum(counted) / len(counted)
            assert torch.allclose(tensor, expected, atol=1e-6)


@KINDS
@pytest.mark.parametrize("step", [2, 7])
def test_a_killed_run_goes_on_to_the_same_mean(train_tiny, die_once, averaging, step):
    options = {"averaging": averaging, "model": {"tie_word_embeddings": True}, "data": {"words": 400}}
    whole = train_tiny(name="whole", **options)
    die_once(step)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(name="killed", checkpoint_seconds=1e-9, **options)
    killed = train_tiny(name="killed", checkpoint_seconds=1e-9, **options)
    assert weights(killed) == weights(whole)
    assert curve(killed) == curve(whole)

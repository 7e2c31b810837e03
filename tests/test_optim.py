import pytest
import torch

from babylm_data.tokenizer_files import load_tokenizer
from train_teachers.config import Model, Optim, Schedule
from train_teachers.language_model import build
from train_teachers.objective import HardObjective
from train_teachers.optim import build_optimizers, schedule, set_rates
from train_teachers.step import Trained, check_all_optimised


@pytest.fixture
def trained(data_folder):
    shape = Model(family="llama", hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    return Trained(build(shape, load_tokenizer(data_folder / "tokenizer"), seed=0), HardObjective())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_stands_in_exactly_one_optimizer(trained, optimizer):
    check_all_optimised(trained, build_optimizers(trained, Optim(lr=1e-3, optimizer=optimizer)))


def test_a_forgotten_parameter_is_found(trained):
    optimizers = build_optimizers(trained, Optim(lr=1e-3))
    trained.objective.projector = torch.nn.Linear(2, 2)
    with pytest.raises(AssertionError, match="projector"):
        check_all_optimised(trained, optimizers)


def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else(trained):
    adamw, muon = build_optimizers(trained, Optim(lr=1e-3, optimizer="muon"))
    names = {id(p): name for name, p in trained.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert len(taken) == 2 * 7  # four of attention, three of the MLP, in each block
    assert all(".layers." in name and "norm" not in name for name in taken)


@pytest.mark.parametrize(("family", "neurons"), [("llama", 0), ("gpt2", 1), ("gptj", 0)])
def test_a_neuron_is_what_gives_one_output(data_folder, family, neurons):
    shape = Model(
        family=family, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=8
    )
    trained = Trained(build(shape, load_tokenizer(data_folder / "tokenizer"), seed=0), HardObjective())
    _, muon = build_optimizers(trained, Optim(lr=1e-3, optimizer="muon", per_neuron=True))
    (group,) = muon.param_groups
    assert group["neurons"] == neurons
    wide = {p.shape[neurons] for p in group["params"] if 64 in p.shape and p.shape.count(16) == 1}
    assert wide == {16, 64}  # into the MLP 64 neurons with 16 inputs each, out of it 16


def test_norms_do_not_decay(trained):
    (adamw,) = build_optimizers(trained, optim := Optim(lr=1e-3, weight_decay=0.5))
    set_rates([adamw], optim, 0.0)
    decays = {p.ndim: group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert decays == {1: 0.0, 2: 0.5}


@pytest.mark.parametrize("kind", ["cosine", "wsd", "constant"])
def test_the_schedule_rises_linearly_and_ends_where_it_says(kind):
    optim = Optim(lr=1.0, schedule=kind, warmup=0.1, decay=0.2, final_lr=0.25)
    assert schedule(optim, 0.05) == pytest.approx(0.5)
    assert schedule(optim, 0.1) == pytest.approx(1.0)
    assert schedule(optim, 1.0) == pytest.approx(1.0 if kind == "constant" else 0.25)
    assert schedule(optim, 0.79) == pytest.approx(1.0) or kind == "cosine"


def test_a_cosine_is_half_way_down_in_the_middle():
    assert schedule(Optim(lr=1.0, warmup=0.0, final_lr=0.0), 0.5) == pytest.approx(0.5)


def test_the_rate_reaches_every_group(trained):
    optimizers = build_optimizers(trained, Optim(lr=0.5, optimizer="muon", warmup=0.1))
    assert set_rates(optimizers, Optim(lr=0.5, warmup=0.1), 0.05) == pytest.approx(0.25)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.25}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_decay_that_changes_is_that_of_the_moment_on_matrices_alone(trained, optimizer):
    optim = Optim(lr=1.0, optimizer=optimizer, weight_decay=Schedule(start=0.4, end=0.0))
    optimizers = build_optimizers(trained, optim)
    for progress, decay in ((0.0, 0.4), (0.25, 0.3), (1.0, 0.0)):
        set_rates(optimizers, optim, progress)
        found = {
            p.ndim: group["weight_decay"]
            for o in optimizers
            for group in o.param_groups
            for p in group["params"]
        }
        assert found == {1: 0.0, 2: pytest.approx(decay)}

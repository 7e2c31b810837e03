import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from conftest import PAIRS, VOCAB, make_data, write_corpus
from safetensors.torch import load_file, save_file
from torch import nn

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.sealed import damage, sha256
from babylm_data.tokenizer_files import load_tokenizer
from distill.config import Losses, PerTeacher
from distill.objective import DistillObjective
from distill.teachers import Teachers
from train_teachers.audit import audit
from train_teachers.checkpoint import export
from train_teachers.config import Model
from train_teachers.language_model import build
from train_teachers.objective import Objective, Terms
from train_teachers.optim import build_optimizers
from train_teachers.stage import run_training
from train_teachers.step import Stepper, Trained, check_all_optimised
from train_teachers.targets import IGNORE, Batch

CPU = torch.device("cpu")
TERMS = ["hard", "soft.a", "soft.b", "hidden.a", "hidden.b"]
BOTH_USED = {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.25, "b": 0.5}}}
NEEDED = {"heads": {"layers": [1], "soft": {"a": 0.5}}, "ted": {"until": 0.5}}
ONE_TERM = (
    {"combine": "mean_probs"},
    {"adaptive": "teacher_loss"},
    {"adaptive": "max", "adaptive_per": "batch"},
)
SETS = ("contrastive", "wasserstein", "sliced_wasserstein", "sinkhorn")  # look at a micro-batch as a whole


def example(name):
    """The smallest config of a loss, with all that has a default left to it."""
    kind = next(part for part in Losses.model_fields[name].annotation.__args__ if part is not type(None))
    weight = {"a": 0.3} if issubclass(kind, PerTeacher) else 0.3
    return {"weight": weight, **NEEDED.get(name, {})}


EVERY = {name: example(name) for name in Losses.model_fields if name != "hard"}
EVERY["soft"] = BOTH_USED["soft"]
every_loss = pytest.mark.parametrize("name", EVERY)


@pytest.fixture
def setting(make_setting):
    """(student, objective, batch) of the tiny distillation."""
    return make_setting()


@pytest.fixture
def with_loss(make_setting):
    """with_loss(name): the same with hard and soft loss and one more, at the end of the run."""

    def make(name):
        student, objective, batch = make_setting(losses={**BOTH_USED, name: EVERY[name]})
        objective.begin_step(1.0)
        return student, objective, batch

    return make


def terms_of(name, objective, student, batch):
    """The terms of one loss; the same directions are drawn each time."""
    torch.manual_seed(1)
    sums = objective(student, batch).sums
    return {term: sums[term] for term in objective.weights if term.split(".")[0] == name}


def ask(objective, batch, teachers):
    """The signals of teachers."""
    return objective.teachers(batch, teachers, lambda model: model.base_model)


def longer(batch):
    """The batch with four more positions in each sequence that carry no loss."""
    return Batch.of(
        torch.cat([batch.inputs_BT, torch.full((3, 4), 7)], 1),
        torch.cat([batch.targets_BT, torch.full((3, 4), IGNORE)], 1),
        batch.starts,
        batch.stream,
    )


@every_loss
def test_every_loss_sends_gradient_to_the_student(with_loss, name):
    student, objective, batch = with_loss(name)
    terms = terms_of(name, objective, student, batch)
    assert terms
    for term in terms:
        objective.weigh({other: float(other == term) for other in objective.weights})
        total = objective(student, batch).total
        gradients = torch.autograd.grad(total, list(student.parameters()), allow_unused=True)
        assert any(g is not None and g.isfinite().all() and g.any() for g in gradients)


@every_loss
def test_every_loss_passes_the_audit_and_all_it_owns_is_optimised_once(with_loss, name):
    student, objective, batch = with_loss(name)
    findings = audit(student, objective, batch)
    assert set(findings) == set(objective.weights)
    trained = Trained(student, objective)
    optimizers = [*build_optimizers(trained, _optim()), *objective.own_optimizers.values()]
    check_all_optimised(trained, optimizers)
    held = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
    assert held == {id(p) for p in trained.parameters()}


@every_loss
def test_masked_positions_add_nothing_to_any_loss(with_loss, name):
    student, objective, batch = with_loss(name)
    before, after = (terms_of(name, objective, student, part) for part in (batch, longer(batch)))
    for term in before:
        torch.testing.assert_close(before[term], after[term], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(EVERY) - set(SETS) - {"heads"}))
def test_a_loss_per_token_is_a_sum_over_positions(with_loss, name):
    student, objective, batch = with_loss(name)
    halves = [batch.rows(0, 1), batch.rows(1, 3)]
    whole, *parts = (terms_of(name, objective, student, part) for part in (batch, *halves))
    for term, value in whole.items():
        torch.testing.assert_close(value, parts[0][term] + parts[1][term])


@pytest.mark.parametrize("name", ["wasserstein", "ted"])
def test_what_learns_by_itself_learns_and_is_in_the_checkpoint(make_setting, name):
    student, objective, batch = make_setting(losses={**BOTH_USED, name: EVERY[name]})
    kind = {"wasserstein": "critics", "ted": "filters"}[name]
    before = {n: p.clone() for n, p in objective.learners.get_submodule(kind).named_parameters()}
    others = [p.clone() for p in student.parameters()]
    objective.train_own(student, batch)
    after = dict(objective.learners.get_submodule(kind).named_parameters())
    assert all(not torch.equal(before[n], after[n]) for n in before)
    assert all(torch.equal(a, b) for a, b in zip(others, student.parameters(), strict=True))
    assert not any(p.requires_grad for p in after.values())
    assert {f"objective.learners.{kind}.{n}" for n in after} <= {
        n for n, _ in Trained(student, objective).named_parameters()
    }


@pytest.mark.parametrize("name", ["wasserstein", "ted"])
def test_masked_positions_add_nothing_to_what_learns_by_itself(make_setting, name):
    student, objective, batch = make_setting(losses={**BOTH_USED, name: EVERY[name]})
    found = []
    for part in (batch, longer(batch)):
        with objective.learning(student, part) as kinds:
            torch.manual_seed(1)  # of the points of the gradient penalty, one for each target
            (losses,) = kinds.values()
            found.append(losses())
    assert found[0]
    for label in found[0]:
        torch.testing.assert_close(found[0][label], found[1][label], atol=1e-4, rtol=1e-4)


def test_filters_learn_first_and_are_matched_then(make_setting):
    _, objective, _ = make_setting(losses={**BOTH_USED, "ted": EVERY["ted"]})
    for progress, filtering in ((0.0, True), (0.49, True), (0.5, False), (1.0, False)):
        objective.begin_step(progress)
        assert (objective.filtering, "ted.a" in objective.active) == (filtering, not filtering)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(list(EVERY), id="all"),
        *(pytest.param([name], id=name, marks=pytest.mark.slow) for name in EVERY),
    ],
)
def test_a_run_with_any_loss_trains_stops_and_goes_on(make_distill, workplace, die_once, names):
    """Through the loop: own optimisers, terms that come and go, and the checkpoint of all of it."""
    losses = {**BOTH_USED, **{name: EVERY[name] for name in names}}
    whole = distil(make_distill(name="whole", losses=losses, data={"words": 200}))
    config = make_distill(name="killed", losses=losses, data={"words": 200}, checkpoint_seconds=1e-9)
    taken = die_once(3)
    with pytest.raises(KeyboardInterrupt):
        distil(config)
    killed = distil(config)
    # none was taken twice
    assert len(taken) == 1 + json.loads((whole / "summary.json").read_text())["steps"]
    assert sha256(killed / "export" / "model.safetensors") == sha256(whole / "export" / "model.safetensors")


def test_weights_and_temperature_follow_their_schedules(make_setting):
    losses = {
        "hard": {"weight": {"start": 0.0, "end": 1.0}},
        "soft": {
            "weight": {"a": {"start": 1.0, "end": 0.0, "shape": "step", "until": 0.5}, "b": 0.5},
            "temperature": {"start": 4.0, "end": 2.0, "shape": "cosine"},
        },
    }
    student, objective, batch = make_setting(losses=losses)
    seen = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        objective.begin_step(progress)
        names = sorted(set(objective(student, batch).sums) & set(objective.weights))
        seen.append((objective.weights["hard"], objective.temperature.item(), names))
    assert [row[0] for row in seen] == [0.0, 0.25, 0.5, 1.0]
    assert [row[1] for row in seen] == pytest.approx([4.0, 3.707, 3.0, 2.0], abs=1e-3)
    both, one = ["hard", "soft.a", "soft.b"], ["hard", "soft.b"]
    assert [row[2] for row in seen] == [both, both, one, one]


@pytest.mark.parametrize("options", ONE_TERM, ids=str)
def test_teachers_made_into_one_term_have_the_sum_of_their_weights_and_their_proportions(
    make_setting, options
):
    weight = {"a": {"start": 0.5, "end": 0.0}, "b": 0.5}
    student, objective, batch = make_setting(
        losses={"hard": {"weight": 0.5}, "soft": {"weight": weight, **options}}
    )
    seen = []
    for progress in (0.0, 0.5, 1.0):
        objective.begin_step(progress)
        assert "soft" in objective(student, batch).sums
        seen.append((objective.weights["soft"], objective.shares_K.tolist()))
    assert seen == [(1.0, [0.5, 0.5]), (0.75, pytest.approx([1 / 3, 2 / 3])), (0.5, [0.0, 1.0])]


@pytest.mark.parametrize("options", ONE_TERM, ids=str)
def test_one_term_may_be_of_some_teachers_only(make_setting, options):
    losses = {
        "hard": {"weight": 0.5},
        "soft": {"weight": {"b": 0.5}, **options},
        "output_cosine": {"weight": {"a": 1.0}},
    }
    student, objective, batch = make_setting(losses=losses)
    assert {"soft", "output_cosine.a"} < set(objective(student, batch).sums)


@pytest.mark.parametrize("name", ["hidden", "contrastive", "sliced_wasserstein", "sinkhorn"])
def test_without_a_projector_a_student_that_is_its_teacher_is_at_no_distance(
    make_setting, teachers_folder, name
):
    from transformers import AutoModelForCausalLM

    shape = {"hidden_size": 48, "num_hidden_layers": 3}
    losses = {
        "hard": {"weight": 0.5},
        "soft": BOTH_USED["soft"],
        name: {"weight": {"a": 1.0}, "projector": "none"},
    }
    _, objective, batch = make_setting(model=shape, losses=losses)
    twin = AutoModelForCausalLM.from_pretrained(teachers_folder / "a")
    other = terms_of(name, objective, build_student(objective, seed=9), batch)[f"{name}.a"].item()
    own = terms_of(name, objective, twin, batch)[f"{name}.a"].item()
    assert own < 0.5 * other if name == "contrastive" else abs(own) < 1e-3 < other


def build_student(objective, *, seed):
    """A fresh model of the shape of teacher a."""
    import copy

    model = copy.deepcopy(objective.teachers.models["a"])
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_the_audit_sees_a_term_that_only_begins_later(make_setting):
    late = {"a": {"start": 0.0, "end": 1.0, "shape": "step", "until": 0.5}, "b": 0.5}
    student, objective, batch = make_setting(losses={"hard": {"weight": 0.0}, "soft": {"weight": late}})
    findings = audit(student, objective, batch)
    assert findings["soft.a"].weight == 1.0 and findings["hard"].weight == 0.0
    assert objective.weights["soft.a"] == 0.0


def test_each_pair_of_layers_is_logged_beside_its_term(setting):
    student, objective, batch = setting
    terms = objective(student, batch).sums
    parts = [terms["hidden.a@1-1"], terms["hidden.a@3-2"]]
    torch.testing.assert_close(torch.stack(parts).mean(), terms["hidden.a"])
    assert not parts[0].requires_grad


def test_there_is_one_term_for_the_text_and_one_per_teacher_and_loss(setting):
    student, objective, batch = setting
    sums = objective(student, batch).sums
    assert [name for name in sums if "@" not in name] == TERMS == list(objective.weights)


def test_the_total_is_the_weighted_sum_of_the_terms(setting):
    student, objective, batch = setting
    total, sums = objective(student, batch)
    torch.testing.assert_close(total, sum(weight * sums[name] for name, weight in objective.weights.items()))


@pytest.mark.parametrize("term", TERMS)
def test_every_loss_term_sends_gradient_to_the_student(setting, term):
    student, objective, batch = setting
    objective.weigh({name: float(name == term) for name in TERMS})
    objective(student, batch).total.backward()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())


@pytest.mark.parametrize("teacher", ["a", "b"])
def test_each_teacher_contributes_its_own_signal(setting, teacher):
    student, objective, batch = setting
    before = objective(student, batch).sums
    with torch.no_grad():
        for parameter in objective.teachers.models[teacher].parameters():
            parameter.mul_(1.5)
    after = objective(student, batch).sums
    changed = {name for name in TERMS if before[name] != after[name]}
    assert changed == {f"soft.{teacher}", f"hidden.{teacher}"}


def test_every_projector_is_in_the_optimizer_and_the_checkpoint(setting):
    student, objective, _ = setting
    trained = Trained(student, objective)
    check_all_optimised(trained, build_optimizers(trained, _optim()))
    names = {name for name, _ in trained.named_parameters() if "projectors" in name}
    assert len(names) == 2 * 2 * 2  # two teachers, two pairs, weight and bias


def _optim():
    from train_teachers.config import Optim

    return Optim(lr=1e-3, optimizer="muon")


def test_teachers_are_frozen_in_evaluation_mode_and_no_part_of_the_objective(setting):
    student, objective, batch = setting
    objective(student, batch).total.backward()
    objective.train()
    for model in objective.teachers.models.values():
        assert not model.training
        assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert not any("teacher" in name for name, _ in objective.named_parameters())


def test_the_last_layer_is_the_index_that_equals_the_number_of_layers(setting):
    student, objective, batch = setting
    states = ask(objective, batch, "ab")["a"].hidden_ND
    assert len(states) == 3 + 1
    final = objective.teachers.models["a"].lm_head(states[3])
    torch.testing.assert_close(final, ask(objective, batch, "ab")["a"].output.part(0, len(final)))


def test_masked_positions_add_nothing_to_any_term(setting):
    student, objective, batch = setting
    before, after = (objective(student, part).sums for part in (batch, longer(batch)))
    for name in TERMS:
        torch.testing.assert_close(before[name], after[name])


def test_terms_are_sums_over_positions(setting):
    student, objective, batch = setting
    halves = [batch.rows(0, 1), batch.rows(1, 3)]
    parts = [objective(student, half).sums for half in halves]
    for name, value in objective(student, batch).sums.items():
        torch.testing.assert_close(value, parts[0][name] + parts[1][name])


def test_the_audit_reports_every_term_and_shares_that_sum_to_one(setting):
    student, objective, batch = setting
    findings = audit(student, objective, batch)
    assert list(findings) == TERMS
    assert sum(finding.gradient_share for finding in findings.values()) == pytest.approx(1)
    assert findings["soft.b"].weight == 0.5


STRAY = nn.Linear(32, 32)


class Faulty(Objective):
    """An objective with one planted fault, in the term `hidden.a` or `soft.a` alone."""

    def __init__(self, objective, fault):
        super().__init__()
        self.inner, self.fault = objective, fault
        if fault == "projector that is never used":
            self.idle = nn.Linear(2, 2)
        self.weigh(objective.weights | ({"soft.a": 0.0} if fault == "teacher of no weight" else {}))

    def weigh(self, weights):
        super().weigh(weights)
        self.inner.weigh(weights)

    def forward(self, student, batch):
        total, sums = self.inner(student, batch)
        alone = [name for name, weight in self.weights.items() if weight > 0]
        if alone == ["soft.a"] and self.fault == "zero gradient":
            total = total * 0
        if alone == ["hidden.a"]:
            if self.fault == "loss under no_grad":
                total = total.detach()
            if self.fault == "detached student state":
                total = self.inner.learners.projectors["hidden-a"][0](torch.ones(1, 32)).sum()
            if self.fault == "projector outside the objective":
                states = student(input_ids=batch.inputs_BT, output_hidden_states=True).hidden_states[-1]
                total = STRAY(states).square().sum()
        return Terms(total, sums)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("loss under no_grad", "'hidden.a' carries no gradient"),
        ("detached student state", "'hidden.a' sends no usable gradient"),
        ("zero gradient", "'soft.a' sends no usable gradient"),
        ("projector that is never used", "'idle"),
        ("projector outside the objective", "'hidden.a' depends on a parameter outside"),
        ("teacher of no weight", "'soft.a' has weight 0 from the beginning"),
    ],
)
def test_the_audit_refuses_a_planted_fault_and_names_the_term(setting, fault, named):
    student, objective, batch = setting
    with pytest.raises(UserError, match=named):
        audit(student, Faulty(objective, fault), batch)


def distil(config):
    run_training(
        config,
        kind="student",
        make_objective=lambda student, fp, device, targets: DistillObjective(
            config, Teachers(config, fp, student.config.vocab_size, device), student, targets
        ),
    )
    return Path("runs") / config.name


def test_distillation_brings_the_student_closer_to_each_teacher_and_exports_the_student_alone(
    make_distill, workplace
):
    from safetensors import safe_open

    losses = {"hard": {"weight": 0.0}, "soft": {"weight": {"a": 0.5, "b": 0.5}}}
    losses["hidden"] = {"weight": {"a": 0.1, "b": 0.1}, "layer_map": {"a": PAIRS, "b": PAIRS}}
    folder = distil(make_distill(data={"words": 4000}, losses=losses))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss/hard" in line]
    for term in TERMS[1:]:
        assert logged[-1][f"loss/{term}"] < logged[0][f"loss/{term}"], term
    with safe_open(folder / "export" / "model.safetensors", "pt") as file:
        assert not any("projector" in name for name in file.keys())
    newest = sorted((folder / "state").glob("step-*"))[-1]
    with safe_open(newest / "module.safetensors", "pt") as file:
        assert any("projectors.hidden-a.0" in name for name in file.keys())


def test_the_audit_refuses_a_filter_that_its_own_loss_does_not_reach(make_setting, monkeypatch):
    student, objective, batch = make_setting(losses={**BOTH_USED, "ted": EVERY["ted"]})
    monkeypatch.setattr("distill.filters.Filter.forward", lambda self, states: self.linear(states).detach())
    with pytest.raises(UserError, match=r"'learners.filters.ted-a.0.linear.weight' gets no gradient"):
        audit(student, objective, batch)


@pytest.mark.parametrize("name", ["hidden", "wasserstein", "ted", "attention", "sinkhorn"])
def test_a_run_in_bf16_with_teachers_in_bf16_trains(make_distill, teachers_folder, workplace, name):
    from accelerate.state import AcceleratorState

    teachers = {name: {"path": str(teachers_folder / name), "precision": "bf16"} for name in "ab"}
    AcceleratorState._reset_state()  # it would hold another test's precision for this one
    try:
        folder = distil(
            make_distill(
                precision="bf16",
                teachers=teachers,
                losses={**BOTH_USED, name: EVERY[name]},
                data={"words": 100},
            )
        )
    finally:
        AcceleratorState._reset_state()
    assert (folder / "summary.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wasserstein", "sliced_wasserstein", "sinkhorn"])
def test_a_student_that_learns_from_a_distance_of_sets_alone_comes_closer(make_distill, workplace, name):
    """Judged by the sliced distance, which is what the critic's estimate is not until it has learnt."""
    from bench.recipes import sliced

    loss = {"weight": {"a": 1.0}, "projector": "none"} | (
        {"critic_lr": 1e-3} if name == "wasserstein" else {}
    )
    teacher = {"a": make_distill().teachers["a"].model_dump(exclude_defaults=True)}
    config = make_distill(
        model={"hidden_size": 48},
        teachers=teacher,
        losses={"hard": {"weight": 0.0}, name: loss},
        data={"words": 3000},
    )
    ((first, last),) = sliced(config, name, distil(config)).values()
    assert last < 0.6 * first


@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {}], ids=str)
def test_the_control_has_the_smoothing_and_the_z_loss_of_its_student(make_distill, data_folder, options):
    losses = {**BOTH_USED, "hard": {"weight": 0.5, **options}, "z_loss": {"weight": 1e-4}}
    config = make_distill(losses=losses).without_teachers()
    student = build(config.model, load_tokenizer(data_folder / "tokenizer"), seed=0)
    objective = DistillObjective(config, Teachers(config, "", VOCAB, CPU), student)
    assert objective.weights == {"hard": 1.0, "z_loss": 1e-4}
    smoothing = options.get("label_smoothing", 0.0)
    assert objective.losses.hard.label_smoothing == smoothing
    # said where there is none as well: a control that is there already is another one where it is turned on since
    assert objective.sources == {"label_smoothing": str(smoothing), "z_loss": "weight=0.0001"}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gptj"])
def test_a_model_of_any_family_can_teach_and_can_be_begun_from(make_distill, data_folder, workplace, family):
    shape = {"family": family, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = build(
        Model(**shape, max_position_embeddings=32), load_tokenizer(data_folder / "tokenizer"), seed=3
    )
    export(model, data_folder / "tokenizer", workplace / "origin")
    losses = {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.5}}, "attention": {"weight": {"a": 0.1}}}
    path = {"path": str(workplace / "origin")}
    init = {
        "init": {**path, "reinit_blocks": [1]},
        "competition": False,
    }  # of a model whose words nobody counted
    folder = distil(make_distill(model=shape, **init, teachers={"a": path}, losses=losses))
    assert metrics(folder, "val/attention.a")
    assert json.loads((folder / "inputs.json").read_text())["init"] == sha256(
        workplace / "origin/model.safetensors"
    )


def test_every_term_is_measured_on_held_out_text_even_one_that_has_ended(make_distill, workplace):
    ended = {"a": {"start": 1.0, "end": 0.0, "shape": "step", "until": 0.5}, "b": 0.5}
    folder = distil(make_distill(losses={"hard": {"weight": 0.5}, "soft": {"weight": ended}}))
    measured = [len(metrics(folder, f"val/{name}")) for name in ("hard", "soft.a", "soft.b")]
    assert measured == [3, 3, 3]
    assert 0 < len(metrics(folder, "loss/soft.a")) < len(metrics(folder, "loss/soft.b"))


def test_the_hard_loss_on_held_out_text_is_that_with_the_target_alone_whatever_is_smoothed(
    make_distill, workplace
):
    """Or runs that smooth otherwise, of one study, could not be compared."""
    soft = {"weight": {"a": 0.5, "b": 0.5}}
    plain, smoothed = (
        distil(
            make_distill(
                name=f"smoothed-{s}", losses={"hard": {"weight": 0.5, "label_smoothing": s}, "soft": soft}
            )
        )
        for s in (0.0, 0.5)
    )
    assert metrics(plain, "val/hard")[0] == metrics(smoothed, "val/hard")[0]  # of the same first weights
    assert metrics(plain, "loss/hard")[0] < metrics(smoothed, "loss/hard")[0]


def metrics(folder, key):
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [line[key] for line in lines if key in line]


@pytest.mark.slow
def test_compiling_every_loss_at_once_changes_no_more_than_rounding(make_distill, workplace):
    options = {"losses": {"hard": {"weight": 0.5}, **EVERY}, "data": {"words": 200}}
    plain = distil(make_distill(name="plain", **options))
    compiled = distil(make_distill(name="compiled", compile=True, **options))
    for key in (
        "val/hard",
        "val/soft.a",
        "val/hidden.a",
        "val/ted.a",
    ):  # a compiler draws other random numbers
        assert metrics(plain, key) == pytest.approx(metrics(compiled, key), rel=2e-2), key


def test_what_learns_by_itself_is_logged_as_the_mean_over_processes(make_distill, workplace, monkeypatch):
    """Or a loss that is not finite on one of them would pass the step over there alone."""
    losses, reductions = {**BOTH_USED, "wasserstein": EVERY["wasserstein"], "ted": EVERY["ted"]}, []

    def reduce(self, value, reduction="sum", honest=Accelerator.reduce):
        reductions.append(reduction)
        return honest(self, value, reduction)

    monkeypatch.setattr(Accelerator, "reduce", reduce)
    folder = distil(make_distill(losses=losses))
    assert "mean" in reductions
    for key in ("critic.a@3-2", "filter.a@3-2", "wasserstein.a@3-2"):
        assert metrics(folder, f"layer/{key}"), key


def test_gradient_checkpointing_computes_blocks_twice_and_changes_no_weight(
    make_distill, workplace, monkeypatch
):
    from transformers.models.llama.modeling_llama import LlamaMLP

    before, calls = LlamaMLP.forward, [0]

    def counting(self, states):
        calls[0] += states.requires_grad
        return before(self, states)

    monkeypatch.setattr(LlamaMLP, "forward", counting)
    plain, once = distil(make_distill(name="plain")), calls[0]
    again = distil(make_distill(name="checkpointed", gradient_checkpointing=True))
    assert calls[0] - once > 1.5 * once
    assert sha256(plain / "export" / "model.safetensors") == sha256(again / "export" / "model.safetensors")


def test_a_teacher_with_another_tokenizer_is_refused_before_any_folder_is_made(
    make_distill, workplace, tmp_path_factory
):
    other = tmp_path_factory.mktemp("other")
    foreign = make_data(other / "data", write_corpus(other / "raw", seed=9, lines=300))
    with pytest.raises(UserError, match="teacher 'a' .* has another tokenizer"):
        distil(make_distill(data={"path": str(foreign)}))
    assert not Path("runs").exists()


def edit(path, change):
    """Change what a JSON file holds."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def swap_two_merges(folder):
    """As where a tokenizer of the same size was trained again on other text."""

    def swap(content):
        merges = content["model"]["merges"]
        merges[-1], merges[-2] = merges[-2], merges[-1]

    edit(folder / "tokenizer.json", swap)


def swap_the_marks(folder):
    edit(folder / "tokenizer_config.json", lambda c: c.update(bos_token="</s>", eos_token="<s>"))


def lose_outputs(folder):
    weights = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights[name][:-1].contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", lambda content: content.update(vocab_size=VOCAB - 1))


def lose_positions(folder):
    edit(folder / "config.json", lambda content: content.update(max_position_embeddings=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_two_merges, "teacher 'a' .* has another tokenizer than the data: .* or prepare data for it"),
        (swap_the_marks, "teacher 'a' .* has another tokenizer than the data"),
        (lose_outputs, "teacher 'a' knows 299 tokens, the student 300"),
        (lose_positions, "teacher 'a' reads 8 positions: lower data.seq_len from 16"),
    ],
)
def test_a_teacher_of_other_tokens_or_sizes_is_refused_before_any_folder_is_made(
    make_distill, workplace, teachers_folder, tmp_path, change, message
):
    folder = shutil.copytree(teachers_folder / "a", tmp_path / "a")
    (folder / "SHA256.json").unlink()  # as a folder from elsewhere has none
    change(folder)
    paths = {"a": {"path": str(folder)}, "b": {"path": str(teachers_folder / "b")}}
    with pytest.raises(UserError, match=message):
        distil(make_distill(teachers=paths))
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_teacher_that_becomes_nan_is_named_and_the_checkpoint_stays_finite(
    make_distill, workplace, monkeypatch, name
):
    def poisoned(self, step, blocks, take=Stepper.__call__):
        if step == 3:
            model = self.trained.objective.teachers.models[name]
            model.get_output_embeddings().weight[0, 0] = torch.nan
        return take(self, step, blocks)

    monkeypatch.setattr(Stepper, "__call__", poisoned)
    with pytest.raises(UserError, match=rf"^loss soft\.{name} is not finite at step 3: no step was taken"):
        distil(make_distill(losses=BOTH_USED, checkpoint_seconds=1e-9))
    newest = max(Path("runs/tiny/state").iterdir())
    assert newest.name == "step-00000003" and damage(newest) is None
    for file in newest.glob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers": {"a": {"path": "runs/nowhere/export"}}}, "train it first"),
        ({"losses": {"layer_map": 30}}, "the teacher has 3 layers, no index 30"),
    ],
)
def test_an_impossible_teacher_is_refused_before_any_folder_is_made(
    make_distill, workplace, teachers_folder, changes, message
):
    paths = {name: {"path": str(teachers_folder / name)} for name in "ab"} | changes.get("teachers", {})
    index = changes.get("losses", {}).get("layer_map", 3)
    hidden = {"weight": {"a": 0.1}, "layer_map": {"a": [{"teacher": index, "student": 1}]}}
    losses = {"hard": {"weight": 1.0}, "soft": {"weight": {"a": 1.0, "b": 1.0}}, "hidden": hidden}
    with pytest.raises(UserError, match=message):
        distil(make_distill(teachers=paths, losses=losses))
    assert not Path("runs").exists()


def test_a_teacher_with_a_missing_weight_is_refused(make_distill, workplace, teachers_folder, tmp_path):
    broken = shutil.copytree(teachers_folder / "a", tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights.pop("model.layers.1.self_attn.q_proj.weight")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    (broken / "SHA256.json").unlink()  # as a folder from elsewhere has none
    paths = {"a": {"path": str(broken)}, "b": {"path": str(teachers_folder / "b")}}
    with pytest.raises(UserError, match="q_proj"):
        distil(make_distill(teachers=paths))


def test_a_damaged_teacher_is_refused(make_distill, workplace, teachers_folder, tmp_path):
    broken = shutil.copytree(teachers_folder / "a", tmp_path / "broken")
    content = bytearray((broken / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (broken / "model.safetensors").write_bytes(content)
    paths = {"a": {"path": str(broken)}, "b": {"path": str(teachers_folder / "b")}}
    with pytest.raises(UserError, match="has changed since it was written"):
        distil(make_distill(teachers=paths))


def test_a_run_is_not_resumed_with_other_teachers(
    make_distill, workplace, teachers_folder, tmp_path, data_folder
):
    paths = {name: {"path": str(shutil.copytree(teachers_folder / name, tmp_path / name))} for name in "ab"}
    config = make_distill(teachers=paths)
    distil(config)
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    shape = Model(
        family="llama", hidden_size=48, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=32
    )
    export(build(shape, tokenizer, seed=6), data_folder / "tokenizer", tmp_path / "a")
    with pytest.raises(UserError, match="another inputs: teacher a"):
        distil(config)


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_a_masked_model_is_no_teacher_for_it_sees_the_token_that_it_is_asked_for(
    make_distill, data_folder, tmp_path, kind
):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=0,
    )
    model = getattr(transformers, f"{kind}ForMaskedLM")(config)
    export(model, data_folder / "tokenizer", tmp_path / "encoder")
    config = make_distill(teachers={"a": {"path": str(tmp_path / "encoder")}, "b": {"path": "nowhere"}})
    with pytest.raises(UserError, match=f"encoder \\({kind.lower()}\\) is no causal language model"):
        Teachers(config, fingerprint(data_folder / "tokenizer"), VOCAB, CPU)

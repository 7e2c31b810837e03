import json
from pathlib import Path

import pytest
import torch
from conftest import VOCAB, make_data, write_corpus
from torch import nn

from babylm_data.errors import UserError
from babylm_data.tokenizer import fingerprint, load_tokenizer
from distill.config import DistillConfig
from distill.objective import DistillObjective
from distill.teachers import Teachers
from train_teachers.audit import audit
from train_teachers.checkpoint import export
from train_teachers.config import Model
from train_teachers.language_model import build
from train_teachers.objective import IGNORE, Batch
from train_teachers.optim import build_optimizers
from train_teachers.stage import run_training
from train_teachers.step import Trained, check_all_optimised

CPU = torch.device("cpu")
PAIRS = [{"teacher": 1, "student": 1}, {"teacher": 3, "student": 2}]
TERMS = ["hard", "soft.a", "soft.b", "hidden.a", "hidden.b"]


@pytest.fixture(scope="module")
def teachers_folder(data_folder, tmp_path_factory):
    """Two untrained teachers: a llama of three layers, a gpt2 of another width."""
    folder = tmp_path_factory.mktemp("teachers")
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    for name, family, width in (("a", "llama", 48), ("b", "gpt2", 40)):
        shape = Model(
            family=family,
            hidden_size=width,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
        model = build(shape, tokenizer, seed=5)
        model.get_output_embeddings().weight.data.mul_(20)  # opinions to learn, though untrained
        export(model, data_folder / "tokenizer", folder / name)
    return folder


@pytest.fixture
def make_distill(make_config, teachers_folder):
    """make_distill(**changes): the tiny config with two teachers and every loss."""

    def make(**changes):
        values = {
            "teachers": {name: {"path": str(teachers_folder / name)} for name in "ab"},
            "losses": {
                "hard": {"weight": 0.5},
                "soft": {"weight": {"a": 0.25, "b": 0.5}, "temperature": 2.0},
                "hidden": {"weight": {"a": 0.1, "b": 0.2}, "layer_map": {"a": PAIRS, "b": PAIRS}},
            },
        }
        return make_config(DistillConfig, **values | changes)

    return make


@pytest.fixture
def setting(make_distill, data_folder):
    """(student, objective, batch) of the tiny distillation."""
    config = make_distill()
    student = build(config.model, load_tokenizer(data_folder / "tokenizer"), seed=0)
    teachers = Teachers(config, fingerprint(data_folder / "tokenizer"), VOCAB, CPU)
    generator = torch.Generator().manual_seed(0)
    batch = Batch.from_sequences(torch.randint(5, 300, (3, 17), generator=generator))
    torch.manual_seed(0)
    return student, DistillObjective(config, teachers, student), batch


def test_there_is_one_term_for_the_text_and_one_per_teacher_and_loss(setting):
    student, objective, batch = setting
    assert list(objective(student, batch)) == TERMS == list(objective.weights)


@pytest.mark.parametrize("term", TERMS)
def test_every_loss_term_sends_gradient_to_the_student(setting, term):
    student, objective, batch = setting
    objective(student, batch)[term].backward()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())


@pytest.mark.parametrize("teacher", ["a", "b"])
def test_each_teacher_contributes_its_own_signal(setting, teacher):
    student, objective, batch = setting
    before = objective(student, batch)
    with torch.no_grad():
        for parameter in objective.teachers.models[teacher].parameters():
            parameter.mul_(1.5)
    after = objective(student, batch)
    changed = {name for name in TERMS if before[name] != after[name]}
    assert changed == {f"soft.{teacher}", f"hidden.{teacher}"}


def test_every_projector_is_in_the_optimizer_and_the_checkpoint(setting):
    student, objective, _ = setting
    trained = Trained(student, objective)
    check_all_optimised(trained, build_optimizers(trained, _optim()))
    names = {name for name, _ in trained.named_parameters() if "projector" in name}
    assert len(names) == 2 * 2 * 2  # two teachers, two pairs, weight and bias


def _optim():
    from train_teachers.config import Optim

    return Optim(lr=1e-3, optimizer="muon")


def test_teachers_are_frozen_in_evaluation_mode_and_no_part_of_the_objective(setting):
    student, objective, batch = setting
    sum(objective(student, batch).values()).backward()
    objective.train()
    for model in objective.teachers.models.values():
        assert not model.training
        assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert not any("teacher" in name for name, _ in objective.named_parameters())


def test_the_last_layer_is_the_index_that_equals_the_number_of_layers(setting):
    student, objective, batch = setting
    states = objective.teachers(batch.inputs_BT)["a"].hidden_BTD
    assert len(states) == 3 + 1
    final = objective.teachers.models["a"].lm_head(states[3])
    torch.testing.assert_close(final, objective.teachers(batch.inputs_BT)["a"].logits_BTV)


def test_masked_positions_add_nothing_to_any_term(setting):
    student, objective, batch = setting
    longer = Batch(
        torch.cat([batch.inputs_BT, torch.zeros(3, 4, dtype=torch.long)], 1),
        torch.cat([batch.targets_BT, torch.full((3, 4), IGNORE)], 1),
    )
    before, after = objective(student, batch), objective(student, longer)
    for name in TERMS:
        torch.testing.assert_close(before[name], after[name])


def test_terms_are_sums_over_positions(setting):
    student, objective, batch = setting
    halves = [Batch(*(part[rows] for part in batch)) for rows in (slice(0, 1), slice(1, 3))]
    parts = [objective(student, half) for half in halves]
    for name, value in objective(student, batch).items():
        torch.testing.assert_close(value, parts[0][name] + parts[1][name])


def test_the_audit_reports_every_term_and_shares_that_sum_to_one(setting):
    student, objective, batch = setting
    findings = audit(student, objective, batch)
    assert list(findings) == TERMS
    assert sum(finding.gradient_share for finding in findings.values()) == pytest.approx(1)
    assert findings["soft.b"].weight == 0.5


class Faulty(nn.Module):
    """An objective with one planted fault."""

    sources: dict = {}
    flops_per_token = 0.0

    def __init__(self, objective, fault):
        super().__init__()
        self.inner, self.fault, self.weights = objective, fault, dict(objective.weights)
        if fault == "projector that is never used":
            self.idle = nn.Linear(2, 2)

    def forward(self, student, batch):
        terms = self.inner(student, batch)
        if self.fault == "loss under no_grad":
            terms["hidden.a"] = terms["hidden.a"].detach()
        if self.fault == "detached student state":
            projector = self.inner.projectors["to-a"][0]
            terms["hidden.a"] = projector(torch.ones(1, 32)).sum()
        if self.fault == "zero gradient":
            terms["soft.a"] = terms["soft.a"] * 0
        return terms


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("loss under no_grad", "'hidden.a' carries no gradient"),
        ("detached student state", "'hidden.a' sends no usable gradient"),
        ("zero gradient", "'soft.a' sends no usable gradient"),
        ("projector that is never used", "'idle"),
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
        make_objective=lambda student, fp, device: DistillObjective(
            config, Teachers(config, fp, student.config.vocab_size, device), student
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
        assert any("projectors.to-a.0" in name for name in file.keys())


def test_a_teacher_with_another_tokenizer_is_refused_before_any_folder_is_made(
    make_distill, workplace, tmp_path_factory
):
    other = tmp_path_factory.mktemp("other")
    foreign = make_data(other / "data", write_corpus(other / "raw", seed=9, lines=300))
    with pytest.raises(UserError, match="teacher 'a' .* has another tokenizer"):
        distil(make_distill(data={"path": str(foreign)}))
    assert not Path("runs").exists()


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
    import shutil

    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(teachers_folder / "a", tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights.pop("model.layers.1.self_attn.q_proj.weight")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    (broken / "SHA256.json").unlink()  # as a folder from elsewhere has none
    paths = {"a": {"path": str(broken)}, "b": {"path": str(teachers_folder / "b")}}
    with pytest.raises(UserError, match="q_proj"):
        distil(make_distill(teachers=paths))


def test_a_damaged_teacher_is_refused(make_distill, workplace, teachers_folder, tmp_path):
    import shutil

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
    import shutil

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

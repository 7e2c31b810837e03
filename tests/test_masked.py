"""A masked teacher and a masked student, by every loss; and masked or hybrid runs that are stopped, or shared."""

import json

import pytest
import torch
from conftest import PAIRS, VOCAB
from test_distill import EVERY, distil, metrics
from test_loop import curve, weights
from test_processes import FSDP2
from test_targets import MASK, PLAIN_V, make_blocks

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.tokenizer_files import load_tokenizer
from distill.objective import DistillObjective
from distill.teachers import Teachers
from train_teachers import config
from train_teachers.checkpoint import export
from train_teachers.config import Model
from train_teachers.language_model import build
from train_teachers.targets import IGNORE, Masked

BERT = {"family": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LAYERED = {"weight": {"a": 0.2, "b": 0.2}, "layer_map": {"a": PAIRS, "b": PAIRS}}
KINDS = {
    "masked": {"model": BERT, "targets": "masked"},
    "hybrid": {"targets": {"kind": "hybrid", "causal": 0.75}},
}


@pytest.fixture
def make_masked(make_distill, data_folder, tmp_path):
    """make_masked(**changes): a bert taught by a bert of three blocks and a roberta of another width."""
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    for name, family, width in (("a", "bert", 48), ("b", "roberta", 40)):
        shape = BERT | {"family": family, "hidden_size": width, "num_hidden_layers": 3}
        model = build(Model(**shape, max_position_embeddings=32), tokenizer, seed=5)
        model.get_output_embeddings().weight.data.mul_(20)
        export(model, data_folder / "tokenizer", tmp_path / name)

    def make(**changes):
        taught = {name: {"path": str(tmp_path / name)} for name in "ab"}
        losses = {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.3, "b": 0.3}}, "hidden": LAYERED}
        options = {"teachers": taught, "losses": losses, "revisions": False}
        return make_distill(**options | KINDS["masked"] | changes)

    return make


@pytest.mark.parametrize("at", ["targets", "all"])
def test_a_term_is_a_mean_over_hidden_tokens_or_over_all(make_masked, data_folder, at):
    losses = {
        "hard": {"weight": 0.5},
        "soft": {"weight": {"a": 0.3, "b": 0.3}, "at": at},
        "hidden": LAYERED | {"at": at},
    }
    asked = make_masked(losses=losses)
    student = build(asked.model, load_tokenizer(data_folder / "tokenizer"), seed=0).eval()
    known = Teachers(asked, fingerprint(data_folder / "tokenizer"), VOCAB, torch.device("cpu"))
    targets = Masked(config.Targets(kind="masked"), MASK, PLAIN_V)
    objective = DistillObjective(asked, known, student, targets)
    objective.in_chunks.positions = 7
    batch = targets.of_step(make_blocks(6, 16), 0, 0, 0.0)
    sums, counts = objective(student, batch).sums, objective.counts(batch)
    is_target_BT = batch.targets_BT != IGNORE
    where_BT = is_target_BT if at == "targets" else torch.ones_like(is_target_BT)
    with torch.no_grad():
        mine = student(input_ids=batch.inputs_BT, output_hidden_states=True)
        for name, teacher in known.models.items():
            said = teacher(input_ids=batch.inputs_BT)
            p, q = ((logits[where_BT] / 2).log_softmax(-1) for logits in (said.logits, mine.logits))
            assert sums[f"soft.{name}"].item() == pytest.approx(
                4 * (p.exp() * (p - q)).sum().item(), rel=1e-4
            )
            assert counts[f"soft.{name}"] == counts[f"hidden.{name}"] == where_BT.sum()
    assert counts["hard"] == is_target_BT.sum() == batch.num_targets
    objective.divide(counts, batch.num_targets)
    total = objective(student, batch).total.item() / batch.num_targets
    weights = objective.weights
    assert total == pytest.approx(sum(weights[t] * sums[t].item() / counts[t] for t in weights), rel=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_a_masked_student_learns_by_every_loss(make_masked, workplace, name):
    loss = EVERY[name] | ({"at": "all"} if name in ("attention", "contrastive", "sinkhorn") else {})
    folder = distil(
        make_masked(losses={"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.3, "b": 0.3}}, name: loss})
    )
    audit = json.loads((folder / "audit.json").read_text())
    mine = [term for term in audit if term.partition(".")[0] == name]
    # critics and filters must learn first, and the attention of fresh models is alike, to one part in 100,000
    falling = mine if name not in ("wasserstein", "ted", "attention") else []
    for term in ("hard", "soft.a", "soft.b", *falling):
        before, *_, after = metrics(folder, f"val/{term}")
        assert after < before, term
    assert mine


@pytest.fixture
def body(data_folder, tmp_path):
    """A bert that was saved without its head, as encoders of sentences are."""
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    model = build(
        Model(**BERT | {"hidden_size": 48, "num_hidden_layers": 3}, max_position_embeddings=32),
        tokenizer,
        seed=5,
    )
    export(model.base_model, data_folder / "tokenizer", tmp_path / "body")
    return {"a": {"path": str(tmp_path / "body")}}


def test_a_body_without_a_head_teaches_what_it_sees(make_masked, body, workplace):
    compared = {"weight": {"a": 0.2}, "layer_map": {"a": PAIRS}}
    folder = distil(make_masked(teachers=body, losses={"hard": {"weight": 0.5}, "hidden": compared}))
    before, *_, after = metrics(folder, "val/hidden.a")
    assert after < before


def test_a_body_without_a_head_is_asked_for_no_outputs(make_masked, body, workplace):
    losses = {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.5}}}
    with pytest.raises(UserError, match="was saved without its output head .* can answer nothing"):
        distil(make_masked(teachers=body, losses=losses))


def test_a_body_that_looks_ahead_does_not_teach_a_causal_student(make_distill, body, workplace):
    compared = {"weight": {"a": 0.2}, "layer_map": {"a": PAIRS}}
    with pytest.raises(UserError, match="teacher 'a' .* sees the very tokens that the student is asked for"):
        distil(make_distill(teachers=body, losses={"hard": {"weight": 0.5}, "hidden": compared}))


def test_a_model_that_reads_from_left_to_right_does_not_teach_a_masked_student(
    make_masked, teachers_folder, workplace
):
    compared = {"weight": {"a": 0.2}, "layer_map": {"a": PAIRS}}
    causal = {"a": {"path": str(teachers_folder / "a")}}
    with pytest.raises(UserError, match="teacher 'a' .* reads from left to right, and is asked for hidden"):
        distil(make_masked(teachers=causal, losses={"hard": {"weight": 0.5}, "hidden": compared}))


def hide_behind_unk(folder):
    """As a tokenizer that hides tokens behind another one, and does the same to every text."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mask_token": "<unk>"}))
    (folder / "SHA256.json").unlink(missing_ok=True)


def test_a_teacher_or_first_weights_that_know_another_mask_are_refused(make_masked, workplace, tmp_path):
    asked = make_masked()
    hide_behind_unk(tmp_path / "a")
    told = (
        r"has learned to see <unk> \(3\) where a token is hidden, and the data hides them behind <mask> \(4\)"
    )
    with pytest.raises(UserError, match=f"teacher 'a' .* {told}"):
        distil(asked)
    shape = asked.model.model_dump() | {"hidden_size": 48}
    begun = {
        "init": {"path": str(tmp_path / "a")},
        "model": shape,
        "teachers": {"b": {"path": str(tmp_path / "b")}},
    }
    begun["competition"] = False  # nobody knows what those have read
    with pytest.raises(UserError, match=f"init .* {told}"):
        distil(make_masked(**begun, losses={"hard": {"weight": 1.0}, "soft": {"weight": {"b": 1.0}}}))
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize(("reads", "told"), [("masked", None), ("causal", "write reads: masked")])
def test_a_hybrid_is_taught_by_a_masked_body_what_it_sees_of_hidden_tokens(
    make_distill, body, workplace, reads, told
):
    compared = {"weight": {"a": 0.2}, "layer_map": {"a": PAIRS}}
    options = {"losses": {"hard": {"weight": 0.5}, "hidden": compared}, "revisions": False, **KINDS["hybrid"]}
    asked = make_distill(teachers={"a": body["a"] | {"reads": reads}}, **options)
    if told:
        with pytest.raises(UserError, match=told):
            distil(asked)
    else:
        before, *_, after = metrics(distil(asked), "val/hidden.a")
        assert after < before


def test_its_control_sees_the_same_masks(make_masked, workplace, monkeypatch):
    from distill.__main__ import objective_of
    from train_teachers.stage import run_training

    seen = []

    def note(self, blocks, seed, step, progress, honest=Masked.of_step):
        batch = honest(self, blocks, seed, step, progress)
        seen.append((step, batch.inputs_BT.sum().item()))
        return batch

    monkeypatch.setattr(Masked, "of_step", note)
    asked = make_masked()
    distil(asked)
    taught, seen[:] = list(seen), []
    control = objective_of(asked.without_teachers())
    run_training(asked.control(), kind="control", make_objective=control)
    assert seen == taught and len(seen) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_killed_goes_on_with_the_same_masks(train_tiny, die_once, kind):
    whole = train_tiny(name="whole", **KINDS[kind])
    options = {"name": "killed", "checkpoint_seconds": 1e-9, **KINDS[kind]}
    die_once(5)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(**options)
    killed = train_tiny(**options)
    assert curve(killed) == curve(whole) and weights(killed) == weights(whole)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_masks_of_one(make_config, train_tiny, on_two, kind):
    options = {"log_every": 1, **KINDS[kind]}
    alone = train_tiny(name="alone", **options)
    both = on_two("train_teachers", make_config(name="both", **options))
    for mine, theirs in zip(curve(alone), curve(both), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_in_shards_a_run_is_what_it_is_alone(make_config, train_tiny, on_two, kind):
    """With Muon, and a head between final states and outputs that is called from outside of the model."""
    options = {"log_every": 1, "optim": {"optimizer": "muon"}, **KINDS[kind]}
    alone = train_tiny(name="alone", **options)
    both = on_two("train_teachers", make_config(name="both", **options), engine=FSDP2)
    for mine, theirs in zip(curve(alone), curve(both), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_two_processes_distil_a_hybrid_as_one_does(make_distill, on_two, data_folder, tmp_path):
    """Of a step of four sequences each process has two, of which one is masked."""
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    shape = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
    }
    for name, family in (("a", "llama"), ("b", "bert")):
        export(
            build(Model(family=family, **shape), tokenizer, seed=5),
            data_folder / "tokenizer",
            tmp_path / name,
        )
    reads = {"a": "causal", "b": "masked"}
    taught = {name: {"path": str(tmp_path / name), "reads": how} for name, how in reads.items()}
    losses = {
        "hard": {"weight": 0.5},
        "soft": {"weight": {"a": 0.3, "b": 0.3}},
        "hidden": LAYERED | {"at": "all"},
    }
    options = {"teachers": taught, "losses": losses, "targets": "hybrid", "log_every": 1, "revisions": False}
    alone = distil(make_distill(name="alone", micro_batch_size=2, **options))
    both = on_two("distill", make_distill(name="both", micro_batch_size=2, **options))
    for mine, theirs in zip(curve(alone), curve(both), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiling_changes_no_more_than_rounding_and_gives_the_same_bits_twice(train_tiny, kind):
    options = {"data": {"words": 200}, **KINDS[kind]}
    plain = train_tiny(name="plain", **options)
    first, again = (train_tiny(name=name, compile=True, **options) for name in ("first", "again"))
    assert curve(first) == curve(again) and weights(first) == weights(again)
    for mine, theirs in zip(curve(plain), curve(first), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"targets": "next_token"}, "a bert cannot be asked for next_token: write `targets: masked`"),
        (
            {"teachers": {name: {"path": name, "reads": "causal"} for name in "ab"}},
            "teacher 'a' reads causal, and this student is asked for masked",
        ),
        (
            {
                "teachers": {name: {"path": name, "cache": {"path": name, "top": 4}} for name in "ab"},
                "losses": {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.3, "b": 0.3}}},
                "data": {"offset": "fixed"},
            },
            "targets: masked hides other tokens at each step",
        ),
        (
            {
                "losses": {
                    "hard": {"weight": 0.5},
                    "soft": {"weight": {"a": 1.0, "b": 1.0}, "adaptive": "teacher_loss", "at": "all"},
                }
            },
            "adaptive: teacher_loss knows no true token",
        ),
    ],
)
def test_what_cannot_be_is_refused(make_masked, changes, told):
    with pytest.raises(ValueError, match=told):
        make_masked(**changes)

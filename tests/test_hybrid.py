"""One model that is asked for next tokens and for hidden ones; of its teachers each is asked what it can answer."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import VOCAB
from test_distill import EVERY, distil, metrics
from test_loop import curve
from test_targets import MASK, PLAIN_V, make_blocks

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.tokenizer_files import load_tokenizer
from distill.objective import DistillObjective
from distill.teachers import Teachers
from eval.scorer.items import Choice
from eval.scorer.log_probs import Scorer
from eval.scorer.model import load_for_scoring
from train_teachers import config
from train_teachers.checkpoint import export
from train_teachers.config import Model
from train_teachers.families import FAMILIES
from train_teachers.language_model import build, reading
from train_teachers.objective import HardObjective
from train_teachers.targets import IGNORE, Hybrid

HYBRIDS = [name for name, family in FAMILIES.items() if "both" in family.reads]
LOSSES = {
    "hard": {"weight": 0.5},
    "soft": {"weight": {"a": 0.2, "m": 0.3, "h": 0.4}},
    "hidden": {"weight": {"a": 0.1, "m": 0.1}, "at": "all"},
}


def hybrid(**options):
    return Hybrid(config.Targets(kind="hybrid", **options), MASK, PLAIN_V)


def make(family, tokenizer, *, seed=0, width=32):
    shape = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 2}
    return build(Model(family=family, max_position_embeddings=32, **shape), tokenizer, seed=seed).eval()


@pytest.fixture
def tokenizer(data_folder):
    return load_tokenizer(data_folder / "tokenizer")


@pytest.fixture
def teachers(tokenizer, data_folder, tmp_path):
    """Three teachers: a causal llama, a masked bert, and a llama as a hybrid."""
    found = {}
    for name, family, reads in (("a", "llama", "causal"), ("m", "bert", "masked"), ("h", "llama", "both")):
        model = make(family, tokenizer, seed=3, width=40)
        model.get_output_embeddings().weight.data.mul_(20)
        export(model, data_folder / "tokenizer", tmp_path / name)
        found[name] = {"path": str(tmp_path / name), "reads": reads}
    return found


def test_of_the_sequences_the_share_is_what_the_config_says_and_each_is_asked_in_its_way():
    blocks, targets = make_blocks(16000, 16), hybrid(causal=15 / 16)
    batch = targets.of_step(blocks, 0, 0, 0.0)
    full = batch.full_B.numpy()
    assert full.sum() == 1000
    among = np.concatenate([targets.of_step(make_blocks(8, 4), 0, step, 0.0).full_B for step in range(2000)])
    assert among.reshape(2000, 8).mean(axis=0) == pytest.approx(
        np.full(8, 1 / 16), abs=0.02
    )  # wherever it stands
    assert among.reshape(1000, 16).sum(axis=1).max() <= 2
    assert np.array_equal(batch.inputs_BT[~full], blocks.tokens[~full, :-1])
    assert np.array_equal(batch.targets_BT[~full], blocks.tokens[~full, 1:])
    asked = batch.targets_BT[full].numpy() != IGNORE
    assert np.array_equal(batch.targets_BT[full].numpy()[asked], blocks.tokens[full, 1:][asked])
    plain = blocks.tokens[full, 1:-1] >= 5
    assert asked[:, :-1][plain].mean() == pytest.approx(0.15, abs=0.015) and not asked[:, -1].any()
    hidden = batch.inputs_BT[full, 1:].numpy()[asked[:, :-1]]
    assert (hidden == MASK).mean() == pytest.approx(0.8, abs=0.03)


def test_held_out_items_are_asked_in_both_ways():
    blocks, targets = make_blocks(6, 16), hybrid()
    batch, again = targets.of_items(blocks), targets.of_items(blocks)
    assert batch.full_B.tolist() == [False] * 6 + [True] * 6
    assert torch.equal(batch.inputs_BT, again.inputs_BT) and torch.equal(batch.targets_BT, again.targets_BT)
    assert np.array_equal(batch.targets_BT[:6], blocks.tokens[:, 1:])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", HYBRIDS)
def test_a_sequence_is_read_in_both_directions_or_in_one(family, implementation, tokenizer):
    model = make(family, tokenizer)
    model.set_attn_implementation(implementation)
    batch = hybrid().of_items(make_blocks(1, 16))
    changed = batch._replace(inputs_BT=batch.inputs_BT.clone())
    changed.inputs_BT[:, -1] = 200 if batch.inputs_BT[0, -1] != 200 else 201
    before, after = (model(**reading(model, each), use_cache=False).logits for each in (batch, changed))
    moved_BT = (before - after).abs().amax(-1) > 1e-7
    assert moved_BT[1].all() and not moved_BT[0, :-1].any()


@pytest.mark.parametrize("family", HYBRIDS)
def test_the_hard_loss_is_the_mean_of_each_kind_times_its_share(family, tokenizer):
    model, targets = make(family, tokenizer), hybrid(causal=0.75)
    batch = targets.of_step(make_blocks(24, 16), 0, 0, 0.0)
    full = batch.full_B
    with torch.no_grad():
        logits = model(**reading(model, batch), use_cache=False).logits
        alone = model(input_ids=batch.inputs_BT[~full], use_cache=False).logits
    assert torch.allclose(logits[~full], alone, atol=1e-5)
    means = [
        F.cross_entropy(logits[rows].flatten(0, 1), batch.targets_BT[rows].flatten(), ignore_index=IGNORE)
        for rows in (~full, full)
    ]
    objective = HardObjective(targets)
    counts = objective.counts(batch)
    objective.divide(counts, batch.num_targets)
    terms = objective(model, batch)
    for name, mean in zip(("hard.causal", "hard.masked"), means, strict=True):
        assert terms.sums[name].item() / counts[name] == pytest.approx(mean.item(), rel=1e-5)
    expected = 0.75 * means[0] + 0.25 * means[1]
    assert terms.total.item() / batch.num_targets == pytest.approx(expected.item(), rel=1e-5)
    assert counts["hard.causal"] + counts["hard.masked"] == batch.num_targets


@pytest.fixture
def make_hybrid(make_distill, teachers):
    """make_hybrid(**changes): a distillation of three teachers, each of another kind, into a hybrid."""

    def make(**changes):
        options = {"teachers": teachers, "losses": LOSSES, "targets": "hybrid", "revisions": False}
        return make_distill(**options | changes)

    return make


def test_each_teacher_counts_where_it_was_asked(make_hybrid, tokenizer, data_folder):
    asked = make_hybrid()
    student, targets = build(asked.model, tokenizer, seed=0).eval(), hybrid()
    known = Teachers(asked, fingerprint(data_folder / "tokenizer"), VOCAB, torch.device("cpu"))
    objective = DistillObjective(asked, known, student, targets)
    batch = targets.of_step(make_blocks(12, 16), 0, 0, 0.0)
    counts = objective.counts(batch)
    sums = objective(student, batch).sums
    full_BT = batch.full_B[:, None].expand_as(batch.inputs_BT)
    is_target_BT = batch.targets_BT != IGNORE
    with torch.no_grad():
        mine = student(**reading(student, batch), use_cache=False, output_hidden_states=True)
        theirs = {
            "a": known.models["a"](input_ids=batch.inputs_BT, output_hidden_states=True, use_cache=False),
            "m": known.models["m"](input_ids=batch.inputs_BT, output_hidden_states=True),
            "h": known.models["h"](**reading(known.models["h"], batch), use_cache=False),
        }
    said = {name: out.logits for name, out in theirs.items()}
    said["m"] = said["m"].roll(-1, dims=1)  # a masked model says it where the token was
    where = {"a": is_target_BT & ~full_BT, "m": is_target_BT & full_BT, "h": is_target_BT}
    for name, logits in said.items():
        p, q = ((part / 2).log_softmax(-1) for part in (logits, mine.logits))
        kl_BT = 4 * (p.exp() * (p - q)).sum(-1)
        expected = kl_BT[where[name]].mean()
        if name == "h":  # each kind counts by its share, as in the hard loss
            expected = (kl_BT[where["a"]].mean() + kl_BT[where["m"]].mean()) / 2
        assert counts[f"soft.{name}"] == where[name].sum()
        assert sums[f"soft.{name}"].item() / counts[f"soft.{name}"] == pytest.approx(
            expected.item(), rel=1e-4
        )
    states = {"a": theirs["a"].hidden_states[-1], "m": theirs["m"].hidden_states[-1].roll(-1, dims=1)}
    inner_BT = full_BT.clone()
    inner_BT[:, -1] = False  # of what stands behind it a masked model has said nothing
    for name, rows in (("a", ~full_BT), ("m", inner_BT)):
        project = next(p.project for p in objective.learners.places["hidden"] if p.teacher == name)
        gap = (project(mine.hidden_states[-1]) - states[name]).square().mean(-1)
        assert counts[f"hidden.{name}"] == rows.sum()
        assert sums[f"hidden.{name}"].item() == pytest.approx(gap[rows].sum().item(), rel=1e-4)


def test_a_causal_and_a_masked_teacher_of_one_weight_count_as_a_hybrid_one_of_that_weight(
    make_hybrid, tokenizer, data_folder
):
    asked, targets = make_hybrid(), hybrid(causal=0.25)
    student = build(asked.model, tokenizer, seed=0).eval()
    known = Teachers(asked, fingerprint(data_folder / "tokenizer"), VOCAB, torch.device("cpu"))
    objective = DistillObjective(asked, known, student, targets)
    weights, parts = objective.weights, asked.losses.soft.weight
    assert weights["soft.a"] == pytest.approx(0.25 * parts["a"]) and weights["soft.h"] == parts["h"]
    assert weights["soft.m"] == pytest.approx(0.75 * parts["m"])
    assert weights["hidden.a"] == pytest.approx(0.25 * asked.losses.hidden.weight["a"])


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_a_model_without_a_masked_form_does_not_teach_a_masked_student(
    make_distill, tokenizer, data_folder, tmp_path, family
):
    export(make(family, tokenizer), data_folder / "tokenizer", tmp_path / "t")
    losses = {"hard": {"weight": 1.0}, "soft": {"weight": {"t": 0.5}}}
    shape = {"family": "bert", "num_key_value_heads": None}
    config = make_distill(
        teachers={"t": {"path": str(tmp_path / "t")}}, losses=losses, targets="masked", model=shape
    )
    with pytest.raises(
        UserError, match=f"teacher 't' is a {family}, which cannot be asked for hidden tokens"
    ):
        Teachers(config, fingerprint(data_folder / "tokenizer"), VOCAB, torch.device("cpu"))


def test_a_share_of_which_every_step_has_a_sequence_is_taken_whatever_rounding_does(make_hybrid):
    for causal, batch_size in ((0.8, 5), (0.9, 10)):
        assert make_hybrid(targets={"kind": "hybrid", "causal": causal}, batch_size=batch_size)
    with pytest.raises(ValueError, match="without a sequence of one kind"):
        make_hybrid(targets={"kind": "hybrid", "causal": 0.8}, batch_size=4)


def test_no_batch_of_a_hybrid_has_more_targets_than_room_was_made_for_and_its_share_of_masks_follows_its_schedule():
    for causal in (1 / 16, 0.5, 15 / 16):
        targets = hybrid(causal=causal)
        found = [targets.of_step(make_blocks(8, 64, step), 0, step, 0.0).num_targets for step in range(200)]
        assert max(found) <= targets.most(8, 64)
    assert hybrid(causal=1 / 16).most(32, 128) < 0.4 * 32 * 128
    targets, blocks = hybrid(share={"start": 0.4, "end": 0.1}), make_blocks(400, 64)
    shares = [targets.of_step(blocks, 0, 0, progress) for progress in (0.0, 1.0)] + [targets.of_items(blocks)]
    found = [
        (batch.targets_BT[batch.full_B][:, :-1] != IGNORE).float().mean().item() / 0.8 for batch in shares
    ]
    assert found == pytest.approx([0.4, 0.1, 0.1], abs=0.01)


def test_a_hybrid_learns_from_teachers_of_three_kinds_whatever_the_micro_batch(make_hybrid, workplace):
    whole = distil(make_hybrid(name="whole"))
    for term in ("hard", "hard.causal", "hard.masked", "soft.a", "soft.m", "soft.h", "hidden.a", "hidden.m"):
        before, *_, after = metrics(whole, f"val/{term}")
        assert after < before, term
    assert metrics(whole, "val/hard")[-1] == pytest.approx(
        0.5 * metrics(whole, "val/hard.causal")[-1] + 0.5 * metrics(whole, "val/hard.masked")[-1]
    )
    assert (whole / "export/config.json").read_text().count('"LlamaForCausalLM"') == 1
    again = distil(make_hybrid(name="again", micro_batch_size=2))
    for mine, theirs in zip(curve(whole), curve(again), strict=True):
        assert mine == pytest.approx(theirs, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize("reads", ["causal", "masked", "both"])
@pytest.mark.parametrize("name", EVERY)
def test_every_loss_is_finite_where_a_forward_pass_has_sequences_of_one_kind_alone(
    make_distill, teachers, workplace, name, reads
):
    """A sequence a pass, and one of four of them masked."""
    of = {"causal": "a", "masked": "m", "both": "h"}[reads]
    loss = json.loads(json.dumps(EVERY[name]).replace('"a"', f'"{of}"'))
    if isinstance(loss["weight"], dict):
        loss["weight"] = {of: 0.2}
        if isinstance(loss.get("layer_map"), dict):
            loss["layer_map"] = {of: [{"teacher": 2, "student": 2}]}
    if name == "heads":
        loss["soft"] = {of: 0.5} if reads == "both" else {}
    losses = {"hard": {"weight": 0.5}, "soft": {"weight": {of: 0.3}}, name: loss}
    options = {"targets": {"kind": "hybrid", "causal": 0.75}, "revisions": False, "data": {"words": 150}}
    micro = {} if name in ("wasserstein", "ted") else {"micro_batch_size": 1}
    folder = distil(make_distill(teachers={of: teachers[of]}, losses=losses, log_every=1, **micro, **options))
    lines = [line for line in curve(folder) if "lr" in line]
    assert len(lines) > 3 and all(math.isfinite(value) for line in lines for value in line.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"targets": "next_token"}, "'m' reads masked, and this student is asked for next_token"),
        (
            {"losses": LOSSES | {"soft": LOSSES["soft"] | {"combine": "mean_probs"}}},
            "teachers that read otherwise",
        ),
        (
            {"losses": LOSSES | {"heads": {"weight": 0.1, "layers": [1], "soft": {"a": 0.5}}}},
            "in a hybrid its teachers must read both",
        ),
        ({"model": {"family": "opt"}}, "a opt cannot be asked for hybrid: write `targets: next_token`"),
        (
            {
                "losses": LOSSES
                | {"hidden": {"weight": {"m": 0.1}, "layer_map": {"m": [{"teacher": 0, "student": 1}]}}}
            },
            "its embeddings \\(0\\) say nothing",
        ),
        (
            {"targets": {"kind": "hybrid", "causal": 0.9}},
            "leaves steps of batch_size 4 without a sequence of one kind",
        ),
    ],
)
def test_what_cannot_be_is_refused(make_hybrid, changes, told):
    with pytest.raises(ValueError, match=told):
        make_hybrid(**changes)


@pytest.mark.parametrize(
    ("learned", "reads", "told"),
    [
        ("causal", None, "has learned to be asked causal, and is asked both: write reads: causal"),
        ("masked", "causal", "has learned to be asked masked, and is asked causal: write reads: masked"),
        ("masked", None, "has learned to be asked masked, and is asked both: write reads: masked"),
        ("both", "masked", "has learned to be asked both, and is asked masked: write reads: both or causal"),
        (None, None, "nobody knows what it has learned: write reads: causal, masked or both"),
    ],
)
def test_a_teacher_is_not_asked_what_it_has_not_learned(
    make_distill, teachers, data_folder, tmp_path, learned, reads, told
):
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / ("m" if learned == "masked" else "a")).rename(run / "export")
    if learned:
        (run / "summary.json").write_text(json.dumps({"reads": learned}))
    taught = {"a": {"path": str(run / "export"), "reads": reads}}
    asked = make_distill(
        teachers=taught, losses={"hard": {"weight": 1.0}, "soft": {"weight": {"a": 0.5}}}, targets="hybrid"
    )
    with pytest.raises(UserError, match=told):
        Teachers(asked, fingerprint(data_folder / "tokenizer"), VOCAB, torch.device("cpu"))


@pytest.mark.parametrize("family", ["opt", "mamba"])
def test_a_model_that_no_mask_changes_is_not_scored_as_a_hybrid(family, tokenizer):
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2 if family == "opt" else None}
    model = build(Model(family=family, **shape), tokenizer, seed=0).eval()
    with pytest.raises(UserError, match=f"a {family} reads from left to right whatever it is told"):
        Scorer(model, tokenizer, backend="mntp")


@pytest.mark.parametrize("family", HYBRIDS)
def test_a_hybrid_is_scored_as_a_masked_model_one_position_to_the_left(
    family, tokenizer, data_folder, tmp_path
):
    export(make(family, tokenizer), data_folder / "tokenizer", tmp_path / "export")
    model, tokenizer = load_for_scoring(tmp_path / "export", device="cpu", backend="mntp")
    text = "The dog sees the cat."
    found = Scorer(model, tokenizer, backend="mntp").logprobs([Choice("", text)])[0]
    ids = torch.tensor(tokenizer(text).input_ids)
    every = torch.zeros(1, 1, len(ids), len(ids))
    expected = 0.0
    for place in range(1, len(ids)):
        hidden = ids.clone()
        hidden[place] = tokenizer.mask_token_id
        logits = model(input_ids=hidden[None], attention_mask=every, use_cache=False).logits
        expected += logits[0, place - 1].log_softmax(-1)[ids[place]].item()
    assert found == pytest.approx(expected, abs=1e-4)
    causal = load_for_scoring(tmp_path / "export", device="cpu")[0]
    assert Scorer(causal, tokenizer).logprobs([Choice("", text)])[0] != pytest.approx(expected, abs=1e-2)

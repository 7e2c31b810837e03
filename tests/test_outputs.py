"""Losses on outputs in chunks are the losses on whole outputs, in value and in gradient, whatever the chunk."""

import numpy as np
import pytest
import torch
from conftest import VOCAB
from test_distill import ask
from torch import nn
from torch.utils._pytree import tree_leaves

from distill.config import Soft
from train_teachers.outputs import InChunks, Logits, Output, chunk_size, has_plain_output
from train_teachers.targets import IGNORE, Batch

HARD = {"weight": 0.5, "label_smoothing": 0.1}
WEIGHT = {"a": 0.25, "b": 0.5}
DIVERGENCES = Soft.model_fields["divergence"].annotation.__args__
SOFT = [
    *({"divergence": name} for name in DIVERGENCES),
    *({"combine": rule} for rule in ("mean_probs", "mean_logits")),
    *(
        {"adaptive": rule, "adaptive_per": per}
        for rule in ("teacher_loss", "inverse", "max", "min")
        for per in ("token", "batch")
    ),
]
HEADS = {"weight": 0.3, "layers": [1, 2], "soft": {"a": 0.5, "b": 0.2}}
CASES = [
    {"z_loss": {"weight": 0.1}},
    *({"soft": {"weight": WEIGHT, **options}} for options in SOFT),
    *({"output_cosine": {"weight": WEIGHT, "of": of}} for of in ("probs", "logits")),
    {"output_wasserstein": {"weight": WEIGHT}},
    {"heads": HEADS, "soft": {"weight": WEIGHT}},
]
EXACT = {"atol": 1e-9, "rtol": 1e-9}


@pytest.fixture
def in_float64(make_setting):
    """in_float64(losses): (student, objective, batch in which some positions have no target), in double precision."""

    def make(losses):
        student, objective, batch = make_setting(losses={"hard": HARD, **losses, **_all_used(losses)})
        for model in (student, objective, *objective.teachers.models.values()):
            model.double()
        targets_BT = batch.targets_BT.clone()
        targets_BT[0, :3] = targets_BT[2, 5:] = IGNORE
        return student, objective, Batch.of(batch.inputs_BT, targets_BT, batch.starts, batch.stream)

    return make


def _all_used(losses):
    """A config refuses a teacher without a weight."""
    used = set().union(*(loss["weight"] for loss in losses.values() if isinstance(loss["weight"], dict)))
    return {} if used == set("ab") else {"hidden": {"weight": WEIGHT}}


def whole(student, objective, batch):
    """The total and the sums with each tensor of (positions, vocabulary) in one piece."""
    see = objective.see(student, batch, "ab")
    judge = objective.in_chunks

    def at_once(values, weights, outputs, beside, targets_N, places_N):
        logits = {name: output.part(0, len(targets_N)) for name, output in outputs.items()}
        there = {name: part.part(0, len(targets_N)) for name, part in beside.items()}
        sums = {
            output: {name: value_N[targets_N != IGNORE].sum() for name, value_N in terms.items()}
            for output, terms in values(logits, there, targets_N).items()
        }
        totals = {
            output: sum(weights[name] * value for name, value in terms.items() if name in weights)
            for output, terms in sums.items()
        }
        return totals, {name: value for terms in sums.values() for name, value in terms.items()}

    objective.in_chunks = at_once
    try:
        total, sums = objective.outputs(see)
    finally:
        objective.in_chunks = judge
    return total, sums


def gradients(total, *modules):
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return torch.autograd.grad(total, parameters, allow_unused=True)


@pytest.mark.parametrize("positions", [1, 7, 64, None])
@pytest.mark.parametrize("losses", CASES, ids=str)
def test_chunks_give_the_values_and_gradients_of_whole_outputs(in_float64, losses, positions):
    student, objective, batch = in_float64(losses)
    objective.in_chunks.positions = positions
    found_total, found = objective.outputs(objective.see(student, batch, "ab"))
    total, sums = whole(student, objective, batch)
    assert found.keys() == sums.keys()
    for name, value in sums.items():
        torch.testing.assert_close(found[name], value.detach(), **EXACT)
    torch.testing.assert_close(found_total, total, **EXACT)
    pairs = zip(gradients(found_total, student, objective), gradients(total, student, objective), strict=True)
    for mine, right in pairs:
        assert (mine is None) == (right is None)
        if mine is not None:
            torch.testing.assert_close(mine, right, **EXACT)


def test_the_mean_of_logits_is_one_product_with_the_states_of_all_teachers(in_float64):
    """A loss that asks each teacher by itself keeps them apart."""
    weight = {"b": 0.75, "a": 0.25}  # in another order than the teachers have in the config
    soft = {"soft": {"weight": weight, "combine": "mean_logits"}}
    student, objective, batch = in_float64(soft)
    (merged,) = objective.targets_of(objective.see(student, batch, "ab")).values()
    merged_value = objective(student, batch).sums["soft"]
    student, objective, batch = in_float64({**soft, "output_cosine": {"weight": weight}})
    see = objective.see(student, batch, "ab")
    apart = objective.targets_of(see)
    assert apart.keys() == {"a", "b"}
    right = 0.75 * apart["b"].part(0, 9) + 0.25 * apart["a"].part(0, 9)
    torch.testing.assert_close(merged.part(0, 9), right, **EXACT)
    torch.testing.assert_close(merged_value, objective(student, batch).sums["soft"], **EXACT)


@pytest.mark.parametrize("biased", [False, True])
def test_the_gradient_is_that_of_finite_differences(biased):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    targets_N, teacher_NV = torch.tensor([3, IGNORE, 0, 4, 2]), draw(5, 6)
    in_chunks, weights = InChunks(), {"hard": torch.tensor(0.7), "kl": torch.tensor(0.4)}
    in_chunks.positions = 2

    def values(logits, beside, targets_C):
        q_CV = logits["student"].log_softmax(-1)
        p_CV = beside["teacher"].log_softmax(-1)
        hard_C = nn.functional.cross_entropy(
            logits["student"], targets_C, reduction="none", ignore_index=IGNORE
        )
        kl_C = torch.where(targets_C != IGNORE, (p_CV.exp() * (p_CV - q_CV)).sum(-1), 0.0)
        return {"student": {"hard": hard_C, "kl": kl_C, "idle": hard_C}}

    def total(hidden_ND, weight_VD, bias_V=None):
        outputs = {"student": Output(hidden_ND, weight_VD, bias_V)}
        return in_chunks(values, weights, outputs, {"teacher": Logits(teacher_NV)}, targets_N, None)[0][
            "student"
        ]

    inputs = [draw(5, 3), draw(6, 3), *([draw(6)] if biased else [])]
    assert torch.autograd.gradcheck(total, [tensor.requires_grad_() for tensor in inputs])


def test_nothing_of_the_size_of_positions_times_vocabulary_is_ever_made(make_setting):
    student, objective, batch = make_setting(losses={"hard": HARD, "soft": {"weight": WEIGHT}})
    batch = Batch.of(
        *(part.repeat(2, 1) for part in (batch.inputs_BT, batch.targets_BT)),
        np.tile(batch.starts, 2),
        batch.stream,
    )
    objective.in_chunks.positions = 8
    widths = [m.config.hidden_size for m in (student, *objective.frozen)]
    rows = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            tensors = [part for part in tree_leaves(made) if isinstance(part, torch.Tensor)]
            rows.extend(t.shape[:-1].numel() for t in tensors if t.shape[-1:] == (VOCAB,))
            return made

    with Watch():
        objective(student, batch).total.backward()
    # a chunk of logits, or an output matrix the other way round
    assert 8 in rows and set(rows) - {*widths, 1} <= set(range(9))
    assert batch.num_targets > 8 and batch.num_targets not in widths


def test_without_a_target_a_batch_has_no_loss_and_no_gradient(in_float64):
    student, objective, batch = in_float64({"soft": {"weight": WEIGHT}})
    empty = Batch.of(batch.inputs_BT, torch.full_like(batch.targets_BT, IGNORE), batch.starts, batch.stream)
    total, sums = objective(student, empty)
    assert total.item() == 0.0 and all(value.item() == 0.0 for value in sums.values())
    assert not any(g is not None and g.any() for g in gradients(total, student))


def test_a_teacher_that_caps_its_logits_is_asked_for_them_whole(make_setting):
    """Gemma's kind: the product of states and matrix is not what it says."""
    student, objective, batch = make_setting(losses={"hard": HARD, "soft": {"weight": WEIGHT}})
    teacher = objective.teachers.models["a"]
    assert has_plain_output(teacher)
    before = objective(student, batch).sums
    forward = teacher.forward

    def capped(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = 2.0 * torch.tanh(out.logits / 2.0)
        return out

    teacher.forward = capped
    assert not has_plain_output(teacher)
    objective.teachers.plain["a"] = False
    after = objective(student, batch).sums
    assert after["soft.b"] == before["soft.b"] and after["soft.a"] != before["soft.a"]
    right_BTV = capped(input_ids=batch.inputs_BT).logits
    signal = ask(objective, batch, "a")["a"]
    torch.testing.assert_close(signal.output.part(0, 48), right_BTV.flatten(0, 1))


@pytest.mark.parametrize(("positions", "vocab_size"), [(8192, 16000), (2048, 1024), (1, 10**9), (0, 300)])
def test_chunks_share_the_positions_evenly_and_none_is_too_large(positions, vocab_size):
    size = chunk_size(positions, vocab_size, torch.device("cpu"))
    chunks = -(-positions // size)
    assert size == 1 or size * vocab_size <= 2**22
    assert chunks * size - positions < max(1, chunks)


@pytest.mark.slow
@pytest.mark.parametrize(
    "losses", [{"soft": {"weight": WEIGHT}}, {"heads": HEADS, "soft": {"weight": WEIGHT}}]
)
def test_compiled_chunks_change_no_more_than_rounding(in_float64, losses):
    student, objective, batch = in_float64(losses)
    right = objective(student, batch)
    objective.in_chunks.compile()
    found = objective(student, batch)
    for name, value in right.sums.items():
        torch.testing.assert_close(found.sums[name], value, **EXACT)
    for mine, other in zip(gradients(found.total, student), gradients(right.total, student), strict=True):
        torch.testing.assert_close(mine, other, **EXACT)

"""Every architecture that a config may name, from its record to a score."""

from pathlib import Path

import pytest
import torch
from conftest import VOCAB
from test_distill import distil, metrics
from torch import nn
from transformers.pytorch_utils import Conv1D

from babylm_data.tokenizer_files import load_tokenizer
from eval.scorer.items import Choice
from eval.scorer.log_probs import Scorer
from eval.scorer.model import load_for_scoring
from train_teachers.config import Model, Optim
from train_teachers.families import FAMILIES
from train_teachers.language_model import blocks_of, build
from train_teachers.objective import HardObjective
from train_teachers.optim import build_optimizers
from train_teachers.outputs import has_plain_output, output_of
from train_teachers.step import Trained, check_all_optimised


def shape_of(family, **changes):
    values = {"family": family, "hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 32}
    return values | {"num_attention_heads": 2 if FAMILIES[family].heads else None} | changes


@pytest.fixture
def make_model(data_folder):
    """make_model(family, **changes): a fresh model of two blocks."""

    def make(family, **changes):
        shape = Model(**shape_of(family, **changes))
        return build(shape, load_tokenizer(data_folder / "tokenizer"), seed=0)

    return make


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_made_of_the_final_states_by_what_the_record_names(make_model, family, tied):
    if tied and not FAMILIES[family].ties:
        pytest.skip("a family without tied embeddings")
    model = make_model(family, tie_word_embeddings=tied).eval()
    ids = torch.arange(10, 40)[None]
    final = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
    assert torch.allclose(output_of(model, final).part(0, 30), model(input_ids=ids).logits[0], atol=1e-6)
    assert has_plain_output(model)
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_that_is_trained_has_a_gradient(make_model, family, tied):
    model = make_model(family, tie_word_embeddings=tied and FAMILIES[family].ties)
    model(input_ids=torch.arange(10, 40)[None]).logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_muon_takes_every_matrix_of_the_blocks_and_nothing_else(make_model, family):
    trained = Trained(make_model(family), HardObjective())
    optimizers = build_optimizers(trained, Optim(lr=1e-3, optimizer="muon"))
    check_all_optimised(trained, optimizers)
    taken = {id(p) for group in optimizers[1].param_groups for p in group["params"]}
    layers = [m for m in trained.student.modules() if isinstance(m, (nn.Linear, Conv1D))]
    outside = {id(trained.student.get_output_embeddings())}
    outside |= {
        id(m)
        for part in FAMILIES[family].head
        if part != "gelu"
        for m in trained.student.get_submodule(part).modules()
    }
    assert taken == {id(layer.weight) for layer in layers if id(layer) not in outside}
    assert len(blocks_of(trained.student)) == 2 and len(taken) % 2 == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_trained_teaches_one_of_its_family_and_is_scored(
    train_tiny, make_distill, workplace, family
):
    targets = "masked" if "masked" in FAMILIES[family].reads else "next_token"
    options = {"model": shape_of(family), "targets": targets}
    teacher = train_tiny(name="teacher", **options)
    losses = {
        "hard": {"weight": 0.5},
        "soft": {"weight": {"t": 0.5}},
        "hidden": {"weight": {"t": 0.5}, "layer_map": "layerwise", "at": "all"},
    }
    taught = {"t": {"path": str(teacher / "export")}}
    student = distil(make_distill(name="student", teachers=taught, losses=losses, revisions=False, **options))
    for term in ("val/hard", "val/soft.t", "val/hidden.t"):
        before, *_, after = metrics(student, term)
        assert after < before, term
    backend = "mlm" if targets == "masked" else "causal"
    model, tokenizer = load_for_scoring(Path(student / "export"), device="cpu", backend=backend)
    choices = [Choice("", text) for text in ("The dog sees the cat.", "The dog see cat the.")]
    scores = Scorer(model, tokenizer, backend=backend).logprobs(choices)
    assert len(tokenizer) == VOCAB and (scores < 0).all() and scores[0] != scores[1]

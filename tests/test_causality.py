"""Whether a model sees later tokens is asked of the model, whatever it is called; what does is refused everywhere."""

import pytest
import torch

from babylm_data.causality import sees_later_tokens
from babylm_data.errors import UserError
from babylm_data.models import load_model
from bench.causality import BOTH_WAYS, CASES, DECODER, XLNET, Case, build

QUICK = [
    Case("llama", sees_later=False),
    Case("llama", sees_later=True, changes=BOTH_WAYS),
    Case("gpt2", sees_later=False),
    Case("mamba", sees_later=False),
    Case("qwen2_moe", sees_later=False),
    Case("gemma3_text", sees_later=True, changes={"use_bidirectional_attention": True}),
    Case("bert", sees_later=True),
    Case("bert", sees_later=False, changes=DECODER),
    Case("roberta", sees_later=True, masked=True),
    XLNET,
]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_the_model_says_itself_whether_it_sees_later_tokens(case):
    assert sees_later_tokens(build(case)) == case.sees_later


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}{' masked' * case.masked}")
def test_no_family_is_taken_for_what_it_is_not(case):
    assert sees_later_tokens(build(case)) == case.sees_later


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("changes", [{}, BOTH_WAYS])
def test_the_answer_does_not_depend_on_the_number_format(dtype, changes):
    model = build(Case("llama", bool(changes), changes)).to(dtype)
    assert sees_later_tokens(model) == bool(changes)
    assert model.dtype == dtype


@pytest.mark.parametrize("positions", [1, 2, 5])
def test_a_model_with_few_positions_is_asked_a_short_text(positions):
    model = build(Case("gpt2", False, {"n_positions": positions}))
    assert not sees_later_tokens(model, positions)


def test_a_weak_look_ahead_is_a_look_ahead():
    model = build(Case("llama", True, BOTH_WAYS))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.02)
    assert sees_later_tokens(model)


@pytest.mark.parametrize("case", [case for case in QUICK if not case.masked], ids=lambda case: case.name)
def test_one_loader_refuses_what_sees_later_tokens(tmp_path, case):
    build(case).save_pretrained(tmp_path)
    load_model(tmp_path, "body")
    if case.sees_later:
        with pytest.raises(UserError, match="no causal language model: it sees the very tokens"):
            load_model(tmp_path)
    else:
        load_model(tmp_path)

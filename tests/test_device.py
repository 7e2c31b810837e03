"""What is asked of the machine. A GPU is played by what the code would see of one."""

import os
from pathlib import Path

import pytest
import torch

from babylm_data.errors import UserError
from babylm_data.tokenizer_files import load_tokenizer
from train_teachers.checkpoint import export
from train_teachers.config import Model
from train_teachers.device import (
    CODE,
    FLAGGED,
    WIDTH,
    WORKSPACE,
    RotaryTable,
    be_deterministic,
    bytes_of_a_token,
    choose_attention,
    choose_compile,
    choose_micro_batch,
    compiled_bodies,
    keep_code_apart,
    tabulate_angles,
)
from train_teachers.language_model import build, checkpoint_activations
from train_teachers.pretrained import load_pretrained


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


@pytest.fixture
def make_model(data_folder):
    """make_model(family, width): a tiny model in evaluation mode."""

    def make(family="llama", width=32):
        shape = Model(family=family, hidden_size=width, num_hidden_layers=2, num_attention_heads=2)
        return build(shape, load_tokenizer(data_folder / "tokenizer"), seed=0).eval()

    return make


@pytest.mark.parametrize(("family", "kind"), [("llama", FLAGGED), ("gpt2", FLAGGED), ("gptj", "eager")])
def test_the_form_of_attention_changes_nothing_but_rounding_and_is_not_exported(
    make_model, data_folder, tmp_path, family, kind
):
    model, ids_BT = make_model(family), torch.arange(5, 105).view(2, 50)
    default = model.config._attn_implementation
    before = model(input_ids=ids_BT, use_cache=False).logits
    choose_attention(model, "fp32", torch.device("cpu"))
    assert model.config._attn_implementation == kind
    torch.testing.assert_close(model(input_ids=ids_BT, use_cache=False).logits, before)
    export(model, data_folder / "tokenizer", tmp_path / "export")
    assert load_pretrained(tmp_path / "export").config._attn_implementation == default


def test_code_for_one_instruction_set_is_not_found_by_another(monkeypatch, tmp_path):
    monkeypatch.setenv(CODE, str(tmp_path))
    folders = []
    for name in ("AVX512", "AVX512", "AVX2"):
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda name=name: name)
        keep_code_apart()
        folders.append(Path(os.environ[CODE]).relative_to(tmp_path))
        keep_code_apart()
        assert Path(os.environ[CODE]) == tmp_path / folders[-1]
        monkeypatch.setenv(CODE, str(tmp_path))
    assert folders == [Path("AVX512"), Path("AVX512"), Path("AVX2")]


def test_on_a_processor_in_bf16_attention_is_plain_products_and_a_choice_for_maps_stays(make_model):
    model = make_model()
    choose_attention(model, "bf16", torch.device("cpu"))
    assert model.config._attn_implementation == "eager"
    choose_attention(model, "fp32", torch.device("cpu"))
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("width", "sequences", "seq_len", "expected"),
    [
        (WIDTH, 64, 128, 8),
        (WIDTH, 12, 128, 6),
        (WIDTH, 7, 256, 1),
        (WIDTH, 4, 8192, 1),
        (WIDTH, 4, 16, 4),
        (4 * WIDTH, 64, 128, 8),
        (WIDTH // 2, 64, 128, 16),
        (WIDTH // 4, 64, 128, 32),
    ],
)
def test_a_forward_pass_on_a_processor_has_the_largest_even_share_near_its_cache(
    make_model, width, sequences, seq_len, expected
):
    """Wide states need no fewer tokens: products with few rows are slow."""
    assert choose_micro_batch(sequences, seq_len, make_model(width=width), [], "fp32") == expected


@pytest.mark.parametrize(("gib", "expected"), [(80, 1024), (0.1, 128), (0.0001, 1)])
def test_on_a_gpu_it_has_what_the_memory_holds_beside_the_weights(make_model, monkeypatch, gib, expected):
    model = make_model()
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    properties = type("Properties", (), {"total_memory": gib * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    assert choose_micro_batch(1024, 64, model, [], "bf16") == expected


def test_where_weights_are_in_shards_there_is_more_room_beside_them(make_model, monkeypatch):
    model = make_model()
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    properties = type("Properties", (), {"total_memory": 32 * model.num_parameters()})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    whole, shards = (
        choose_micro_batch(1024, 64, model, [], "bf16", bytes_a_parameter=each) for each in (16.0, 2.0)
    )
    assert shards > whole


def test_no_product_comes_before_that_which_makes_products_deterministic(train_tiny, monkeypatch):
    order = []
    monkeypatch.setattr("train_teachers.stage.be_deterministic", lambda _: order.append("deterministic"))

    def formats(asked):
        order.append("products are timed")
        return {"precision": "fp32", "muon": "fp32"}

    monkeypatch.setattr("train_teachers.stage.choose_formats", formats)
    train_tiny(data={"words": 20})
    assert order == ["deterministic", "products are timed"]


def test_a_run_that_was_begun_compiled_is_not_told_to_do_without(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match="begun with compiled code.*install them, or pass name="):
        choose_compile(False, 1e9, begun=True)
    with pytest.raises(UserError, match="or write compile: false"):
        choose_compile(True, 1e9)
    assert choose_compile("auto", 1e18) is False and choose_compile(True, 1e9, begun=False) is False


def test_maps_of_attention_count_for_what_a_gpu_holds(make_model):
    model = make_model()
    before = bytes_of_a_token(model, 512)
    model.set_attn_implementation("eager")
    shape = model.config
    maps = 4.0 * shape.num_hidden_layers * 3 * shape.num_attention_heads * 512
    assert bytes_of_a_token(model, 512) - before == maps


@pytest.mark.parametrize("places", [None, torch.tensor([[3, 4, 5, 6, 7, 0, 1, 2]])])
def test_a_table_has_a_models_own_rotary_angles_to_the_bit_and_is_not_exported(
    make_model, data_folder, tmp_path, monkeypatch, places
):  # compiled, each within rounding of the other: tests/test_loop.py
    monkeypatch.setenv(CODE, str(tmp_path))
    model, ids_BT = make_model("llama").eval(), torch.arange(5, 21).view(2, 8)
    before = model(input_ids=ids_BT, position_ids=places, use_cache=False).logits
    names = model.state_dict().keys()
    compiled_bodies((model,))
    assert isinstance(model.base_model.rotary_emb, RotaryTable)
    assert torch.equal(model(input_ids=ids_BT, position_ids=places, use_cache=False).logits, before)
    tabulate_angles(model)  # compiled once more
    assert model.state_dict().keys() == names
    export(model, data_folder / "tokenizer", tmp_path / "export")
    again = load_pretrained(tmp_path / "export").eval()
    assert torch.equal(again(input_ids=ids_BT, position_ids=places, use_cache=False).logits, before)


@pytest.mark.parametrize("kind", ["none", "dynamic", "complex", "on a GPU"])
def test_angles_that_are_not_the_same_in_every_batch_or_not_a_pair_or_not_for_a_cpu_are_left_to_the_model(
    make_model, monkeypatch, kind
):
    model = make_model("gpt2" if kind == "none" else "llama")
    if kind == "dynamic":
        model.base_model.rotary_emb.rope_type = "dynamic"
    elif kind == "complex":
        monkeypatch.setattr(model.base_model.rotary_emb, "forward", lambda x, places: torch.polar(x, x))
    elif kind == "on a GPU":
        monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    tabulate_angles(model)
    assert not any(isinstance(module, RotaryTable) for module in model.modules())

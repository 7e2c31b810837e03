"""One loader for every stage: what older versions saved is read, what does not fit is refused in one line."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from babylm_data.errors import UserError
from babylm_data.hub import find_folder
from babylm_data.models import load_model

SHAPE = {"vocab_size": 64, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = SHAPE | {"intermediate_size": 16, "max_position_embeddings": 32}
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=8, n_layer=2, n_head=2, n_positions=32)),
    "gptj": lambda: GPTJForCausalLM(
        GPTJConfig(vocab_size=64, n_embd=8, n_layer=2, n_head=2, n_positions=32, rotary_dim=4)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WIDE)),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**WIDE)),
    "bert": lambda: BertForMaskedLM(BertConfig(**WIDE)),
}
MASK = torch.ones(32, 32).tril()[None, None]
ANGLES = 1 / 10_000 ** (torch.arange(0, 4, 2) / 4)

# (family, names with what older versions saved there)
OLDER = {
    "gpt2, bytes": ("gpt2", {"attn.bias": MASK.byte(), "attn.masked_bias": torch.tensor(-1e4)}),
    "gpt2, half": ("gpt2", {"attn.bias": MASK.half()}),
    "gptj": ("gptj", {"attn.bias": MASK.bool(), "attn.masked_bias": torch.tensor(-1e9)}),
    "gptj, sines": ("gptj", {"attn.embed_positions": "made"}),
    "llama": ("llama", {"self_attn.rotary_emb.inv_freq": ANGLES}),
    "llama, bf16": ("llama", {"self_attn.rotary_emb.inv_freq": ANGLES.bfloat16()}),
    "neox": (
        "neox",
        {
            "attention.bias": MASK.bool(),
            "attention.masked_bias": torch.tensor(-1e9),
            "attention.rotary_emb.inv_freq": "made",
        },
    ),
    "bert": ("bert", {"bert.embeddings.position_ids": torch.arange(32)[None]}),
}


@pytest.fixture
def saved(tmp_path):
    """saved("llama"): a folder with a model of that family."""

    def save(family):
        torch.manual_seed(0)
        MODELS[family]().save_pretrained(tmp_path / family)
        return tmp_path / family

    return save


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / "model.safetensors")


def constants(model, weights, extra):
    """The names under which a block, or the whole model, has what `extra` says; "made": what the model has there."""
    buffers = {name.rsplit(".", 1)[-1]: value for name, value in model.named_buffers()}
    blocks = sorted({key.split(".attn")[0].split(".self_attn")[0].split(".attention")[0] for key in weights})
    blocks = [block for block in blocks if block.split(".")[-1].isdigit()]
    for name, value in extra.items():
        value = buffers[name.rsplit(".", 1)[-1]] if isinstance(value, str) else value
        for block in [f"{block}." for block in blocks] if not name.startswith("bert") else [""]:
            yield block + name, value.clone()


def add_constants(folder, model, extra):
    change_weights(folder, lambda weights: weights.update(dict(constants(model, weights, extra))))


@pytest.mark.parametrize("name", OLDER)
def test_what_an_architecture_makes_by_itself_may_stand_in_the_file(saved, name):
    family, extra = OLDER[name]
    folder = saved(family)
    kinds = ["masked", "body"] if family == "bert" else ["causal", "body"]
    plain = [load_model(folder, kind) for kind in kinds]
    add_constants(folder, plain[0], extra)
    assert len(load_file(folder / "model.safetensors")) > len(plain[0].state_dict()) - 3
    ids = torch.arange(5, 15)[None]
    for kind, before in zip(kinds, plain, strict=True):
        after = load_model(folder, kind)
        with torch.no_grad():
            assert torch.equal(before(ids)[0], after(ids)[0]), kind


@pytest.mark.parametrize("kind", ["causal", "body"])
@pytest.mark.parametrize(
    ("family", "extra", "fault"),
    [
        ("gpt2", {"attn.bias": torch.ones(1, 1, 32, 32)}, "contradicting"),
        ("llama", {"self_attn.rotary_emb.inv_freq": ANGLES * 0.9}, "contradicting"),
        ("llama", {"self_attn.q_proj.bias": torch.zeros(8)}, "unexpected"),
        ("gpt2", {"attn.temperature": torch.tensor(1.0)}, "unexpected"),
    ],
)
def test_what_it_would_not_make_is_no_constant(saved, kind, family, extra, fault):
    folder = saved(family)
    add_constants(folder, load_model(folder, kind), extra)
    with pytest.raises(UserError, match=rf"do not fit its config.json \({fault} keys: .* and 1 more\)"):
        load_model(folder, kind)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "config.json says num_hidden_layers 1,000,000,000"),
        (
            {"hidden_size": 10**9},
            "says hidden_size 1,000,000,000, and the weights have 21 tensors, the longest 64",
        ),
        ({"vocab_size": 2**40}, "they do not belong together"),
        ({"head_dim": 2_000_000}, "says head_dim 2,000,000"),
        ({"num_hidden_layers": 3}, "do not fit its config.json"),
    ],
)
def test_a_shape_that_no_machine_could_hold_is_refused_at_once(saved, change, message):
    folder = saved("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"tokens_seen": 10**9}, {"max_position_embeddings": 10_485_760}])
def test_a_number_that_is_no_width_is_no_fault(saved, change):
    folder = saved("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    (folder / "._model.safetensors").write_bytes(b"AppleDouble")
    (folder / "tokenizer").mkdir()
    load_model(find_folder(str(folder), absent="absent"))


def test_weights_of_another_shape_are_named(saved):
    folder = saved("llama")
    change_weights(folder, lambda weights: weights.update({"model.norm.weight": torch.ones(3)}))
    with pytest.raises(UserError, match=r"mismatched keys: .*model.norm.weight"):
        load_model(folder)


def test_each_weight_in_turn_that_is_missing_or_renamed_or_of_another_shape_is_refused(saved):
    folder = saved("llama")
    path = folder / "model.safetensors"
    whole = load_file(path)
    for name, tensor in whole.items():
        rest = {key: value for key, value in whole.items() if key != name}
        for changed in (rest, rest | {f"{name}_": tensor}, rest | {name: torch.cat([tensor, tensor])}):
            save_file(changed, path, metadata={"format": "pt"})
            with pytest.raises(UserError, match=rf"{folder} .*(missing keys: |mismatched keys: \('){name}"):
                load_model(folder)
    save_file(whole, path, metadata={"format": "pt"})
    load_model(folder)


@pytest.mark.parametrize(("family", "kind"), [("bert", "masked"), ("llama", "causal")])
def test_a_model_that_was_saved_without_its_output_head_hears_that(saved, family, kind):
    folder = saved(family)
    model = load_model(folder, "body")
    model.save_pretrained(folder)
    with pytest.raises(
        UserError, match=rf"\({family}\) was saved without its output head .*: save it as a {kind}"
    ):
        load_model(folder, kind)
    load_model(folder, "body")


def test_an_adapter_is_not_ignored(saved):
    folder = saved("llama")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="has an adapter .* merge it"):
        load_model(folder)


def as_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")


def as_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def as_dead_link(path):
    path.unlink()
    path.symlink_to("../.git/annex/objects/x")


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (as_pointer, "is a pointer of Git LFS and not the file: run `git lfs pull`"),
        (as_device, "is no file"),
        (as_pipe, "is no file"),
        (as_dead_link, "is a link to nothing"),
    ],
)
def test_a_name_without_content_is_refused_as_what_it_is(saved, name, spoil, message):
    folder = saved("llama")
    spoil(folder / name)
    with pytest.raises(UserError, match=message):
        find_folder(str(folder), absent="absent")


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_weights_that_were_cut_are_refused(saved, cut):
    path = saved("llama") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="does not load") as error:
        load_model(path.parent)
    assert "\n" not in str(error.value)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gptj", {"rotary_dim": 64}),
        ("gptj", {"rotary_dim": 7}),
        ("bert", {"position_embedding_type": "absolute", "pad_token_id": None, "chunk_size_feed_forward": 5}),
    ],
)
def test_a_model_that_loads_and_cannot_be_run_is_one_line(saved, family, changes):
    folder = saved(family)
    change_config(folder, **changes)
    with pytest.raises(UserError, match=r"cannot be run|do not fit|does not load") as error:
        load_model(folder, "masked" if family == "bert" else "causal")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["max_position_embeddings", "type_vocab_size"])
def test_a_table_that_no_machine_could_hold_is_refused_at_once(saved, key):
    folder = saved("bert")
    change_config(folder, **{key: 10**10})
    with pytest.raises(UserError, match=f"config.json says {key} 10,000,000,000"):
        load_model(folder, "masked")


def test_a_config_that_contradicts_itself_says_how(saved):
    folder = saved("llama")
    change_config(folder, num_attention_heads=3)
    with pytest.raises(UserError, match=r"does not load: .*multiple of the number of attention heads"):
        load_model(folder)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (
            {"a": "../other/model.safetensors"},
            r"names ../other/model.safetensors, which is no file of this folder",
        ),
        ({"a": "/dev/zero"}, "names /dev/zero, which is no file of this folder"),
        ({"a": "gone.safetensors"}, "names gone.safetensors, which is no file of this folder"),
        ({"a": 3}, "is no list of shards"),
        (["a"], "is no list of shards"),
        ({}, "is no list of shards"),
        (None, "is no list of shards"),
    ],
)
def test_an_index_of_shards_names_files_of_its_folder(saved, shards, message):
    folder = saved("llama")
    shutil.copytree(folder, folder.parent / "other")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_weights_beside_an_index_that_does_not_name_them_are_not_passed_over(saved):
    folder = saved("llama")
    whole = load_model(folder)
    (folder / "model.safetensors").unlink()
    whole.save_pretrained(folder, max_shard_size="4KB")
    assert list(folder.glob("model-0000*")), "in several files"
    assert torch.equal(load_model(folder).lm_head.weight, whole.lm_head.weight)
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="has model.safetensors, and an index of other files"):
        load_model(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_any_file_of_an_adapter_is_seen(saved, name):
    folder = saved("llama")
    (folder / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"has an adapter .*remove {name}"):
        load_model(folder)


@pytest.mark.parametrize(
    "head", ["score.weight", "v_head.summary.weight", "multiple_choice_head.summary.weight"]
)
def test_another_head_beside_a_whole_model_is_not_looked_at(saved, head):
    folder = saved("gpt2")
    change_weights(folder, lambda weights: weights.update({head: torch.ones(2)}))
    load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "merges.txt"])
def test_a_byte_order_mark_in_a_file_that_others_read_is_named(saved, name):
    folder = saved("llama")
    (folder / name).write_bytes(b"\xef\xbb\xbf{}")
    with pytest.raises(
        UserError, match=f"{name} begins with a byte-order mark: save it as UTF-8 without one"
    ):
        find_folder(str(folder), absent="absent")

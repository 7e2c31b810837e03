import json

import pytest
import torch
from safetensors.torch import load_file

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.sealed import damage
from babylm_data.tokenizer_files import load_tokenizer
from train_teachers.checkpoint import export
from train_teachers.config import Init, Model
from train_teachers.families import FAMILIES
from train_teachers.language_model import build, build_from, num_parameters


def shape(family, **changes):
    values = {"family": family, "hidden_size": 32, "num_hidden_layers": 2}
    if FAMILIES[family].heads:
        values["num_attention_heads"] = 2
    return Model(**values | {"max_position_embeddings": 32} | changes)


@pytest.fixture(scope="module")
def tokenizer(data_folder):
    return load_tokenizer(data_folder / "tokenizer")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(family, tokenizer):
    first, again, other = (build(shape(family), tokenizer, seed=seed) for seed in (0, 0, 1))
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_loads_alone_with_equal_logits_and_no_remote_code(family, tokenizer, data_folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    model = build(shape(family), tokenizer, seed=0).eval()
    export(model, data_folder / "tokenizer", tmp_path / "export")
    auto = AutoModelForMaskedLM if FAMILIES[family].reads == ("masked",) else AutoModelForCausalLM
    loaded, info = auto.from_pretrained(tmp_path / "export", output_loading_info=True)
    ids = AutoTokenizer.from_pretrained(tmp_path / "export")(
        "The dog sees the cat.", return_tensors="pt"
    ).input_ids
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)
    assert ids[0, 0] == tokenizer.bos_token_id
    assert fingerprint(tmp_path / "export") == fingerprint(data_folder / "tokenizer")
    assert damage(tmp_path / "export") is None
    assert "auto_map" not in json.loads((tmp_path / "export" / "config.json").read_text())


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.idle])
def test_an_export_has_its_bias_also_where_transformers_4_looks_for_it(
    family, tokenizer, data_folder, tmp_path
):
    model = build(shape(family), tokenizer, seed=0)
    with torch.no_grad():
        model.get_output_embeddings().bias.normal_()
    export(model, data_folder / "tokenizer", tmp_path / "export")
    written = load_file(tmp_path / "export" / "model.safetensors")
    assert torch.equal(written[FAMILIES[family].idle], model.get_output_embeddings().bias)
    assert not model.get_parameter(FAMILIES[family].idle).any()


def test_an_export_names_its_fields_as_transformers_4_reads_them(tokenizer, data_folder, tmp_path):
    export(build(shape("llama"), tokenizer, seed=0), data_folder / "tokenizer", tmp_path / "export")
    config = json.loads((tmp_path / "export" / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert config["torch_dtype"] == "float32"
    assert json.loads((tmp_path / "export" / "tokenizer_config.json").read_text())["tokenizer_class"] == (
        "PreTrainedTokenizerFast"
    )


def test_parameter_counts_equal_the_published_ones():
    """BabyLlama's and GPT2-97M's shapes with a vocabulary of 16,000 have the sizes that their papers' code gives."""

    class Tokens:
        bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

        def __len__(self):
            return 16000

    student = shape(
        "llama", hidden_size=512, intermediate_size=1024, num_hidden_layers=16, num_attention_heads=8
    )
    teacher = shape(
        "llama", hidden_size=256, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=8
    )
    with torch.device("meta"):
        assert num_parameters(build(student, Tokens(), seed=0))[0] == 58_343_936
        assert num_parameters(build(teacher, Tokens(), seed=0))[0] == 16_584_960


def test_tied_embeddings_count_once(tokenizer):
    tied = num_parameters(build(shape("llama", tie_word_embeddings=True), tokenizer, seed=0))
    untied = num_parameters(build(shape("llama"), tokenizer, seed=0))
    assert untied[0] - tied[0] == len(tokenizer) * 32
    assert untied[1] == tied[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_takes_the_blocks_it_is_told_to_and_all_that_is_no_block(family, tokenizer):
    source = build(shape(family, num_hidden_layers=4), tokenizer, seed=5)
    student = build_from(source, shape(family), Init(path="x", blocks=[2, 4]), entries=len(tokenizer), seed=0)
    theirs, ours = source.state_dict(), student.state_dict()
    inside = f"{student.base_model_prefix}.{FAMILIES[family].blocks}"
    for mine, block in ((0, 1), (1, 3)):
        for name, tensor in ours.items():
            if name.startswith(f"{inside}.{mine}."):
                there = name.replace(f"{inside}.{mine}.", f"{inside}.{block}.")
                assert torch.equal(tensor, theirs[there])
    rest = [name for name in ours if inside not in name]
    assert rest and all(torch.equal(ours[name], theirs[name]) for name in rest)
    idle = FAMILIES[family].idle
    assert all(p.requires_grad for name, p in student.named_parameters() if name != idle)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_made_of_some_blocks_is_exported_and_loads_with_them(family, tokenizer, tmp_path):
    """Blocks that see a few neighbours still do, wherever they come to stand."""
    source = build(shape(family, num_hidden_layers=4), tokenizer, seed=5)
    student = build_from(source, shape(family), Init(path="x", blocks=[2, 4]), entries=len(tokenizer), seed=0)
    student.eval().save_pretrained(tmp_path)
    loaded = type(student).from_pretrained(tmp_path).eval()
    ids = torch.arange(5, 13)[None]
    assert torch.equal(loaded(input_ids=ids).logits, student(input_ids=ids).logits)
    if types := vars(source.config).get("layer_types"):
        assert loaded.config.layer_types == [types[1], types[3]]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_to_be_made_anew_come_from_the_seed_and_the_others_do_not(family, tokenizer):
    source = build(shape(family), tokenizer, seed=5)
    first, again, other = (
        build_from(
            source, shape(family), Init(path="x", reinit_blocks=[1]), entries=len(tokenizer), seed=seed
        ).state_dict()
        for seed in (0, 0, 1)
    )
    inside = f"{source.base_model_prefix}.{FAMILIES[family].blocks}.0."
    for name, tensor in source.state_dict().items():
        drawn = tensor.ndim >= 2 or name.endswith("dt_proj.bias")  # which mamba draws
        anew = name.startswith(inside) and drawn and not name.endswith("A_log")
        assert torch.equal(first[name], again[name])
        assert torch.equal(first[name], tensor) != anew, name
        assert torch.equal(first[name], other[name]) != anew, name


@pytest.mark.parametrize(
    ("changes", "init", "message"),
    [
        ({"family": "gpt2"}, {}, "is a llama, model.family says gpt2"),
        ({"hidden_size": 64}, {}, "has hidden_size 32, model says 64"),
        ({}, {"blocks": [1, 7]}, "has 2 blocks, no 7"),
        ({"num_hidden_layers": 1}, {}, "has 2 blocks, the model 1: name them"),
        ({"intermediate_size": 8}, {}, "has intermediate_size 128, model says 8"),
    ],
)
def test_first_weights_of_another_shape_are_refused(changes, init, message, tokenizer):
    source = build(shape("llama"), tokenizer, seed=5)
    with pytest.raises(UserError, match=message):
        build_from(
            source,
            shape(**{"family": "llama"} | changes),
            Init(path="x", **init),
            entries=len(tokenizer),
            seed=0,
        )


@pytest.mark.parametrize(
    ("family", "tied"), [("llama", True), ("llama", False), ("gpt2", True), ("gptj", False)]
)
def test_padding_behind_the_entries_of_first_weights_is_left_behind(family, tied, tokenizer):
    wanted, entries = shape(family, tie_word_embeddings=tied), len(tokenizer)
    source = build(wanted, tokenizer, seed=5)
    source.resize_token_embeddings(entries + 20)
    source.config.pad_token_id = entries + 3
    student = build_from(source, wanted, Init(path="x"), entries=entries, seed=0)
    theirs, ours = source.state_dict(), student.state_dict()
    assert all(torch.equal(tensor, theirs[name][: len(tensor)]) for name, tensor in ours.items())
    assert student.get_input_embeddings().weight.shape[0] == student.config.vocab_size == entries
    assert student.config.pad_token_id is None
    with pytest.raises(
        UserError, match=f"has {entries + 20} embeddings, the tokenizer {entries + 21} entries"
    ):
        build_from(source, wanted, Init(path="x"), entries=entries + 21, seed=0)

"""The tokenizer: golden ids, exact size, round trip, one file that two versions of transformers read."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.tokenizer import SMALLEST, SPECIAL_TOKENS, save_tokenizer, train_tokenizer
from babylm_data.tokenizer_files import load_tokenizer

TEXTS = [
    "the dog sees the cat\nthe cat sees the dog",
    "the dogs see the cats\nthe cats see the dogs",
    "a dog, a cat and the dogs",
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=SMALLEST + 16)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(tokenizer, folder)
    return folder


def test_ids_of_a_fixed_corpus_are_golden(tokenizer):
    assert tokenizer.encode("the dogs see a cat\nthe bird").ids == [
        1,
        262,
        273,
        272,
        274,
        269,
        203,
        262,
        225,
        70,
        77,
        86,
        72,
    ]
    assert tokenizer.encode("the dogs see a cat\nthe bird").tokens[:4] == ["<s>", "the", "Ġdogs", "Ġsee"]


def test_special_tokens_have_the_first_ids(folder):
    loaded = load_tokenizer(folder)
    assert [loaded.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id) == (0, 1, 2)
    assert (loaded.unk_token_id, loaded.mask_token_id) == (3, 4)


def test_the_vocabulary_has_exactly_the_size_asked_for(folder):
    loaded = load_tokenizer(folder)
    assert len(loaded) == loaded.vocab_size == SMALLEST + 16
    assert sorted(loaded.get_vocab().values()) == list(range(len(loaded)))


def test_a_corpus_too_small_for_the_vocabulary_is_refused_with_the_number_reached():
    with pytest.raises(UserError, match=r"vocabulary of (\d+), not 5000: lower --vocab-size to \1$"):
        train_tokenizer(TEXTS, vocab_size=5000)
    with pytest.raises(UserError, match="too small"):
        train_tokenizer(TEXTS, vocab_size=SMALLEST - 1)
    with pytest.raises(UserError, match="too large: at most 1,048,576"):
        train_tokenizer(TEXTS, vocab_size=10**15)


def test_the_start_of_text_is_put_in_front_by_the_tokenizer_itself(folder):
    loaded = load_tokenizer(folder)
    assert loaded("the dog")["input_ids"][0] == 1 and loaded("the dog")["input_ids"].count(1) == 1
    assert loaded("the dog", "a cat")["input_ids"].count(1) == 1
    assert sorted(loaded("the dog")) == ["attention_mask", "input_ids"]


@given(st.text())
@settings(max_examples=50)
def test_any_text_survives_the_round_trip_up_to_nfkc(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if not any(token in text for token in SPECIAL_TOKENS):
        assert tokenizer.decode(ids) == tokenizer.normalizer.normalize_str(text)


def test_a_word_has_one_form_where_a_text_and_a_line_start(tokenizer):
    first, second = tokenizer.encode("the\nthe", add_special_tokens=False).tokens[::2]
    assert first == second == "the"
    prefixed = train_tokenizer(TEXTS, vocab_size=SMALLEST + 16, prefix_space=True)
    assert prefixed.encode("the cat the").tokens == ["<s>", "Ġthe", "Ġcat", "Ġthe"]


def test_training_twice_gives_the_same_bytes_whatever_the_threads_and_hash_seed():
    program = (
        "import hashlib, test_tokenizer as t; new = t.train_tokenizer(t.TEXTS, vocab_size=t.SMALLEST + 16);"
        "print(hashlib.sha256(new.to_str().encode()).hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment | {"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(seed)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(digests) == 1


def test_the_saved_files_hold_only_names_that_older_libraries_know(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["clean_up_tokenization_spaces"] is False
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert set(content["model"]) == {
        "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
        "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges",
    }  # fmt: skip


def test_transformers_and_the_trained_object_give_the_same_ids(tokenizer, folder):
    loaded = load_tokenizer(folder)
    for text in [*TEXTS, " two  spaces ", "ﬁve\u00a0é", "<s> in text"]:
        assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
        assert loaded(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids[1:]


def test_the_fingerprint_survives_a_copy_by_transformers_and_padding(folder, tmp_path):
    loaded = load_tokenizer(folder)
    loaded(["a", "the dog sees"], padding=True, truncation=True, max_length=8)
    loaded.save_pretrained(tmp_path)
    assert fingerprint(tmp_path) == fingerprint(folder)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    turned = {key: content[key] for key in reversed(content)}
    turned["model"] = {key: content["model"][key] for key in reversed(content["model"])}
    (tmp_path / "tokenizer.json").write_text(json.dumps(turned), encoding="utf-8")
    assert fingerprint(tmp_path) == fingerprint(folder)


def test_the_fingerprint_tells_two_tokenizers_of_one_size_apart(folder, tmp_path):
    save_tokenizer(train_tokenizer(TEXTS[:2] * 9, vocab_size=SMALLEST + 9), tmp_path / "a")
    save_tokenizer(train_tokenizer(TEXTS[1:3] * 9, vocab_size=SMALLEST + 9), tmp_path / "b")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["pre_tokenizer"]["add_prefix_space"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert fingerprint(tmp_path) != fingerprint(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    for read in (fingerprint, load_tokenizer):
        with pytest.raises(UserError, match="holds no tokenizer.json"):
            read(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="does not load as a tokenizer"):
        fingerprint(tmp_path)

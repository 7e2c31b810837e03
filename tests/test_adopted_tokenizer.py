"""A tokenizer from elsewhere: taken as it is, known again, words counted by it, and what cannot be taken refused."""

import pytest
from conftest import write_corpus
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from babylm_data.__main__ import main
from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.prepare import Settings, prepare
from babylm_data.tokenizer import Marks, adopt_tokenizer
from babylm_data.tokenizer_files import load_tokenizer
from babylm_data.tokens import open_tokens

END = "<|endoftext|>"
TEXTS = ["The dog sees the cat.\nThe cat sees the dog 12 times."] * 4


def save(folder, *, bos=END, eos=END, byte_level=True):
    """A tokenizer folder as a hub has it: GPT-2's has one special token for both ends, and puts none in front."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, level if byte_level else pre_tokenizers.Whitespace()]
    )
    special = [token for token in dict.fromkeys((bos, eos)) if token]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if byte_level else []
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    loaded = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
    loaded.save_pretrained(folder)
    return folder


@pytest.fixture
def raw(tmp_path):
    return write_corpus(tmp_path / "raw", lines=80)


def settings(folder):
    return Settings(source="raw", track="2025/strict-small", vocab_size=None, tokenizer=fingerprint(folder))


def test_documents_are_told_apart_by_one_mark_where_there_is_only_one(raw, tmp_path):
    folder = save(tmp_path / "gpt2")
    manifest, _ = prepare(tmp_path / "data", settings(folder), raw=raw, tokenizer=folder)
    tokens, loaded = open_tokens(tmp_path / "data", "train"), load_tokenizer(tmp_path / "data" / "tokenizer")
    first = tokens.tokens[: tokens.documents[1]].tolist()
    assert loaded.convert_ids_to_tokens(first[0]) == END and first.count(first[0]) == 1
    assert loaded.decode(first[1:]).startswith("The ")
    train = manifest["splits"]["train"]
    assert int(tokens.words.sum()) == train["words"] == train["sources"]["tales"]["words"]
    assert manifest["vocab_size"] == len(loaded)


def test_two_marks_stand_around_each_document_where_there_are_two(tmp_path):
    _, marks = adopt_tokenizer(save(tmp_path / "chat", bos="<|start|>", eos="<|end|>"), tmp_path / "copy")
    assert marks == Marks("<|start|>", "<|end|>")


def test_it_is_the_same_tokenizer_to_every_later_stage(raw, tmp_path):
    folder = save(tmp_path / "gpt2")
    prepare(tmp_path / "data", settings(folder), raw=raw, tokenizer=folder)
    assert fingerprint(tmp_path / "data" / "tokenizer") == fingerprint(folder)
    assert load_tokenizer(tmp_path / "data" / "tokenizer").eos_token == END
    _, was_there = prepare(tmp_path / "data", settings(folder), raw=raw, tokenizer=folder)
    assert was_there
    other = save(tmp_path / "other", bos="<|start|>")
    with pytest.raises(UserError, match="was made with tokenizer = "):
        prepare(tmp_path / "data", settings(other), raw=raw, tokenizer=other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"byte_level": False}, "neither a byte-level BPE"), ({"bos": None, "eos": None}, "names no eos_token")],
)
def test_a_tokenizer_that_cannot_serve_is_refused_and_leaves_nothing(raw, tmp_path, changes, message):
    folder = save(tmp_path / "bad", **changes)
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "data", settings(folder), raw=raw, tokenizer=folder)
    assert not (tmp_path / "data").exists()


def test_the_command_line_adopts_the_tokenizer_of_a_folder(raw, tmp_path):
    folder = save(tmp_path / "gpt2")
    main(["--raw", str(raw), "--out", str(tmp_path / "data"), "--tokenizer", str(folder)])
    assert fingerprint(tmp_path / "data" / "tokenizer") == fingerprint(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokenizer", "runs/nowhere"], "there is no folder runs/nowhere"),
        (["--tokenizer", "{folder}", "--vocab-size", "300"], "brings its own entries"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(raw, tmp_path, words, message):
    folder = save(tmp_path / "gpt2")
    words = [word.format(folder=folder) for word in words]
    with pytest.raises(UserError, match=message):
        main(["--raw", str(raw), "--out", str(tmp_path / "data"), *words])

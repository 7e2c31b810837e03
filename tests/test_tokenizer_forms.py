"""Tokenizers as people bring them: adopted with the right words and ids, or refused; known by what they do to text."""

import json
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer

from babylm_data.clean import write_documents
from babylm_data.encode import document_encoder, encode_split
from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.tokenizer import adopt_tokenizer

END = "<|endoftext|>"
TEXTS = [
    "The dog sees the cat, and the bird's nest: 12 eggs.\nThe cat doesn't see the dog 123 times.",
    "New York is a big city; the dog does not live in New York.\nA naïve café — “quite” so.",
] * 4


def byte_level(
    *, texts=TEXTS, size=330, prefix=False, special=(END,), alphabet=True, normalizer=None, split=None
):
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=split is None)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level]) if split else level
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet else []
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, change=lambda content: None, **named) -> Path:
    """A tokenizer folder as the hub has it; `change` edits tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads(tokenizer.to_str())
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END} | named
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def with_added(*tokens):
    return after(lambda tokenizer: tokenizer.add_tokens(list(tokens)))


def with_special(*tokens, **named):
    return after(lambda tokenizer: tokenizer.add_special_tokens(list(tokens)), **named)


def after(call, **named):
    """As a call of it left it behind."""

    def build(folder):
        tokenizer = byte_level()
        call(tokenizer)
        return save(tokenizer, folder, **named)

    return build


def edited(change, **options):
    return lambda folder: save(byte_level(**options), folder, change)


def older(content):
    """As openai-community/gpt2's own file is spelled."""
    model = content["model"]
    del model["type"], model["byte_fallback"], model["ignore_merges"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    model |= {"continuing_subword_prefix": "", "end_of_word_suffix": "", "unk_token": None}
    del content["pre_tokenizer"]["use_regex"]
    content["pre_tokenizer"]["trim_offsets"] = True
    content["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}


def with_mark(folder):
    folder = edited(lambda content: None)(folder)
    path = folder / "tokenizer.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    return folder


def with_a_hole(content):
    vocab = content["model"]["vocab"]
    last = max(vocab, key=vocab.get)
    vocab[last] += 70


def as_in_2021(folder):
    """vocab.json and merges.txt, as checkpoints had them before there was a tokenizer.json."""
    model = json.loads(byte_level().to_str())["model"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "".join(f"{a} {b}\n" for a, b in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    return folder


def framed(folder):
    tokenizer = byte_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return save(tokenizer, folder)


SAME = {
    "newer spelling": edited(lambda content: None),
    "older spelling": edited(older),
    "padding left on": after(lambda tokenizer: tokenizer.enable_padding(length=64, pad_id=0, pad_token=END)),
    "truncation left on": after(lambda tokenizer: tokenizer.enable_truncation(max_length=8)),
    "dropout left on": edited(lambda content: content["model"].update(dropout=0.3)),
    "a pad appended": with_special("<pad>", pad_token="<pad>"),
    "two pads appended, one named": with_special("[PAD]", "<pad>", pad_token="<pad>"),
    "a pad and a mask appended": with_special("[PAD]", "[MASK]", pad_token="[PAD]", mask_token="[MASK]"),
    "a mask and an unknown named and in no file": lambda folder: save(
        byte_level(), folder, mask_token="<mask>", unk_token="<unk>"
    ),
    "a mark that stands among the entries alone": edited(lambda content: content["added_tokens"].clear()),
    "end mark around a text": framed,
    "files of 2021": as_in_2021,
    "a class with marks of its own": lambda folder: save(
        byte_level(), folder, tokenizer_class="RobertaTokenizer"
    ),
}
OTHER = {
    "words added": with_added("dog", "bird"),
    "a word with a space added": with_added("New York", "the dog"),
    "a space before each document": edited(lambda content: None, prefix=True),
    "trained on less": edited(lambda content: None, texts=TEXTS[:1]),
    "lower case": edited(lambda content: None, normalizer=normalizers.Lowercase()),
    "NFKC": edited(lambda content: None, normalizer=normalizers.NFKC()),
    "digits alone": edited(lambda content: None, split=pre_tokenizers.Digits(individual_digits=True)),
    "start and end apart": with_special("<s>", "</s>", bos_token="<s>", eos_token="</s>"),
    "an end that stands in no file": lambda folder: save(byte_level(), folder, eos_token="</end>"),
    "cut as its class cuts": lambda folder: save(
        byte_level(prefix=True, normalizer=normalizers.Lowercase()),
        folder,
        tokenizer_class="GPT2TokenizerFast",
    ),
    "cut as its class cuts, digits": lambda folder: save(
        byte_level(split=pre_tokenizers.Digits(individual_digits=True)),
        folder,
        tokenizer_class="Qwen2Tokenizer",
    ),
    "a mask inside the vocabulary": lambda folder: save(byte_level(special=("<mask>", END)), folder),
}


BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def word_piece(folder, unknown="[UNK]", **named):
    """As BERT has it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=list(BERT), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return save(tokenizer, folder, **names | {"bos_token": None, "eos_token": None} | named)


def vocab_txt(folder):
    """As BERT was published."""
    tokenizer = Tokenizer.from_file(str(word_piece(folder) / "tokenizer.json"))
    entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in entries), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    return folder


OTHER |= {"WordPiece": word_piece, "WordPiece in a list": vocab_txt}


def unigram(folder):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=120, special_tokens=["<unk>", END])
    )
    return save(tokenizer, folder)


def sentence_piece(folder):
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", END]))
    return save(tokenizer, folder)


def deep(folder):
    folder = save(byte_level(), folder)
    (folder / "tokenizer.json").write_text("[" * 100_000, encoding="utf-8")
    return folder


def without_vocabulary(folder):
    """transformers makes a tokenizer with one entry of it, and says nothing."""
    (as_in_2021(folder) / "vocab.json").unlink()
    return folder


REFUSED = {
    "Unigram": (unigram, "neither a byte-level BPE nor a WordPiece"),
    "SentencePiece's BPE": (sentence_piece, "neither a byte-level BPE nor a WordPiece"),
    "WordPiece that marks nothing": (
        lambda folder: word_piece(folder, unknown="<nothing>"),
        "neither a byte-level BPE nor a WordPiece with an entry for what it cannot write",
    ),
    "WordPiece without an end": (
        lambda folder: word_piece(folder, sep_token=None),
        "no eos_token and no sep_token",
    ),
    "a hole in its ids": (edited(with_a_hole), "its ids have gaps, 330 entries reach to 399 and none is 329"),
    "without all bytes": (
        edited(lambda content: None, alphabet=False, size=90),
        r"\d+ of the 256 bytes have no entry",
    ),
    "an empty entry": (edited(lambda content: content["model"]["vocab"].update({"": 330})), "do not spell"),
    "a prefix inside words": (
        edited(lambda content: content["model"].update(continuing_subword_prefix="##", merges=[])),
        "do not spell what they stand for",
    ),
    "a prefix that no entry has": (
        edited(lambda content: content["model"].update(continuing_subword_prefix="##")),
        "does not load as a tokenizer",
    ),
    "an id beyond all memory": (
        edited(lambda content: content["model"]["vocab"].update(x=2**32 - 1)),
        "its ids have gaps",
    ),
    "an end that is a list": (
        lambda folder: save(byte_level(), folder, eos_token=["</s>"]),
        "eos_token|does not load",
    ),
    "no end": (lambda folder: save(byte_level(), folder, eos_token=None), "names no eos_token"),
    "white space taken away": (
        lambda folder: save(byte_level(normalizer=normalizers.Replace(" ", "")), folder),
        "changes white space",
    ),
    "an added word that eats the space before it": (
        with_added(AddedToken("dog", lstrip=True)),
        "changes white space",
    ),
    "no vocabulary": (without_vocabulary, "holds no tokenizer.json"),
    "nested too deep": (deep, "does not load as a tokenizer"),
    "a byte-order mark before it": (with_mark, "begins with a byte-order mark"),
    "empty": (edited(lambda content: content.clear()), "does not load as a tokenizer"),
    "no merges": (edited(lambda content: content["model"].pop("merges")), "does not load as a tokenizer"),
}


@cache
def lines(count=1000):
    """Lines of words, signs and letters of many scripts, the same each time."""
    rng, words = random.Random(0), " ".join(TEXTS).split()
    odd = [
        "don't",
        "it's",
        "naïve",
        "ﬁve",
        "Ａ",
        "e\u0301",
        "你好",
        "мир",
        "😀",
        "\u200d",
        "#1",
        "3.14",
        "-",
        "<s>",
        END,
    ]
    return [" ".join(rng.choices(words + odd, k=rng.randint(1, 12))) for _ in range(count)]


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_what_is_adopted_gives_the_ids_of_transformers_and_the_words_of_the_text(tmp_path, name):
    folder = (SAME | OTHER)[name](tmp_path / "from")
    tokenizer, marks = adopt_tokenizer(folder, tmp_path / "copy")
    encoder = document_encoder(tokenizer, marks)
    copies = [tmp_path / "copy"] if name == "dropout left on" else [folder, tmp_path / "copy"]
    for copy in copies:
        theirs = AutoTokenizer.from_pretrained(copy, split_special_tokens=True)
        judged = theirs(lines(), add_special_tokens=False)["input_ids"]
        for line, ours, ids in zip(lines(), encoder.encode_batch(lines()), judged, strict=True):
            assert ours.ids[1 : -1 if marks.end else None] == ids, line
            assert theirs.convert_ids_to_tokens(ours.ids[0]) == marks.start
    documents = ["\n".join(lines()[i : i + 4]) for i in range(0, 1000, 4)]
    words = write_documents(tmp_path / "text.txt", documents)["words"]
    counts = encode_split(documents, tokenizer, tmp_path, "train", marks)
    assert counts["words"] == words


def test_a_mask_behind_the_vocabulary_stays_where_a_model_has_a_row_for_it(tmp_path):
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["[MASK]"])
    folder = save(tokenizer, tmp_path / "from", mask_token="[MASK]")
    for entries, mask in ((None, "[MASK]"), (331, "[MASK]"), (330, None)):
        if entries:
            (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": entries}))
        adopt_tokenizer(folder, tmp_path / f"copy-{entries}")
        assert AutoTokenizer.from_pretrained(tmp_path / f"copy-{entries}").mask_token == mask


def test_a_causal_model_finds_the_marks_of_a_word_piece_by_its_names(tmp_path):
    adopt_tokenizer(word_piece(tmp_path / "from"), tmp_path / "copy")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "copy")
    assert (loaded.bos_token, loaded.eos_token) == ("[CLS]", "[SEP]")
    assert fingerprint(tmp_path / "copy") == fingerprint(tmp_path / "from")


def test_a_token_that_stands_for_too_many_words_is_refused(tmp_path):
    tokenizer, marks = adopt_tokenizer(word_piece(tmp_path / "from"), tmp_path / "copy")
    with pytest.raises(UserError, match="one token stands for 301 words"):
        encode_split(["\u200b " * 300 + "cat"], tokenizer, tmp_path, "train", marks)


def test_a_word_of_a_word_piece_counts_at_its_first_token_or_the_next_that_there_is(tmp_path):
    tokenizer, marks = adopt_tokenizer(word_piece(tmp_path / "from"), tmp_path / "copy")
    document = "The bird's  \u200b cat \u200b"
    (tmp_path / "split").mkdir()
    counts = encode_split([document], tokenizer, tmp_path / "split", "train", marks)
    tokens = np.fromfile(tmp_path / "split" / "train.tokens.bin", "<u2")
    words = np.fromfile(tmp_path / "split" / "train.words.bin", "u1")
    assert [tokenizer.id_to_token(int(i)) for i in tokens] == "[CLS] the bird ' s cat [SEP]".split()
    assert words.tolist() == [0, 1, 1, 0, 0, 2, 1]
    assert counts["words"] == len(document.split())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_serve_is_refused_in_one_line_and_leaves_nothing(tmp_path, name):
    from babylm_data.__main__ import main

    build, message = REFUSED[name]
    folder, raw = build(tmp_path / "from"), tmp_path / "raw"
    for split in ("train", "dev"):
        (raw / split).mkdir(parents=True)
        text = "\n".join(line.replace(END, "") for line in lines(200)) + "\nthe dog\n"
        (raw / split / f"tales.{split}").write_text(text + split, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        main(["--raw", str(raw), "--tokenizer", str(folder), "--out", str(tmp_path / "data")])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_fingerprint_is_of_what_a_tokenizer_does_and_not_of_how_it_is_spelled(tmp_path):
    same = {name: fingerprint(build(tmp_path / name)) for name, build in SAME.items()}
    assert set(same.values()) == {same["newer spelling"]}, same
    others = [fingerprint(build(tmp_path / name)) for name, build in OTHER.items()]
    assert len({*others, same["newer spelling"]}) == len(others) + 1
    assert all(
        fingerprint(adopt_tokenizer(tmp_path / name, tmp_path / f"{name} copy") and tmp_path / f"{name} copy")
        == same[name]
        for name in SAME
    )


def test_a_pad_behind_the_vocabulary_is_left_out_and_one_inside_stays(tmp_path, capsys):
    plain, _ = adopt_tokenizer(SAME["newer spelling"](tmp_path / "a"), tmp_path / "copy of a")
    padded, _ = adopt_tokenizer(SAME["a pad appended"](tmp_path / "b"), tmp_path / "copy of b")
    assert padded.get_vocab() == plain.get_vocab()
    assert "'<pad>' behind the vocabulary of" in capsys.readouterr().out
    loaded = AutoTokenizer.from_pretrained(tmp_path / "copy of b")
    assert (loaded.pad_token, len(loaded)) == (None, plain.get_vocab_size())
    inside = save(byte_level(special=("<pad>", END)), tmp_path / "c", pad_token="<pad>")
    kept, _ = adopt_tokenizer(inside, tmp_path / "copy of c")
    assert kept.token_to_id("<pad>") == 0


def test_two_tokenizers_that_differ_by_the_order_of_two_merges_are_told_apart(tmp_path):
    plain = save(byte_level(size=400), tmp_path / "plain")
    merges = json.loads((plain / "tokenizer.json").read_text(encoding="utf-8"))["model"]["merges"]
    rng, ids, told = random.Random(0), AutoTokenizer.from_pretrained(plain), 0
    for number in range(30):
        a, b = rng.sample(range(len(merges)), 2)

        def swap(content, a=a, b=b):
            ours = content["model"]["merges"]
            ours[a], ours[b] = ours[b], ours[a]

        folder = save(byte_level(size=400), tmp_path / str(number), swap)
        other = AutoTokenizer.from_pretrained(folder)
        if any(ids(line)["input_ids"] != other(line)["input_ids"] for line in lines(200)):
            told += 1
            assert fingerprint(folder) != fingerprint(plain)
    assert told > 1


@pytest.mark.parametrize(
    "rule", [("dog", "cat"), ("\u2026", "..."), ("``", '"'), ("colour", "color"), ("\u20ac", "E")]
)
def test_a_rule_for_a_few_letters_alone_is_seen(tmp_path, rule):
    folder = save(byte_level(normalizer=normalizers.Replace(*rule)), tmp_path / "a")
    assert fingerprint(folder) != fingerprint(save(byte_level(), tmp_path / "b"))


def test_rules_are_the_same_however_they_are_nested(tmp_path):
    def nest(content):
        content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [content["pre_tokenizer"]]}
        content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}

    plain = save(byte_level(normalizer=normalizers.NFKC()), tmp_path / "plain")
    assert fingerprint(save(byte_level(), tmp_path / "nested", nest)) == fingerprint(plain)


@pytest.mark.parametrize("swap", [("dog", "cat"), ("<s>", "</s>")])
def test_two_tokenizers_that_differ_by_two_ids_are_told_apart(tmp_path, swap):
    marks = {"bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = byte_level(special=("<s>", "</s>"), size=400)

    def change(content):
        vocab = content["model"]["vocab"]
        a, b = (word if word in vocab else f"Ġ{word}" for word in swap)
        vocab[a], vocab[b] = vocab[b], vocab[a]
        for token in content["added_tokens"]:
            token["id"] = vocab[token["content"]]

    assert fingerprint(save(tokenizer, tmp_path / "a", **marks)) != fingerprint(
        save(tokenizer, tmp_path / "b", change, **marks)
    )

"""Encoding: arrays, document boundaries, and words counted at the token that holds their first byte."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babylm_data.clean import read_documents, write_documents
from babylm_data.corpus import clean_plain
from babylm_data.encode import batched, document_encoder, encode_split
from babylm_data.tokenizer import SMALLEST, train_tokenizer
from babylm_data.tokens import open_tokens

TEXTS = ["the dog sees the cat\nthe cat sees the dog", "the dogs see a cat , é é"] * 4


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "prefix_space"])
def tokenizer(request):
    return train_tokenizer(TEXTS, vocab_size=SMALLEST + 14, prefix_space=request.param)


def encoded(documents, tokenizer, folder):
    """The arrays of `documents`, read back as a later stage reads them."""
    counts = encode_split(documents, tokenizer, folder, "train")
    manifest = {"format": 1, "dtype": "uint16", "splits": {"train": counts}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return open_tokens(folder, "train")


def test_each_document_stands_between_its_own_marks(tokenizer, tmp_path):
    tokens = encoded(TEXTS, tokenizer, tmp_path)
    ends = [*tokens.documents[1:], len(tokens.tokens)]
    for text, start, end in zip(TEXTS, tokens.documents, ends, strict=True):
        stream = tokens.tokens[start:end].tolist()
        assert stream == [*tokenizer.encode(text).ids, 2]
    assert tokens.manifest["splits"]["train"]["documents"] == len(TEXTS)


def test_words_stand_at_the_token_of_their_first_byte(tmp_path):
    tokenizer = train_tokenizer(TEXTS, vocab_size=SMALLEST + 14)
    tokens = encoded(["the zoo\n\u00e9t a", "dog"], tokenizer, tmp_path)
    pieces = [tokenizer.id_to_token(i) for i in tokens.tokens.tolist()]
    counted = list(zip(pieces, tokens.words.tolist(), strict=True))
    expected = "<s>0 the1 Ġ0 z1 o0 o0 Ċ0 Ã©1 t0 Ġ0 a1 </s>0 <s>0 do1 g0 </s>0"
    assert counted == [(piece[:-1], int(piece[-1])) for piece in expected.split()]


@given(
    texts=st.lists(
        st.text(max_size=60) | st.text(alphabet="the dogsa,\n\u00a8\u00e9\u2028\u3000", max_size=60)
    )
)
@settings(max_examples=100, deadline=None)
def test_the_words_of_the_stream_are_the_words_of_the_text(tokenizer, texts, tmp_path_factory):
    documents = [document for text in texts for document in clean_plain(text.split("\n"))]
    counts = encode_split(documents, tokenizer, tmp_path_factory.mktemp("words"), "train")
    assert counts["words"] == sum(len(document.split()) for document in documents)
    assert counts["documents"] == len(documents)


@given(texts=st.lists(st.text(), max_size=5))
@settings(max_examples=50, deadline=None)
def test_the_normalizer_changes_no_word_of_clean_text(tokenizer, texts):
    for document in clean_plain(texts):
        assert tokenizer.normalizer.normalize_str(document).split() == document.split()


def test_a_special_token_that_stands_in_a_text_is_text(tokenizer, tmp_path):
    tokens = encoded(["the </s> dog <s> <pad>"], tokenizer, tmp_path)
    assert np.isin(tokens.tokens, [0, 1, 2]).sum() == 2
    assert tokens.words.sum() == 5
    assert tokenizer.encode("<s>").ids == [1, 1]  # the encoder is a copy: the tokenizer itself is unchanged


def test_batches_of_documents_do_not_change_the_stream(tokenizer, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = encoded(TEXTS, tokenizer, tmp_path / "a")
    monkeypatch.setattr("babylm_data.encode.BATCH_CHARACTERS", 1)
    assert [len(batch) for batch in batched(TEXTS)] == [1] * len(TEXTS)
    pieces = encoded(TEXTS, tokenizer, tmp_path / "b")
    for name in ("tokens", "words", "documents"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name))


def test_documents_read_back_are_the_documents_written(tmp_path):
    documents = ["one\ntwo", "three", "four\x85five\u2028six"]
    counts = write_documents(tmp_path / "a.txt", documents)
    assert counts == {"words": 6, "documents": 3}
    assert list(read_documents(tmp_path / "a.txt")) == documents


def test_the_encoder_gives_the_ids_of_the_tokenizer(tokenizer):
    for text in TEXTS:
        assert document_encoder(tokenizer).encode(text).ids == [*tokenizer.encode(text).ids, 2]

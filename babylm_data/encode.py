"""Clean text to the three arrays of a split: token ids, words per token, document starts."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from babylm_data.errors import UserError
from babylm_data.tokenizer import OWN_MARKS, Marks, is_byte_level
from babylm_data.tokens import token_dtype

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_CHARACTERS = 1_000_000
# How byte-level BPE writes white space; clean text holds " " and "\n" only.
WHITE_SPACE = {chr(256 + byte) for byte in b" \n"}
WORD = re.compile(r"\S+")


def batched(documents: Iterable[str]) -> Iterator[list[str]]:
    """Lists of documents of about `BATCH_CHARACTERS`: enough work for all threads, little memory."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class WordCounter:
    """Counts at each token the whitespace words that have their first byte in it, from token ids alone.

    For byte-level BPEs: the tokens of other tokenizers have no white space in them.
    """

    def __init__(self, tokenizer: "Tokenizer", start: str = OWN_MARKS.start):
        added = {token.content: token.special for token in tokenizer.get_added_tokens_decoder().values()}
        size = tokenizer.get_vocab_size()
        self.inside = np.zeros(size, dtype=np.uint8)
        """Words that begin inside a token, after white space of its own."""
        self.starts_in_word = np.zeros(size, dtype=bool)
        self.ends_in_space = np.zeros(size, dtype=bool)
        for token, index in tokenizer.get_vocab().items():
            if added.get(token):
                self.ends_in_space[index] = token == start  # the first byte of a document begins a word
                continue
            # a word that somebody added stands in the vocabulary as it is
            space = [c.isspace() if token in added else c in WHITE_SPACE for c in token]
            self.inside[index] = sum(a and not b for a, b in zip(space, space[1:], strict=False))
            self.starts_in_word[index] = not space[0]
            self.ends_in_space[index] = space[-1]

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """(n,) uint8 for a stream of ids that begins with the start of a document."""
        after_space = np.concatenate([[False], self.ends_in_space[ids[:-1]]])
        return self.inside[ids] + (self.starts_in_word[ids] & after_space)


def words_of_spans(text: str, spans: list[tuple[int, int]]) -> np.ndarray:
    """(n,) uint8: the whitespace words of a text that begin in each of its tokens, from where these stand in it.

    A word that has no token, such as one of signs that the tokenizer takes away, counts at the next one that there is.
    UserError if over 255 would begin in one.
    """
    starts = np.array([word.start() for word in WORD.finditer(text)], dtype=np.int64)
    ends = np.array([end for _, end in spans], dtype=np.int64)
    ends[-1] = len(text) + 1  # the last is the mark at the end, which stands nowhere
    words = np.bincount(np.searchsorted(ends, starts, side="right"), minlength=len(ends))
    if words.max() > 255:
        raise UserError(
            f"one token stands for {words.max()} words, from {text[spans[words.argmax()][0] :][:40]!r} on: use a "
            "tokenizer that writes them"
        )
    return words.astype(np.uint8)


def document_encoder(tokenizer: "Tokenizer", marks: Marks = OWN_MARKS) -> "Tokenizer":
    """A copy that writes `<s> document </s>` and takes a "<s>" that stands in a text for text."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    encoder = Tokenizer.from_str(tokenizer.to_str())
    used = [mark for mark in marks if mark]
    specials = [(mark, encoder.token_to_id(mark)) for mark in used]
    encoder.post_processor = TemplateProcessing(
        single=[marks.start, "$A", *used[1:]], special_tokens=specials
    )
    encoder.encode_special_tokens = True
    return encoder


def encode_split(
    documents: Iterable[str],
    tokenizer: "Tokenizer",
    folder: Path,
    split: str,
    marks: Marks = OWN_MARKS,
) -> dict[str, int]:
    """Write the arrays of one split; returns how many words, tokens and documents they hold, and of a tokenizer that
    cannot write everything how many tokens are "unknown".
    """
    encoder = document_encoder(tokenizer, marks)
    by_tokens = WordCounter(tokenizer, marks.start) if is_byte_level(tokenizer) else None
    encode = encoder.encode_batch_fast if by_tokens else encoder.encode_batch  # the fast one tells no places
    dtype = np.dtype(token_dtype(tokenizer.get_vocab_size())).newbyteorder("<")
    counts = {"words": 0, "tokens": 0, "documents": 0}
    if not by_tokens:
        counts["unknown"] = 0
    with (
        open(folder / f"{split}.tokens.bin", "wb") as tokens_file,
        open(folder / f"{split}.words.bin", "wb") as words_file,
        open(folder / f"{split}.documents.bin", "wb") as documents_file,
    ):
        for batch in batched(documents):
            encoded = encode(batch)
            lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
            every = chain.from_iterable(encoding.ids for encoding in encoded)
            ids = np.fromiter(every, dtype=dtype, count=int(lengths.sum()))
            if by_tokens:
                words = by_tokens(ids)
            else:
                words = np.concatenate(
                    [words_of_spans(text, part.offsets) for text, part in zip(batch, encoded, strict=True)]
                )
                counts["unknown"] += int((ids == tokenizer.token_to_id(tokenizer.model.unk_token)).sum())
            # not by NumPy's `tofile`: on a full disk it loses the last of it and says nothing
            tokens_file.write(ids.tobytes())
            words_file.write(words.tobytes())
            documents_file.write((counts["tokens"] + lengths.cumsum() - lengths).astype("<i8").tobytes())
            counts["words"] += int(words.sum(dtype=np.int64))
            counts["tokens"] += len(ids)
            counts["documents"] += len(batch)
    return counts

"""The token stream of a split on disk, and the batch at (seed, step) as a pure function of it.

A data folder holds for each split three plain arrays: `.tokens.bin` (one long stream, each document
`<s> ids </s>`), `.words.bin` (how many whitespace words begin in each token) and
`.documents.bin` (where each document starts). Nothing here has a state to save: a run that stopped after
1,000 steps goes on with `batch(1000)`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON, utf8_text
from babylm_data.sealed import verify

FORMAT = 1
IDS = ("uint16", "uint32")
SHUFFLE = 0xD0C5  # of the numbers that documents are shuffled by
FEW = 4  # epochs are kept: a batch is seldom of more
REMEDY = "make it again with `python -m babylm_data --out DIR …`"


@dataclass(frozen=True)
class TokenFile:
    """One split of a data folder, mapped into memory and never read as a whole."""

    split: str
    tokens: np.ndarray
    """(n,) uint16 or uint32: token ids."""
    words: np.ndarray
    """(n,) uint8: whitespace words that begin in each token."""
    documents: np.ndarray
    """(documents,) int64: index of each document's `<s>`."""
    manifest: dict
    """The manifest of the whole data folder."""


def token_dtype(vocab_size: int) -> str:
    """The NumPy dtype that holds every id; on disk it is little-endian on any machine."""
    return IDS[vocab_size > 65536]


def read_manifest(data_dir: str | Path) -> dict:
    """The manifest of a data folder; UserError if `data_dir` is not one."""
    path = Path(data_dir) / "manifest.json"
    if not Path(data_dir).exists():
        raise UserError(
            f"{data_dir} is not there: make it with `python -m babylm_data --raw DIR --out {data_dir} …`, or with "
            "`--source nursery` from the kit's own text"
        )
    if not path.exists():
        raise UserError(f"{data_dir} is not a data folder (no manifest.json): {REMEDY}")
    text = utf8_text(path, REMEDY)
    try:
        manifest = json.loads(text)
    except BAD_JSON:
        raise UserError(f"{path} is damaged: {REMEDY}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} has another format than this version of the kit reads ({FORMAT}): {REMEDY}")
    return manifest


def open_data(data_dir: str | Path) -> dict:
    """Check every file of a data folder against its SHA-256 (once a run) and return the manifest."""
    manifest = read_manifest(data_dir)
    verify(data_dir, REMEDY)
    return manifest


def open_tokens(data_dir: str | Path, split: str) -> TokenFile:
    """Map the arrays of `split`; sizes are checked first: reading past a short file kills the process."""
    manifest = read_manifest(data_dir)
    if split not in manifest["splits"]:
        raise UserError(f"{data_dir} has no split {split!r}, only {', '.join(manifest['splits'])}")
    counts, ids = manifest["splits"][split], manifest["dtype"]
    if ids not in IDS:  # of another kind, such as objects, memory would be read as what it is not
        raise UserError(f"{data_dir}: manifest.json says that tokens are {ids!r}: {REMEDY}")
    layout = {
        "tokens": (np.dtype(ids).newbyteorder("<"), counts["tokens"]),
        "words": (np.dtype("u1"), counts["tokens"]),
        "documents": (np.dtype("<i8"), counts["documents"]),
    }
    arrays = {}
    for name, (dtype, length) in layout.items():
        path = Path(data_dir) / f"{split}.{name}.bin"
        expected = length * dtype.itemsize
        if not path.is_file():
            raise UserError(f"{path} is missing: {REMEDY}")
        if path.stat().st_size != expected:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes instead of {expected:,}: {REMEDY}")
        arrays[name] = np.memmap(path, dtype=dtype, mode="r", shape=(length,))
    return TokenFile(split=split, manifest=manifest, **arrays)


class Blocks(NamedTuple):
    """Sequences cut from the token stream of a split."""

    tokens: np.ndarray
    """(sequences, seq_len + 1) int64: one more than a model is given, for the last target."""
    words: np.ndarray
    """(sequences, seq_len + 1) uint8: whitespace words that begin in each token."""
    starts: np.ndarray
    """(sequences,) int64: where in the stream each begins."""
    split: str

    @classmethod
    def at(
        cls, tokens: TokenFile, starts: np.ndarray, seq_len: int, places: np.ndarray | None = None
    ) -> "Blocks":
        """The blocks of `seq_len` + 1 tokens that begin at `starts`; `places`: where these stand, if not in a row."""
        if places is None:
            places = starts[:, None] + np.arange(seq_len + 1)
        return cls(tokens.tokens[places].astype(np.int64), tokens.words[places], starts, tokens.split)

    def some(self, count: int) -> "Blocks":
        """`count` of them, evenly spaced; all where there are fewer."""
        chosen = _evenly(len(self.starts), count)
        return Blocks(self.tokens[chosen], self.words[chosen], self.starts[chosen], self.split)


class _Order(NamedTuple):
    """The documents of a stream, one behind the other in another order."""

    begins: np.ndarray
    """(documents,) int64: where each begins in this order."""
    stands: np.ndarray
    """(documents,) int64: where it stands in the stream."""

    def places(self, positions: np.ndarray) -> np.ndarray:
        """Where in the stream the token of each position in this order stands."""
        documents = np.searchsorted(self.begins, positions, side="right") - 1
        return self.stands[documents] + positions - self.begins[documents]

    def of(self, stream: np.ndarray) -> np.ndarray:
        """What the stream has for each of its tokens, in this order."""
        stream = np.asarray(stream)  # a memmap is slow to slice
        lengths = np.diff(self.begins, append=len(stream))
        return np.concatenate(
            [stream[start : start + length] for start, length in zip(self.stands, lengths, strict=True)]
        )


@dataclass(frozen=True)
class _Epoch:
    """One pass over the stream: its blocks in the order in which they are read."""

    starts: np.ndarray
    """(sequences,) int64: index of each block's first token."""
    words: np.ndarray
    """(sequences + 1,) int64: words in the first k blocks."""


@dataclass(frozen=True)
class Batches:
    """The batches of a run: a pure function of (seed, step).

    An epoch cuts the stream into blocks of `seq_len` tokens that do not overlap, from an offset on, and reads them in a
    random order. Batches go on over the ends of epochs, so every batch is full.
    """

    tokens: TokenFile
    seq_len: int
    """Tokens a sequence that are given to the model; a sequence carries one more, the last target."""
    batch_size: int
    """Sequences a step."""
    seed: int
    layouts: int | None = None
    """Offsets that the epochs take in turn, evenly spaced, so that blocks recur; None: random ones, drawn anew."""
    shuffled: bool = False
    """Whether each epoch, or each of the layouts, puts the documents into an order of its own."""
    _orders: dict[int, _Order] = field(default_factory=dict, init=False, repr=False, compare=False)
    _epochs: dict[int, _Epoch] = field(default_factory=dict, init=False, repr=False, compare=False)
    _words_before: list[int] = field(default_factory=lambda: [0], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.sequences_per_epoch < 1:
            raise UserError(
                f"the split {self.tokens.split!r} has {len(self.tokens.tokens):,} tokens, too few for "
                f"sequences of {self.seq_len}: lower seq_len or use a larger corpus"
            )

    @property
    def offsets(self) -> list[int]:
        """Of the layouts."""
        return [layout * self.seq_len // self.layouts for layout in range(self.layouts or 0)]

    def every_start(self) -> np.ndarray:
        """Where each block of every layout begins, in order."""
        blocks = np.arange(self.sequences_per_epoch) * self.seq_len
        apart = len(self.tokens.tokens) if self.shuffled else 0
        return np.unique(
            np.concatenate([layout * apart + blocks + offset for layout, offset in enumerate(self.offsets)])
        )

    @property
    def sequences_per_epoch(self) -> int:
        """Whole blocks that fit behind any offset in [0, seq_len), with a target for the last token."""
        return (len(self.tokens.tokens) - self.seq_len) // self.seq_len

    def batch(self, step: int) -> Blocks:
        """The `batch_size` sequences of this step."""
        epochs, places = np.divmod(
            np.arange(step * self.batch_size, (step + 1) * self.batch_size), self.sequences_per_epoch
        )
        starts = np.concatenate([self._epoch(int(e)).starts[places[epochs == e]] for e in np.unique(epochs)])
        return self.blocks(starts)

    def blocks(self, starts: np.ndarray) -> Blocks:
        """The blocks at some of the places that batches begin at.

        Of shuffled documents these are in streams one behind the other: that of the first epoch or layout, and so on.
        """
        if not self.shuffled:
            return Blocks.at(self.tokens, starts, self.seq_len)
        which, positions = np.divmod(starts, len(self.tokens.tokens))
        places = positions[:, None] + np.arange(self.seq_len + 1)
        for order in np.unique(which):
            places[which == order] = self._order(int(order)).places(places[which == order])
        return Blocks.at(self.tokens, starts, self.seq_len, places)

    def words(self, step: int) -> int:
        """Whitespace words that begin in the input tokens of the batch at `step`."""
        return self.words_seen(step + 1) - self.words_seen(step)

    def words_seen(self, steps: int) -> int:
        """Words of exposure after `steps` steps, repeats counted."""
        epoch, place = divmod(steps * self.batch_size, self.sequences_per_epoch)
        within = int(self._epoch(epoch).words[place]) if place else 0
        return self._words_before_epoch(epoch) + within

    def steps_for(self, words: int) -> int:
        """The first number of steps after which at least `words` words were seen."""
        if words <= 0:
            return 0
        if not self.tokens.words.any():
            raise UserError(f"the split {self.tokens.split!r} has no words: no run on it sees {words:,}")
        epoch = 0
        while self._words_before_epoch(epoch + 1) < words:
            epoch += 1
        sequences = np.searchsorted(self._epoch(epoch).words, words - self._words_before_epoch(epoch))
        return -(-(epoch * self.sequences_per_epoch + int(sequences)) // self.batch_size)

    def _words_before_epoch(self, epoch: int) -> int:
        while len(self._words_before) <= epoch:
            last = len(self._words_before) - 1
            self._words_before.append(self._words_before[last] + int(self._epoch(last).words[-1]))
        return self._words_before[epoch]

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            drawn = generator([self.seed, epoch])
            offset = int(drawn.integers(self.seq_len))
            if self.layouts:
                offset = self.offsets[epoch % self.layouts]
            order = drawn.permutation(self.sequences_per_epoch)
            words, stream = self.tokens.words, 0
            if self.shuffled:
                stream = epoch % self.layouts if self.layouts else epoch
                words = self._order(stream).of(words)
            blocks = words[offset : offset + len(order) * self.seq_len].reshape(-1, self.seq_len)
            words = np.concatenate([[0], blocks.sum(axis=1, dtype=np.int64)[order].cumsum()])
            begins = stream * len(self.tokens.tokens) + offset + order * self.seq_len
            _keep(self._epochs, epoch, _Epoch(starts=begins, words=words))
        return self._epochs[epoch]

    def _order(self, which: int) -> _Order:
        """That of an epoch, or of a layout, where no seed decides it: a cache serves runs of any."""
        if which not in self._orders:
            seeds = [SHUFFLE, which] if self.layouts else [SHUFFLE, self.seed, which]
            documents = self.tokens.documents
            drawn = generator(seeds).permutation(len(documents))
            lengths = np.diff(documents, append=len(self.tokens.tokens))[drawn]
            _keep(self._orders, which, _Order(lengths.cumsum() - lengths, documents[drawn]))
        return self._orders[which]


def generator(numbers: Sequence[int], *apart: int) -> np.random.Generator:
    """Of what is drawn by these numbers alone, and, `apart`, in no other draw by the same ones."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(numbers, spawn_key=apart)))


def _keep(kept: dict[int, object], number: int, new: object) -> None:
    """Put one more there; a run moves forward: the oldest is the one not needed again."""
    while len(kept) >= FEW:
        kept.pop(next(iter(kept)), None)
    kept[number] = new


def held_out(tokens: TokenFile, seq_len: int, sequences: int) -> Blocks:
    """Evenly spaced blocks of a split; all its blocks where it has fewer."""
    blocks = (len(tokens.tokens) - 1) // seq_len
    if blocks < 1 or sequences < 1:
        raise UserError(
            f"the split {tokens.split!r} has {len(tokens.tokens):,} tokens, too few to hold out {sequences} "
            f"sequences of {seq_len}: lower seq_len or use more text"
        )
    return Blocks.at(tokens, _evenly(blocks, sequences) * seq_len, seq_len)


def _evenly(length: int, count: int) -> np.ndarray:
    """At most `count` places of `length`, evenly spaced from the first to the last."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)

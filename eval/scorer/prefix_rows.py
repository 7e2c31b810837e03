"""Token sequences laid out in rows of cells, so that what they share is computed once.

Sequences in sorted order are the depth-first walk of their prefix tree. A row holds a stretch of that walk, one cell
for each prefix, and a prediction is read off the cell of the prefix that it follows: the last token of a
sequence predicts nothing and needs no cell. In a depth-first walk the descendants of a cell are the cells right
after it, so that cell i must see cell j exactly if j <= i < end[j]: the attention mask is two comparisons.
"""

# B = rows of a batch, R = cells of a row, N = predictions

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Encoded(NamedTuple):
    """A tokenised choice: token ids, and which of them are summed. Comparable, so that equals meet."""

    ids: tuple[int, ...]
    scored: tuple[bool, ...]


@dataclass
class BatchRow:
    """Cells of one row, and the predictions read off them."""

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Of each cell, the number of the first cell behind its descendants."""
    sources: list[int] = field(default_factory=list)
    """Of each prediction, the cell that it is read off."""
    targets: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Of each prediction, the number of the sequence that it belongs to."""

    def judge(self, owner: int, source: int, target: int) -> None:
        """Add the prediction of token `target` from cell `source`, for sequence number `owner`."""
        self.owners.append(owner)
        self.sources.append(source)
        self.targets.append(target)


def distinct(encoded: Sequence[Encoded]) -> tuple[list[Encoded], list[int]]:
    """The sorted set of the sequences, and of each of them its place there."""
    sequences = sorted(set(encoded))
    place = {entry: index for index, entry in enumerate(sequences)}
    return sequences, [place[entry] for entry in encoded]


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens `a` and `b` begin with in common."""
    for count, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return count
    return min(len(a), len(b))


def tree_rows(sequences: Sequence[Encoded], capacity: int) -> list[BatchRow]:
    """Rows for sorted `sequences`, the short ones first.

    A row has at most `capacity` cells, or one and a half times its own longest sequence where that is more: the
    sequences of a long prompt share it, and make no row long but theirs.
    """
    rows: list[BatchRow] = []
    longest = 0  # of the row that is being filled
    path: list[int] = []  # cells of the tokens of the sequence before
    before: tuple[int, ...] = ()
    for owner, (ids, scored) in enumerate(sequences):
        read = ids[:-1]
        common = shared(before, read)
        longest = max(longest, len(ids))
        if not rows or len(rows[-1].tokens) + len(read) - common > max(capacity, 3 * longest // 2):
            rows.append(BatchRow())
            path, common, longest = [], 0, len(ids)
        row = rows[-1]
        del path[common:]
        for token in read[common:]:
            path.append(len(row.tokens))
            row.tokens.append(token)
            row.depths.append(len(path) - 1)
            row.ends.append(0)
        for cell in path:
            row.ends[cell] = len(row.tokens)
        for position in range(1, len(ids)):
            if scored[position]:
                row.judge(owner, path[position - 1], ids[position])
        before = read
    return sorted((row for row in rows if row.sources), key=lambda row: len(row.tokens))


def by_length(sequences: Sequence[Encoded]) -> list[tuple[int, Encoded]]:
    """The sequences with their numbers, the short ones first."""
    return sorted(enumerate(sequences), key=lambda numbered: len(numbered[1].ids))


def plain_rows(sequences: Sequence[Encoded]) -> Iterator[BatchRow]:
    """A row for each sequence, the short ones first, for models that cannot be told which cell sees which."""
    for owner, (ids, scored) in by_length(sequences):
        row = BatchRow(list(ids[:-1]))
        for position in range(1, len(ids)):
            if scored[position]:
                row.judge(owner, position - 1, ids[position])
        if row.sources:
            yield row


def masked_rows(sequences: Sequence[Encoded], mask: int, shift: int) -> Iterator[BatchRow]:
    """A row for each scored token, which the token `mask` stands for; it is read `shift` cells to the left of it.

    The short ones come first, and each is made when it is asked for: together they are every text many times over.
    """
    for owner, (ids, scored) in by_length(sequences):
        for position in range(shift, len(ids)):
            if scored[position]:
                row = BatchRow([*ids[:position], mask, *ids[position + 1 :]])
                row.judge(owner, position - shift, ids[position])
                yield row


@dataclass(frozen=True)
class Batch:
    """Rows side by side, as arrays."""

    tokens_BR: np.ndarray
    depths_BR: np.ndarray | None
    """Positions, None where each row is one plain sequence."""
    ends_BR: np.ndarray | None
    sources_N: np.ndarray
    """Cells, counted through the rows, in ascending order."""
    targets_N: np.ndarray
    owners_N: np.ndarray


def batches(rows: Iterable[BatchRow], cells: int) -> Iterator[Batch]:
    """Cut rows, the short ones first, into batches of at most `cells` cells, or of one row.

    Rows of a tree are filled up behind their end, with cells that see themselves alone; plain rows share
    a batch only with others of their own length, so there is no padding to argue away.
    """
    together: list[BatchRow] = []
    for row in rows:
        width = len(row.tokens)
        unlike = together and not row.ends and width != len(together[0].tokens)
        if unlike or (together and (len(together) + 1) * width > cells):
            yield _batch(together)
            together = []
        together.append(row)
    if together:
        yield _batch(together)


def _batch(rows: list[BatchRow]) -> Batch:
    width = len(rows[-1].tokens)
    sources = np.concatenate([np.array(row.sources) + n * width for n, row in enumerate(rows)])
    order = np.argsort(sources, kind="stable")
    tree = bool(rows[0].ends)
    return Batch(
        tokens_BR=_table([row.tokens for row in rows], np.zeros(width, int)),
        depths_BR=_table([row.depths for row in rows], np.zeros(width, int)) if tree else None,
        ends_BR=_table([row.ends for row in rows], np.arange(1, width + 1)) if tree else None,
        sources_N=sources[order],
        targets_N=np.concatenate([row.targets for row in rows])[order],
        owners_N=np.concatenate([row.owners for row in rows])[order],
    )


def _table(values: list[list[int]], filler: np.ndarray) -> np.ndarray:
    return np.stack([np.concatenate([row, filler[len(row) :]]) for row in values]).astype(np.int64)

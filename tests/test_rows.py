"""Rows: every prediction is read off the prefix that it follows, each prefix is there once, nothing is padded in."""

import random

import numpy as np
import pytest

from eval.scorer.prefix_rows import Encoded, batches, masked_rows, plain_rows, tree_rows


def sequences(count: int = 200, seed: int = 0) -> list[Encoded]:
    """Sorted distinct sequences over few tokens, so that they share a lot; some tokens are not scored."""
    rng = random.Random(seed)
    made = set()
    for _ in range(count):
        ids = tuple(rng.choices(range(3), k=rng.randint(1, 9)))
        made.add(Encoded(ids, (False, *(rng.random() < 0.8 for _ in ids[1:]))))
    return sorted(made)


def seen_from(row, cell: int) -> list[int]:
    """The tokens that the mask lets `cell` see, in the order of their positions."""
    seen = [other for other in range(len(row.tokens)) if other <= cell < row.ends[other]]
    assert [row.depths[other] for other in seen] == list(range(len(seen)))
    return [row.tokens[other] for other in seen]


def test_one_long_sequence_makes_no_other_row_long():
    short = [Encoded((0, n, n + 1, n + 2), (False, True, True, True)) for n in range(1, 200, 3)]
    long = Encoded((0, *range(300, 600)), (False,) + (True,) * 300)
    widths = [len(row.tokens) for row in tree_rows(sorted([*short, long]), 16)]
    assert max(widths[:-1]) <= 16 and widths[-1] >= 300


@pytest.mark.parametrize("capacity", [1, 7, 30, 10_000])
def test_in_a_tree_each_prediction_sees_its_own_prefix_and_nothing_else(capacity):
    entries = sequences()
    found = {}
    for row in tree_rows(entries, capacity):
        for owner, source, target in zip(row.owners, row.sources, row.targets, strict=True):
            found.setdefault(owner, []).append((seen_from(row, source), target))
    for owner, (ids, scored) in enumerate(entries):
        expected = [(list(ids[:p]), ids[p]) for p in range(len(ids)) if scored[p]]
        assert found.get(owner, []) == expected


def test_a_tree_holds_each_prefix_once():
    entries = sequences()
    (row,) = tree_rows(entries, 10_000)
    assert len(row.tokens) == len({ids[:n] for ids, _ in entries for n in range(1, len(ids))})


@pytest.mark.parametrize("capacity", [14, 30])
def test_a_row_keeps_to_its_capacity(capacity):
    assert max(len(row.tokens) for row in tree_rows(sequences(), capacity)) <= capacity


def test_a_sequence_longer_than_the_capacity_has_a_row_of_its_own():
    entry = Encoded(tuple(range(20)), (False,) + (True,) * 19)
    (row,) = tree_rows([entry], 5)
    assert row.tokens == list(range(19))


def test_masked_rows_hide_one_token_each():
    entry = Encoded((5, 6, 7), (False, True, True))
    mlm, mntp = (list(masked_rows([entry], 99, shift)) for shift in (0, 1))
    assert [row.tokens for row in mlm] == [row.tokens for row in mntp] == [[5, 99, 7], [5, 6, 99]]
    assert [row.sources for row in mlm] == [[1], [2]] and [row.sources for row in mntp] == [[0], [1]]
    assert [row.targets for row in mlm] == [[6], [7]]


def test_masked_rows_are_made_as_they_are_asked_for():
    texts = [Encoded(tuple(range(n)), (True,) * n) for n in range(20, 0, -1)]
    rows = masked_rows(texts, 99, 0)
    assert [len(texts[owner].ids) for owner in next(batches(rows, 40)).owners_N] == [1]
    assert len(list(rows)) == sum(range(2, 21)) - 1  # one more row was made to see that the batch ends


@pytest.mark.parametrize("rows", [plain_rows, lambda entries: masked_rows(entries, 9, 1)])
def test_rows_come_short_ones_first_and_none_is_lost(rows):
    entries = sequences()
    made = list(rows(entries))
    assert [len(row.tokens) for row in made] == sorted(len(row.tokens) for row in made)
    told = sorted(
        (owner, target) for row in made for owner, target in zip(row.owners, row.targets, strict=True)
    )
    expected = [(n, ids[p]) for n, (ids, scored) in enumerate(entries) for p in range(len(ids)) if scored[p]]
    assert told == sorted(expected)


def test_plain_rows_share_a_batch_with_their_own_length_only():
    made = list(batches(plain_rows(sequences()), 40))
    assert all(batch.ends_BR is None for batch in made)
    assert max(batch.tokens_BR.size for batch in made) <= 40
    assert sum(len(batch.targets_N) for batch in made) == sum(sum(entry.scored) for entry in sequences())


def test_cells_behind_the_end_of_a_row_see_themselves_alone():
    for batch in batches(tree_rows(sequences(), 20), 80):
        cells = np.arange(batch.tokens_BR.shape[1])
        for tokens, ends in zip(batch.tokens_BR, batch.ends_BR, strict=True):
            sees = (cells[:, None] >= cells) & (cells[:, None] < ends)
            assert sees.diagonal().all() and len(tokens) == len(ends)

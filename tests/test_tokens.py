"""The token stream: batches as a pure function, the exact word ledger, and refusals of damaged files."""

import json

import numpy as np
import pytest

from babylm_data.errors import UserError
from babylm_data.tokens import Batches, held_out, open_tokens, token_dtype
from train_teachers.targets import NEXT_TOKEN


@pytest.fixture
def data(tmp_path):
    """A data folder whose token i is i and whose words are drawn at random: a block can be recognised."""
    return write_stream(tmp_path / "data", length=1000)


DOCUMENTS = [0, 7, 130, 131, 200, 280, 333, 400, 500, 620, 800, 900]


@pytest.fixture
def shuffled(tmp_path):
    """shuffled(**changes): batches of that stream as twelve documents, in another order in each epoch."""
    data = write_stream(tmp_path / "shuffled", length=1000, documents=DOCUMENTS)
    return lambda **changes: batches(data, **{"shuffled": True, "batch_size": 1} | changes)


def epoch_of(reader, number):
    """The tokens of all blocks of an epoch, as they stand in its stream."""
    size = reader.sequences_per_epoch
    found = [reader.batch(number * size + i) for i in range(size)]
    found.sort(key=lambda blocks: int(blocks.starts[0]))
    return np.concatenate([blocks.tokens[0, :-1] for blocks in found])


def documents_of(tokens):
    """Those that a stream of tokens goes through, one after the other; token i is i."""
    which = np.searchsorted(DOCUMENTS, tokens, side="right") - 1
    return which[np.insert(np.diff(which) != 0, 0, True)].tolist()


def test_documents_are_shuffled_whole_and_anew_for_each_epoch_and_seed(shuffled):
    reader, orders = shuffled(), []
    for epoch in range(4):
        tokens = epoch_of(reader, epoch)
        assert len(np.unique(tokens)) == len(tokens) == 61 * 16  # of 1,000
        ends = np.isin(tokens[:-1] + 1, [*DOCUMENTS, 1000])
        assert np.array_equal(np.diff(tokens)[~ends], np.ones((~ends).sum()))
        orders.append(documents_of(tokens))
    assert orders[0] != orders[1] and len(set(map(tuple, orders))) > 2
    assert [documents_of(epoch_of(shuffled(seed=1), epoch)) for epoch in range(4)] != orders
    assert np.array_equal(epoch_of(shuffled(), 3), epoch_of(reader, 3))


@pytest.mark.parametrize("layouts", [1, 3])
def test_shuffled_documents_recur_where_offsets_do_whatever_the_seed(shuffled, layouts):
    one, other = shuffled(layouts=layouts), shuffled(layouts=layouts, seed=1)
    streams = [epoch_of(one, epoch) for epoch in range(layouts)]
    assert len({tuple(documents_of(tokens)) for tokens in streams}) == layouts
    for epoch in range(layouts):
        assert np.array_equal(streams[epoch], epoch_of(one, epoch + layouts))
        assert np.array_equal(streams[epoch], epoch_of(other, epoch))
    starts = one.every_start()
    seen = np.unique([one.batch(step).starts[0] for step in range(layouts * one.sequences_per_epoch)])
    assert np.array_equal(starts, seen)
    assert np.array_equal(one.blocks(starts).tokens[:, :-1].ravel(), np.concatenate(streams))


def test_words_of_shuffled_documents_are_those_of_the_tokens_that_are_read(shuffled):
    reader, total = shuffled(batch_size=4), 0
    for step in range(60):
        total += int(reader.tokens.words[reader.batch(step).tokens[:, :-1]].sum())
        assert reader.words_seen(step + 1) == total
        assert np.array_equal(reader.batch(step).words, reader.tokens.words[reader.batch(step).tokens])


def write_stream(folder, *, length, documents=(0, 500)):
    folder.mkdir()
    words = np.random.default_rng(0).integers(0, 3, length).astype("u1")
    np.arange(length, dtype="<u2").tofile(folder / "train.tokens.bin")
    words.tofile(folder / "train.words.bin")
    np.array(documents, dtype="<i8").tofile(folder / "train.documents.bin")
    counts = {"words": int(words.sum()), "tokens": length, "documents": len(documents), "sources": {}}
    manifest = {"format": 1, "dtype": "uint16", "splits": {"train": counts}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def batches(data, **changes):
    return Batches(open_tokens(data, "train"), **({"seq_len": 16, "batch_size": 4, "seed": 0} | changes))


def test_a_batch_depends_on_seed_and_step_only(data):
    one, other = batches(data), batches(data)
    expected = [one.batch(step).tokens for step in range(60)]
    for step in (59, 3, 17, 40, 0):  # another order, another object, other cached epochs
        assert np.array_equal(other.batch(step).tokens, expected[step])
    assert not np.array_equal(batches(data, seed=1).batch(0).tokens, expected[0])


def test_a_batch_holds_inputs_and_the_token_after_each(data):
    batch, _, starts, _ = batches(data).batch(5)
    assert batch.shape == (4, 17) and batch.dtype == np.int64
    assert np.array_equal(batch[:, 1:], batch[:, :-1] + 1)
    assert np.array_equal(batch[:, 0], starts)  # token i is i


def test_an_epoch_reads_every_block_once_and_epochs_differ(data):
    reader = batches(data, batch_size=1)
    size = reader.sequences_per_epoch
    assert size == (1000 - 16) // 16
    epochs = [
        [int(reader.batch(step).starts[0]) for step in range(e * size, (e + 1) * size)] for e in range(3)
    ]
    for starts in epochs:
        assert np.array_equal(np.diff(sorted(starts)), np.full(size - 1, 16))
        assert 0 <= min(starts) < 16 and max(starts) + 16 < 1000
        assert starts != sorted(starts)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("layouts", [1, 3])
def test_with_fixed_offsets_the_same_blocks_recur_whatever_the_seed(data, layouts):
    seen = {}
    for seed in (0, 1):
        reader = batches(data, batch_size=1, seed=seed, layouts=layouts)
        size = reader.sequences_per_epoch
        epochs = [
            [int(reader.batch(e * size + i).starts[0]) for i in range(size)] for e in range(2 * layouts)
        ]
        for epoch, starts in enumerate(epochs):
            assert {start % 16 for start in starts} == {16 * (epoch % layouts) // layouts}
        seen[seed] = [sorted(starts) for starts in epochs]
        assert seen[seed][:layouts] == seen[seed][layouts:]
    assert seen[0] == seen[1] and epochs[0] != sorted(epochs[0])


def test_the_batch_size_does_not_change_the_order_of_sequences(data):
    small = np.concatenate([batches(data, batch_size=2).batch(step).tokens for step in range(90)])
    large = np.concatenate([batches(data, batch_size=180).batch(0).tokens])  # one batch over three epochs
    assert np.array_equal(small, large)


def test_words_seen_counts_the_words_of_the_input_tokens(data):
    reader, total = batches(data), 0
    for step in range(60):
        exact = int(
            reader.tokens.words[reader.batch(step).tokens[:, :-1]].sum()
        )  # token i is i: ids are positions
        assert reader.words(step) == exact
        total += exact
        assert reader.words_seen(step + 1) == total


@pytest.mark.parametrize("batch_size", [1, 4, 180])
def test_steps_for_is_the_first_step_that_reaches_the_words(data, batch_size):
    reader = batches(data, batch_size=batch_size)
    assert reader.steps_for(0) == 0
    for words in (1, 2, 50, 977, 978, 979, 5000):
        steps = reader.steps_for(words)
        assert reader.words_seen(steps) >= words > reader.words_seen(steps - 1)


def test_a_stream_shorter_than_two_sequences_is_refused(data):
    with pytest.raises(UserError, match="lower seq_len"):
        batches(data, seq_len=501)
    assert batches(data, seq_len=500).sequences_per_epoch == 1


def test_held_out_blocks_are_spread_evenly_and_never_repeat(data):
    blocks = held_out(open_tokens(data, "train"), 16, 5)
    assert blocks.tokens.shape == (5, 17) and blocks.tokens.dtype == np.int64
    assert blocks.starts[0] == 0 and blocks.starts[-1] == 61 * 16
    assert len(held_out(open_tokens(data, "train"), 16, 10_000).starts) == 62
    few = blocks.some(3)
    assert few.starts.tolist() == [blocks.starts[place] for place in (0, 2, 4)]
    assert np.array_equal(few.tokens[:, 0], few.starts)
    assert np.array_equal(blocks.some(9).tokens, blocks.tokens)
    with pytest.raises(UserError, match="too few"):
        held_out(open_tokens(data, "train"), 1000, 1)


@pytest.mark.parametrize("name", ["tokens", "words", "documents"])
def test_a_truncated_array_is_refused_before_it_is_mapped(data, name):
    path = data / f"train.{name}.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"train.{name}.bin has .* bytes instead of"):
        open_tokens(data, "train")


def test_a_split_that_is_not_there_is_named(data):
    with pytest.raises(UserError, match="no split 'dev', only train"):
        open_tokens(data, "dev")
    with pytest.raises(UserError, match="nothing is not there: make it with"):
        open_tokens(data / "nothing", "train")
    (data / "nothing").mkdir()
    with pytest.raises(UserError, match="not a data folder"):
        open_tokens(data / "nothing", "train")


def test_ids_over_65535_need_four_bytes():
    assert np.dtype(token_dtype(65536)).itemsize == 2
    assert np.dtype(token_dtype(65537)).itemsize == 4


def test_where_a_block_begins_is_not_carried_to_a_device_with_the_batch(data):
    """As several GPUs would have it: what hands a batch to each moves every tensor of it."""
    import torch
    from torch.distributed.utils import _recursive_to

    batch = NEXT_TOKEN.of_items(batches(data).batch(0))
    ((moved,),) = _recursive_to((batch,), torch.device("meta"), True)
    assert moved.inputs_BT.is_meta and np.array_equal(moved.starts, batch.starts)

"""What a model is asked: masks by the numbers that they should have, the same wherever and whenever they are drawn."""

import numpy as np
import pytest
import torch
from transformers import AddedToken, BertConfig, BertForMaskedLM

from babylm_data.errors import UserError
from babylm_data.tokenizer_files import load_tokenizer
from babylm_data.tokens import Batches, Blocks, held_out, open_tokens
from train_teachers import config
from train_teachers.objective import HardObjective
from train_teachers.targets import IGNORE, NEXT_TOKEN, Masked, targets_of

MASK, SPECIAL, VOCAB = 4, 5, 300
PLAIN_V = np.arange(VOCAB) >= SPECIAL


def masked(**options):
    return Masked(config.Targets(kind="masked", **options), MASK, PLAIN_V)


def make_blocks(sequences, seq_len, seed=0):
    """Random blocks: one token of five is special, and a word has two tokens on average."""
    rng = np.random.default_rng(seed)
    shape = (sequences, seq_len + 1)
    tokens = np.where(
        rng.random(shape) < 0.2, rng.integers(SPECIAL, size=shape), rng.integers(SPECIAL, VOCAB, shape)
    )
    words = (rng.random(shape) < 0.5).astype(np.uint8)
    return Blocks(tokens, words, np.arange(sequences) * seq_len, "train")


def arrays(batch):
    return batch.inputs_BT.numpy(), batch.targets_BT.numpy()


@pytest.mark.parametrize("whole_words", [False, True])
def test_of_a_million_tokens_the_shares_are_what_the_config_says(whole_words):
    blocks = make_blocks(8000, 128)
    inputs, targets = arrays(masked(whole_words=whole_words).of_step(blocks, 0, 0, 0.0))
    tokens, asked = blocks.tokens[:, :-1], targets != IGNORE
    assert np.array_equal(targets[asked], tokens[asked]) and np.array_equal(inputs[~asked], tokens[~asked])
    assert not asked[tokens < SPECIAL].any()
    assert asked[tokens >= SPECIAL].mean() == pytest.approx(0.15, abs=0.002)
    shown = inputs[asked]
    assert (shown == MASK).mean() == pytest.approx(0.8, abs=0.005)
    random = shown[(shown != MASK) & (shown != tokens[asked])]
    # a random token is the one that was there in one of 295 cases
    assert len(random) / asked.sum() == pytest.approx(0.1 * (1 - 1 / 295), abs=0.005)
    assert random.min() == SPECIAL and random.max() == VOCAB - 1
    assert np.bincount(random, minlength=VOCAB)[SPECIAL:].std() < 0.2 * len(random) / 295


def test_no_special_token_of_a_tokenizer_is_asked_for_or_stands_in_for_another(data_folder):
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<role>"]})
    tokenizer.add_tokens([AddedToken("<no role>", special=True), AddedToken("<word>", special=False)])
    plain_V = targets_of(config.Targets(kind="masked"), tokenizer).plain_V
    names = [*tokenizer.all_special_tokens, "<role>", "<no role>", "<s>", "</s>", "<mask>"]
    assert not plain_V[tokenizer.convert_tokens_to_ids(names)].any()
    assert plain_V[tokenizer.convert_tokens_to_ids(["<word>", *tokenizer.tokenize("The dog")])].all()


def test_a_word_is_asked_for_as_a_whole_or_not_at_all_and_else_by_its_tokens():
    blocks = make_blocks(200, 64)
    tokens, words = blocks.tokens[:, :-1], (blocks.words[:, :-1] > 0).cumsum(axis=1)
    for whole, torn in ((True, 0), (False, 1)):
        asked = masked(whole_words=whole).of_step(blocks, 0, 0, 0.0).targets_BT.numpy() != IGNORE
        plain, found = tokens >= SPECIAL, 0
        for row in range(len(tokens)):
            for word in range(words[row].max() + 1):
                of_word = asked[row][(words[row] == word) & plain[row]]
                found += of_word.any() and not of_word.all()
        assert (found > 100) == torn and (found == 0) == (not torn)


def test_masks_are_those_of_the_seed_and_the_step_and_parts_of_a_batch_have_theirs():
    blocks, targets = make_blocks(16, 32), masked()
    one, again = (arrays(targets.of_step(blocks, 3, 7, 0.0)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    for seed, step in ((3, 8), (4, 7)):
        assert not np.array_equal(arrays(targets.of_step(blocks, seed, step, 0.0))[1], one[1])
    parts = targets.of_step(blocks, 3, 7, 0.0).split(4)
    assert np.array_equal(np.concatenate([arrays(part)[1] for part in parts]), one[1])
    assert sum(part.num_targets for part in parts) == (one[1] != IGNORE).sum()


def test_the_masks_of_a_held_out_item_are_its_own(data_folder):
    tokens = open_tokens(data_folder, "dev")
    blocks, targets = held_out(tokens, 16, 40), masked()
    every, some = targets.of_items(blocks), targets.of_items(blocks.some(7))
    by_start = dict(zip(every.starts, every.targets_BT, strict=True))
    assert all(
        torch.equal(by_start[start], row) for start, row in zip(some.starts, some.targets_BT, strict=True)
    )
    masks = {tuple((row != IGNORE).tolist()) for row in every.targets_BT}
    assert len(masks) > 30


def test_a_share_may_change_while_the_run_goes_on():
    blocks, targets = make_blocks(800, 128), masked(share={"start": 0.3, "end": 0.15})
    shares = [
        (targets.of_step(blocks, 0, 0, progress).targets_BT != IGNORE).float().mean() / 0.8
        for progress in (0.0, 0.5, 1.0)
    ]
    assert shares == pytest.approx([0.3, 0.225, 0.15], abs=0.006)
    assert (targets.of_items(blocks).targets_BT != IGNORE).float().mean() / 0.8 == pytest.approx(
        0.15, abs=0.006
    )


def test_no_batch_is_without_a_target_or_has_more_than_room_was_made_for():
    targets = masked(share=0.01)
    for step in range(200):
        assert 1 <= targets.of_step(make_blocks(1, 8), 0, step, 0.0).num_targets <= targets.most(1, 8)
    for whole in (False, True):
        targets = masked(whole_words=whole)
        counts = [targets.of_step(make_blocks(8, 128, step), 0, step, 0.0).num_targets for step in range(300)]
        assert max(counts) <= targets.most(8, 128) < 0.25 * 8 * 128


def test_loss_and_gradient_are_those_of_transformers_own_masked_model(data_folder):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForMaskedLM(BertConfig(vocab_size=VOCAB, **shape)).double().eval()
    batches = Batches(open_tokens(data_folder, "train"), seq_len=32, batch_size=8, seed=0)
    targets = targets_of(config.Targets(kind="masked"), load_tokenizer(data_folder / "tokenizer"))
    batch = targets.of_step(batches.batch(0), 0, 0, 0.0)
    terms = HardObjective(targets)(model, batch)
    (terms.total / batch.num_targets).backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    theirs = model(input_ids=batch.inputs_BT, labels=batch.targets_BT).loss
    theirs.backward()
    assert terms.total.item() / batch.num_targets == pytest.approx(theirs.item(), abs=1e-9)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, atol=1e-9, rtol=1e-6)


def test_next_tokens_draw_nothing():
    blocks = make_blocks(4, 16)
    batch = NEXT_TOKEN.of_step(blocks, 1, 2, 0.3)
    assert np.array_equal(batch.inputs_BT, blocks.tokens[:, :-1])
    assert np.array_equal(batch.targets_BT, blocks.tokens[:, 1:])


def test_a_tokenizer_without_a_mask_is_refused_where_one_is_needed(data_folder):
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    tokenizer.mask_token = None
    assert targets_of(config.Targets(), tokenizer) is NEXT_TOKEN
    with pytest.raises(UserError, match="needs a tokenizer with a mask token"):
        targets_of(config.Targets(kind="masked"), tokenizer)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"kind": "masked", "random": 0.6, "keep": 0.5}, "together at most 1"),
        ({"kind": "masked", "share": 1.0}, "between 0 and 1"),
        ({"kind": "masked", "share": {"start": 0.3, "end": 0.0}}, "between 0 and 1"),
        ({"kind": "masked", "causal": 0.2}, "causal says nothing about kind: masked"),
        ({"share": 0.2}, "share says nothing about kind: next_token"),
        ("maskd", "'next_token', 'masked' or 'hybrid'"),
    ],
)
def test_impossible_targets_are_refused(written, told):
    with pytest.raises(ValueError, match=told):
        config.Targets.model_validate(written)

"""Sentence scores: equal to transformers' own loss, untouched by batching, order and special tokens."""

import random

import numpy as np
import pytest
import tiny_models
import torch
from tiny_models import sentence_logprobs
from transformers import MistralConfig, MistralForCausalLM, RobertaConfig, RobertaForMaskedLM

from babylm_data.errors import UserError
from babylm_data.models import longest_input
from eval.scorer.items import Choice, Item
from eval.scorer.log_probs import Scorer, encode
from eval.scorer.model import load_for_scoring
from eval.scorer.prefix_rows import Encoded

TEXTS = tiny_models.SENTENCES * 2 + [f"The {'old ' * n}dog sees the cat." for n in range(20)]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj"])
def test_a_score_is_minus_the_loss_that_transformers_computes(family):
    model, tokenizer = tiny_models.model(family), tiny_models.tokenizer()
    ours = sentence_logprobs(model, tokenizer, tiny_models.SENTENCES)
    for text, value in zip(tiny_models.SENTENCES, ours, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        loss = model(input_ids=ids, labels=ids).loss.item()
        assert value == pytest.approx(-loss * (ids.shape[1] - 1), abs=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj"])
def test_batch_size_does_not_change_scores(family):
    model, tokenizer = tiny_models.model(family), tiny_models.tokenizer()
    reference = sentence_logprobs(model, tokenizer, TEXTS, batch_tokens=1)
    for batch_tokens in (64, 200, 100_000):
        again = sentence_logprobs(model, tokenizer, TEXTS, batch_tokens=batch_tokens)
        np.testing.assert_allclose(again, reference, atol=1e-4)


def test_order_changes_no_bit_of_a_score():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    scores = dict(zip(TEXTS, sentence_logprobs(model, tokenizer, TEXTS, batch_tokens=50), strict=True))
    again = sentence_logprobs(model, tokenizer, shuffled, batch_tokens=50)
    assert [scores[text] for text in shuffled] == again.tolist()


def test_equal_sentences_are_read_once_and_score_equally():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    predicted = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: predicted.append(output.shape[-2]))
    scores = sentence_logprobs(model, tokenizer, ["The dog.", "cats", "The dog."])
    again = sentence_logprobs(model, tokenizer, ["The dog.", "cats"])
    half = len(predicted) // 2
    assert predicted[:half] == predicted[half:]
    assert scores[0] == scores[2] == again[0] and scores[1] == again[1]


def test_without_bos_the_first_token_is_not_scored():
    model, bare, with_bos = tiny_models.model(), tiny_models.tokenizer(bos=False), tiny_models.tokenizer()
    text = "The dog sees the cats."
    ids = torch.tensor([bare(text)["input_ids"]])
    logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
    expected = sum(logprobs[n, ids[0, n + 1]].item() for n in range(ids.shape[1] - 1))
    assert sentence_logprobs(model, bare, [text])[0] == pytest.approx(expected, abs=1e-4)
    assert encode(bare, [Choice("", text)])[0].scored == (False,) + (True,) * (ids.shape[1] - 1)
    assert encode(with_bos, [Choice("", text)])[0].scored == (False,) + (True,) * ids.shape[1]


def test_one_token_with_nothing_before_it_scores_zero():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer(bos=False)
    assert sentence_logprobs(model, tokenizer, ["a"]).tolist() == [0.0]


def test_an_end_token_of_the_post_processor_is_context_only():
    model = tiny_models.model()
    plain = sentence_logprobs(model, tiny_models.tokenizer(), TEXTS)
    with_end = sentence_logprobs(model, tiny_models.tokenizer(eos=True), TEXTS)
    np.testing.assert_allclose(with_end, plain, atol=1e-4)


def test_context_and_completion_add_up_to_the_sentence():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    context, completion = "The dog sees", " the cats."
    ids = torch.tensor([tokenizer(context + completion)["input_ids"]])
    first = len(tokenizer(context)["input_ids"])
    logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
    expected = sum(logprobs[n - 1, ids[0, n]].item() for n in range(first, ids.shape[1]))
    value = Scorer(model, tokenizer).logprobs([Choice(context, completion)])[0]
    assert value == pytest.approx(expected, abs=1e-4)


def test_a_token_across_the_border_belongs_to_the_completion():
    tokenizer = tiny_models.tokenizer()
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("The dog")["input_ids"])
    assert tokens[-1] == "Ġdog"
    for context, completion in (("The do", "g"), ("The ", "dog"), ("The", " dog")):
        assert encode(tokenizer, [Choice(context, completion)])[0].scored.count(True) == 1


def test_a_sentence_longer_than_the_model_names_its_item():
    item = Item("island_3", "island", (Choice("", "dog " * 200), Choice("", "cat")))
    with pytest.raises(UserError, match="island_3 has .* tokens, the model reads at most 64"):
        Scorer(tiny_models.model("gpt2"), tiny_models.tokenizer()).score([item])
    (scores,) = Scorer(tiny_models.model("llama"), tiny_models.tokenizer()).score([item])
    assert np.isfinite(scores).all()  # its positions are angles, which have no end


def test_a_sentence_as_long_as_the_model_is_scored():
    tokenizer = tiny_models.tokenizer()
    text = "The dog sees the cats."
    model = tiny_models.model("gpt2", positions=len(tokenizer(text)["input_ids"]))
    assert np.isfinite(sentence_logprobs(model, tokenizer, [text])).all()


def test_scores_come_back_in_the_order_of_the_items():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    texts = tiny_models.SENTENCES
    items = [
        Item(f"x_{n}", "x", (Choice("", a), Choice("", b)))
        for n, (a, b) in enumerate(zip(texts, texts[::-1], strict=True))
    ]
    flat = sentence_logprobs(model, tokenizer, texts).tolist()
    assert Scorer(model, tokenizer).score(items) == [[a, b] for a, b in zip(flat, flat[::-1], strict=True)]


def test_low_precision_logits_are_normalised_in_float32():
    model, tokenizer = tiny_models.model().bfloat16(), tiny_models.tokenizer()
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    logprobs = model(input_ids=ids).logits[0].float().log_softmax(-1)
    expected = sum(logprobs[n, ids[0, n + 1]].item() for n in range(ids.shape[1] - 1))
    assert sentence_logprobs(model, tokenizer, TEXTS[:1])[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj"])
def test_every_family_reads_trees(family, monkeypatch):
    def refuse(sequences):
        pytest.fail("the model was asked sentence by sentence")

    model, tokenizer = tiny_models.model(family), tiny_models.tokenizer()
    expected = sentence_logprobs(model, tokenizer, TEXTS)
    monkeypatch.setattr(Scorer, "_reads_trees", lambda *_: True)
    monkeypatch.setattr("eval.scorer.log_probs.plain_rows", refuse)
    assert sentence_logprobs(model, tokenizer, TEXTS).tolist() == expected.tolist()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_model_in_bfloat16_reads_trees_though_its_rounding_is_coarse(family, monkeypatch, capsys):
    model, tokenizer = tiny_models.model(family).bfloat16(), tiny_models.tokenizer()
    trees = sentence_logprobs(model, tokenizer, TEXTS)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(Scorer, "_reads_trees", lambda *_: False)
    alone = sentence_logprobs(model, tokenizer, TEXTS)
    assert 1e-3 < np.abs(trees - alone).max() < 0.5  # nats: more than the check bears, and no other context


def test_a_model_with_a_mask_of_its_own_making_is_asked_sentence_by_sentence(capsys):
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    expected = sentence_logprobs(model, tokenizer, TEXTS)
    forward = model.model.forward
    model.model.forward = lambda *, attention_mask=None, position_ids=None, **rest: forward(**rest)
    scorer = Scorer(model, tokenizer)
    for _ in range(2):
        found = scorer.logprobs([Choice("", text) for text in TEXTS])
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert capsys.readouterr().out.count("it gets them one by one") == 1


def test_a_window_shorter_than_the_longest_sentence_is_noticed():
    config = MistralConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=6,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model, tokenizer = MistralForCausalLM(config).eval(), tiny_models.tokenizer()
    ours = sentence_logprobs(model, tokenizer, TEXTS)
    for text, value in zip(TEXTS, ours, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert value == pytest.approx(-model(ids, labels=ids).loss.item() * (ids.shape[1] - 1), abs=1e-3)


def test_what_a_model_does_to_its_logits_is_kept():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    plain = sentence_logprobs(model, tokenizer, TEXTS)

    def soft_cap(module, inputs, output):
        output.logits = 5 * torch.tanh(output.logits / 5)
        return output

    model.register_forward_hook(soft_cap)
    capped = sentence_logprobs(model, tokenizer, TEXTS)
    ids = tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
    expected = sum(logprobs[n, ids[0, n + 1]].item() for n in range(ids.shape[1] - 1))
    assert capped[0] == pytest.approx(expected, abs=1e-4) and abs(capped[0] - plain[0]) > 0.1


@pytest.mark.parametrize(("backend", "shift"), [("mlm", 0), ("mntp", 1)])
def test_masked_models_are_asked_with_each_token_masked_in_turn(backend, shift):
    model, tokenizer = tiny_models.masked_model(), tiny_models.tokenizer(eos=True)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    choices = [Choice("", text) for text in TEXTS] + [Choice("The dog sees", " the old cats.")]
    ours = Scorer(model, tokenizer, backend=backend, batch_tokens=90).logprobs(choices)
    for choice, value in zip(choices, ours, strict=True):
        encoded = tokenizer(choice.text, return_offsets_mapping=True)
        expected = 0.0
        for position, span in enumerate(encoded["offset_mapping"]):
            if span[1] > len(choice.context):
                ids = torch.tensor([encoded["input_ids"]])
                ids[0, position] = tokenizer.mask_token_id
                logprobs = model(input_ids=ids).logits[0, position - shift].log_softmax(-1)
                expected += logprobs[encoded["input_ids"][position]].item()
        assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj"])
def test_greedy_is_what_plain_argmax_says_of_every_scored_token(family):
    model, tokenizer = tiny_models.model(family), tiny_models.tokenizer()
    entries = encode(tokenizer, [Choice("", text) for text in TEXTS])
    entries += [Encoded(ids, (False,) * (len(ids) - 1) + (True,)) for ids, _ in entries]
    # what the model itself would write, so that some are greedy
    for ids, _ in entries[:8]:
        likeliest = model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item()
        entries.append(Encoded((*ids, likeliest), (False,) * len(ids) + (True,)))
        entries.append(Encoded((*ids, likeliest), (False,) * (len(ids) - 1) + (True, True)))
    sums, greedy = Scorer(model, tokenizer, batch_tokens=70).greedy_sums(entries)
    for (ids, scored), said in zip(entries, greedy, strict=True):
        best = model(input_ids=torch.tensor([ids])).logits[0].argmax(-1)
        assert said == all(best[n - 1] == ids[n] for n in range(1, len(ids)) if scored[n])
    assert greedy.any() and not greedy.all()
    assert sums.tolist() == Scorer(model, tokenizer, batch_tokens=70).token_sums(entries).tolist()


def test_a_backend_without_a_mask_token_is_refused():
    with pytest.raises(UserError, match="--backend mlm needs a tokenizer with a mask token"):
        sentence_logprobs(tiny_models.model(), tiny_models.tokenizer(), ["cats"], backend="mlm")


def test_an_encoder_is_refused_as_a_causal_model(tmp_path):
    tiny_models.masked_model().save_pretrained(tmp_path)
    tokenizer = tiny_models.tokenizer()
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"\(bert\) is no causal language model: .* --backend mlm"):
        load_for_scoring(tmp_path)
    model, tokenizer = load_for_scoring(tmp_path, backend="mlm")
    assert np.isfinite(sentence_logprobs(model, tokenizer, ["cats"], backend="mlm")).all()


def test_positions_that_begin_behind_the_padding_are_not_counted():
    config = RobertaConfig(
        vocab_size=301, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2
    )
    config.max_position_embeddings = 66
    assert longest_input(RobertaForMaskedLM(config)) == 64
    assert longest_input(tiny_models.model("gpt2")) == 64

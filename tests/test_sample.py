"""Models write on from a prompt: the same seed the same text, within their positions, up to an end."""

import pytest
import tiny_models
import torch

from babylm_data.errors import UserError
from eval.sample.__main__ import main
from eval.sample.writer import Manner, Writer

PROMPT = "The dog sees"


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return Writer(str(tiny_models.save(tmp_path_factory.mktemp("m") / "m", seed=1)), "cpu")


def test_the_same_seed_gives_the_same_text_behind_the_prompt(writer):
    first, again = writer(PROMPT, Manner(20)), writer(PROMPT, Manner(20))
    assert first == again and first.startswith(PROMPT) and len(first) > len(PROMPT)
    assert writer(PROMPT, Manner(20, seed=1)) != first


def test_without_a_temperature_the_likeliest_token_is_written(writer):
    text = writer(PROMPT, Manner(1, temperature=0.0))
    assert text == writer(PROMPT, Manner(1, temperature=0.0, seed=5))
    ids = writer.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = writer.model(input_ids=torch.tensor([[0, *ids]])).logits[0, -1]
    assert text == writer.tokenizer.decode([*ids, int(logits.argmax())], skip_special_tokens=True)


def test_a_text_ends_where_the_model_reads_no_further(writer):
    longest = writer.model.config.max_position_embeddings
    room = longest - 1 - len(writer.tokenizer(PROMPT, add_special_tokens=False)["input_ids"])
    assert writer(PROMPT, Manner(10 * longest)) == writer(PROMPT, Manner(room))
    assert writer(PROMPT, Manner(room)) != writer(PROMPT, Manner(room - 1))
    with pytest.raises(UserError, match=f"reads {longest} tokens, and the prompt has .*: shorten it"):
        writer("dog " * longest, Manner(1))


def test_models_stand_side_by_side(tmp_path, capsys):
    names = [str(tiny_models.save(tmp_path / name, seed=seed)) for seed, name in enumerate("ab")]
    main([*names, "--prompt", PROMPT, "--prompt", "The cat", "--tokens", "3", "--device", "cpu"])
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("== ")] == [f"== {PROMPT}", "== The cat"]
    assert said.count(f"{names[0]}:\n  ") == said.count(f"{names[1]}:\n  ") == 2


@pytest.mark.parametrize(
    "words", [["--temperature", "-1"], ["--top-p", "0"], ["--top-p", "x"], ["--tokens", "0"]]
)
def test_what_cannot_be_is_refused(words):
    with pytest.raises((UserError, SystemExit)):
        main(["m", "--prompt", "x", *words])

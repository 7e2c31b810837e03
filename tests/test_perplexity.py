"""Cross-entropy of running text: every token once, enough context, units, and a naive loop in float64."""

import math

import pytest
import tiny_models
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from babylm_data.errors import UserError
from eval.results.scores_table import scores_table
from eval.tasks.perplexity import LOSSY, is_lossy, measure, rates, runs, start_token, windows
from eval.tasks.texts import Text, find_texts, read_text

LONG = " ".join(tiny_models.SENTENCES * 6)
TEXTS = [
    Text("dev/a.txt", "dev", [*tiny_models.SENTENCES, LONG, "x"]),
    Text("test/b.txt", "test", ["The dog.\nThe cat.", LONG[:300]]),
]


def naive_nats(model, tokenizer, document: str, window: int, stride: int) -> float:
    """One token at a time, with exactly the tokens before it that its window holds, in float64."""
    ids = [0, *tokenizer(document, add_special_tokens=False)["input_ids"]]
    total = 0.0
    for target in range(1, len(ids)):
        stop = target + 1 if target < window else window + stride * math.ceil((target + 1 - window) / stride)
        start = max(0, min(stop, len(ids)) - window)
        logits = model(input_ids=torch.tensor([ids[start:target]])).logits[0, -1]
        total -= logits.log_softmax(-1)[ids[target]].item()
    return total


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_nats_equal_a_naive_loop_over_tokens(family):
    model, tokenizer = tiny_models.model(family), tiny_models.tokenizer()
    short = [Text(text.name, text.split, [document[:150] for document in text.documents]) for text in TEXTS]
    result = measure(model, tokenizer, short, window=16, batch_tokens=100)
    with torch.no_grad():
        exact = model.double()
        for text in short:
            expected = sum(naive_nats(exact, tokenizer, document, 16, 8) for document in text.documents)
            assert result["files"][text.name]["nats"] == pytest.approx(expected, rel=1e-6)


def test_a_model_that_returns_every_position_is_scored_alike():
    """`logits_to_keep` is a saving where a model offers it, not something to rely on."""
    model, tokenizer = tiny_models.model("gpt2"), tiny_models.tokenizer()
    result = measure(model, tokenizer, TEXTS, window=16, batch_tokens=100)
    forward = model.forward
    model.forward = lambda input_ids, use_cache: forward(input_ids=input_ids, use_cache=use_cache)
    plain = measure(model, tokenizer, TEXTS, window=16, batch_tokens=100)
    assert plain["all"]["nats"] == pytest.approx(result["all"]["nats"])


@pytest.mark.parametrize("length", [*range(2, 40), 100])
def test_every_token_is_scored_once_with_a_stride_of_context(length):
    ids, seen = list(range(length)), []
    for window in windows(ids, 16, 8):
        assert len(window.ids) == min(length, 16)
        for place in range(window.first, len(window.ids)):
            seen.append(window.ids[place])
            assert place >= min(8, window.ids[place])
    assert seen == ids[1:]


def test_units_follow_from_nats():
    row = rates({"tokens": 10, "words": 5, "bytes": 40, "documents": 1, "nats": 20 * math.log(2)})
    assert row["bits_per_byte"] == pytest.approx(0.5) and row["bits_per_word"] == pytest.approx(4)
    assert row["perplexity"] == pytest.approx(4) and row["perplexity_per_word"] == pytest.approx(16)


def test_files_splits_and_all_are_sums():
    result = measure(tiny_models.model(), tiny_models.tokenizer(), TEXTS)
    for key in ("tokens", "words", "bytes", "documents", "nats"):
        parts = [result["files"][text.name][key] for text in TEXTS]
        assert result["all"][key] == pytest.approx(sum(parts))
        assert [result["splits"][split][key] for split in ("dev", "test")] == pytest.approx(parts)
    assert result["files"]["dev/a.txt"]["bytes"] == sum(len(d.encode()) for d in TEXTS[0].documents)
    assert result["files"]["dev/a.txt"]["words"] == sum(len(d.split()) for d in TEXTS[0].documents)


def test_batch_size_does_not_change_the_loss():
    model, tokenizer = tiny_models.model(), tiny_models.tokenizer()
    small, large = (measure(model, tokenizer, TEXTS, batch_tokens=size)["all"]["nats"] for size in (1, 10**6))
    assert small == pytest.approx(large, rel=1e-6)


def test_the_window_is_stated_and_never_longer_than_the_model():
    result = measure(tiny_models.model("gpt2", positions=24), tiny_models.tokenizer(), TEXTS)
    assert (result["window"], result["stride"], result["document_start"]) == (24, 12, "<s>")


def test_a_document_starts_with_bos_and_no_end_token_is_scored():
    model = tiny_models.model()
    plain = measure(model, tiny_models.tokenizer(), TEXTS)
    for other in (tiny_models.tokenizer(eos=True), tiny_models.tokenizer(bos=False)):
        assert measure(model, other, TEXTS)["all"] == plain["all"]


def test_a_tokenizer_with_only_an_end_token_starts_documents_with_it():
    tokenizer = tiny_models.tokenizer(bos=False)
    tokenizer.bos_token = None
    assert start_token(tokenizer) == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no BOS and no EOS"):
        start_token(tokenizer)


def test_a_tokenizer_that_writes_a_part_of_the_text_is_told_below_the_figures():
    def result(tokenizer):
        return measure(tiny_models.model("gpt2"), tokenizer, TEXTS, window=16)

    whole, part = result(tiny_models.tokenizer()), result(lower_case())
    assert (is_lossy(whole), is_lossy(part)) == (False, True)
    assert LOSSY not in scores_table({"perplexity": whole})
    assert scores_table({"perplexity": part}).endswith(LOSSY)


def lower_case() -> PreTrainedTokenizerFast:
    """A WordPiece of 26 letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    entries = ["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    backend = Tokenizer(models.WordPiece({entry: n for n, entry in enumerate(entries)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", bos_token="[CLS]", eos_token="[SEP]"
    )


def test_a_broken_model_is_refused():
    model = tiny_models.model()
    model.model.norm.weight.data.fill_(math.nan)
    with pytest.raises(UserError, match="loss on dev/a.txt is not finite"):
        measure(model, tiny_models.tokenizer(), TEXTS)


def test_blank_lines_divide_documents_and_nothing_else_does(tmp_path):
    path = tmp_path / "dev" / "x.txt"
    path.parent.mkdir()
    path.write_bytes("\n  \nOne\n two \n\n \n\nthrée\n".encode())
    text = read_text(path)
    assert text.documents == ["One\n two ", "thrée"]
    assert (text.name, text.split, text.words, text.bytes) == ("dev/x.txt", "dev", 3, 9 + 6)


def test_max_words_cuts_inside_a_document(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("one two\nthree\n\nfour five", encoding="utf-8")
    assert read_text(path, 4).documents == ["one two\nthree", "four"]
    assert read_text(path, 99).words == 5


def test_texts_are_found_at_any_depth_in_a_fixed_order(tmp_path):
    for name in ("test/b.txt", "dev/a.dev", "dev/notes.md", "dev/c.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("word", encoding="utf-8")
    found = find_texts([str(tmp_path), str(tmp_path / "dev/a.dev")])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["dev/a.dev", "dev/c.raw", "test/b.txt"]


def test_unreadable_texts_are_refused(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="bad.txt, line 1 is not UTF-8"):
        read_text(tmp_path / "bad.txt")
    with pytest.raises(UserError, match="blank.txt holds no text"):
        read_text(tmp_path / "blank.txt")
    with pytest.raises(UserError, match="no text in"):
        find_texts([str(tmp_path / "empty")])
    with pytest.raises(UserError, match="no text file or folder"):
        find_texts([str(tmp_path / "absent.txt")])


def test_two_texts_of_one_name_are_refused(tmp_path):
    for folder in ("one/dev", "two/dev"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.txt").write_text("word", encoding="utf-8")
    with pytest.raises(UserError, match="both be reported as dev/x.txt"):
        find_texts([str(tmp_path)])


def test_windows_of_one_length_share_a_batch_within_the_budget():
    lengths = [1, 1, 3, 3, 3, 3, 3, 7, 20, 20]
    cut = runs(lengths, 9)
    assert [n for run in cut for n in run] == list(range(len(lengths)))
    assert [[lengths[n] for n in run] for run in cut] == [[1, 1], [3, 3, 3], [3, 3], [7], [20], [20]]

"""Reading: surprisals as the official program asks for them, gains in R^2 by hand, and files that are refused."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors

from babylm_data.errors import UserError
from eval.compare.paired import item_difference
from eval.results.jobs import read_job
from eval.results.request import TaskSet
from eval.scorer.items import Choice
from eval.scorer.log_probs import Scorer
from eval.scorer.prefix_rows import Encoded
from eval.tasks.reading import EYE_TRACKING, FEWEST_ROWS, Reading, load, load_spaced
from eval.tasks.reading_words import before_masks, hidden_ahead, word_sequences

COLUMNS = (
    ["", "item", "word", "word2", "sentence", "context_length", "sent_id", "item_id", "list", "Subtlex_log10"]
    + ["length", *EYE_TRACKING, "self_paced_reading_time", "ELAN", "LAN", "N400", "P600", "EPNP", "PNP"]
    + ["prev_word", "prev_item", "prev_length"]
)
SENTENCES = [
    "None of the old dogs see.",
    "The small cats can't sleep, Anna says.",
    *(
        f"The dog {verb} the old, shivering {noun}."
        for verb in ("sees", "was")
        for noun in ("cat", "Zoë", "dogs")
    ),
    *(f"A {kind} cat {verb} it by the dog." for kind in ("small", "old") for verb in ("sees", "saw")),
]


def rows() -> list[dict]:
    """Every word but the first of each sentence, in the fields of the official file; the numbers are drawn."""
    draw = np.random.default_rng(0)
    found = []
    for number, sentence in enumerate(SENTENCES):
        words = sentence.split()
        for place in range(1, len(words)):
            before = [" ".join(words[: place - 1]), words[place - 1]] if place > 1 else ["", ""]
            # the official file lacks the one context that reads like a missing value
            item = "" if words[:place] == ["None"] else " ".join(words[:place])
            row = {"item": item, "word": words[place], "word2": words[place].upper(), "sentence": sentence}
            row |= {
                "": len(found),
                "context_length": place,
                "sent_id": number + 50,
                "length": len(words[place]),
            }
            row |= {"prev_item": before[0], "prev_word": before[1], "prev_length": len(before[1]) or -1}
            row |= {name: float(draw.normal(200, 40)) for name in COLUMNS if name not in row}
            found.append(row | {"Subtlex_log10": float(draw.normal(11, 2))})
    found[3]["Subtlex_log10"] = ""
    return found


def write(path: Path, found: list[dict]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(found)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with the task's file, shared and never changed."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "full_eval/reading").mkdir(parents=True)
    write(folder / "full_eval/reading/reading_data.csv", rows())
    return folder


@pytest.fixture(scope="module")
def questions(data):
    return load([data / "full_eval/reading/reading_data.csv"])


def planted(questions, seed=0) -> list[list[float]]:
    """Log-probabilities that have a little to do with the reading times."""
    draw = np.random.default_rng(seed)
    times = np.array(questions.columns["RTgopast"])
    values = -np.stack(
        [5 + 0.02 * times + draw.normal(0, 1, len(times)), draw.gamma(4, 2, len(times))], axis=1
    )
    return [row[: len(item.choices)].tolist() for row, item in zip(values, questions.items, strict=True)]


def tokenizer(kind: str):
    """A tokenizer with what `kind` names: bos, eos (a token behind a text), prefix (a space before it), strip."""
    made = tiny_models.tokenizer(bos="bare" not in kind, eos="eos" in kind)
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space="prefix" in kind)
    made.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip="strip" in kind)})
    return made


def slow_surprisal(model, tokenizer, context: str, word: str, backend: str = "causal") -> float:
    """The official definition, spelled out: probabilities of sub-words, each after text that is tokenised anew."""
    probability, text = 1.0, context
    for place, piece in enumerate(tokenizer(word, add_special_tokens=False).input_ids):
        spelled = tokenizer.decode(piece)
        wanted = piece if place == 0 else tokenizer(spelled, add_special_tokens=False).input_ids[0]
        ids = tokenizer(text if backend == "causal" else f"{text}<mask><mask><mask>").input_ids
        read_off = {"causal": -1, "mlm": -3, "mntp": -4}[backend]
        if backend != "causal" and ids[-1] != tokenizer.mask_token_id:
            read_off -= 1
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, read_off]
        probability *= logits.double().softmax(-1)[wanted].item()
        text += spelled
    return -math.log(probability)


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        *(("causal", kind) for kind in ("bos", "bos+eos", "bare", "bos+prefix")),
        *(("mlm", kind) for kind in ("bos", "bos+eos", "bare", "bos+eos+prefix+strip")),
        *(("mntp", kind) for kind in ("bos", "bos+eos", "bare")),
    ],
)
def test_surprisals_are_those_of_the_official_definition(questions, backend, kind):
    made = tiny_models.model("llama") if backend == "causal" else tiny_models.masked_model()
    model, reader = made.double(), tokenizer(kind)
    found = questions.surprisals(questions.ask(Scorer(model, reader, backend=backend), "reading"))
    assert [math.isnan(value) for value in found["prev_pred"]] == [
        row["prev_item"] in ("", "None") for row in rows()
    ]
    for index, row in list(enumerate(rows()))[:12]:  # the first two sentences: what is hard is in them
        expected = slow_surprisal(model, reader, row["item"] or "None", row["word"], backend)
        assert found["pred"][index] == pytest.approx(expected, abs=1e-9)
        if not math.isnan(found["prev_pred"][index]):
            expected = slow_surprisal(model, reader, row["prev_item"], row["prev_word"], backend)
            assert found["prev_pred"][index] == pytest.approx(expected, abs=1e-9)


def test_a_masked_model_is_told_that_something_follows():
    reader = tokenizer("bos+eos")
    target = reader(" dog", add_special_tokens=False).input_ids[0]
    entry = before_masks(reader, "The", target)
    assert entry.ids == (*reader("The").input_ids[:-1], target, *[reader.mask_token_id] * 2, 1)
    assert [place for place, scored in enumerate(entry.scored) if scored] == [len(entry.ids) - 4]


def test_a_tokenizer_with_no_mask_where_the_official_program_asks_is_refused():
    reader = tokenizer("bos")
    reader.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s> </s> </s> </s>", special_tokens=[("</s>", 1)]
    )
    with pytest.raises(UserError, match="reading: no mask is 4 tokens before the end"):
        before_masks(reader, "The", 5)


def test_a_sentence_longer_than_the_model_reads_is_refused(questions):
    scorer = Scorer(tiny_models.model("gpt2", positions=8), tokenizer("bos"))
    with pytest.raises(UserError, match="a sentence of reading has .* tokens, the model reads at most 8"):
        questions.ask(scorer, "reading")


def test_a_word_without_tokens_is_refused():
    reader = tokenizer("bos")
    reader.backend_tokenizer.normalizer = normalizers.Replace("ë", "")
    assert word_sequences(reader, "The", "Zoë")
    with pytest.raises(UserError, match="no token for 'ë'"):
        word_sequences(reader, "The", "ë")


def test_the_one_none_is_a_context_of_its_word_but_not_of_a_word_before(questions):
    first, second, third = questions.items[:3]
    assert first.choices == (Choice("None", "of"),)
    assert second.choices == (Choice("None of", "the"),)
    assert third.choices == (Choice("None of the", "old"), Choice("None of", "the"))
    assert (third.uid, third.subtask) == ("reading_2", "reading")


def test_a_word_is_asked_for_without_its_space_and_after_a_context_tokenised_anew():
    reader = tokenizer("bare")
    first, second = word_sequences(reader, "The dog", "Zo")
    assert [reader.decode(entry.ids) for entry in (first, second)] == ["The dogZ", "The dogZo"]
    assert first.scored == (False,) * (len(first.ids) - 1) + (True,)
    glued = word_sequences(reader, "The c", "ats")[-1].ids  # "cats" has tokens that "c" and "ats" have not
    assert glued[:-1] != tuple(reader("The c").input_ids + reader("ats").input_ids[:-1])


def test_the_spaced_variant_asks_for_the_words_as_the_text_has_them(data):
    spaced = load_spaced([data / "full_eval/reading/reading_data.csv"])
    scorer = Scorer(tiny_models.model("llama").double(), tokenizer("bos"))
    choices = [Choice(row["item"] or "None", f" {row['word']}") for row in rows()]
    found = [row[0] for row in spaced.ask(scorer, "reading_spaced")]
    np.testing.assert_allclose(found, scorer.logprobs(choices), atol=1e-9)


def test_the_spaced_variant_hides_what_follows_from_a_masked_model():
    reader = tokenizer("bos+eos")
    mask, ids = reader.mask_token_id, tuple(reader("The Zoë").input_ids)
    word = ids[2:-1]
    assert len(word) > 1
    entries = hidden_ahead(Encoded(ids, (False, False, *[True] * len(word), False)), mask)
    for count, entry in enumerate(entries, start=1):
        assert entry.ids == (*ids[:2], *word[:count], mask, mask, 1)
        assert entry.scored.index(True) == count + 1 and sum(entry.scored) == 1
    assert len(entries) == len(word)


def r_squared(outcome: np.ndarray, *columns: np.ndarray) -> float:
    design = np.column_stack([np.ones(len(outcome)), *columns])
    rest = outcome - design @ np.linalg.lstsq(design, outcome, rcond=None)[0]
    return 1 - (rest @ rest) / ((outcome - outcome.mean()) @ (outcome - outcome.mean()))


def gain_by_hand(data, outcome: str, predictors: list[str]) -> float:
    kept = data.dropna(subset=[outcome, "pred", *predictors])
    columns = [kept[name].to_numpy(float) for name in predictors]
    pairs = [a * b for place, a in enumerate(columns) for b in columns[place + 1 :]]
    without = r_squared(kept[outcome].to_numpy(), *columns, *pairs)
    joined = r_squared(kept[outcome].to_numpy(), *columns, *pairs, kept["pred"].to_numpy())
    return (joined - without) / (1 - without)


def scores_by_hand(data) -> tuple[float, float]:
    basic = ["Subtlex_log10", "length", "context_length"]
    spill = [*basic, "prev_length", "prev_pred"]
    eyes = [gain_by_hand(data, name, basic) for name in EYE_TRACKING]
    return sum(eyes) / 4, gain_by_hand(data, "self_paced_reading_time", spill)


def test_the_scores_are_the_published_gains_in_r_squared(questions):
    scores = planted(questions)
    result = questions.summarise(scores)
    eyes, paced = scores_by_hand(questions.frame(scores))
    assert result["by_subtask"]["rt"]["score"] == pytest.approx(eyes, abs=1e-10)
    assert result["by_subtask"]["spr"]["score"] == pytest.approx(paced, abs=1e-10)
    assert result["score"] == result["official_score"] == pytest.approx((eyes + paced) / 2)
    assert (result["metric"], result["chance"], result["ties"]) == ("r2_gain", 0.0, 0)
    # one row has no frequency; that row, the first words and the word after "None" have no complete row
    lacking = len(SENTENCES) + 2
    total = len(questions.items)
    assert [cell["items"] for cell in result["by_subtask"].values()] == [total - 1, total - lacking]


def test_the_errors_are_those_of_leaving_out_one_sentence_at_a_time(questions):
    scores = planted(questions)
    data, result = questions.frame(scores), questions.summarise(scores)
    left = np.array(
        [scores_by_hand(data[data["sentence"] != number]) for number in data["sentence"].unique()]
    )

    def error(estimates):
        count = len(estimates)
        return math.sqrt((count - 1) / count * ((estimates - estimates.mean()) ** 2).sum())

    assert result["by_subtask"]["rt"]["standard_error"] == pytest.approx(error(left[:, 0]), rel=1e-6)
    assert result["by_subtask"]["spr"]["standard_error"] == pytest.approx(error(left[:, 1]), rel=1e-6)
    assert result["standard_error"] == pytest.approx(error(left.mean(axis=1)), rel=1e-6)


def test_the_difference_of_two_models_has_the_error_of_leaving_out_each_sentence_of_both(questions):
    one, two = (
        planted(questions),
        [[2 * value + row for value in item] for row, item in enumerate(planted(questions))],
    )
    found = item_difference(questions.per_item(one), questions.per_item(two), {})
    left = []
    for number in sorted(set(questions.columns["sentence"])):
        kept = [row for row, sentence in enumerate(questions.columns["sentence"]) if sentence != number]
        rest = Reading(
            [questions.items[row] for row in kept],
            {name: [values[row] for row in kept] for name, values in questions.columns.items()},
        )
        sides = [rest.summarise([scores[row] for row in kept])["score"] for scores in (one, two)]
        left.append(sides[0] - sides[1])
    spread = sum((value - sum(left) / len(left)) ** 2 for value in left)
    expected = math.sqrt((len(left) - 1) / len(left) * spread)
    assert found == {"standard_error": pytest.approx(expected, rel=1e-6)} and expected > 0


@pytest.mark.filterwarnings("error")
def test_a_surprisal_that_says_nothing_of_its_own_gains_nothing(questions):
    flat = [[-3.0] * len(item.choices) for item in questions.items]
    result = questions.summarise(flat)
    assert result["score"] == pytest.approx(0, abs=1e-9)
    assert result["by_subtask"]["rt"]["standard_error"] == 0


def test_predictions_are_the_official_rows_with_nan_where_there_is_no_word_before(questions):
    scores = planted(questions)
    written = json.dumps(questions.predictions(scores))
    predicted = json.loads(written)["reading"]["predictions"]
    assert predicted[4] == {"id": 4, "pred": -scores[4][0], "prev_pred": -scores[4][1]}
    assert written.count('"prev_pred": NaN') == len(SENTENCES) + 1


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_scores_that_are_not_finite_are_refused(questions, broken):
    scores = planted(questions)
    scores[7][-1] = broken
    with pytest.raises(UserError, match="1 of .* items have non-finite scores"):
        questions.summarise(scores)


def test_a_limit_takes_the_first_rows_and_as_many_as_the_regressions_need(questions, capsys):
    taken = questions.first(55)
    assert (taken.items, taken.first(None)) == (questions.items[:55], taken)
    assert {len(column) for column in taken.columns.values()} == {55}
    fewest = questions.first(10)
    assert len(fewest.complete) == FEWEST_ROWS and fewest.items == questions.items[: len(fewest.items)]
    assert f"its regressions need {len(fewest.items)} rows" in capsys.readouterr().out


@pytest.mark.parametrize(("asked", "recorded"), [(10, 51), (60, 60), (None, None)])
def test_the_limit_that_is_recorded_is_the_rows_that_were_taken(data, asked, recorded):
    job = read_job("reading", TaskSet(("reading",), data, limit=asked))
    assert job.settings["limit"] == recorded
    assert len(job.questions.items) == (recorded or len(rows()))


def test_a_file_too_short_for_the_regressions_is_refused(questions):
    with pytest.raises(UserError, match="6 complete rows are too few"):
        Reading(questions.items[:10], {name: values[:10] for name, values in questions.columns.items()})


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("RTgopast", "fast", "'fast' in 'RTgopast', which is no number"),
        ("self_paced_reading_time", "NaN", "'NaN' in 'self_paced_reading_time'"),
        ("length", "", "'' in 'length'"),
        ("Subtlex_log10", "inf", "'inf' in 'Subtlex_log10'"),
        ("sent_id", "-", "'-' in 'sent_id'"),
        ("word", " ", "no text in 'word'"),
        ("prev_word", "", "no text in 'prev_word'"),
    ],
)
def test_a_bad_cell_is_named_by_file_and_line(tmp_path, column, value, complaint):
    changed = rows()
    changed[4][column] = value
    with pytest.raises(UserError, match=f"reading_data.csv, line 6 has .*{complaint}"):
        load([write(tmp_path / "reading_data.csv", changed)])


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda content: content.replace("prev_item", "previous", 1), "no column, or several, .*'prev_item'"),
        (lambda content: content.replace("word2", "word", 1), "no column, or several, .*'word'"),
        (lambda content: content[: content.index("\n", 900) - 60], "line 4 has .* cells, the header 25"),
        (lambda content: content.split("\n", 1)[0], "has no rows"),
        (lambda content: "", "no column"),
        (lambda content: content[:-2] + ',"cut', "line .* is not CSV"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, spoil, complaint):
    path = write(tmp_path / "reading_data.csv", rows())
    content = path.read_bytes().decode()
    path.write_bytes(spoil(content).encode())
    with pytest.raises(UserError, match=complaint):
        load([path])


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    path = write(tmp_path / "reading_data.csv", rows())
    path.write_bytes(path.read_bytes().replace("ë".encode(), b"\xeb"))
    with pytest.raises(UserError, match=r"reading_data.csv, line 19 is not UTF-8"):
        load([path])

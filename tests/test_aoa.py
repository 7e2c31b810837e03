"""Ages of acquisition: surprisals of one checkpoint, planted learning curves found again, inputs that are refused."""

import json
import math
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch

from babylm_data.errors import UserError
from babylm_data.sealed import sha256, write_whole
from eval.aoa import fit as aoa_program
from eval.aoa.__main__ import main
from eval.aoa.ages import ages, chance_surprisals, correlation
from eval.aoa.checkpoints import Checkpoint, find_checkpoints
from eval.aoa.fit import print_unlike, read_human
from eval.aoa.learning_curves import (
    CHANCE_2025,
    FLAT,
    NEVER,
    NO_FIT,
    OUTSIDE,
    child_age,
    fit,
    model_age,
    sigmoid,
)
from eval.results.scores import ScoreFile
from eval.scorer.items import Choice
from eval.scorer.log_probs import Scorer
from eval.scorer.prefix_rows import Encoded
from eval.tasks import official
from eval.tasks.aoa import load, shortened

WORDS = {
    "dog": ["The old dogs see a", " Who sees the ", "A"],
    "a": ["This is"],
    "cats": ["The small dog sees the old"],
    "yucky": [],
}
EXPOSURE = np.array([1e6, 2e6, 4e6, 8e6, 10e6, 20e6, 40e6, 80e6, 100e6])
NAMES = [f"chck_{int(words / 1e6)}M" for words in EXPOSURE]
MONTHS = np.arange(16.0, 31.0)


def write_words(path: Path, words: dict = WORDS) -> Path:
    statistics = {"count": 1, "frequency": 1.0, "log_freq_per_million": 6.0}
    rows = {
        word: [{"context": context, "word_in_context_stats": statistics} for context in contexts]
        for word, contexts in words.items()
    }
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path):
    return load([write_words(tmp_path / "cdi_childes.json")])


def test_words_of_two_letters_and_more_become_one_item_a_context(questions):
    assert [item.uid for item in questions.items] == ["dog_0", "dog_1", "dog_2", "cats_0"]
    assert [item.choices for item in questions.items][1] == (Choice("Who sees the ", "dog"),)
    assert {item.subtask for item in questions.items} == {"aoa"}


@pytest.mark.parametrize("bos", [True, False])
def test_a_surprisal_is_that_of_the_tokens_which_reach_into_the_word(questions, bos):
    model, tokenizer = tiny_models.model().double(), tiny_models.tokenizer(bos=bos)
    scores = questions.ask(Scorer(model, tokenizer), "aoa")
    for item, (value,) in zip(questions.items, scores, strict=True):
        ids = tokenizer(item.choices[0].text).input_ids
        word = len(tokenizer(f" {item.choices[0].completion}", add_special_tokens=False).input_ids)
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(logprobs[place - 1, ids[place]].item() for place in range(len(ids) - word, len(ids)))
        assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("backend", "shift"), [("mlm", 0), ("mntp", 1)])
def test_a_masked_models_surprisal_is_that_of_the_words_tokens_masked_in_turn(questions, backend, shift):
    model, tokenizer = tiny_models.masked_model().double(), tiny_models.tokenizer(eos=True)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    scores = questions.ask(Scorer(model, tokenizer, backend=backend), "aoa")
    for item, (value,) in zip(questions.items, scores, strict=True):
        ids = tokenizer(item.choices[0].text).input_ids
        word = len(tokenizer(f" {item.choices[0].completion}", add_special_tokens=False).input_ids)
        expected = 0.0
        for place in range(len(ids) - 1 - word, len(ids) - 1):
            masked = torch.tensor([[*ids[:place], tokenizer.mask_token_id, *ids[place + 1 :]]])
            with torch.no_grad():
                logits = model(input_ids=masked).logits[0, place - shift]
            expected += logits.log_softmax(-1)[ids[place]].item()
        assert value == pytest.approx(expected, abs=1e-9)


def test_a_masked_model_is_asked_a_word_with_nothing_before_it(tmp_path):
    model, tokenizer = tiny_models.masked_model().double(), tiny_models.tokenizer(bos=False)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    asked = load([write_words(tmp_path / "cdi_childes.json", {"dog": [""]})])
    ((value,),) = asked.ask(Scorer(model, tokenizer, backend="mlm"), "aoa")
    (target,) = tokenizer(" dog").input_ids
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[tokenizer.mask_token_id]])).logits[0, 0]
    assert value == pytest.approx(logits.log_softmax(-1)[target].item(), abs=1e-9)


def test_a_context_too_long_for_the_model_loses_its_beginning_and_a_line_says_so(questions, capsys):
    tokenizer, seen = tiny_models.tokenizer(), []

    def token_sums(encoded: list[Encoded], label: str) -> list[float]:
        seen.extend(encoded)
        return [-1.0] * len(encoded)

    scorer = SimpleNamespace(tokenizer=tokenizer, backend="causal", longest=6, token_sums=token_sums)
    questions.ask(scorer, "aoa")
    assert "aoa: 2 of 4 contexts lose their beginning: the model reads 6 tokens" in capsys.readouterr().out
    assert max(len(entry.ids) for entry in seen) == 6 and {entry.ids[0] for entry in seen} == {0}
    assert tokenizer.decode(seen[0].ids).endswith(" a dog") and sum(seen[0].scored) == 1


def test_without_a_start_token_only_the_end_of_a_sequence_is_kept():
    entry = Encoded((5, 6, 7, 8), (False, False, True, True))
    assert shortened(entry, 3, special=[0]) == Encoded((6, 7, 8), (False, True, True))
    assert shortened(entry, 3, special=[5]) == Encoded((5, 7, 8), (False, True, True))
    assert shortened(entry, 4, special=[0]) is entry


def test_the_summary_is_a_mean_over_words_of_means_over_contexts(questions):
    result = questions.summarise([[-1.0], [-2.0], [-3.0], [-8.0]])
    assert (result["metric"], result["score"], result["items"], result["words"]) == ("surprisal", 5.0, 4, 2)
    assert result["standard_error"] == pytest.approx(3.0)
    with pytest.raises(UserError, match="1 of 4 items have non-finite"):
        questions.summarise([[-1.0], [-2.0], [math.nan], [-8.0]])
    limited = questions.first(2)
    assert (len(limited.items), len(limited.rows), limited.first(None)) == (2, 2, limited)
    assert questions.per_item([[-1.0]] * 4) == {"aoa": {"surprisal": [1.0] * 4}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"dog":\n[{"context": "A"}', "line 2, is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"dog": {}}', "word 'dog', has no list of contexts"),
        ('{"dog": [{"context": "A"}, {"text": "B"}]}', "word 'dog', context 1, has no text in 'context'"),
        ('{"dog": [{"context": 3}]}', "word 'dog', context 0, has no text"),
        ('{"dog": [{"context": "\\ud83d"}]}', "word 'dog', context 0, has no text"),
        ('{"dog": ["A"]}', "word 'dog', context 0, has no text"),
        ('{"dog": [], "dog": []}', "the key 'dog' stands in it twice"),
        ('{"a": [{"context": "A"}]}', "has no word in a context"),
        ('{"caf\xe9": []}', "is not UTF-8"),
    ],
)
def test_damaged_words_are_refused(tmp_path, content, complaint):
    path = tmp_path / "cdi_childes.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=f"cdi_childes.json.*{complaint}"):
        load([path])


# --- learning curves


def learning(middle: float, *, high: float = 12.0, low: float = 4.0, contexts: int = 3) -> np.ndarray:
    """Surprisals (checkpoints, contexts), equal in all contexts, falling from `high` to `low` around 10**`middle`."""
    falling = high - sigmoid(np.log10(EXPOSURE + 1), high - low, 5.0, middle, 0.0)
    return np.repeat(falling[:, None], contexts, axis=1)


def planted_age(
    curve: np.ndarray, middle: float, chance: float, high: float = 12.0, low: float = 4.0
) -> float:
    """Where high - (high - low) / (1 + exp(-5 (x - middle))) is half-way between chance and the least surprisal."""
    wanted = (chance + curve.min()) / 2
    return middle - math.log((high - low) / (high - wanted) - 1) / 5


@pytest.mark.parametrize("middle", [6.5, 7.0, 7.4])
def test_a_planted_curve_is_found_again_by_both_rules(middle):
    curve = learning(middle, high=20.0)
    assert model_age(EXPOSURE, curve, "2026", 18.0) == pytest.approx(
        planted_age(curve, middle, 18.0, high=20.0), abs=1e-6
    )
    assert model_age(EXPOSURE, curve, "2025", 1.0) == pytest.approx(
        planted_age(curve, middle, CHANCE_2025, high=20.0), abs=1e-6
    )


def test_one_easy_context_moves_the_threshold_of_the_first_rule_far_more_than_of_the_second():
    even, uneven = learning(7.0, high=20.0), learning(7.0, high=20.0)
    uneven[-1, 0] -= 3
    moved = {
        rule: model_age(EXPOSURE, uneven, rule, 18.0) - model_age(EXPOSURE, even, rule, 18.0)
        for rule in ("2025", "2026")
    }
    assert moved["2025"] > 2 * abs(moved["2026"]) > 0


def test_a_small_vocabulary_has_ages_by_the_rule_in_nats_and_none_by_that_in_bits():
    curve = learning(7.0, high=9.0, low=3.0)
    assert isinstance(model_age(EXPOSURE, curve, "2026", 9.0), float)
    assert model_age(EXPOSURE, curve, "2025", 9.0) == NEVER


def test_words_without_an_age_say_why():
    assert model_age(EXPOSURE, learning(7.0)[::-1], "2026", 12.0) in (FLAT, NEVER)
    assert model_age(EXPOSURE, learning(7.0), "2026", 40.0) == NEVER
    # most of the curve lies before the first checkpoint: the threshold was crossed there
    assert model_age(EXPOSURE, learning(5.9), "2026", 11.5) == OUTSIDE
    assert fit(EXPOSURE, EXPOSURE, (1.0, 1.0, 1.0, 1.0), tries=2) is None
    noise = np.random.default_rng(0).normal(8, 1, (len(EXPOSURE), 1))
    assert isinstance(model_age(EXPOSURE, noise, "2025", 9.0), str)


def test_a_childs_age_is_where_half_of_the_children_say_the_word():
    assert child_age(MONTHS, sigmoid(MONTHS, 1.0, 0.4, 22.0, 0.0)) == pytest.approx(22.0, abs=1e-4)
    late = sigmoid(MONTHS, 0.9, 0.4, 24.0, 0.05)
    assert child_age(MONTHS, late) == pytest.approx(24.0, abs=1e-3)
    assert child_age(MONTHS, sigmoid(MONTHS, 0.3, 0.4, 22.0, 0.0)) == NEVER
    assert child_age(MONTHS, sigmoid(MONTHS, 1.0, 0.4, 12.0, 0.0)) in (OUTSIDE, NEVER)


def test_chance_is_the_logarithm_of_the_vocabulary_for_each_token_of_a_word():
    tokenizer = tiny_models.tokenizer()
    chance = chance_surprisals(tokenizer, ["dog", "zebra"])
    pieces = len(tokenizer(" zebra", add_special_tokens=False).input_ids)
    assert pieces > 2
    assert chance == {"dog": pytest.approx(math.log(300)), "zebra": pytest.approx(pieces * math.log(300))}


def made_ages(model: list, child: list) -> dict:
    return {
        f"w{place}": {"child": months, "2026": words, "2025": words}
        for place, (words, months) in enumerate(zip(model, child, strict=True))
    }


def test_the_score_is_pearsons_correlation_and_the_official_one_is_gated():
    found = correlation(made_ages([6.0, 6.5, 7.0, 7.4, NO_FIT], [18.0, 20.0, 21.0, 25.0, 20.0]), "2026")
    expected = np.corrcoef([6.0, 6.5, 7.0, 7.4], [18, 20, 21, 25])[0, 1]
    assert found["score"] == found["official_score"] == pytest.approx(expected)
    assert (found["words_fitted"], found["words_dropped"]) == (4, 1)
    assert found["reasons"] == {f"model: {NO_FIT}": 1}
    weak = made_ages([6.0, 6.5, 7.0, 7.4], [20.0, 22.0, 19.0, 22.0])
    assert correlation(weak, "2026")["official_score"] == 0 != correlation(weak, "2026")["score"]
    assert correlation(weak, "2025")["official_score"] == correlation(weak, "2025")["score"] != 0


def test_two_words_or_equal_ages_have_no_correlation():
    few = correlation(made_ages([6.0, 6.5, NEVER], [18.0, 20.0, OUTSIDE]), "2026")
    assert (few["score"], few["p_value"], few["official_score"]) == (None, None, 0.0)
    assert few["reasons"] == {f"children: {OUTSIDE}": 1}
    assert correlation(made_ages([7.0] * 4, [18.0, 19.0, 20.0, 22.0]), "2026")["score"] is None


# --- from folders to the result

MIDDLES = {"dog": 6.4, "cat": 6.7, "sees": 7.0, "old": 7.2, "small": 7.3}
CHILDREN = {"dog": 18.0, "cat": 19.0, "sees": 23.0, "old": 24.0, "small": 26.0, "zebra": 22.0}


def write_human(path: Path) -> Path:
    lines = [",".join(["", "word", *(str(int(month)) for month in MONTHS)])]
    for place, (word, middle) in enumerate(CHILDREN.items()):
        shares = sigmoid(MONTHS, 0.98, 0.5, middle, 0.0)
        lines.append(",".join([str(place), word, *(f"{share:.4f}" for share in shares)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def results_of(place: int, words: dict[str, float] = MIDDLES) -> list[dict]:
    rows = []
    for word, middle in words.items():
        for number, value in enumerate(learning(middle, high=6.5, low=1.0, contexts=2)[place]):
            row = {"target_word": word, "context_id": number, "context": f"context {number} of a"}
            rows.append(row | {"surprisal": float(value + 0.2 * number)})
    return rows


@pytest.fixture
def scored(tmp_path, monkeypatch) -> Path:
    """runs/chck_*/eval as `python -m eval --tasks aoa` writes them, cdi_human.csv, and a model folder.

    Ten rows pass for the whole task.
    """
    monkeypatch.setattr(official, "official_rows", lambda task: {task: 10})
    write_human(tmp_path / "cdi_human.csv")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    for place, name in enumerate(NAMES):
        file = ScoreFile(tmp_path / "runs" / name / "eval", {"model": "elsewhere", "model_sha256": name})
        file.add("aoa", "key", {"metric": "surprisal"}, {"predictions": {"results": results_of(place)}})
    return tmp_path


def run(folder: Path, *checkpoints: Path, more: Sequence[str] = ()) -> dict:
    paths = [str(path) for path in checkpoints or [folder / "runs"]]
    options = ["--human", str(folder / "cdi_human.csv"), "--tokenizer", str(folder / "model")]
    main([*paths, *options, "--out", str(folder / "out"), *more])
    return json.loads((folder / "out" / "aoa.json").read_text())


def found_by(result: dict) -> dict:
    """A result without what it says about its making."""
    return {key: value for key, value in result.items() if key not in ("created", "command", "surprisals")}


def test_planted_orders_of_learning_correlate(scored, capsys):
    result = run(scored)
    assert result["checkpoints"] == NAMES and (result["words"], result["contexts"]) == (5, 10)
    cell = result["rules"]["2026"]
    assert (cell["words_fitted"], cell["reasons"]) == (5, {})
    found = [(row["2026"], row["child"]) for row in result["ages"].values()]
    assert result["score"] == pytest.approx(np.corrcoef(np.array(found).T)[0, 1]) and result["score"] > 0.95
    assert result["score"] == result["official_score"]
    assert json.loads((scored / "out/aoa_score.json").read_text()) == {"aoa": result["official_score"]}
    told = capsys.readouterr().out
    assert "5 words, 10 contexts, 9 checkpoints" in told and f"r = {result['score']:.4f}" in told


def test_killed_between_its_two_files_no_older_score_stands_by_newer_surprisals(scored, monkeypatch):
    run(scored)

    def killed(path: Path, content: str) -> None:
        write_whole(path, content)
        if path.name == "surprisal.json":
            raise KeyboardInterrupt

    monkeypatch.setattr(aoa_program, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        run(scored)
    assert not (scored / "out/aoa_score.json").exists()


def test_the_official_surprisals_are_written_and_read_back_alike(scored):
    first = run(scored)
    path = scored / "out" / "surprisal.json"
    rows = json.loads(path.read_text())["results"]
    assert list(rows[0]) == ["step", "word_count", "target_word", "context_id", "context", "surprisal"]
    assert [row["word_count"] for row in rows[::10]] == EXPOSURE.astype(int).tolist()
    assert len(rows) == len(NAMES) * 10 and rows[10]["step"] == "chck_2M"
    again = scored / "official.json"
    again.write_text(path.read_text())
    second = run(scored, again)
    assert found_by(second) == found_by(first)
    assert second["surprisals"] is None, "nobody knows of which weights they are"


def test_a_result_says_how_and_of_which_surprisals_it_was_found_and_whether_they_are_stand_ins(scored):
    result = run(scored)
    digests = {name: sha256(scored / "runs" / name / "eval/aoa/predictions.json") for name in NAMES}
    assert (result["surprisals"], result["synthetic"]) == (digests, False)
    assert result["command"].startswith(f"python -m eval.aoa {scored}/runs --human ")
    assert datetime.fromisoformat(result["created"]).tzinfo is not None
    rescore(scored, NAMES[3], results_of(3), synthetic=True)
    assert run(scored)["synthetic"] is True


def test_the_surprisals_go_into_the_official_tree_under_the_name_given(scored):
    with pytest.raises(UserError, match="--results needs the model's name.*add --model-name NAME"):
        run(scored, more=["--results", str(scored / "results")])
    with pytest.raises(UserError, match="cannot be the name of a folder"):
        run(scored, more=["--results", str(scored / "results"), "--model-name", "a/b"])
    assert not (scored / "out").exists()
    run(scored, more=["--results", str(scored / "results"), "--model-name", "babel-0.1"])
    paths = sorted(each for each in (scored / "results").rglob("*") if each.is_file())
    folder = scored / "results/babel-0.1/main/zero_shot/causal/AoA_word"
    assert paths == [folder / "aoa_score.json", folder / "surprisal.json"]
    assert all(path.read_bytes() == (scored / "out" / path.name).read_bytes() for path in paths)


def test_the_official_checkpoints_that_are_not_there_are_named(scored, capsys):
    tree = ["--results", str(scored / "results"), "--model-name", "x"]
    run(scored, more=tree)
    missing = "chck_3M, chck_5M, chck_6M, chck_7M, chck_9M, chck_30M, chck_50M, chck_60M, chck_70M, chck_90M"
    told = "takes the 19 checkpoints of 2026/strict-small and no others; 10 are missing"
    assert f"{told}: {missing}\n" in capsys.readouterr().out
    (scored / "runs" / NAMES[-1]).rename(scored / "runs" / "chck_150M")
    run(scored, more=tree)
    told = capsys.readouterr().out
    assert "takes the 28 checkpoints of 2026/strict and no others; 20 are missing: chck_3M," in told
    assert "1 are none of them: chck_150M\n" in told


def test_all_official_checkpoints_are_passed_over_in_silence(capsys):
    small = [f"chck_{n}M" for n in (*range(1, 10), *range(10, 101, 10))]
    strict = [*small, *(f"chck_{n}M" for n in range(200, 1001, 100))]
    for names in (small, strict):
        print_unlike([Checkpoint(name, int(name[5:-1]) * 10**6, []) for name in names])
    assert capsys.readouterr().out == ""


def test_the_surprisals_of_masked_models_go_below_their_backend(scored):
    for place, name in enumerate(NAMES):
        rescore(scored, name, results_of(place), backend="mlm")
    tree = ["--results", str(scored / "results"), "--model-name", "x"]
    first = run(scored, more=tree)
    written = scored / "results/x/main/zero_shot/mlm/AoA_word/surprisal.json"
    own = scored / "out" / "surprisal.json"
    for path in (written, own):
        assert {each.backend for each in find_checkpoints([path])} == {"mlm"}
    elsewhere = scored / "mlm" / "aoa" / "surprisal.json"  # a folder that is called so, and no results tree
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(written.read_bytes())
    assert {each.backend for each in find_checkpoints([elsewhere])} == {"causal"}
    assert found_by(run(scored, written, more=tree)) == found_by(first)
    rescore(scored, NAMES[3], results_of(3))
    with pytest.raises(UserError, match="chck_4M was scored with --backend mlm and chck_8M with causal"):
        run(scored)


def test_a_part_of_the_task_has_no_official_files(scored, monkeypatch, capsys):
    monkeypatch.undo()
    tree = ["--results", str(scored / "results"), "--model-name", "x"]
    complaint = "--results is for the whole task, and aoa has 10 rows, the official data 8,005"
    with pytest.raises(UserError, match=complaint):
        run(scored, more=tree)
    assert not (scored / "out").exists()
    assert run(scored)["partial"] is True
    assert [path.name for path in (scored / "out").iterdir()] == ["aoa.json"]
    assert "not the whole task: aoa has 10 rows" in capsys.readouterr().out


def test_the_tokenizer_is_the_last_checkpoints_if_it_is_still_there(scored, monkeypatch):
    expected = run(scored)
    monkeypatch.chdir(scored)
    paths = ["runs", "--human", "cdi_human.csv", "--out", "again"]
    with pytest.raises(UserError, match="not where they were scored: name one with --tokenizer"):
        main(paths)
    for place, name in ((3, "nowhere/chck_4M"), (5, "model")):
        rescore(scored, NAMES[place], results_of(place), model=name)
    main(paths)
    assert found_by(json.loads((scored / "again/aoa.json").read_text())) == found_by(expected)


def test_a_folder_that_cannot_be_written_is_told_before_the_fits(scored, monkeypatch):
    monkeypatch.setattr("eval.aoa.fit.ages", None)
    (scored / "file").touch()
    for option, name in (("--out", "out"), ("--results", "results")):
        more = [option, str(scored / "file" / name), "--model-name", "x"]
        with pytest.raises(UserError, match=f"file is not a folder: name another one with {option}"):
            run(scored, more=more)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="nothing may be written in"):
        run(scored)


def test_a_word_without_human_ages_is_counted_as_such():
    curves = {"robot": learning(7.0), "dog": learning(7.0)}
    human = {"dog": sigmoid(MONTHS, 1.0, 0.4, 22.0, 0.0)}
    found = ages(EXPOSURE, curves, human, {"robot": 12.0, "dog": 12.0})
    assert found["robot"]["child"] == "not in the human file" and isinstance(found["dog"]["child"], float)
    assert correlation(found, "2026")["reasons"] == {"children: not in the human file": 1}


def rescore(
    folder: Path, name: str, rows: list[dict], model: str = "m", backend: str = "causal", **more: bool
) -> None:
    ScoreFile(folder / "runs" / name / "eval", {"model": model, "model_sha256": name}).add(
        "aoa", "key", {"backend": backend, **more}, {"predictions": {"results": rows}}
    )


def test_the_same_model_under_two_names_is_refused(scored):
    rescore(scored, "chck_2M", results_of(0))
    with pytest.raises(UserError, match="chck_1M and chck_2M have equal surprisals.*one model"):
        run(scored)


def test_checkpoints_asked_for_other_words_are_refused(scored):
    rescore(scored, "chck_2M", results_of(1)[:-1])
    with pytest.raises(UserError, match="chck_2M was scored on other words or contexts than chck_1M"):
        run(scored)
    rescore(scored, "chck_2M", results_of(1) + results_of(1)[:1])
    with pytest.raises(UserError, match="chck_2M has a word in one context twice"):
        run(scored)


def test_too_few_checkpoints_are_refused(scored):
    with pytest.raises(UserError, match="4 checkpoints are too few for a sigmoid.*score 5 or more"):
        find_checkpoints([scored / "runs" / name for name in NAMES[:4]])
    assert len(find_checkpoints([scored / "runs" / name / "eval" for name in NAMES[:5]])) == 5


def test_a_checkpoint_given_twice_is_refused(scored):
    with pytest.raises(UserError, match="chck_1M is there twice"):
        find_checkpoints([scored / "runs", scored / "runs" / "chck_1M"])


def test_a_folder_without_results_or_without_a_checkpoints_name_is_refused(scored):
    with pytest.raises(UserError, match="nowhere holds no aoa/predictions.json"):
        find_checkpoints([scored / "nowhere"])
    (scored / "runs" / "chck_1M").rename(scored / "runs" / "first")
    with pytest.raises(UserError, match="no checkpoint's name.*rename the folder"):
        find_checkpoints([scored / "runs"])


def test_predictions_that_changed_since_they_were_scored_are_refused(scored):
    path = scored / "runs/chck_4M/eval/aoa/predictions.json"
    path.write_text(path.read_text().replace("dog", "cog"))
    with pytest.raises(UserError, match="does not belong to the score"):
        run(scored)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"surprisal": math.nan}, "result 3, has nan for a surprisal: the model is broken"),
        ({"surprisal": "4"}, "result 3, has '4' for a surprisal"),
        ({"surprisal": None}, "result 3, has None for a surprisal"),
        ({"step": "main"}, "'main' is no checkpoint's name"),
        ({"step": 1}, "result 3, has 1 in 'step'"),
        ({"target_word": ["dog"]}, r"result 3, has \['dog'\] in 'target_word'"),
        ({"context_id": None}, "result 3, has None in 'context_id'"),
    ],
)
def test_damaged_official_surprisals_are_refused(tmp_path, change, complaint):
    rows = [{"step": "chck_1M", **row} for row in results_of(0)]
    rows[3] |= change
    path = tmp_path / "surprisal.json"
    path.write_text(json.dumps({"results": rows}))
    with pytest.raises(UserError, match=f"surprisal.json.*{complaint}"):
        find_checkpoints([path])


@pytest.mark.parametrize("content", ['{"results": []}', '{"results": {}}', "{}", '{"results": [3]}', "{"])
def test_a_file_that_is_no_surprisal_file_is_refused(tmp_path, content):
    path = tmp_path / "surprisal.json"
    path.write_text(content)
    with pytest.raises(UserError, match="surprisal.json"):
        find_checkpoints([path])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (",30\n", ",31\n", "no column, or several, of the name '30'"),
        ("1,cat", "1,dog", "line 3 has 'dog' again"),
        ("1,cat", "1,", "line 3 has no text in 'word'"),
        ("1,cat,", "1,cat,x", "line 3 has .* in '16', which is no number"),
        ("1,cat,", "1,cat,NaN,", "line 3 has 18 cells, the header 17"),
        ("1,cat,0", "1,cat,7", "line 3 has a share that is not between 0 and 1"),
    ],
)
def test_a_damaged_human_file_is_refused(tmp_path, old, new, complaint):
    path = write_human(tmp_path / "cdi_human.csv")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=f"cdi_human.csv.*{complaint}"):
        read_human(path)

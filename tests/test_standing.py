"""Published scores as data, ours in its place among them, and what is not placed."""

import json
import math
import random
from pathlib import Path

import pytest
import test_reading
from choice_rows import write_rows, write_task

from babylm_data.errors import UserError
from babylm_data.sealed import sha256
from eval.finetune.glue import OFFICIAL
from eval.scorer.model import model_sha256
from eval.submission.__main__ import main
from eval.submission.standing import place as standing
from eval.submission.standing.grading import rules_of, score_submission
from eval.submission.standing.ours import Own, read_own
from eval.submission.standing.published import Column, Group, Published, PublishedModel, load_published
from eval.tasks import TASKS, official
from eval.tasks.official import official_rows
from eval.tasks.reading import load as load_reading

COLUMNS = {
    "blimp": Column("BLiMP", "blimp_filtered"),
    "comps": Column("COMPS", "comps"),
    "spr": Column("self-paced", "reading", "spr"),
}
PUBLISHED = Published(
    COLUMNS,
    ["Compare inside a group only."],
    [
        Group("first", 2026, "strict-small", "program A", "a note", [
            PublishedModel("low", {"blimp": 60.0, "comps": 52.0}, "a paper"),
            PublishedModel("high", {"blimp": 70.25}, "a README", "second hand"),
        ]),
        Group("second", 2025, "strict-small", "program B", "", [PublishedModel("other", {"spr": 1.0}, "a tree")]),
        Group("large", 2026, "strict", "program A", "", [PublishedModel("giant", {"blimp": 80.0}, "a paper")]),
    ],
)  # fmt: skip


def result(score: float, **changes) -> dict:
    cell = {"score": score, "standard_error": 0.01}
    whole = {"metric": "accuracy", "limit": None, "partial": False, "by_subtask": {}, "official_score": score}
    return cell | whole | {"tie_rule": "shared"} | changes


def scores_file(path: Path, **tasks: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model": "runs/mine/export", "model_sha256": "0", "tasks": tasks}))
    return path


TUNED = {
    "metric": "f1", "score": 0.9, "spread": 0.1, "n": 2, "notes": [], "submitted": 7, "predictions_sha256": "",
    "by_seed": {"1": {"accuracy": 0.8, "f1": 0.9}, "7": {"accuracy": 0.6, "f1": 0.7}},
    "majority": {"accuracy": 0.55, "f1": 0.65}, "examples": {"valid": 204},
}  # fmt: skip
"""A task as finetune.json has it."""


def tuned_file(run: Path, **content: object) -> None:
    """The run's finetune.json, of the model that `scores_file` names."""
    (run / "finetune").mkdir(parents=True)
    content = {"model_sha256": "0", "random_weights": False} | content
    (run / "finetune/finetune.json").write_text(json.dumps(content))


def call(*words: object) -> None:
    main(["standing", *map(str, words)])


# --- the data file ---


def test_every_published_row_has_a_source_and_percents_in_known_columns():
    published = load_published()
    for group in published.groups:
        assert group.year in range(2023, 2027) and group.scorer and group.rows, group.name
        for row in group.rows:
            assert row.model and row.source and set(row.scores) <= set(published.columns), row.model
            assert all(0 <= score < 100 and type(score) in (int, float) for score in row.scores.values())
    for column in published.columns.values():
        asked = {f"glue {task}" for task in OFFICIAL} | TASKS.keys()
        assert column.task in asked if column.task else set(column.mean) <= set(published.columns)
    assert len({(group.name, group.track) for group in published.groups}) == len(published.groups)


def test_the_published_blimp_and_supplement_scores_are_those_known():
    known = [(65.08, 57.25), (67.29, 59.09), (71.66, 63.21), (69.8, 59.5), (67.6, 58.1), (65.8, 58.8)]
    known += [(69.4, 60.6), (63.3, 59.1), (63.7, 56.7), (66.73, 58.03), (70.30, 63.38), (73.11, 61.73)]
    rows = [row for group in load_published().groups if group.track == "strict-small" for row in group.rows]
    assert set(known) <= {(row.scores.get("blimp"), row.scores.get("supplement")) for row in rows}


def test_the_overall_score_of_2026_is_the_mean_of_nine_beside_what_guessing_gives():
    published = load_published()
    halves = ["blimp_filtered", "supplement_filtered", "ewok_contexts", "comps"]
    results = {task: result(0.6, chance=0.5) for task in halves}
    results |= {"entity_tracking_filtered": result(0.3, chance=0.2), "reading": result(0.05, chance=0.0)}
    results |= {
        "global_piqa_parallel": result(0.3, chance=0.25),
        "global_piqa_nonparallel": result(0.5, chance=0.5),
    }
    results |= {f"glue {task}": result(0.7, chance=0.62) for task in OFFICIAL}
    assert "overall" not in published.ours(results)
    results["aoa"] = result(0.1, chance=0.0)
    found = published.ours(results)["overall"]
    assert found["score"] == pytest.approx((4 * 0.6 + 0.3 + 0.7 + 0.4 + 0.05 + 0.1) / 9)
    assert found["chance"] == pytest.approx((4 * 0.5 + 0.2 + 0.62 + 0.375) / 9)
    own = standing.stand(Own("ours", results), published, "strict-small")
    assert "  Overall 2026: 43.89 ± 0.31 (mean of 9; chance 35.50)" in standing.standing_table(
        own, published.columns
    )


# --- places ---


def test_a_rank_counts_the_rows_of_the_group_that_have_the_column():
    own = Own("ours", {"blimp_filtered": result(0.65), "comps": result(0.4)})
    first, second = standing.stand(own, PUBLISHED, "strict-small")["groups"]
    assert first["ranks"] == {"blimp": {"rank": 2, "of": 3}, "comps": {"rank": 2, "of": 2}}
    assert second["ranks"] == {}


@pytest.mark.parametrize(("score", "rank"), [(0.7025, 1), (0.7024, 2), (0.702499, 1), (0.6, 2), (0.59, 3)])
def test_scores_are_compared_as_they_are_printed_and_an_equal_one_is_not_above(score, rank):
    own = Own("ours", {"blimp_filtered": result(score)})
    group = standing.stand(own, PUBLISHED, "strict-small")["groups"][0]
    assert group["ranks"]["blimp"]["rank"] == rank


def test_ours_stands_in_its_place_in_the_table():
    own = Own("ours", {"blimp_filtered": result(0.65)})
    text = standing.standing_table(standing.stand(own, PUBLISHED, "strict-small"), COLUMNS)
    lines = text.splitlines()
    assert [line.split()[:2] for line in lines[2:5]] == [["high", "70.25"], [">", "ours"], ["low", "60.00"]]
    assert "65.00 ± 1.00" in lines[3] and lines[3].endswith(" -")
    assert lines[5].split()[-4:] == ["2", "of", "3", "-"]
    assert "  a note" in lines and "  high: second hand" in lines
    assert "ours has none of its columns" in text and "- Compare inside a group only." in text


def test_a_column_may_be_a_subtask():
    parts = {"rt": {"score": 0.5, "standard_error": None}, "spr": {"score": 0.02, "standard_error": None}}
    own = Own("ours", {"reading": result(0.26, by_subtask=parts)})
    found = standing.stand(own, PUBLISHED, "strict-small")
    assert found["ours"] == {"spr": {"score": 2.0, "standard_error": None, "chance": None}}
    assert found["groups"][1]["ranks"] == {"spr": {"rank": 1, "of": 2}}
    assert found["unpublished"] == {}


def test_a_task_without_a_published_score_is_listed_below():
    own = Own("ours", {"blimp_filtered": result(0.6), "nursery": result(0.9), "reading": result(0.1)})
    found = standing.stand(own, Published(COLUMNS, [], PUBLISHED.groups[:1]), "strict-small")
    assert list(found["unpublished"]) == ["nursery", "reading"]
    assert "  Nursery pairs: 90.00 ± 1.00 (accuracy)" in standing.standing_table(found, COLUMNS)


def test_only_groups_of_the_track_are_beside_ours():
    own = Own("ours", {"blimp_filtered": result(0.65)})
    assert [group["name"] for group in standing.stand(own, PUBLISHED, "strict")["groups"]] == ["large"]
    with pytest.raises(
        UserError, match="no published scores of the track tiny: name one of strict-small, strict"
    ):
        standing.stand(own, PUBLISHED, "tiny")


def test_a_score_that_ties_move_has_a_line_of_its_own():
    own = Own("ours", {"blimp_filtered": result(0.5, official_score=0.75), "comps": result(0.5)})
    (said,) = standing.stand(own, PUBLISHED, "strict-small")["caveats"][1:]
    assert said.startswith("BLiMP: ") and said.endswith("it has 75.00")


# --- our scores ---


def test_what_is_not_of_a_whole_official_task_is_named_and_not_placed(tmp_path, capsys):
    tasks = {
        "blimp_filtered": result(0.65),
        "comps": result(0.9, synthetic=True),
        "ewok_filtered": result(0.9, partial=True),
        "entity_tracking": result(0.9, limit=5),
        "aoa": {"metric": "surprisal", "score": 3.0},
        "perplexity": {"all": {}},
    }
    call(scores_file(tmp_path / "scores.json", **tasks), "--json", tmp_path / "standing.json")
    said = capsys.readouterr().out
    assert "  COMPS: synthetic stand-ins, not the official data\n" in said
    assert "  EWoK: other rows than the official ones\n" in said
    assert "  Entity tracking: only the first 5 of each subtask\n" in said
    assert "> mine " in said and "90.00" not in said
    found = json.loads((tmp_path / "standing.json").read_text())
    assert found["unpublished"] == {}
    assert list(found["ours"]) == ["blimp"] and list(found["not_placed"]) == [
        "comps",
        "ewok_filtered",
        "entity_tracking",
    ]


def test_scores_of_which_none_can_be_placed_are_refused(tmp_path):
    path = scores_file(tmp_path / "scores.json", comps=result(0.9, synthetic=True))
    with pytest.raises(UserError, match=r"no score that can be placed \(comps: synthetic stand-ins"):
        read_own(path, None)
    with pytest.raises(UserError, match=r"no score that can be placed \(it has none\)"):
        read_own(scores_file(tmp_path / "none.json"), None)


def test_a_run_folder_brings_its_track_its_fine_tuning_and_its_caveats(tmp_path):
    run = tmp_path / "mine"
    scores_file(run / "eval/scores.json", blimp_filtered=result(0.65))
    tasks = {
        "rte": TUNED | {"metric": "accuracy"},
        "mrpc": TUNED,
        "boolq": TUNED | {"notes": ["the rows are synthetic"], "synthetic": True},
        "cola": TUNED | {"metric": "mcc", "score": 0.3},
    }
    tuned_file(run, tasks=tasks)
    facts = {"track": "2025/strict", "competition": False, "words_scale": 0.01}
    (run / "summary.json").write_text(json.dumps(facts))
    own = read_own(run, None)
    assert (own.name, own.track, list(own.results)) == (
        "mine",
        "strict",
        ["blimp_filtered", "glue rte", "glue mrpc", "glue cola"],
    )
    assert own.refused == {"glue boolq": "the rows are synthetic"}
    assert [line.split(";")[0].split(":")[0] for line in own.caveats] == [
        "Ours is no entry, a trial",
        "Ours is no entry, outside the competition",
        "Ours on glue rte, mrpc, boolq is of the one seed that is submitted",
    ]
    found = standing.stand(own, load_published(), own.track)
    assert {group["track"] for group in found["groups"]} == {"strict"}
    assert (found["ours"]["rte"]["score"], found["ours"]["mrpc"]["score"]) == (60, 70), "F1 of MRPC alone"
    assert found["ours"]["rte"]["standard_error"] == pytest.approx(100 * math.sqrt(0.24 / 203))
    assert [found["ours"][task]["chance"] for task in ("rte", "mrpc")] == [pytest.approx(55), 65]
    assert found["unpublished"]["glue cola"]["score"] == 30, "a mean, for no submission holds it"


def test_the_ages_of_a_run_count_where_they_are_of_the_surprisals_of_its_revisions(tmp_path):
    run = tmp_path / "mine"
    scores_file(run / "eval/scores.json", blimp_filtered=result(0.65))
    predictions = run / "eval_revisions/chck_1M/aoa/predictions.json"
    predictions.parent.mkdir(parents=True)
    predictions.write_text("[]")
    ages = {"metric": "pearson", "score": 0.2, "official_score": 0.0, "standard_error": 0.1, "chance": 0.0}
    (run / "aoa").mkdir()
    for surprisals, said in (
        ({"chck_1M": sha256(predictions)}, None),
        ({"chck_1M": "0"}, "other"),
        (None, "other"),
    ):
        content = ages | {"partial": False, "synthetic": False, "surprisals": surprisals}
        (run / "aoa/aoa.json").write_text(json.dumps(content))
        own = read_own(run, None)
        assert (own.results.get("aoa", {}).get("score") == 0.0) is (said is None)
        assert own.refused.get("aoa", "").startswith("of other surprisals") is (said is not None)


def test_a_run_that_is_over_the_track_by_its_ledger_is_no_entry(tmp_path):
    run = tmp_path / "mine"
    scores_file(run / "eval/scores.json", blimp_filtered=result(0.65))
    (run / "summary.json").write_text("{}")
    over = {"within": False, "value": 11.0, "budget": 10}
    (run / "submission").mkdir()
    (run / "submission/ledger.json").write_text(json.dumps({"readings": {"student_alone": {"passes": over}}}))
    assert (
        "Ours is no entry, outside the competition: passes of the student: 11.0"
        in read_own(run, None).caveats[0]
    )


def test_a_bundle_is_no_entry_where_its_file_says_so(tmp_path):
    bundle = tmp_path / "submission"
    scores_file(bundle / "scores.json", blimp_filtered=result(0.65))
    name = "TRIAL_OUTSIDE_all_full_preds_and_fast_scores_causal.json"
    (bundle / name).write_text("{}")
    assert read_own(bundle, None).caveats == [f"Ours is no entry: {name} is marked TRIAL, OUTSIDE."]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model_sha256": "1"}, "finetune.json is of another model than export/: delete it"),
        ({"random_weights": True}, "finetune.json is of random weights, not of export/: delete it"),
    ],
)
def test_fine_tuning_of_other_weights_is_refused(tmp_path, changes, what):
    scores_file(tmp_path / "eval/scores.json", blimp_filtered=result(0.65))
    tuned_file(tmp_path, tasks={"rte": TUNED}, **changes)
    with pytest.raises(UserError, match=what):
        read_own(tmp_path, None)


@pytest.mark.parametrize("named", [".", "eval", "eval/scores.json"])
def test_scores_of_another_model_than_the_export_beside_them_are_refused(tmp_path, named):
    path = scores_file(tmp_path / "eval/scores.json", blimp_filtered=result(0.65))
    export = tmp_path / "export"
    export.mkdir()
    (export / "model.safetensors").write_text("x")
    with pytest.raises(UserError, match="scores.json is of another model than .*export: score it again"):
        read_own(tmp_path / named, None)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_sha256": model_sha256(export)}))
    assert list(read_own(tmp_path / named, None).results) == ["blimp_filtered"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"blimp": {}}, "holds predictions: name the gold data to score them by with --data DIR"),
        ({"other": 1}, "holds neither scores nor predictions: give a run folder, a scores.json, or"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, what):
    (tmp_path / "file.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=what):
        read_own(tmp_path / "file.json", None)
    with pytest.raises(UserError, match="has no eval/scores.json"):
        read_own(tmp_path, None)


@pytest.mark.parametrize("key", ["score", "official_score", "standard_error"])
@pytest.mark.parametrize("value", [[[]], {}, "high"])
def test_a_score_of_another_kind_is_one_line(tmp_path, key, value):
    path = scores_file(tmp_path / "scores.json", blimp_filtered=result(0.65) | {key: value})
    with pytest.raises(UserError, match="scores.json holds something else than the kit wrote there"):
        call(path)


# --- a submission's predictions ---

KEYS = {
    "blimp": "blimp_filtered",
    "blimp_supplement": "supplement_filtered",
    "ewok": "ewok_filtered",
    "entity_tracking": "entity_tracking",
    "comps": "comps",
    "wug_adj": "wug_adj_nominalization",
    "wug_past": "wug_past_tense",
}
LATER = {
    "blimp": "blimp_filtered",
    "ewok": "ewok_contexts",
    "entity_tracking_filtered": "entity_tracking_filtered",
    "global_piqa_parallel": "global_piqa_parallel",
    "global_piqa_nonparallel": "global_piqa_nonparallel",
}


@pytest.fixture
def gold(tmp_path, monkeypatch) -> Path:
    """Gold data of a few rows a task, which pass for the official ones."""
    monkeypatch.setattr(official, "official_rows", lambda task: None)
    data = tmp_path / "gold"
    for task in [*KEYS.values(), *LATER.values()]:
        write_task(data / TASKS[task].folder, task)
    return data


def predicted(gold: Path, task: str) -> tuple[dict, dict]:
    """(predictions of a random model in the official form, the result that the task itself gives its scores)."""
    questions = TASKS[task].load(TASKS[task].files(gold))
    draw = random.Random(task)
    scores = [[draw.uniform(-9, -1) for _ in item.choices] for item in questions.items]
    return questions.predictions(scores), questions.summarise(scores)


@pytest.mark.parametrize("keys", [KEYS, LATER], ids=["2025", "2026"])
def test_predictions_are_worth_what_the_scores_behind_them_were(gold, keys):
    told = {key: predicted(gold, task) for key, task in keys.items()}
    found, refused = score_submission({key: rows for key, (rows, _) in told.items()}, "file", gold)
    assert refused == {} and set(found) == set(keys.values())
    for key, (_, expected) in told.items():
        assert found[keys[key]]["score"] == pytest.approx(expected["score"], abs=1e-12), key
        assert found[keys[key]]["metric"] == expected["metric"] and not found[keys[key]]["partial"]
    assert 0 < found["blimp_filtered"]["score"] < 1


def test_the_age_score_of_2026_counts_as_it_stands_and_no_other_value_does(gold):
    found, refused = score_submission({"aoa": {"aoa": 0.25}, "aoa_surprisals": {"results": []}}, "file", gold)
    assert found["aoa"]["score"] == 0.25 and list(refused) == ["aoa_surprisals"]
    for value, said in (
        (math.nan, "NaN is not finite"),
        (41.7, "41.7 is not from -1 to 1"),
        (None, "null is no number"),
    ):
        with pytest.raises(UserError, match=f"file, aoa: {said}: .*eval.submission check"):
            score_submission({"aoa": {"aoa": value}, "aoa_surprisals": {}}, "file", gold)


def test_the_share_of_right_predictions_is_counted_by_hand(gold):
    rows = [{"sentence_good": f"Good {n}.", "sentence_bad": f"Bad {n}."} for n in range(4)]
    write_rows(gold / "full_eval/supplement_filtered/turn_taking.jsonl", rows)
    said = ["Good 0.", " Good 1. ", "Bad 2.", "Good 3."]
    told = {
        "turn_taking": {
            "predictions": [{"id": f"turn_taking_{n}", "pred": text} for n, text in enumerate(said)]
        }
    }
    found, _ = score_submission({"blimp_supplement": told}, "file", gold)
    assert found["supplement_filtered"]["score"] == 0.75


def test_reading_is_scored_from_its_surprisals(gold):
    (gold / "full_eval/reading").mkdir()
    path = test_reading.write(gold / "full_eval/reading/reading_data.csv", test_reading.rows())
    questions = load_reading([path])
    scores = test_reading.planted(questions)
    told = json.loads(json.dumps(questions.predictions(scores)))
    assert any(math.isnan(row["prev_pred"]) for row in told["reading"]["predictions"])
    found, _ = score_submission({"reading": told}, "file", gold)
    assert found["reading"]["score"] == pytest.approx(questions.summarise(scores)["score"], abs=1e-12)
    told["reading"]["predictions"][7]["pred"] = math.nan
    with pytest.raises(UserError, match="reading: row 7 has nan in 'pred', no finite number"):
        score_submission({"reading": told}, "file", gold)


def test_fine_tuned_labels_are_counted_and_what_cannot_be_scored_says_why(gold):
    labels = [n % 2 for n in range(52)]
    rows = [{"span1_text": "it", "span2_text": "dog", "text": "It.", "label": label} for label in labels]
    write_rows(gold / "full_eval/glue_filtered/wsc.valid.jsonl", rows)
    told = {"predictions": [{"id": f"wsc_{n}", "pred": 1} for n in range(52)]}
    content = {
        "glue": {"wsc": told, "rte": told},
        "aoa": {"results": []},
        "reading": {},
        "fast_eval_results": {},
    }
    found, refused = score_submission(content, "file", gold)
    assert (found["glue wsc"]["score"], found["glue wsc"]["partial"]) == (0.5, False)
    assert found["glue wsc"]["chance"] == 0.5 and found["glue wsc"]["standard_error"] > 0
    for pred, said in ((None, "null"), (False, "false"), (0.0, "0.0"), (7, "7")):
        other = {"predictions": [{"id": f"wsc_{n}", "pred": pred} for n in range(52)]}
        with pytest.raises(UserError, match=f"file, glue, wsc: {said} is none of the labels 0, 1"):
            score_submission({"glue": {"wsc": other}}, "file", gold)
    assert list(refused) == ["reading", "aoa", "glue rte"]
    assert refused["reading"] == f"{gold} has no gold data of it" and "eval.aoa" in refused["aoa"]


def test_a_submission_scored_on_other_rows_or_stand_ins_is_marked_so(gold, monkeypatch):
    rows = [{"sentence_good": "Good.", "sentence_bad": "Bad.", "synthetic": True}]
    write_rows(gold / "full_eval/supplement_filtered/turn_taking.jsonl", rows)
    monkeypatch.setattr(official, "official_rows", official_rows)
    told = {"turn_taking": {"predictions": [{"id": "turn_taking_0", "pred": "Good."}]}}
    result = score_submission({"blimp_supplement": told}, "file", gold)[0]["supplement_filtered"]
    assert (result["partial"], result["synthetic"]) == (True, True)


def test_predictions_that_do_not_fit_the_gold_data_are_refused_with_their_place(gold):
    told, _ = predicted(gold, "blimp_filtered")
    name = next(iter(told))

    def refused(what: str, change) -> None:
        other = json.loads(json.dumps(told))
        change(other)
        with pytest.raises(UserError, match=f"{what}.*eval.submission check"):
            score_submission({"blimp": other}, "file", gold)

    refused("file, blimp has 7 rows", lambda other: other[name]["predictions"].pop())
    refused(
        "file, blimp has 9 rows",
        lambda other: other[name]["predictions"].append(told[name]["predictions"][0]),
    )
    refused(f"file, blimp lacks {name}", lambda other: other.pop(name))
    refused("file, blimp has 8 rows", lambda other: other.update(more={"predictions": []}))
    refused(
        f"the prediction of {name}_1 is no choice",
        lambda other: other[name]["predictions"][1].update(pred="x"),
    )
    refused(
        f"row of file, blimp, {name}, lacks pred", lambda other: other[name]["predictions"][1].pop("pred")
    )
    refused("is not a JSON object", lambda other: other[name].update(predictions=None))


def test_the_year_of_a_submission_is_told_by_its_keys():
    def year(*keys: str) -> str | None:
        found = rules_of(dict.fromkeys(keys))
        return found and found.name

    assert (year("blimp", "ewok"), year("ewok", "global_piqa_parallel")) == ("2025", "2026")
    assert (year("entity_tracking", "aoa"), year("aoa", "aoa_surprisals")) == ("2025", "2026")
    assert year("tasks", "fast_eval_results") is None
    part = {"ewok": {}, "fast_eval_results": {"entity_tracking_filtered": []}}
    assert rules_of(part).name == rules_of({"aoa": {"aoa": 0.4}}).name == "2026"
    assert rules_of({"ewok": {}, "fast_eval_results": {"entity_tracking": []}}).name == "2025"
    assert rules_of({"aoa": {"results": []}}).name == "2025"


def test_the_whole_way_from_a_submission_file_to_the_table(gold, tmp_path, capsys):
    rows, expected = predicted(gold, "blimp_filtered")
    (tmp_path / "mine.json").write_text(json.dumps({"blimp": rows, "glue": {}}))
    call(tmp_path / "mine.json", "--data", gold)
    said = capsys.readouterr().out
    assert f"{100 * expected['score']:.2f} ± " in said and "> mine " in said

"""Of the official results tree, the bundle has what the run's evaluation says, and nothing else."""

import json
import math
from pathlib import Path

import pytest
from run_tree import write_json

from babylm_data.errors import UserError
from babylm_data.sealed import sha256
from eval.runs import revisions
from eval.runs.run_folder import Run
from eval.scorer.model import model_sha256
from eval.submission.bundled_tree import copy_tree, not_in_tree, own_tree, zero_shot
from eval.submission.collate import Collected
from eval.submission.rules import load_rules

RULES = load_rules("2025")
READING = {"reading": {"predictions": [{"id": 0, "pred": 1.5, "prev_pred": math.nan}]}}
NAMES = [f"chck_{n}M" for n in range(1, 6)]
RTE = {"predictions": [{"id": "rte_0", "pred": 1}]}
AGES = {"results": [{"step": name, "surprisal": 2.0} for name in NAMES]}
ZERO_SHOT = "zero_shot/causal"
TREE = {
    f"main/{ZERO_SHOT}/reading/predictions.json": READING,
    f"main/{ZERO_SHOT}/AoA_word/surprisal.json": AGES,
    "main/finetune/rte/predictions.json": {"rte": RTE},
    **{f"{name}/{ZERO_SHOT}/reading/predictions.json": READING for name in NAMES},
}
"""Place below the model's folder -> what belongs there."""


def scored(out: Path, export: Path, **changes: object) -> dict:
    """The scores of one model on reading, with their predictions."""
    write_json(export / "model.safetensors", {"name": str(export.name)})
    path = out / "reading/predictions.json"
    write_json(path, READING)
    result = {"limit": None, "partial": False, "predictions_sha256": sha256(path)} | changes
    scores = {"model_sha256": model_sha256(export), "tasks": {"reading": result, "perplexity": {}}}
    write_json(out / "scores.json", scores)
    return scores


@pytest.fixture
def run(tmp_path) -> Run:
    """A run with a whole evaluation by rules that ask for little, and its tree."""
    folder = tmp_path / "mine"
    scores = scored(folder / "eval", folder / "export")
    for name in NAMES:
        scored(folder / "eval_revisions" / name, folder / "revisions" / name)
    for place, content in TREE.items():
        write_json(folder / "results/mine" / place, content)
    summary = {"name": "as it was trained", "revisions": [{"name": name, "words_seen": 1} for name in NAMES]}
    return Run(folder, "student", summary, {}, {}, {}, None, scores)


def parts(run: Run) -> Collected:
    """What the run has for the file."""
    results, _ = revisions.scored(revisions.revisions(run))
    return Collected({"glue": {"rte": RTE}, "aoa": AGES}, revisions=results)


def lacked(run: Run) -> list[str]:
    """What the tree lacks."""
    return not_in_tree(run, parts(run), RULES)


def copied(run: Run) -> dict[str, object]:
    """Place -> content of all that is copied."""
    to = run.folder.parent / "bundle"
    copy_tree(run, parts(run), RULES, to)
    found = {path.relative_to(to).as_posix(): path for path in to.rglob("*") if path.is_file()}
    return {place: path.read_text(encoding="utf-8") for place, path in found.items()}


def in_tree(run: Run, place: str) -> Path:
    return run.folder / "results/mine" / place


def test_all_that_the_evaluation_says_is_copied_with_the_reports(run):
    report = f"chck_2M/{ZERO_SHOT}/reading/best_temperature_report.txt"
    in_tree(run, report).write_text("TEMPERATURE")
    found = copied(run)
    assert found.pop(f"mine/{report}") == "TEMPERATURE"
    assert set(found) == {f"mine/{place}" for place in TREE}
    assert json.loads(found["mine/main/finetune/rte/predictions.json"]) == {"rte": RTE}


@pytest.mark.parametrize("place", TREE)
def test_a_file_of_another_time_is_refused_wherever_it_stands(run, place):
    write_json(in_tree(run, place), {"reading": {"predictions": []}})
    with pytest.raises(
        UserError, match=f"{place} is not what the run's evaluation says: delete it and score"
    ):
        copied(run)


@pytest.mark.parametrize("place", TREE)
def test_a_missing_file_is_a_part_that_the_submission_lacks(run, place):
    assert lacked(run) == []
    in_tree(run, place).unlink()
    (line,) = lacked(run)
    assert line.startswith(f"results tree: {in_tree(run, place)} is missing: score it")
    assert set(copied(run)) == {f"mine/{each}" for each in TREE if each != place}


def test_what_no_part_of_the_evaluation_stands_behind_is_left_out_with_a_line(run, capsys):
    strange = ["mine/chck_9M/zero_shot/causal/reading/predictions.json", "other/main/x.json", "mine/all.json"]
    for place in strange:
        write_json(run.folder / "results" / place, READING)
    assert set(copied(run)) == {f"mine/{place}" for place in TREE}
    assert f"3 files of {run.folder / 'results'}: mine/all.json, mine/chck_9M" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"limit": 3}, {"partial": True}, {"predictions_sha256": "0"}])
def test_a_result_that_does_not_count_brings_no_file_of_the_tree(run, changes):
    scored(run.folder / "eval_revisions/chck_2M", run.folder / "revisions/chck_2M", **changes)
    assert f"mine/chck_2M/{ZERO_SHOT}/reading/predictions.json" not in copied(run)


def test_a_revision_with_scores_of_other_weights_is_left_out(run):
    write_json(run.folder / "revisions/chck_2M/model.safetensors", {"name": "trained again"})
    assert not any("chck_2M" in place for place in copied(run))


def test_surprisals_of_some_revisions_alone_are_no_part_of_the_tree(run):
    scored(run.folder / "eval_revisions/chck_2M", run.folder / "revisions/chck_2M")
    some = parts(run)
    some.content["aoa"] = {"results": AGES["results"][:-1]}
    to = run.folder.parent / "bundle"
    copy_tree(run, some, RULES, to)
    assert not list(to.rglob("surprisal.json")) and list(to.rglob("predictions.json"))


def test_each_years_tree_has_a_folder_of_its_own_and_a_shared_place_is_that_of_what_is_asked(run):
    assert own_tree(run, "2025").root == run.folder / "results"
    assert own_tree(run, "2026-entity-18").root == run.folder / "results-2026-entity-18"
    results = {}
    for task in ("ewok_fast", "ewok_contexts_fast", "reading"):
        write_json(run.folder / "eval" / task / "predictions.json", {task: {}})
        digest = sha256(run.folder / "eval" / task / "predictions.json")
        results[task] = {"limit": None, "partial": False, "predictions_sha256": digest}
    told = {
        asked: [
            content()
            for _, _, content in zero_shot(run.folder / "eval", results, {asked}, own_tree(run, "x"))
        ]
        for asked in ("ewok_fast", "ewok_contexts_fast", "comps")
    }
    assert told["ewok_fast"] == [{"ewok_fast": {}}, {"reading": {}}]
    assert told["ewok_contexts_fast"] == [{"ewok_contexts_fast": {}}, {"reading": {}}]
    assert told["comps"] == [{"reading": {}}], "neither is asked for: nobody knows which one the file is"
    del results["ewok_contexts_fast"]
    (left,) = zero_shot(run.folder / "eval", results, {"ewok_contexts_fast"}, own_tree(run, "x"))
    assert left[2]() == {"reading": {}}, "its place is that of what is asked for and was not scored"


def test_the_name_is_that_of_the_run_folder_as_in_evaluate(run):
    (run.folder / "results/mine").rename(run.folder / "results/old")
    (line,) = lacked(run)
    assert "results has nothing of mine, as the run's folder is called: score it" in line


def test_a_run_without_a_tree_has_none_in_its_bundle_and_lacks_it(run):
    (run.folder / "results").rename(run.folder / "elsewhere")
    assert copied(run) == {}
    (line,) = lacked(run)
    assert "results has nothing of mine" in line

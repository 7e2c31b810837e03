"""What was evaluated becomes a file without a fault; what was not is named, and nothing takes its place."""

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import tiny_models
from submission_files import fitted, sound, write_data

from babylm_data.sealed import sealed_folder
from eval.__main__ import main as score
from eval.aoa.checkpoints import read_scored
from eval.finetune.tuning_folder import TuningFolder
from eval.runs.run_folder import Run
from eval.scorer.model import model_sha256
from eval.submission import collate as collate_module
from eval.submission.check.file import check_file
from eval.submission.collate import collate
from eval.submission.rules import load_rules
from eval.tasks import TASKS, official
from eval.tasks.aoa import with_step

REVISIONS = ("chck_1M", "chck_2M", "chck_3M")


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
    """(folder of a run with three revisions, all evaluated on tiny data; name -> rules fitted to these; the data)."""
    place = tmp_path_factory.mktemp("evaluated")
    data, run = write_data(place / "data"), place / "runs" / "x"
    rules = {name: fitted(load_rules(name), data) for name in ("2025", "2026")}
    sections = [section for each in rules.values() for section in each.keys.values()]
    full = list(dict.fromkeys(each.task for each in sections if each.task and each.form == "predictions"))
    fast = list(dict.fromkeys(entry.task for each in rules.values() for entry in each.fast.values())) + [
        "aoa"
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(official, "ROWS", official_rows(place / "rows.yaml", {*full, *fast}, data))
        tiny_models.save(run / "export")
        score([f"{run}/export", "--tasks", *full, "--data", str(data), "--out", f"{run}/eval"])
        for seed, name in enumerate(REVISIONS, start=1):
            with sealed_folder(run / "revisions" / name) as folder:
                tiny_models.save(folder, seed=seed)
            out = str(run / "eval_revisions" / name)
            score([f"{run}/revisions/{name}", "--tasks", *fast, "--data", str(data), "--out", out])
    fine_tune(run, sound(rules["2025"], REVISIONS, random.Random(0))["glue"])
    checkpoints = [read_scored(run / "eval_revisions" / name) for name in REVISIONS]
    rows = [row for each in checkpoints for row in with_step(each.rows, each.name, each.exposure)]
    (run / "aoa").mkdir()
    (run / "aoa/surprisal.json").write_text(json.dumps({"results": rows}), encoding="utf-8")
    (run / "aoa/aoa_score.json").write_text('{"aoa": 0.25}', encoding="utf-8")
    return run, rules, data


def official_rows(path: Path, tasks: set[str], data: Path) -> Path:
    """A list of the rows of these data, which makes them the official ones."""
    rows = {
        task: dict(Counter(item.subtask for item in TASKS[task].load(TASKS[task].files(data)).items))
        for task in sorted(tasks)
    }
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def fine_tune(run: Path, predictions: dict, seed: int = 42) -> None:
    """The files of a fine-tuning with these predictions."""
    header = {"model_sha256": model_sha256(run / "export"), "random_weights": False}
    out = TuningFolder(run / "finetune", header, submitted=seed)
    for task, content in predictions.items():
        result = {
            "metric": "accuracy", "metrics": {"accuracy": 0.5}, "majority": {}, "notes": [], "truncated": [],
            "examples": {"train": 9, "valid": len(content["predictions"])}, "settings": {}, "data": {},
            "kept_epoch": 1, "versions": {}, "command": "",
        }  # fmt: skip
        out.add(task, seed, "asked", result, {task: content})


@pytest.fixture
def run(evaluated, tmp_path) -> Path:
    """A copy of the run folder to do harm to."""
    return shutil.copytree(evaluated[0], tmp_path / "x")


def of(folder: Path) -> Run:
    """The run in a folder, as `read_run` gives it."""
    scores = json.loads((folder / "eval/scores.json").read_text(encoding="utf-8"))
    summary = {"revisions": [{"name": name, "words_seen": 10**6 * n} for n, name in enumerate(REVISIONS, 1)]}
    return Run(folder, "student", {"name": "x", "words_seen": 3 * 10**6, **summary}, {}, {}, {}, None, scores)


@pytest.mark.parametrize("year", ["2025", "2026"])
def test_what_is_whole_becomes_a_file_without_a_fault(evaluated, tmp_path, year):
    folder, rules, data = evaluated
    rules = rules[year]
    found = collate(of(folder), rules)
    assert (found.missing, found.synthetic) == ([], [])
    path = tmp_path / rules.file.format(backend="causal")
    path.write_text(json.dumps(found.content), encoding="utf-8")
    assert list(found.content) == [*rules.keys, rules.fast_key]
    constant = [*rules.keys, *rules.keys["glue"].tasks]  # of four items a tiny model may well say the same
    faults = check_file(path, rules, REVISIONS, data, folder / "revisions", allow_constant=constant)
    assert [str(fault) for fault in faults if not fault.warning] == []


def test_every_task_can_be_asked_again_which_finds_it_scored(run, evaluated, monkeypatch, capsys):
    monkeypatch.setattr(
        "eval.results.score.load_for_scoring", lambda *_, **__: pytest.fail("a model was loaded")
    )
    for out, model in ((run / "eval", run / "export"), ((run / FAST).parent, run / "revisions/chck_2M")):
        tasks = json.loads((out / "scores.json").read_text())["tasks"]
        score([str(model), "--tasks", *tasks, "--data", str(evaluated[2]), "--out", str(out)])
        said = capsys.readouterr().out
        assert all(f"{task}: already scored" in said for task in tasks) and "reading" in tasks


def test_fast_scores_of_another_revision_are_found_by_those_of_each(evaluated, tmp_path):
    folder, rules = evaluated[0], evaluated[1]["2025"]
    scores = [folder / "eval_revisions" / name / "scores.json" for name in REVISIONS]
    content = collate(of(folder), rules).content
    path = tmp_path / rules.file.format(backend="causal")

    def told() -> list[str]:
        path.write_text(json.dumps(content), encoding="utf-8")
        return [
            str(fault) for fault in check_file(path, rules, REVISIONS, scores=scores) if not fault.warning
        ]

    assert not any("own scores" in line for line in told())
    entries = content[rules.fast_key]["wug_adj"]
    entries[1], entries[2] = entries[2], entries[1]
    (line,) = [line for line in told() if "own scores" in line]
    assert line.startswith("fast_eval_results/wug_adj, chck_2M: ") and "chck_2M/scores.json has" in line
    entries.pop()
    assert not any("own scores" in line for line in told())  # which shows in their number


def test_the_fast_scores_are_those_of_the_predictions(evaluated):
    folder, rules = evaluated[0], evaluated[1]["2025"]
    found = collate(of(folder), rules).content[rules.fast_key]
    assert [len(scores) for scores in found.values()] == [3] * len(rules.fast)
    for revision, scores in zip(REVISIONS, found["blimp"], strict=True):
        place = folder / "eval_revisions" / revision / "blimp_fast/predictions.json"
        for subtask, cell in json.loads(place.read_text(encoding="utf-8")).items():
            right = {item.uid: item.choices[0].text for item in TASKS["blimp_fast"].load(
                TASKS["blimp_fast"].files(evaluated[2])).items}  # fmt: skip
            share = sum(row["pred"] == right[row["id"]] for row in cell["predictions"])
            assert scores[subtask] == share / len(cell["predictions"])


def forget(path: str, *keys: str):
    """Harm: take an entry out of a JSON file, or the whole file away."""

    def do(run: Path) -> None:
        if not keys:
            return (run / path).unlink()
        content = json.loads((run / path).read_text(encoding="utf-8"))
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        (run / path).write_text(json.dumps(content), encoding="utf-8")

    return do


def put(path: str, value: object, *keys: str):
    """Harm: put a value into a JSON file."""

    def do(run: Path) -> None:
        content = inner = json.loads((run / path).read_text(encoding="utf-8"))
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (run / path).write_text(json.dumps(content), encoding="utf-8")

    return do


SCORES, FAST = "eval/scores.json", "eval_revisions/chck_2M/scores.json"
HARM = {
    "a task": (forget(SCORES, "tasks", "comps"), "comps: not scored"),
    "its predictions": (forget("eval/comps/predictions.json"), "comps: .*predictions.json is not that of"),
    "half a task": (put(SCORES, 7, "tasks", "comps", "limit"), "comps: scored on .* only the first 7"),
    "other rows": (put(SCORES, True, "tasks", "comps", "partial"), "comps: scored on .* other rows"),
    "a fast task": (forget(FAST, "tasks", "blimp_fast"), "fast blimp: not scored on chck_2M"),
    "surprisals": (forget(FAST, "tasks", "aoa"), "aoa: not scored on chck_2M"),
    "all of one": (forget(FAST), "fast reading: not scored on chck_2M"),
    "fine-tuning": (forget("finetune/finetune.json", "tasks", "rte"), "glue rte: not fine-tuned"),
    "of another": (put("finetune/finetune.json", "0", "model_sha256"), "glue wsc: .* of another model"),
    "random": (put("finetune/finetune.json", True, "random_weights"), "glue wsc: .* of random weights"),
    "labels": (forget("finetune/rte/seed-42/predictions.json"), "glue rte: .* is not that of finetune.json"),
    "the seed": (forget("finetune/finetune.json", "tasks", "rte", "submitted"), "glue rte: .*lacks submitted"),
    "some rows": (
        put("finetune/finetune.json", 3, "tasks", "rte", "examples", "valid"),
        "glue rte: predicted 3 of 4 rows",
    ),
    "another's scores": (put(FAST, "0", "model_sha256"), "chck_2M: .*scores.json is of another model"),
    "few to learn from": (
        put("finetune/finetune.json", {"limit": None, "train_limit": 9}, "tasks", "rte", "settings"),
        "glue rte: fine-tuned with --train-limit 9, score it",
    ),
    "a trial": (
        put("finetune/finetune.json", {"limit": 4, "train_limit": None}, "tasks", "rte", "settings"),
        "glue rte: fine-tuned with --limit 4, score it",
    ),
    "a revision": (forget("revisions/chck_2M/model.safetensors"), "chck_2M/model.safetensors is missing: train"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_what_is_missing_is_named_and_the_rest_is_there(run, evaluated, harm):
    do, said = HARM[harm]
    do(run)
    found = collate(of(run), evaluated[1]["2025"])
    assert any(re.search(said, line) for line in found.missing)
    assert {"blimp", "reading"} <= set(found.content)


def test_the_seed_that_was_asked_for_first_is_submitted_and_not_the_lowest(run, evaluated):
    rules = evaluated[1]["2025"]
    other = sound(rules, REVISIONS, random.Random(1))["glue"]
    for seed, predictions in ((7, other), (42, evaluated_labels(run))):
        fine_tune(run, predictions, seed)
        found = collate(of(run), rules)
        assert found.missing == [] and found.content["glue"] == predictions


def evaluated_labels(run: Path) -> dict:
    """What the run predicts with the seed 42."""
    read = {path.parts[-3]: path for path in (run / "finetune").glob("*/seed-42/predictions.json")}
    return {task: json.loads(path.read_text(encoding="utf-8"))[task] for task, path in read.items()}


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (put("aoa/surprisal.json", [], "results"), "aoa: .*surprisal.json has other surprisals than"),
        (forget(FAST, "tasks", "aoa"), "aoa: .*surprisal.json has other surprisals than"),
        (forget("aoa/surprisal.json"), "aoa: .*surprisal.json is missing"),
        (forget("aoa/aoa_score.json"), "aoa: .*aoa_score.json is missing"),
    ],
)
def test_a_score_of_ages_of_other_surprisals_is_missing(run, evaluated, monkeypatch, do, said):
    monkeypatch.setattr(collate_module, "FEWEST", len(REVISIONS))
    do(run)
    found = collate(of(run), evaluated[1]["2026"])
    assert any(re.match(said, line) for line in found.missing) and "aoa" not in found.content


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"words_seen": 4_500_000}, ["chck_4M: train the run again, with `revisions: true`"]),
        ({"words_seen": 5_000, "words_scale": 0.001}, ["chck_4M, chck_5M: train the run again, with"]),
        (
            {"words_seen": 1_500_000, "words_before": 4_000_000},
            ["chck_5M: train the run again, with", "chck_4M: the first weights had passed them before"],
        ),
        ({"words_seen": 3_999_999}, []),  # a shorter run has those that it reached
        ({"words_seen": 4_500_000, "track": None}, []),  # which names no revisions
    ],
)
def test_a_revision_that_was_due_and_that_nobody_wrote_is_missing(run, evaluated, facts, lines):
    due = of(run)
    due.summary.update({"track": "2025/strict-small"} | facts)
    found = collate(due, evaluated[1]["2025"]).missing
    assert len(found) == len(lines)
    assert all(said.startswith(f"revisions: {line}") for said, line in zip(found, lines, strict=True))


def test_a_run_that_came_to_no_revision_says_so_and_has_a_file_that_can_be_checked(run, evaluated, tmp_path):
    rules = evaluated[1]["2026"]
    due = of(run)
    due.summary.update({"track": "2025/strict-small", "words_seen": 500_000, "revisions": []})
    shutil.rmtree(run / "aoa")
    found = collate(due, rules)
    assert "revisions: the run came to none that its track asks for: train it longer" in found.missing[0]
    assert "aoa: ages are fitted of 5 revisions or more, and the run has 0" in found.missing
    path = tmp_path / rules.file.format(backend="causal")
    path.write_text(json.dumps(found.content), encoding="utf-8")
    assert any("is missing" in str(fault) for fault in check_file(path, rules, REVISIONS))


def test_stand_ins_are_named(run, evaluated):
    put(SCORES, True, "tasks", "comps", "synthetic")(run)
    put("finetune/finetune.json", True, "tasks", "boolq", "synthetic")(run)
    put(FAST, True, "tasks", "ewok_fast", "synthetic")(run)
    assert collate(of(run), evaluated[1]["2025"]).synthetic == ["comps", "glue boolq", "fast ewok"]

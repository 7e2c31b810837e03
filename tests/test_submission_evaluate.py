"""What `evaluate` asks the other programs for, what it finds missing, and that one failure stops nothing else."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from run_tree import edit
from submission_files import write_data

from babylm_data.errors import UserError
from babylm_data.sealed import sealed_folder
from eval.submission import evaluate
from eval.submission.rules import load_rules


@pytest.fixture
def run(runs_template, tmp_path) -> Path:
    """A student's run folder with three revisions."""
    folder = shutil.copytree(runs_template, tmp_path / "runs") / "nursery"
    revisions = [{"name": f"chck_{n}M", "mark": n, "words_seen": n, "step": n} for n in (1, 2, 3)]
    edit(folder / "summary.json", revisions=revisions)
    for revision in revisions:
        with sealed_folder(folder / "revisions" / revision["name"]) as place:
            (place / "model.safetensors").write_text(revision["name"])
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "data")


def arguments(run: Path, data: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args([str(run), "--data", str(data), *more])


@pytest.fixture
def called(monkeypatch) -> list[list[str]]:
    """The programs that are called. Those that score a control fail."""
    calls = []

    def call(command):
        calls.append(command[2:])
        return SimpleNamespace(returncode=2 * any("control" in word for word in command))

    monkeypatch.setattr(subprocess, "run", call)
    return calls


NO_GLUE = ("--partial", "--glue")


def test_every_model_that_a_table_needs_is_asked_the_full_list_and_each_revision_the_fast_one(
    run, data, called
):
    with pytest.raises(UserError, match="1 parts did not end well"):  # the control's
        evaluate.main(arguments(run, data, *NO_GLUE, "--text", "held-out", "--processes", "2"))
    scored = {call[1]: call for call in called if call[0] == "eval" and call[1].endswith("/export")}
    runs = run.parent
    assert set(scored) == {str(runs / name / "export") for name in
                           ("nursery", "nursery-llama", "nursery-gpt2", "nursery-control")}  # fmt: skip
    full = [section.task for section in load_rules("2025").keys.values() if section.form == "predictions"]
    for call in scored.values():
        asked = call[call.index("--tasks") + 1 : call.index("--data")]
        assert asked == [*[task for task in full if task], "perplexity"]
    assert (
        "--results" in scored[str(run / "export")]
        and "--results" not in scored[str(runs / "nursery-gpt2/export")]
    )
    (fast,) = (call for call in called if call[1].endswith("chck_1M"))
    assert fast[1:4] == [str(run / "revisions" / f"chck_{n}M") for n in (1, 2, 3)]
    assert {"blimp_fast", "reading", "aoa"} <= set(fast) and fast[fast.index("--processes") + 1] == "2"
    assert called.index(fast) > 2


def test_fine_tuning_is_of_the_student_alone_and_with_the_seeds_asked_for(run, data, called):
    rows = [{"sentence1": "a", "sentence2": "b", "label": n} for n in (0, 1)]
    for part in ("train", "valid"):
        path = data / f"full_eval/glue_filtered/rte.{part}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError):
        evaluate.main(
            arguments(run, data, "--partial", "--glue", "rte", "--seeds", "1", "2", "--epochs", "3")
        )
    (call,) = (call for call in called if call[0] == "eval.finetune")
    assert call[1] == f"{run}/export"
    assert call[call.index("--seeds") + 1 : call.index("--seeds") + 3] == ["1", "2"]
    assert call[call.index("--epochs") + 1] == "3"


def test_one_revision_has_a_folder_of_its_own_all_the_same(run, data, called):
    edit(run / "summary.json", revisions=[{"name": "chck_1M", "mark": 1, "words_seen": 1, "step": 1}])
    with pytest.raises(UserError):
        evaluate.main(arguments(run, data, *NO_GLUE))
    (fast,) = (call for call in called if call[1].endswith("chck_1M"))
    assert fast[fast.index("--out") + 1] == str(run / "eval_revisions/chck_1M")
    assert fast[fast.index("--revision") + 1] == "chck_1M"
    assert not any(call[0] == "eval.aoa" for call in called)  # one point is no curve


def test_a_limit_writes_no_results_tree(run, data, called):
    with pytest.raises(UserError):
        evaluate.main(arguments(run, data, *NO_GLUE, "--limit", "3"))
    assert not any("--results" in call for call in called)
    assert all("--limit" in call for call in called)


def test_data_that_are_not_there_are_named_before_anything_is_scored(run, data, called):
    with pytest.raises(
        UserError, match="lacks the data of boolq, mnli, mrpc, multirc, qqp, rte, wsc: put them"
    ):
        evaluate.main(arguments(run, data))
    assert not called


def test_a_damaged_revision_is_named_before_anything_is_scored(run, data, called):
    (run / "revisions/chck_2M/model.safetensors").write_text("other")
    with pytest.raises(
        UserError, match="chck_2M/model.safetensors has changed since it was written: train the run"
    ):
        evaluate.main(arguments(run, data, *NO_GLUE))
    assert not called


def test_the_list_names_what_is_missing_and_scores_nothing(run, data, called, capsys):
    assert evaluate.main(arguments(run, data, "--list")) == 1
    said = capsys.readouterr().out
    assert "missing: blimp: not scored" in said
    assert "missing: fast blimp: not scored on any of the 3 revisions" in said
    assert "missing: glue rte: not fine-tuned" in said
    assert not called


@pytest.mark.parametrize(("free", "expected"), [(0, 1), (3.5, 2), (100, 4)])
def test_no_more_processes_than_memory_cores_and_models_allow(tmp_path, monkeypatch, free, expected):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 2**30))
    monkeypatch.setattr(evaluate.os, "cpu_count", lambda: 4)
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert evaluate.fitting_processes(tmp_path, 19) == expected
    assert evaluate.fitting_processes(tmp_path, 1) == 1

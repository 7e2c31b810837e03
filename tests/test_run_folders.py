"""Run folders are read whole, or refused with the reason."""

from pathlib import Path

import pytest
from run_tree import read_scores, write_json, write_runs

from babylm_data.errors import UserError
from eval.run_folders import read_lineup, read_metrics


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def test_a_torn_last_metrics_line_is_left_out(student):
    path = student / "metrics.jsonl"
    whole = read_metrics(path)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"step": 401, "words_se')
    assert read_metrics(path) == whole


def test_a_broken_metrics_line_in_the_middle_is_named(student):
    path = student / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n', encoding="utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_metrics(path)


def test_of_a_repeated_step_the_later_line_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n{"step": 1, "a": 3}\n', encoding="utf-8")
    assert [line["a"] for line in read_metrics(path)] == [3, 2]


def test_a_moved_runs_folder_is_found_beside_the_student(student, tmp_path):
    moved = tmp_path / "elsewhere"
    student.parent.rename(moved)
    assert [run.folder.parent for run in read_lineup(moved / "nursery").runs] == [moved] * 4


def test_a_report_about_a_teacher_is_refused(student):
    with pytest.raises(UserError, match="is a teacher's run"):
        read_lineup(student.parent / "nursery-llama")


def test_scores_on_other_items_are_refused(student):
    found = read_scores(student.parent / "nursery-control")
    found["tasks"]["nursery"]["items"] = 40
    write_json(student.parent / "nursery-control" / "eval" / "scores.json", found)
    with pytest.raises(
        UserError, match="nursery-control was scored on 40 items of nursery, nursery on 550 items"
    ):
        read_lineup(student)

"""All runs in one table, whatever state they are in."""

import json
import os
from pathlib import Path

import pytest

from babylm_data.errors import UserError
from eval.runs.__main__ import main as show
from eval.runs.overview import read_rows


def write(run, name, content):
    path = Path("runs", run, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def runs(workplace):
    """A finished run that was scored, one that is at work, one that was killed in its first second, no run."""
    for number, run in enumerate(("done", "at-work", "begun")):
        write(run, "config.yaml", "name: x")
        os.utime(Path("runs", run, "config.yaml"), (number, number))
    summary = {"status": "finished", "kind": "student", "words_seen": 1600292, "val/hard": 4.17}
    write("done", "summary.json", summary)
    write(
        "done",
        "eval/scores.json",
        {"tasks": {"blimp_fast": {"score": 0.5}, "blimp_filtered": {"score": 0.5772}}},
    )
    os.utime("runs/done/summary.json", (100, 100))
    write("at-work", "status.json", {"done": 30, "of": 120})
    lines = [{"step": 10, "words_seen": 4000, "val/hard": 5.5}, {"step": 20, "words_seen": 8000, "loss": 5.0}]
    write("at-work", "metrics.jsonl", "\n".join(map(json.dumps, lines)) + '\n{"step": 30, "val/hard": 4')
    write("begun", "summary.json", "{")
    write("data", "manifest.json", "{}")


def test_runs_stand_in_one_table_the_newest_last(runs, capsys):
    rows = {row.name: row for row in read_rows(Path("runs"))}
    assert rows.keys() == {"done", "at-work", "begun"}
    assert rows["done"].score == ("blimp_filtered", 0.5772) and rows["done"].state == "finished"
    at_work = rows["at-work"]
    assert (at_work.state, at_work.words, at_work.loss, at_work.kind) == ("25 %", 4000, 5.5, "-")
    assert (rows["begun"].state, rows["begun"].words, rows["begun"].loss) == ("0 %", None, None)
    show([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("done ") and "1,600,292" in lines[1] and "57.72 (blimp_filtered)" in lines[1]


def test_a_folder_without_runs_is_refused(workplace):
    with pytest.raises(UserError, match="runs holds no run: name the folder that has them"):
        show([])

"""The ledger adds up, in both readings of the rule."""

import json
from pathlib import Path

import pytest
from run_tree import edit, write_json, write_runs

from eval.ledger import ledger
from eval.run_folders import read_lineup


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def test_the_ledger_sums_both_readings_without_the_control(student):
    edit(student.parent / "nursery-control" / "summary.json", words_seen=77_000_000)
    found = ledger(read_lineup(student))
    assert [entry["role"] for entry in found["entries"]] == [
        "tokenizer",
        "teacher",
        "teacher",
        "student",
        "control",
    ]
    alone, everything = found["readings"]["student_alone"], found["readings"]["everything"]
    assert alone["exposure_words"] == {"value": 1_200_000, "budget": 100_000_000, "within": True}
    assert everything["exposure_words"]["value"] == 300_000 + 3 * 1_200_000
    assert alone["passes"] == {"value": 4.0, "budget": 10, "within": True}
    assert everything["passes"] == {"value": 13.0, "budget": 10, "within": False}
    assert everything["corpus_words"]["value"] == 300_000


def test_unlike_corpora_add_up_in_the_ledger(student, tmp_path):
    manifest = json.loads((tmp_path / "runs" / "nursery-data" / "manifest.json").read_text(encoding="utf-8"))
    manifest["splits"]["train"]["words"] = 9_900_000
    write_json(tmp_path / "runs" / "other-data" / "manifest.json", manifest)
    edit(student.parent / "nursery-llama" / "summary.json", data=str(tmp_path / "runs" / "other-data"))
    found = ledger(read_lineup(student))["readings"]
    assert found["student_alone"]["corpus_words"]["within"] is True
    assert found["everything"]["corpus_words"] == {"value": 10_200_000, "budget": 10_000_000, "within": False}


def test_a_track_without_exposure_cap_sets_no_limit(student):
    manifest = student.parent / "nursery-data" / "manifest.json"
    edit(manifest, track="2024/strict-small")
    found = ledger(read_lineup(student))["readings"]["student_alone"]
    assert found["exposure_words"]["within"] is None
    assert found["corpus_words"]["within"] is True

"""The ledger adds up, in both readings of the rule."""

import json
from pathlib import Path

import pytest
from run_tree import edit, write_data, write_runs

from babylm_data.errors import UserError
from babylm_data.sealed import SEAL, sha256
from eval.runs.commands import commands
from eval.runs.evaluations import read_evaluated
from eval.runs.ledger import ledger, said
from eval.runs.lineup import read_lineup


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def test_the_ledger_sums_both_readings_without_the_control(student):
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


def test_a_budget_inside_the_last_step_is_kept_and_every_word_counted(student):
    for last, within in ((4_000, True), (3_000, False)):
        edit(student / "summary.json", words_seen=100_003_000, words_in_last_step=last)
        edit(student.parent / "nursery-control" / "summary.json", words_seen=100_003_000)
        exposure = ledger(read_lineup(student))["readings"]["student_alone"]["exposure_words"]
        assert exposure == {"value": 100_003_000, "budget": 100_000_000, "within": within}


def test_a_last_step_that_crosses_the_budget_is_said_and_one_far_across_it_is_over(student):
    for words, verdict in ((3_030_000, "within 10 but for the last step"), (3_030_001, "OVER 10")):
        for run in (student, student.parent / "nursery-control"):  # of 300,000 words of text
            edit(run / "summary.json", words_seen=words, words_in_last_step=100_000)
        assert f" passes ({verdict})" in said(ledger(read_lineup(student)))[0]


def test_the_true_words_of_each_revision_stand_in_the_ledger(student):
    revisions = [{"name": "chck_1M", "mark": 1_000_000, "words_seen": 1_000_900, "step": 250}]
    edit(student / "summary.json", revisions=revisions)
    entries = {entry["name"]: entry for entry in ledger(read_lineup(student))["entries"]}
    assert entries["nursery"]["revisions"] == {"chck_1M": 1_000_900}
    assert entries["nursery-llama"]["revisions"] == {}


def test_both_readings_are_said_in_a_line_each(student):
    assert said(ledger(read_lineup(student))) == [
        "ledger, student alone: 300,000 words of text (within 10,000,000), "
        "1,200,000 words of exposure (within 100,000,000), 4 passes (within 10)",
        "ledger, tokenizer + teachers + student: 300,000 words of text (within 10,000,000), "
        "3,900,000 words of exposure (within 100,000,000), 13 passes (OVER 10)",
    ]


def test_unlike_corpora_add_up_in_the_ledger(student, tmp_path):
    manifest = json.loads((tmp_path / "runs" / "nursery-data" / "manifest.json").read_text(encoding="utf-8"))
    manifest["splits"]["train"]["words"] = 9_900_000
    manifest["splits"]["train"]["sources"]["nursery"]["files"][0]["sha256"] = "other"
    other = write_data(tmp_path / "runs" / "other-data", manifest["splits"]["train"])
    edit(student.parent / "nursery-llama" / "summary.json", data=str(other))
    edit(student.parent / "nursery-llama" / "inputs.json", data=sha256(other / SEAL))
    found = ledger(read_lineup(student))["readings"]
    assert found["student_alone"]["corpus_words"]["within"] is True
    assert found["everything"]["corpus_words"] == {"value": 10_200_000, "budget": 10_000_000, "within": False}


def test_the_same_files_under_other_names_count_once(student, tmp_path):
    manifest = json.loads((tmp_path / "runs" / "nursery-data" / "manifest.json").read_text(encoding="utf-8"))
    manifest["splits"]["train"]["sources"]["nursery"]["files"][0]["name"] = "renamed.train"
    other = write_data(tmp_path / "runs" / "other-data", manifest["splits"]["train"])
    edit(student.parent / "nursery-llama" / "summary.json", data=str(other))
    edit(student.parent / "nursery-llama" / "inputs.json", data=sha256(other / SEAL))
    assert ledger(read_lineup(student))["readings"]["everything"]["corpus_words"]["value"] == 300_000


def test_a_teacher_that_is_a_student_counts_with_its_own_teachers(student, tmp_path):
    first = write_runs(tmp_path / "first", base={"old-llama": 0.8, "old": 0.8, "old-control": 0.8})
    path = str(first.parent / "old-llama" / "export")
    teacher = student.parent / "nursery-llama"
    edit(teacher / "summary.json", teachers=[{"name": "llama", "path": path}])
    edit(
        teacher / "inputs.json",
        **{"teacher llama": sha256(first.parent / "old-llama/export/model.safetensors")},
    )
    found = ledger(read_lineup(student))
    assert [entry["name"] for entry in found["entries"]][:2] == ["tokenizer", "old-llama"]
    assert found["readings"]["everything"]["exposure_words"]["value"] == 300_000 + 4 * 1_200_000


@pytest.mark.parametrize("origin", ["nursery-llama", "first/old"])
def test_what_first_weights_were_exposed_to_counts_as_the_students_own(student, tmp_path, origin):
    write_runs(tmp_path / "runs" / "first", base={"old-llama": 0.8, "old": 0.8, "old-control": 0.8})
    path = student.parent / origin / "export"
    for run in (student, student.parent / "nursery-control"):
        with open(run / "config.yaml", "a", encoding="utf-8") as config:
            config.write(f"init:\n  path: {path}\n")
        edit(run / "inputs.json", init=sha256(path / "model.safetensors"))
    found = ledger(read_lineup(student))["readings"]
    assert found["student_alone"]["exposure_words"]["value"] == 2 * 1_200_000
    others = 3 if origin == "nursery-llama" else 5  # a teacher counts once; a student brings its own teacher
    assert found["everything"]["exposure_words"]["value"] == 300_000 + others * 1_200_000


def begin(run: Path, path: str, digest: str, **summary: object) -> None:
    """Let a run, and its control if it is the student, have begun with the weights of `path`."""
    for each in [run, *([run.parent / "nursery-control"] if run.name == "nursery" else [])]:
        with open(each / "config.yaml", "a", encoding="utf-8") as config:
            config.write(f"init:\n  path: {path}\n")
        edit(each / "inputs.json", init=digest)
        edit(each / "summary.json", **summary)


def test_of_a_run_whose_revision_a_student_began_with_only_what_that_had_read_is_its_own(student):
    llama = student.parent / "nursery-llama"
    revision = llama / "revisions" / "chck_1M"
    revision.mkdir(parents=True)
    (revision / "model.safetensors").write_bytes(b"early")
    begin(student, str(revision), sha256(revision / "model.safetensors"), words_before=400_000)
    lineup = read_lineup(student)
    assert [run.folder.resolve() for run in lineup.line] == [student.resolve(), llama.resolve()]
    found = ledger(lineup)["readings"]
    assert found["student_alone"]["exposure_words"]["value"] == 400_000 + 1_200_000
    assert found["everything"]["exposure_words"]["value"] == 300_000 + 3 * 1_200_000
    (revision / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="revisions/chck_1M is not the init that nursery was made from"):
        read_lineup(student)


@pytest.mark.parametrize("hops", [0, 1])
def test_what_nobody_can_count_is_unknown_however_many_runs_ago_it_was(student, hops):
    llama, unknown = student.parent / "nursery-llama", {"words_before": None}
    if hops:
        begin(llama, "hub/pretrained", "0" * 64, **unknown)
        begin(student, str(llama / "export"), sha256(llama / "export/model.safetensors"), **unknown)
    else:
        begin(student, "hub/pretrained", "0" * 64, **unknown)
    found = ledger(read_lineup(student))
    for checks in found["readings"].values():
        assert checks["exposure_words"] == {"value": None, "budget": 100_000_000, "within": False}
        assert checks["passes"] == {"value": None, "budget": 10, "within": False}
        assert checks["corpus_words"]["within"] is True
    assert all("unknown words of exposure (cannot be told)" in line for line in said(found))


def test_a_teacher_with_an_unknown_past_leaves_the_student_alone_known(student):
    begin(student.parent / "nursery-llama", "hub/pretrained", "0" * 64, words_before=None)
    found = ledger(read_lineup(student))["readings"]
    assert found["student_alone"]["exposure_words"]["value"] == 1_200_000
    assert found["everything"]["exposure_words"]["value"] is None


def test_a_tokenizer_from_elsewhere_makes_the_second_reading_unknown(student):
    edit(student.parent / "nursery-data" / "manifest.json", settings={"tokenizer": "0" * 64})
    found = ledger(read_lineup(student))
    assert found["entries"][0]["name"] == "tokenizer, trained elsewhere"
    assert found["readings"]["student_alone"]["passes"]["within"] is True
    assert found["readings"]["everything"]["passes"] == {"value": None, "budget": 10, "within": False}


def test_a_track_without_exposure_cap_sets_no_limit(student):
    manifest = student.parent / "nursery-data" / "manifest.json"
    edit(manifest, track="2024/strict-small")
    found = ledger(read_lineup(student))["readings"]["student_alone"]
    assert found["exposure_words"]["within"] is None
    assert found["corpus_words"]["within"] is True


def test_the_words_that_teachers_read_for_a_cache_are_listed_and_are_no_training(student):
    before = ledger(read_lineup(student))
    cache = {"path": "runs/soft", "teachers": ["llama"], "words_read": 300_000, "kind": "top", "count": 32}
    cache |= {
        "flops": 1.0,
        "command": "python -m distill.cache c.yaml",
        "started": "2026-01-01T00:00:00+00:00",
    }
    edit(student / "summary.json", caches=[cache])
    found = ledger(read_lineup(student))
    assert found["readings"] == before["readings"]
    (line,) = [entry for entry in found["entries"] if entry["role"] == "soft targets"]
    assert (line["name"], line["words_seen"], line["passes"]) == ("runs/soft, of llama", 300_000, 1.0)
    lineup = read_lineup(student)
    written = [line.text for line in commands(lineup, read_evaluated(lineup)) if "cache" in line.purpose]
    assert written == ["python -m distill.cache c.yaml"]

"""What comes out within a budget of minutes: what an attempt has to make, and the page of the records."""

import contextlib
import json
import os
from pathlib import Path

import pytest

import bench.record
import distill.course
from babylm_data.errors import UserError
from babylm_data.sealed import LOCK, lock
from babylm_data.stopping import Stopped
from bench.recipes import lacking
from bench.record import equipped, jobs_for, main
from bench.record_page import page
from bench.shapes import ROOT

ABOUT = {
    "processor": "a processor",
    "device": "cpu",
    "started": "2026-11-29T22:00:00+00:00",
    "parameters": 6_622_464,
    "words_seen": 1_600_292,
    "precision": "bf16",
}


ORIGIN = {"commit": "0123456789abcdef", "dirty": False}


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("recipe", "kinds", "seeds"),
    [
        ("distill/configs/nursery", ["teacher", "teacher", "student"], {2000}),
        ("distill/configs/nursery-cached", ["teacher", "cache", "teacher", "cache", "student"], {2000}),
        ("distill/configs/strict-tiny", ["control", "student"], {2000}),
        ("distill/configs/hybrid-ensemble-tiny", ["teacher", "teacher", "student"], {2000, 2001}),
        ("train_teachers/configs/nursery-llama", ["teacher"], {2000}),
    ],
)
def test_an_attempt_makes_what_its_student_needs_and_a_control_only_where_that_teaches(
    tmp_path, recipe, kinds, seeds
):
    with equipped(tmp_path):  # where no model is there yet
        jobs = jobs_for(Path(f"{recipe}.yaml"), 2000)
    assert sorted(job.kind for job in jobs.values()) == sorted(kinds)
    assert list(jobs.values())[-1].kind == kinds[-1]
    assert {job.config.seed for job in jobs.values()} == seeds
    assert all(job.after <= jobs.keys() for job in jobs.values())
    assert all(f"seed={job.config.seed}" in job.words for job in jobs.values())


def test_a_twin_has_its_teachers_made_and_then_what_it_keeps_of_them(tmp_path):
    twin = Path("distill/configs/ensemble-3-tiny.yaml")
    with equipped(tmp_path):
        *teachers, kept = lacking(twin)
    assert [words[2].removeprefix("name=") for words in teachers] == [
        "nursery-llama",
        "nursery-llama-seed1",
        "nursery-llama-seed2",
    ]
    assert kept == ["distill.cache", str(twin)]
    kept = tmp_path / "runs/ensemble-3-tiny-targets/SHA256.json"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (tmp_path / "runs/nursery-llama-seed1/export").mkdir(parents=True)  # somebody's own
    with contextlib.chdir(tmp_path):
        left = lacking(twin)
    assert [words[2] for words in left] == ["name=nursery-llama", "name=nursery-llama-seed2"]


@pytest.fixture
def record(tmp_path, monkeypatch):
    """record(*more arguments): two seeds of a recipe, but its hours: programs and jobs are noted in `record.done`.

    By the clock that there is, a program takes a minute, jobs two, and scoring an hour.
    """
    done, raises, clock = [], {}, [0.0]

    def timed(words):
        done.append(words)
        if error := raises.get(words[0]):
            raise error
        clock[0] += (taken := 3600.0 if words[0] == "score" else 60.0)
        return taken

    def carry_out(jobs, folder, at_once):
        assert folder == Path.cwd() and os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder / "compiled")
        done.append([*jobs, at_once])
        clock[0] += 120.0
        return raises.get("jobs", [])

    monkeypatch.setattr(bench.record.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(bench.record, "gflops", lambda: {"fp32": 200})
    monkeypatch.setattr(bench.record, "timed", timed)
    monkeypatch.setattr(distill.course, "carry_out", carry_out)
    monkeypatch.setattr(bench.record, "run_facts", lambda run: ABOUT)

    def scored(run, *asked):
        assert run.parent.resolve() == Path.cwd() / "runs" and Path.cwd().parent == tmp_path / "out"
        return timed(["score", str(run)]) and {"blimp_filtered": 0.6}

    monkeypatch.setattr(bench.record, "scored", scored)

    (tmp_path / "raw").mkdir()

    def run(*more, recipe="distill/configs/nursery.yaml"):
        done.clear()
        fixed = [
            "--raw",
            str(tmp_path / "raw"),
            "--data",
            str(tmp_path),
            "--out",
            str(tmp_path / "out"),
            "--at-once",
            "2",
        ]
        return main([recipe, *fixed, "--json", str(tmp_path / "record.json"), "--seeds", "0", "1", *more])

    run.done, run.raises, run.file, run.out = done, raises, tmp_path / "record.json", tmp_path / "out"
    return run


def attempts(record) -> list[dict]:
    return json.loads(record.file.read_text())["attempts"]


def test_an_attempt_counts_all_but_the_scoring_and_trains_its_student_last_and_alone(record):
    assert record() == 0
    check, data, teachers, student, score, *second = record.done
    assert check[:2] == ["eval", "--check"] and score[0] == "score" and len(second) == 4
    assert data[0] == "babylm_data" and data[-2:] == ["--out", "runs/nursery-data"]
    assert teachers == ["nursery-llama", "nursery-gpt2", 2] and student[-1] == 1
    assert [(each["seed"], each["scores"]) for each in attempts(record)] == [
        (0, {"blimp_filtered": 0.6}),
        (1, {"blimp_filtered": 0.6}),
    ]
    assert [each["minutes"] for each in attempts(record)] == [5.0, 5.0]  # the data, the teachers, the student
    (command,) = json.loads(record.file.read_text())["commands"]
    assert command.startswith("python -m bench.record distill/configs/nursery.yaml --raw raw --data ")
    assert str(record.out) not in command and "--out out --at-once 2" in command


def test_what_is_finished_is_passed_over_and_what_was_made_otherwise_is_refused(record, tmp_path):
    other = str(tmp_path / "other.json")
    record()
    assert record() == 0
    assert [words[0] for words in record.done] == ["eval", "score", "score"]  # which passes over what it has
    with pytest.raises(UserError, match="nursery-s0: was made by another config, text or other options"):
        record("--prepare", "--share 0.1", "--json", other)
    (tmp_path / "raw/more.train").write_text("more text\n")
    with pytest.raises(UserError, match="made by another config, text"):
        record("--json", other)


def test_an_attempt_runs_the_code_as_it_was_when_it_began(record):
    record()
    for package in bench.record.PACKAGES:
        copied = record.out / "nursery-s0" / package
        assert not copied.is_symlink() and (copied / "__init__.py").is_file()


def test_an_attempt_that_was_stopped_begins_anew_unless_only_its_scores_were_lacking(record):
    record.raises["score"] = Stopped()
    with pytest.raises(Stopped):
        record("--seeds", "0")
    record.raises.clear()
    (record.out / "nursery-s0/left").touch()
    assert record("--seeds", "0") == 0
    assert [words[0] for words in record.done] == ["eval", "score"] and (
        record.out / "nursery-s0/left"
    ).exists()
    (record.out / "nursery-s0/trained.json").unlink()
    (record.out / "nursery-s0/attempt.json").unlink()
    assert record("--seeds", "0") == 0
    assert len(record.done) == 5 and not (record.out / "nursery-s0/left").exists()


def test_what_failed_in_scoring_is_scored_again_and_not_trained(record):
    record.raises["score"] = UserError("the disk is full")
    with pytest.raises(UserError, match="the disk is full"):
        record("--seeds", "0")
    record.raises.clear()
    assert record("--seeds", "0") == 0 and [words[0] for words in record.done] == ["eval", "score"]


def test_what_lies_in_the_runs_of_the_repository_changes_nothing(record, tmp_path, monkeypatch):
    place = tmp_path / "repository"
    for package in bench.record.PACKAGES:
        (place / package).parent.mkdir(exist_ok=True)
        (place / package).symlink_to(ROOT / package)
    monkeypatch.chdir(place)
    record()
    (place / "runs/nursery-llama/export").mkdir(parents=True)  # somebody's own
    assert record() == 0 and len(record.done) == 3


def test_a_folder_that_an_attempt_did_not_make_is_not_emptied(record):
    (record.out / "nursery-s0").mkdir(parents=True)
    (record.out / "nursery-s0/mine").touch()
    with pytest.raises(UserError, match="holds what this program did not make"):
        record()
    assert (record.out / "nursery-s0/mine").exists()


def test_an_attempt_that_fails_is_told_and_the_next_is_made(record):
    record.raises["jobs"] = ["nursery-llama failed with status 2: the loss is not finite"]
    assert record() == 1
    for each in attempts(record):
        assert each["failed"].startswith(record.raises["jobs"][0]) and "; delete " in each["failed"]
    assert "| nursery | 0, and 2 failed |" in page([json.loads(record.file.read_text())])


def test_a_record_keeps_what_it_has_of_other_seeds_and_says_which_attempts_were_over_the_budget(record):
    assert record("--minutes", "0.5") == 1
    assert record("--seeds", "2", "--minutes", "0.5") == 1
    assert [each["seed"] for each in attempts(record)] == [0, 1, 2]
    assert "**3 over the budget**" in page([json.loads(record.file.read_text())])
    with pytest.raises(UserError, match="is of 0.5 minutes"):
        record()


def test_attempts_from_another_text_are_not_seeds_of_the_same_record(record, tmp_path):
    record("--seeds", "0")
    (tmp_path / "raw/more.txt").touch()
    with pytest.raises(
        UserError, match="record.json has nursery of another config or text or by other options"
    ):
        record("--seeds", "1", "--out", str(tmp_path / "out2"))
    assert record.done == [] and not (tmp_path / "out2").exists()
    made = [attempt("old", 0, 0.6) | {"made_of": of} for of in "ab"]
    text = page([{"minutes": 10.0, "commands": [], "attempts": [each]} for each in made])
    assert text.count("## 10 minutes") == 2
    apart = attempt("old", 1, 0.6) | {"words_seen": 2 * ABOUT["words_seen"]}
    both = page([{"minutes": 10.0, "commands": [], "attempts": [attempt("old", 0, 0.6), apart]}])
    assert f"| {ABOUT['words_seen']:,} to {apart['words_seen']:,} |" in both


def test_a_recipe_that_comes_later_is_compared_with_the_same_first_one(record):
    record("--seeds", "0")
    record("--seeds", "0", recipe="train_teachers/configs/nursery-llama.yaml")
    record("--seeds", "0", "1")
    assert [each["recipe"] for each in attempts(record)] == ["nursery", "nursery-llama", "nursery"]


def test_two_programs_at_one_record_are_refused(record):
    record.out.mkdir()
    with lock(record.out / LOCK), pytest.raises(UserError, match="in use"):
        record()


def attempt(recipe: str, seed: int, blimp: float, minutes: float = 50.0) -> dict:
    scores = {"blimp_filtered": blimp, "perplexity": 1.7 + seed / 1000}
    told = {"recipe": recipe, "seed": seed, "minutes": minutes, "prepared": False}
    told |= {"gflops": [{"fp32": 200}, {"fp32": 190 + seed}]}
    return ABOUT | ORIGIN | told | {"scores": scores}


def test_a_table_of_records_has_means_and_tells_every_recipe_from_the_first():
    found = [attempt("old", seed, 0.58 + seed / 100) for seed in range(3)]
    found += [attempt("new", seed, 0.62 + seed / 100) for seed in range(3)]
    text = page([{"minutes": 60.0, "commands": ["python -m bench.record …"], "attempts": found}])
    assert (
        "## 60 minutes on a processor" in text
        and "commit `0123456789`" in text
        and "fp32 190 to 200 GFLOP/s" in text
    )
    old, new = (
        next(line for line in text.splitlines() if line.startswith(f"| {name} |")) for name in ("old", "new")
    )
    assert "| 59.00 ± 1.00 |" in old and "p =" not in old
    del found[-1]["scores"]["perplexity"]
    assert "| 1.7005 ± 0.0007" in page([{"minutes": 60.0, "commands": [], "attempts": found}])
    assert "63.00 ± 1.00 (+4.00, +1.73 to +6.27, p = 0.008)" in new
    assert "1.7010 ± 0.0010" in new


def test_seeds_of_several_files_are_one_table_and_what_is_otherwise_another():
    old = [attempt("old", seed, 0.6 + seed / 100) for seed in (0, 0, 1)]
    others = [attempt("new", 0, 0.7), old[0] | {"prepared": True}, old[0] | {"device": "a card"}]
    text = page(
        [{"minutes": 10.0, "commands": [each["recipe"]], "attempts": [each]} for each in [*old, *others]]
    )
    assert text.count("## 10 minutes") == 4 and text.count("not counted") == 1 and "on a card" in text
    assert "| old | 2 |" in text and "60.50 ± 0.71" in text and text.count("`old`") == 3
    together = page([{"minutes": 10.0, "commands": [], "attempts": [*old, others[0], others[2]]}])
    assert together.count("## 10 minutes") == 2 and "| old | 2 |" in together and "| old | 1 |" in together


def test_a_record_of_a_single_measurement_or_of_failures_alone_has_a_table():
    one = attempt("old", 0, 0.6) | {"gflops": [{"bf16": 400}]}
    failed = {"recipe": "old", "seed": 0, "failed": "no", "prepared": False, "gflops": []}
    assert "bf16 400 GFLOP/s" in page([{"minutes": 10.0, "commands": [], "attempts": [one]}])
    assert "0, and 1 failed" in page([{"minutes": 10.0, "commands": [], "attempts": [failed]}])


def test_recipes_that_come_out_alike_have_no_difference(recwarn):
    found = [attempt(recipe, seed, 0.6) for recipe in ("old", "new") for seed in (0, 1)]
    text = page([{"minutes": 60.0, "commands": [], "attempts": found}])
    assert text.count("| 60.00 ± 0.00 |") == 2 and not recwarn.list


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["distill/configs/nursery.yaml"], "name the text"),
        (
            ["distill/results/nursery.json", "--table", "record.md"],
            "nursery.json is no record: name files that",
        ),
        (["absent.yaml", "--raw", ".", "--data", "."], "absent.yaml: there is no such"),
        (["README.md", "--raw", ".", "--data", "."], "README.md: a recipe is a file in"),
        (["absent.json", "--table", "record.md"], "absent.json is no record"),
        (["distill/configs/nursery.yaml", "--raw", ".", "--data", ".", "--seeds", "0", "0"], "counted once"),
        (["distill/configs/nursery.yaml", "--prepared", ".", "--data", "."], "text/test: there is no such"),
        (
            ["distill/configs/nursery.yaml", "--raw", ".", "--data", ".", "--backend", "mntp"],
            "perplexity is of causal",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(arguments, said):
    with pytest.raises(UserError, match=said):
        main(arguments)

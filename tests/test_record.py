"""What comes out within a budget of minutes: what an attempt has to make, and the page of the records."""

import contextlib
from pathlib import Path

import pytest

from babylm_data.errors import UserError
from bench.record import PACKAGES, jobs_for, main, page
from bench.shapes import ROOT
from distill.config import DistillConfig
from train_teachers.config import load_config


@pytest.fixture
def place(tmp_path):
    """The folder of an attempt, which is the working directory."""
    for package in PACKAGES:
        (tmp_path / package).symlink_to(ROOT / package)
    with contextlib.chdir(tmp_path):
        yield tmp_path


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        ("nursery", ["teacher", "teacher", "student"]),
        ("nursery-cached", ["teacher", "cache", "teacher", "cache", "student"]),
        ("strict-tiny", ["control", "student"]),
    ],
)
def test_an_attempt_makes_what_its_student_needs_and_a_control_only_where_that_teaches(place, recipe, kinds):
    path = Path(f"distill/configs/{recipe}.yaml")
    jobs, student = jobs_for(path, load_config(DistillConfig, path), 2000)
    assert sorted(job.kind for job in jobs.values()) == sorted(kinds)
    assert list(jobs)[-1] == student and {job.config.seed for job in jobs.values()} == {2000}
    assert all(job.after <= jobs.keys() for job in jobs.values())
    assert all("seed=2000" in job.words for job in jobs.values())


def attempt(recipe: str, seed: int, blimp: float, minutes: float = 50.0) -> dict:
    scores = {"blimp_filtered": blimp, "perplexity": 1.7 + seed / 1000}
    about = {"commit": "0123456789abcdef", "dirty": False, "parameters": 6_622_464, "words_seen": 1_600_292}
    return about | {"recipe": recipe, "seed": seed, "minutes": minutes, "scores": scores}


def test_a_table_of_records_has_means_and_tells_every_recipe_from_the_first():
    machine = {
        "processor": "a processor",
        "device": "cpu",
        "started": "2026-11-29T22:00:00+00:00",
        "products": "fp32 200 GFLOP/s",
        "command": "python -m bench.record old.yaml new.yaml",
    }
    attempts = [attempt("old", seed, 0.58 + seed / 100) for seed in range(3)]
    attempts += [attempt("new", seed, 0.62 + seed / 100) for seed in range(3)]
    text = page([{"minutes": 60.0, "machine": machine, "attempts": attempts}])
    assert "## 60 minutes on a processor" in text and "commit `0123456789`" in text
    old, new = (
        next(line for line in text.splitlines() if line.startswith(f"| {name} |")) for name in ("old", "new")
    )
    assert "| 59.00 ± 1.00 |" in old and "p =" not in old
    assert "63.00 ± 1.00 (+1.73 to +6.27, p = 0.008)" in new
    assert "1.7010 ± 0.0010" in new


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["distill/configs/nursery.yaml"], "name the text"),
        (["absent.yaml", "--raw", ".", "--data", "."], "absent.yaml: there is no such"),
        (["README.md", "--raw", ".", "--data", "."], "README.md: a recipe is a file in"),
        (["absent.json", "--table", "record.md"], "absent.json is no record"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(monkeypatch, arguments, said):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=said):
        main(arguments)

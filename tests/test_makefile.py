"""What `make submission` asks for before it does anything."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def line(*variables: str) -> subprocess.CompletedProcess:
    words = ["make", "-s", "line", *variables]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("nursry", "there is no distill/configs/nursry.yaml: PRESET names a config of that folder"),
        ("cpu-hour", "CORPUS=nowhere or EVAL_DATA=. is no folder"),
    ],
)
def test_a_preset_that_cannot_be_trained_so_is_refused_first(preset, said):
    done = line(f"PRESET={preset}", "CORPUS=nowhere", "EVAL_DATA=.")
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_the_line_has_all_stages_in_order():
    modules = [command.split()[2] for command in line().stdout.splitlines()]
    assert modules == [
        "babylm_data",
        "eval.submission",
        "train_teachers",
        "train_teachers",
        "distill",
        "distill",
        "eval.submission",
        "eval.submission",
    ]


def test_a_preset_with_other_teachers_is_trained_with_all_that_it_needs_by_one_command():
    data, check, train, *rest = line(
        "PRESET=born-again", "CORPUS=tests", "EVAL_DATA=tests"
    ).stdout.splitlines()
    assert data.endswith('babylm_data --raw "tests"  --out runs/strict-small-data')
    assert "--text runs/strict-small-data/text/test" in check and check.endswith("--check")
    assert train.endswith("-m distill.recipe distill/configs/born-again.yaml") and len(rest) == 2
    assert "--source nursery --out runs/nursery-data" in line("PRESET=born-again-tiny").stdout

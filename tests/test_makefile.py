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
        ("nursry", "there is no distill/configs/nursry.yaml: PRESET names a set of three configs"),
        ("born-again", "there is no train_teachers/configs/born-again-llama.yaml"),
        ("strict-tiny", "distill/configs/strict-tiny.yaml is taught by its own control"),
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

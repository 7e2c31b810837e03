"""What a difference between student and control allows to be said."""

import math
from pathlib import Path

import pytest
from run_tree import write_runs

from eval.lineup import read_lineup
from eval.verdicts import Difference, difference, verdicts


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


@pytest.mark.parametrize(("gain", "claim"), [(0.019, False), (0.021, True), (-0.021, True)])
def test_a_difference_inside_two_joint_standard_errors_is_no_claim(student, gain, claim):
    lineup = read_lineup(student)
    for run, score in ((lineup.student, 0.7 + gain), (lineup.control, 0.7)):
        run.tasks["nursery"].update(score=score, standard_error=math.sqrt(0.5) / 100)
    first, *_, last = verdicts(lineup)
    assert ("No claim of superiority" in first) is not claim
    assert ("above" in first) is (gain > 0)
    assert "Seed noise is not in them" in last


def test_a_joint_standard_error_adds_the_squares():
    found = difference({"score": 0.7, "standard_error": 0.03}, {"score": 0.6, "standard_error": 0.04})
    assert found == Difference(pytest.approx(0.1), pytest.approx(0.05))

"""A few of the kills that `python -m bench.kill` plays: what survives them, and that what would not is missed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def games() -> dict[str, str]:
    """All that each game has said; the last line tells how many plays of it came out as they should."""
    words = ["kills", "phases", "operations", "controls", "--most", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.kill", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    parts = [part for part in done.stdout.split("\n\n") if part.endswith("as they should be")]
    assert len(parts) == 4, done.stdout + done.stderr
    return dict(zip(("kills", "phases", "operations", "controls"), parts, strict=True))


@pytest.mark.parametrize(
    ("game", "plays"),
    [("kills", 28), ("phases", 20), ("operations", 9), ("controls", 5)],
)
def test_nothing_is_lost_and_a_protection_taken_away_is_missed(games, game, plays):
    assert games[game].endswith(f", {plays} of {plays} as they should be"), games[game]

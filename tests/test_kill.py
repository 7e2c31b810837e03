"""A few of the kills that `python -m bench.kill` plays: what survives them, and that what would not is missed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def games() -> dict[str, str]:
    """All that each game has said; the last line tells how many plays of it came out as they should."""
    words = ["kills", "phases", "operations", "controls", "--kills", "10", "--most", "14"]
    words += ["--stages", "short teacher", "student", "masked student", "others"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.kill", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1100,
    )
    parts = [part for part in done.stdout.split("\n\n") if part.endswith("as they should be")]
    assert len(parts) == 4, done.stdout + done.stderr
    return dict(zip(("kills", "phases", "operations", "controls"), parts, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "plays"),
    [("kills", 13), ("phases", 14), ("operations", 9), ("controls", 5)],
)
def test_nothing_is_lost_and_a_protection_taken_away_is_missed(games, game, plays):
    assert games[game].endswith(f", {plays} of {plays} as they should be"), games[game]


def test_a_program_that_dies_while_it_draws_a_bar_does_not_stop_those_after_it(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from tqdm import tqdm
from bench.kill import forked

def die():
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)

forked.LIBRARIES = ()
forked.load_libraries()
tqdm(total=1, disable=True)
place = Path(sys.argv[1])
assert forked.wait(forked.begin(die, place, place / "said")) == -signal.SIGKILL
assert forked.wait(forked.begin(lambda: tqdm(total=1, disable=True), place, place / "said")) == 0
"""
    words = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=60)


def test_a_program_that_hangs_ends_and_tells_where(tmp_path):
    code = """
import sys, time
from pathlib import Path
from bench.kill import forked

def hang():
    time.sleep(100)

forked.LONGEST = 0.2
place = Path(sys.argv[1])
assert forked.wait(forked.begin(hang, place, place / "said")) == 1
"""
    words = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=60)
    assert "in hang" in (tmp_path / "said").read_text()

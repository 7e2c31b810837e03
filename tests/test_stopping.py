"""A program that is asked to stop: wherever it is, whatever a library does with it, and twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import hashlib, sys, time
from babylm_data import stopping
from babylm_data.errors import run_stage

stopping.UNWINDING = 0.5

def at_work(argv):
    time.sleep(30)

def in_a_library(argv):  # no line of Python is run in it
    hashlib.pbkdf2_hmac("sha256", b"", b"", 60_000_000)

def swallowing(argv):
    try:
        time.sleep(30)
    except BaseException:
        time.sleep(30)

def saving(argv):
    with stopping.saving_first():
        while not stopping.asked():
            time.sleep(0.01)
        time.sleep(1.5)  # longer than is given to who has nothing to save
        print("saved", flush=True)

def deaf(argv):
    with stopping.saving_first():
        time.sleep(30)

def main(argv):
    print("begun", flush=True)
    globals()[argv[0]](argv)

run_stage(main)
"""


@pytest.fixture
def begun(tmp_path):
    """begun("saving"): a program that is at work on it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    running = []

    def begin(work: str) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        running.append(
            subprocess.Popen(
                [sys.executable, tmp_path / "program.py", work],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        assert running[-1].stdout.readline() == "begun\n"
        time.sleep(0.1)
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("at_work", "stopped: the same command goes on\n"),
        ("in_a_library", "stopped at once: the same command goes on\n"),
        ("swallowing", "stopped at once: the same command goes on\n"),
    ],
)
def test_a_program_that_has_nothing_to_save_ends_wherever_it_is(begun, work, said, number):
    process = begun(work)
    process.send_signal(number)
    assert (process.communicate(timeout=20)[1], process.returncode) == (said, 85)


def test_who_has_work_that_is_not_saved_saves_it_first_and_an_echo_changes_nothing(begun):
    process = begun("saving")
    for _ in range(3):  # as a terminal and two launchers might
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    out, said = process.communicate(timeout=20)
    assert (out, said, process.returncode) == ("saved\n", "stopped: the same command goes on\n", 85)


def test_a_second_signal_ends_a_program_at_once_even_one_that_saves(begun):
    process = begun("deaf")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.8)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_part_of_a_program_that_was_stopped_leaves_no_clock_behind(monkeypatch):
    from babylm_data import stopping

    monkeypatch.setattr(stopping, "UNWINDING", 0.2)
    with pytest.raises(stopping.Stopped), stopping.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.6)  # a clock that ran on would have ended this process
    assert not stopping.asked()


def libraries_are_being_loaded(process: subprocess.Popen) -> bool:
    return "libtorch_cpu" in Path(f"/proc/{process.pid}/maps").read_text()


def a_compiler_is_at_work(process: subprocess.Popen) -> bool:
    return any(Path("compiled").rglob("*.cpp"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded stands in /proc")
@pytest.mark.parametrize(
    ("begun", "number"),
    [
        (libraries_are_being_loaded, signal.SIGTERM),
        (libraries_are_being_loaded, signal.SIGINT),
        (libraries_are_being_loaded, signal.SIGUSR1),
        (a_compiler_is_at_work, signal.SIGTERM),
        pytest.param(a_compiler_is_at_work, signal.SIGINT, marks=pytest.mark.long),
        pytest.param(a_compiler_is_at_work, signal.SIGUSR1, marks=pytest.mark.long),
    ],
)
def test_a_training_stops_while_it_loads_its_libraries_and_while_it_compiles(
    workplace, make_config, begun, number
):
    from train_teachers.config import dump_config

    Path("run.yaml").write_text(dump_config(make_config(compile=True)), encoding="utf-8")
    program = [sys.executable, "-m", "train_teachers", "run.yaml"]
    places = {"PYTHONPATH": str(Path(__file__).parent.parent), "TORCHINDUCTOR_CACHE_DIR": "compiled"}
    process = subprocess.Popen(program, env=os.environ | places, stderr=subprocess.PIPE, text=True)
    while not begun(process):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.splitlines()[-1]) == (85, "stopped: the same command goes on")

"""Threads spin briefly, or sleep where others have the cores. What is running is planted."""

import os

import pytest

from babylm_data import threads


@pytest.fixture
def started(monkeypatch, tmp_path):
    """started(running=[…], cores=…, ours=…, **environment): what a program that starts then sets."""

    def start(running, *, cores=2, ours=2, **environment):
        looks = iter(running)
        monkeypatch.setattr(threads, "APART", 0.0)
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ours)))
        monkeypatch.setattr(os, "environ", dict(environment))
        path = tmp_path / "loadavg"
        monkeypatch.setattr(threads, "LOADAVG", path)
        monkeypatch.setattr(type(path), "read_text", lambda _: f"0.20 0.18 0.12 {next(looks)}/345 6789\n")
        threads.give_way()
        return {name: os.environ[name] for name in os.environ if name not in environment}

    return start


def test_alone_threads_spin_briefly(started):
    assert started([1]) == {"GOMP_SPINCOUNT": threads.SPIN}


def test_where_another_process_has_the_cores_they_sleep(started):
    assert started([2] * 5) == {"OMP_WAIT_POLICY": "passive"}


def test_what_comes_and_goes_does_not_count(started):
    assert started([3, 2, 1]) == {"GOMP_SPINCOUNT": threads.SPIN}


def test_threads_that_are_not_started_need_no_core(started):
    assert started([3], cores=4, ours=4, OMP_NUM_THREADS="1") == {"GOMP_SPINCOUNT": threads.SPIN}


def test_on_a_large_machine_others_have_cores_of_their_own(started):
    assert started([41], cores=64) == {"GOMP_SPINCOUNT": threads.SPIN}
    assert started([64] * 5, cores=64) == {"OMP_WAIT_POLICY": "passive"}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_has_said_stands(started, name):
    assert started([9] * 5, **{name: "7"}) == {}

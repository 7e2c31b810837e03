"""The jobs of a study or a recipe, carried out: so many at once, until all are done, or it is asked to stop."""

import os
import shlex
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import torch

from babylm_data.errors import STATUS
from babylm_data.status import tell
from babylm_data.stopping import STOPPED, Stopped, asked, saving_first
from distill.jobs import Job, is_done, is_held
from train_teachers.estimate import threads_of_each

LOOK = 0.1  # seconds between looks at what runs


def carry_out(jobs: dict[str, Job], folder: Path, at_once: int) -> list[str]:
    """Do what is left, so many at once; a line for each that failed or had to be left.

    One at a time shows on this terminal what it does; of several, each writes into `folder`/said/<name>.txt. However
    this ends, what runs then is asked to stop, and waited for.
    """
    course = Course(jobs, folder, at_once)
    with saving_first():
        try:
            while not asked() and course.goes_on():
                time.sleep(LOOK)
        finally:
            course.stop()
        if asked():
            if at_once > 1:  # one alone has told of itself
                tell(None, "study", folder.name, len(course.done), len(jobs), goes_on=True)
            raise Stopped
    tell(None, "study", folder.name, len(course.done), len(jobs), goes_on=False)
    return list(course.failed.values())


def finish(jobs: dict[str, Job], folder: Path, at_once: int) -> int:
    """Carry them out and say what failed; the exit status, 1 if anything did."""
    failed = carry_out(jobs, folder, at_once)
    print("\n".join(failed), file=sys.stderr, end="\n" if failed else "")
    return 1 if failed else 0


class Course:
    """How far the jobs of a study have come."""

    def __init__(self, jobs: dict[str, Job], folder: Path, at_once: int) -> None:
        self.jobs, self.folder, self.at_once = jobs, folder, at_once
        self.done = {name for name, job in jobs.items() if is_done(job)}
        self.failed: dict[str, str] = {}
        self.running: dict[str, tuple[int, subprocess.Popen]] = {}
        """By name, a number below `at_once` that no other has, and the process."""
        self.waited: set[str] = set()
        """What another program is at, or was."""
        if self.done:
            print(f"{len(self.done)} of {len(jobs)} are finished already", flush=True)

    def goes_on(self) -> bool:
        """Note what has ended and begin what can be begun; False where nothing runs, and nothing is waited for."""
        for name, (_, process) in list(self.running.items()):
            if (status := process.poll()) is not None:
                del self.running[name]
                self._note(name, status)
        for job in self.jobs.values():
            if job.name in self.done | self.failed.keys() | self.running.keys():
                continue
            if lacking := job.after & self.failed.keys():
                self.failed[job.name] = f"{job.name} was left, for it needs {min(lacking)}"
            elif job.after <= self.done and len(self.running) < self.at_once:
                self._begin(job)
        return bool(self.running or self.waited - self.done - self.failed.keys())

    def stop(self) -> None:
        """Ask what runs to stop, and wait for it."""
        for _, process in self.running.values():
            process.terminate()
        for name, (_, process) in self.running.items():
            if (status := process.wait()) not in (0, STOPPED, -signal.SIGTERM):
                print(f"{name} did not stop as it was asked to, but with status {status}", file=sys.stderr)

    def _note(self, name: str, status: int) -> None:
        if status and is_held(self.jobs[name]):  # another program began it in the same moment
            self._wait_for(name)
            return
        if status:
            self.failed[name] = f"{name} failed with status {status}{self._reason(name)}"
        else:
            self.done.add(name)
        said = self.failed.get(name, f"{name} is finished")
        print(f"{len(self.done)} of {len(self.jobs)}: {said}", flush=True)

    def _wait_for(self, name: str) -> None:
        if name not in self.waited:
            print(f"{name}: another program is at it, which is waited for", flush=True)
        self.waited.add(name)

    def _said(self, name: str) -> Path:
        """What a run says, where it is not on this terminal."""
        return self.folder / "said" / f"{name.replace('/', '-')}.txt"

    def _reason(self, name: str) -> str:
        """Why it failed, as it said itself."""
        path = self._said(name)
        if self.at_once == 1 or not path.is_file():
            return ""
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {last.removeprefix('error: ')}" if last else ""

    def _begin(self, job: Job) -> None:
        if is_held(job):
            self._wait_for(job.name)
            return
        if job.name in self.waited and is_done(job):
            self._note(job.name, 0)
            return
        slot = min(set(range(self.at_once)) - {slot for slot, _ in self.running.values()})
        command, environment = [sys.executable, "-m", *job.words], dict(os.environ)
        if self.at_once == 1:
            print(f"== {job.name}: python -m {shlex.join(job.words)}", flush=True)
            self.running[job.name] = slot, subprocess.Popen(command)
            return
        environment["OMP_NUM_THREADS"] = str(threads_of_each(self.at_once))
        environment.pop(STATUS, None)  # which tells how far all of them are
        if gpus := _gpus():
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        said = self._said(job.name)
        said.parent.mkdir(parents=True, exist_ok=True)
        with open(said, "a", encoding="utf-8") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        self.running[job.name] = slot, process


@cache
def _gpus() -> list[str]:
    """The GPUs that this process may use, by the numbers that its environment has for them."""
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible[:count] if visible != [""] else [str(number) for number in range(count)]

"""Train every cell of a study, with its controls, and the teachers that are not there yet.

    python -m distill.study distill/studies/temperature-tiny.yaml --dry-run      what would be trained, hours and memory
    python -m distill.study distill/studies/temperature-tiny.yaml                one run after another
    python -m distill.study STUDY.yaml --at-once 4                               or several
    slurm/study.sh STUDY.yaml -- --gres=gpu:1                                    or each as a task of a Slurm array

Writes the runs into runs/, and what belongs together into runs/studies/<name>/study.json, which `python -m eval.study`
reads. A run that is finished is passed over, one that was stopped goes on, one that failed is named at the end and
tried again by the same command.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from babylm_data.errors import STATUS, UserError, parser_of, positive, run_stage
from babylm_data.files import json_table
from babylm_data.sealed import LOCK, SEAL, sha256, write_whole
from babylm_data.sealed import is_held as lock_is_held
from babylm_data.status import tell
from babylm_data.stopping import STOPPED, Stopped, asked, saving_first
from babylm_data.tokens import read_manifest
from distill.cells import Cell, Study, cells_of, files_of, load_study
from distill.config import DistillConfig
from train_teachers.config import Model, TrainConfig, load_config

RUNS, STUDIES = Path("runs"), Path("runs/studies")
LOOK = 0.1  # seconds between looks at what runs


class Job(NamedTuple):
    """One program of a study."""

    name: str
    kind: str
    """teacher, cache, control, student"""
    words: list[str]
    """Of `python -m`."""
    config: TrainConfig
    after: frozenset[str]
    """Names of those that it needs."""


def jobs_of(study: Study, cells: list[Cell]) -> dict[str, Job]:
    """What has to be done, by name, each behind what it needs; UserError for a teacher that nobody can train."""
    own = {cell.config.name for cell in cells} | {cell.config.control_name for cell in cells}
    jobs: dict[str, Job] = {}
    for cell in cells:
        config, control = cell.config, cell.config.control()
        needed = [_trained(path, own, jobs, what) for what, path in _models_of(config)]
        begun = [_trained(path, own, jobs, what) for what, path in _models_of(control)]
        for folder in config.caches:
            words = ["distill.cache", *cell.words]
            job = Job(folder, "cache", words, config, frozenset(filter(None, needed)))
            if _kept(jobs.setdefault(folder, job).config, folder) != _kept(config, folder):
                raise UserError(
                    f"study {study.name}: {cell.label} and another cell keep different things in {folder}"
                )
            needed.append(folder)
        words = ["distill", *cell.words]
        jobs.setdefault(
            control.name,
            Job(control.name, "control", [*words, "--control"], control, frozenset(filter(None, begun))),
        )
        jobs[config.name] = Job(config.name, "student", words, config, frozenset(filter(None, needed)))
    return _in_order(study, jobs)


def _kept(config: DistillConfig, folder: str) -> tuple:
    """What decides what a cache holds."""
    soft, data = config.losses.soft, config.data
    names = config.caches[folder]
    shares = [soft.weight[name] for name in names] if len(names) > 1 else []
    models = [(config.teachers[name].path, config.teachers[name].cache) for name in names]
    return models, shares, soft.temperature, data.path, data.seq_len, data.layouts, data.held_out_sequences


def _models_of(config: TrainConfig) -> list[tuple[str, str]]:
    """(what it is, where it is) of each model that a run begins from."""
    found = [("init", config.init.path)] if config.init else []
    for name, teacher in getattr(config, "teachers", {}).items():
        found.append((f"teacher '{name}'", teacher.path))
    return found


def _trained(path: str, own: set[str], jobs: dict[str, Job], what: str) -> str | None:
    """The name of the job that makes the model at a path, which is added where no cell is it; None if it is there."""
    from train_teachers.run import finished
    from train_teachers.stand_ins import words_of_run

    folder = Path(path)
    name = folder.parent.name
    if folder.parts[:1] != ("runs",) or folder.name != "export":
        return None  # somebody else's: the run itself says if it is not there
    if name in own or name in jobs:
        return name
    if not (words := words_of_run(Path("train_teachers/configs"), name)):
        if folder.is_dir():
            return None
        raise UserError(
            f"{what}: {path} does not exist, and no config in train_teachers/configs is called {name}: train it first"
        )
    config = load_config(TrainConfig, words[0], words[1:])
    if folder.is_dir() and not finished(config):
        return None  # trained with fields of its own
    begun = [_trained(path, own, jobs, what) for what, path in _models_of(config)]
    jobs[name] = Job(name, "teacher", ["train_teachers", *words], config, frozenset(filter(None, begun)))
    return name


def _in_order(study: Study, jobs: dict[str, Job]) -> dict[str, Job]:
    """The jobs, each behind those that it needs."""
    ordered: dict[str, Job] = {}
    while len(ordered) < len(jobs):
        ready = {
            name: job for name, job in jobs.items() if name not in ordered and job.after <= ordered.keys()
        }
        if not ready:
            waiting = next(name for name in jobs if name not in ordered)
            raise UserError(
                f"study {study.name}: {waiting} is made from itself, by way of its teachers or init"
            )
        ordered |= ready
    return ordered


def is_done(job: Job) -> bool:
    """Whether its run has come to its end, by this config, this data and these models."""
    from train_teachers.pretrained import weights_hash
    from train_teachers.run import finished

    if job.kind == "cache":
        return (Path(job.name) / SEAL).is_file()
    if not finished(job.config):
        return False
    inputs = json_table(RUNS / job.name / "inputs.json") or {}
    seal = Path(job.config.data.path) / SEAL
    if not (seal.is_file() and inputs.get("data") == sha256(seal)):
        return False
    there = [(what.replace("'", ""), Path(path)) for what, path in _models_of(job.config)]
    return all(
        inputs.get(what) == weights_hash(path) for what, path in there if what in inputs and path.is_dir()
    )


def made_otherwise(jobs: dict[str, Job]) -> str | None:
    """A line about runs that have the names of this study's and are by another config, or of other data or teachers."""
    from train_teachers.run import begun_otherwise, finished

    runs = [job for job in jobs.values() if job.kind != "cache"]
    others = [
        job.name for job in runs if begun_otherwise(job.config) or (finished(job.config) and not is_done(job))
    ]
    if not others:
        return None
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
    return (
        f"{named}: made by another config, or from other data or teachers, and never to be this study's: delete "
        "these folders in runs/, or give the study another name"
    )


def is_held(job: Job) -> bool:
    """Whether another program is at it, such as another study that shares a control."""
    return lock_is_held((Path(job.name) if job.kind == "cache" else RUNS / job.name) / LOCK)


def write_plan(study: Study, cells: list[Cell], files: Sequence[Path] = ()) -> Path:
    """runs/studies/<name>/study.json: which run is which cell."""
    folder = STUDIES / study.name
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "name": study.name,
        "question": study.question,
        "base": study.base,
        "judge": study.judge,
        "files": {str(file): sha256(file) for file in files},
        "axes": {axis: list(dict.fromkeys(c.values[axis] for c in cells if c.values)) for axis in study.vary},
        "seeds": study.seeds,
        "cells": [
            {
                "label": cell.label,
                "values": cell.values,
                "seed": cell.config.seed,
                "run": cell.config.name,
                "control": cell.config.control_name,
                "command": ["python", "-m", "distill", *cell.words],
            }
            for cell in cells
        ],
    }
    write_whole(folder / "study.json", json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
    return folder


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
        if status:
            self.failed[name] = f"{name} failed with status {status}"
        else:
            self.done.add(name)
        said = self.failed.get(name, f"{name} is finished")
        print(f"{len(self.done)} of {len(self.jobs)}: {said}", flush=True)

    def _begin(self, job: Job) -> None:
        if is_held(job):
            if job.name not in self.waited:
                print(f"{job.name}: another program is at it, which is waited for", flush=True)
            self.waited.add(job.name)
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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // self.at_once)))
        environment.pop(STATUS, None)  # which tells how far all of them are
        if gpus := _gpus():
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        said = self.folder / "said" / f"{job.name.replace('/', '-')}.txt"
        said.parent.mkdir(exist_ok=True)
        with open(said, "a", encoding="utf-8") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        self.running[job.name] = slot, process


@cache
def _gpus() -> list[str]:
    """The GPUs that this process may use, by the numbers that its environment has for them."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible[:count] if visible != [""] else [str(number) for number in range(count)]


def queue(jobs: dict[str, Job]) -> str:
    """What is left, as arrays of a queue: `number<TAB>those it comes after, or -<TAB>command`, a line for each command.

    Runs of one kind that need no more than the same arrays are one array.
    """
    left = {name: job for name, job in jobs.items() if not is_done(job)}
    arrays: dict[tuple, int] = {}
    number, lines = {}, []
    for name, job in left.items():
        after = tuple(sorted({number[each] for each in job.after if each in left}))
        number[name] = arrays.setdefault((job.kind, after), len(arrays))
        command = shlex.join([".venv/bin/python", "-m", *job.words])
        lines.append((number[name], f"{number[name]}\t{','.join(map(str, after)) or '-'}\t{command}"))
    return "\n".join(line for _, line in sorted(lines, key=lambda each: each[0]))


def foretell(jobs: dict[str, Job]) -> str:
    """A line for each job that is left: its name, seed, hours and memory; and what they are together."""
    from train_teachers.estimate import estimate, machine_rate

    rate, known_by = machine_rate()
    shapes = {job.name: job.config.model for job in jobs.values()}
    left = [job for job in jobs.values() if not is_done(job)]
    lines, total = [f"{'run':<60} {'seed':>8} {'time':>9} {'memory':>9}"], 0.0
    for job in left:
        frozen = _frozen(job, shapes) if job.kind in ("student", "cache") else []
        found = estimate(job.config, frozen, rate, trains=job.kind != "cache")
        total += found.seconds
        named = job.name if job.kind == "student" else f"{job.name} ({job.kind})"
        seed = f"seed={job.config.seed}"
        lines.append(f"{named:<60} {seed:>8} {_in_words(found.seconds):>9} {found.bytes / 1e9:>6.1f} GB")
    speed = f"{rate / 1e9:,.0f} GFLOP/s, {known_by}"
    lines.append(
        f"{len(left)} of {len(jobs)} runs are left: {_in_words(total)} one after another, at {speed}; what losses on "
        "layers, critics and filters take comes on top"
    )
    return "\n".join(lines)


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _frozen(job: Job, shapes: dict[str, Model]) -> list[Model | int]:
    """Of a student's teachers that run beside it, the shapes, or the numbers of parameters of those that are there."""
    from train_teachers.estimate import stored_parameters
    from train_teachers.stand_ins import declared_shape

    found = []
    for name, teacher in job.config.teachers.items():
        if teacher.cache and job.kind != "cache":
            continue
        run, what = Path(teacher.path).parent.name, f"teacher '{name}'"
        if Path(teacher.path).is_dir():
            found.append(stored_parameters(Path(teacher.path)))
        else:
            found.append(shapes.get(run) or declared_shape(teacher.path, teacher.model, what))
    return found


def main(argv: list[str]) -> int:
    """Load the study, say what it comes to, or train what is left of it; 1 if a run failed."""
    parser = parser_of("distill.study", __doc__)
    parser.add_argument("study", metavar="STUDY", help="YAML file, such as those in distill/studies/")
    parser.add_argument("--at-once", type=positive, default=1, metavar="N", help="train so many at once [1]")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="print a line for each run, and train nothing"
    )
    instead.add_argument("--commands", action="store_true", help="print the commands, for slurm/study.sh")
    args = parser.parse_args(argv)
    study = load_study(args.study)
    cells = cells_of(study)
    jobs = jobs_of(study, cells)
    if args.dry_run:
        print(foretell(jobs))
        return 0
    for path in {job.config.data.path for job in jobs.values()}:
        read_manifest(path)
    if others := made_otherwise(jobs):
        raise UserError(f"study {study.name}: {others}")
    folder = write_plan(study, cells, files_of(args.study))
    if args.commands:
        print(queue(jobs))
        return 0
    failed = carry_out(jobs, folder, args.at_once)
    print("\n".join(failed), file=sys.stderr, end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    run_stage(main)

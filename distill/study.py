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
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from babylm_data.errors import STATUS, UserError, parser_of, positive, run_stage
from babylm_data.sealed import write_whole
from babylm_data.status import tell
from babylm_data.stopping import STOPPED, Stopped, asked, saving_first
from babylm_data.tokens import read_manifest
from distill.cells import Cell, Study, cells_of, load_study
from train_teachers.config import TrainConfig, load_config

STUDIES = Path("runs/studies")
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
            jobs.setdefault(folder, Job(folder, "cache", words, config, frozenset(filter(None, needed))))
            needed.append(folder)
        words = ["distill", *cell.words]
        jobs.setdefault(
            control.name,
            Job(control.name, "control", [*words, "--control"], control, frozenset(filter(None, begun))),
        )
        jobs[config.name] = Job(config.name, "student", words, config, frozenset(filter(None, needed)))
    return _in_order(study, jobs)


def _models_of(config: TrainConfig) -> list[tuple[str, str]]:
    """(what it is, where it is) of each model that a run begins from."""
    found = [("init", config.init.path)] if config.init else []
    for name, teacher in getattr(config, "teachers", {}).items():
        found.append((f"teacher '{name}'", teacher.path))
    return found


def _trained(path: str, own: set[str], jobs: dict[str, Job], what: str) -> str | None:
    """The name of the job that makes the model at a path, which is added where no cell is it; None if it is there."""
    from train_teachers.run import finished
    from train_teachers.stand_ins import config_of_run

    folder = Path(path)
    name = folder.parent.name
    if folder.parts[:1] != ("runs",) or folder.name != "export":
        return None  # somebody else's: the run itself says if it is not there
    if name in own or name in jobs:
        return name
    if not (file := config_of_run(Path("train_teachers/configs"), name)):
        if folder.is_dir():
            return None
        raise UserError(
            f"{what}: {path} does not exist, and no config in train_teachers/configs is called {name}: train it first"
        )
    seed = name.rpartition("-seed")[2]
    words = [str(file), f"name={name}", *([f"seed={seed}"] if name != file.stem and seed.isdecimal() else [])]
    config = load_config(TrainConfig, words[0], words[1:])
    if folder.is_dir() and not finished(config):
        return None  # trained with fields of its own
    begun = [_trained(path, own, jobs, what) for what, path in _models_of(config)]
    jobs[name] = Job(name, "teacher", ["train_teachers", *words], config, frozenset(filter(None, begun)))
    return name


def _in_order(study: Study, jobs: dict[str, Job]) -> dict[str, Job]:
    """The same, each behind those that it needs."""
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
    """Whether its run has come to its end."""
    from babylm_data.sealed import SEAL
    from train_teachers.run import finished

    return (Path(job.name) / SEAL).is_file() if job.kind == "cache" else finished(job.config)


def write_plan(study: Study, cells: list[Cell]) -> Path:
    """runs/studies/<name>/study.json: which run is which cell."""
    folder = STUDIES / study.name
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "name": study.name,
        "question": study.question,
        "base": study.base,
        "judge": study.judge,
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

    One at a time shows on this terminal what it does; of several, each writes into `folder`/said/<name>.txt.
    """
    done = {name for name, job in jobs.items() if is_done(job)}
    if done:
        print(f"{len(done)} of {len(jobs)} are finished already", flush=True)
    failed: dict[str, str] = {}
    running: dict[str, subprocess.Popen] = {}
    with saving_first():
        while not asked():
            for name, process in list(running.items()):
                if (status := process.poll()) is not None:
                    del running[name]
                    if status:
                        failed[name] = f"{name} failed with status {status}"
                    else:
                        done.add(name)
                    print(
                        f"{len(done)} of {len(jobs)}: {failed.get(name, f'{name} is finished')}", flush=True
                    )
            left = [job for job in jobs.values() if job.name not in done | failed.keys() | running.keys()]
            for job in left:
                if lacking := job.after & failed.keys():
                    failed[job.name] = f"{job.name} was left, for it needs {min(lacking)}"
                elif job.after <= done and len(running) < at_once:
                    running[job.name] = _begin(job, folder, at_once)
            if not running:
                break
            time.sleep(LOOK)
        for process in running.values():
            process.terminate()
        statuses = [process.wait() for process in running.values()]
        if asked():
            tell(None, "study", folder.name, len(done), len(jobs), goes_on=True)
            if wrong := [status for status in statuses if status not in (0, STOPPED)]:
                print(f"a run did not stop as it was asked to, but with status {wrong[0]}", file=sys.stderr)
            raise Stopped
    tell(None, "study", folder.name, len(done), len(jobs), goes_on=False)
    return list(failed.values())


def _begin(job: Job, folder: Path, at_once: int) -> subprocess.Popen:
    command, environment = [sys.executable, "-m", *job.words], dict(os.environ)
    if at_once == 1:
        print(f"== {job.name}: python -m {' '.join(job.words)}", flush=True)
        return subprocess.Popen(command)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // at_once)))
    environment.pop(STATUS, None)  # which tells how far all of them are
    said = folder / "said" / f"{job.name.replace('/', '-')}.txt"
    said.parent.mkdir(exist_ok=True)
    with open(said, "a", encoding="utf-8") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)


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
        found = estimate(job.config, frozen, rate)
        total += found.seconds
        named = job.name if job.kind == "student" else f"{job.name} ({job.kind})"
        seed = f"seed={job.config.seed}"
        lines.append(f"{named:<60} {seed:>8} {_in_words(found.seconds):>9} {found.bytes / 1e9:>6.1f} GB")
    speed = f"{rate / 1e9:,.0f} GFLOP/s, {known_by}"
    lines.append(
        f"{len(left)} of {len(jobs)} runs are left: {_in_words(total)} one after another, at {speed}"
    )
    return "\n".join(lines)


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _frozen(job: Job, shapes: dict) -> list:
    """The shapes of a student's teachers that run beside it."""
    from train_teachers.stand_ins import declared_shape

    found = []
    for name, teacher in job.config.teachers.items():
        if teacher.cache and job.kind != "cache":
            continue
        run = Path(teacher.path).parent.name
        found.append(shapes.get(run) or declared_shape(teacher.path, teacher.model, f"teacher '{name}'"))
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
    folder = write_plan(study, cells)
    if args.commands:
        print(queue(jobs))
        return 0
    failed = carry_out(jobs, folder, args.at_once)
    print("\n".join(failed), file=sys.stderr, end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    run_stage(main)

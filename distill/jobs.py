"""What a study or a config has to have trained, each job behind what it needs, and what that will take."""

import heapq
import shlex
from collections.abc import Collection, Set
from pathlib import Path
from typing import NamedTuple

from babylm_data.errors import UserError
from babylm_data.files import json_table
from babylm_data.sealed import LOCK, SEAL, sha256
from babylm_data.sealed import is_held as lock_is_held
from distill.cells import Cell, Study, references
from distill.config import DistillConfig, partial_of
from train_teachers.config import Model, TrainConfig, load_config
from train_teachers.estimate import estimate, machine_rate, stored_parameters
from train_teachers.pretrained import weights_hash
from train_teachers.run import ROOT, begun_otherwise, finished
from train_teachers.stand_ins import declared_shape, words_of_run


class Job(NamedTuple):
    """One program of a study, or of what a config needs."""

    name: str
    kind: str
    """teacher, cache, control, student"""
    words: list[str]
    """Of `python -m`."""
    config: TrainConfig
    after: frozenset[str]
    """Names of those that it needs."""
    controlled: dict[str, str] = {}
    """Of a control: what of its losses its config does not say."""


def jobs_of(study: Study, cells: list[Cell], only: Collection[str] = ()) -> dict[str, Job]:
    """What has to be done, by name, each behind what it needs; UserError for a teacher that nobody can train.

    `only`: the labels of those cells for whose sake it is done; all, if there are none.
    """
    own = {cell.config.name for cell in cells} | {cell.config.control_name for cell in cells}
    jobs: dict[str, Job] = {}
    for cell in cells:
        _add_control(jobs, own, cell.config, cell.words)
        if cell.distilled:
            _add_student(jobs, own, cell.config, cell.words)
    labels = dict.fromkeys(cell.label for cell in cells)
    if strange := [label for label in only if label not in labels]:
        raise UserError(f"study {study.name} has no cell {strange[0]}: {', '.join(labels)}")
    asked = [cell for cell in cells if not only or cell.label in only]
    if not study.distilled:  # nothing says anything without what it is compared with
        asked += references(cells).values()
    names = {name for cell in asked for name in (cell.run, cell.config.control_name)}
    return needed_for(names, _in_order(jobs, f"study {study.name}"))


def jobs_of_config(words: list[str], *, control: bool = False) -> dict[str, Job]:
    """What a config of distill/ needs to be trained, with overrides behind its path, and itself last: its control where
    that teaches it or is where it begins, or else if it is asked for.
    """
    config = load_config(DistillConfig, words[0], words[1:])
    own, jobs = {config.name, config.control().name}, {}
    _add_control(jobs, own, config, words)
    _add_student(jobs, own, config, words)
    return needed_for(own if control else {config.name}, _in_order(jobs, words[0]))


def needed_for(names: Set[str], jobs: dict[str, Job]) -> dict[str, Job]:
    """Of ordered jobs, those of these names and what they need."""
    needed = set(names)
    for job in reversed(jobs.values()):
        if job.name in needed:
            needed |= job.after
    return {name: job for name, job in jobs.items() if name in needed}


def _add_control(jobs: dict[str, Job], own: set[str], config: DistillConfig, words: list[str]) -> None:
    control = config.control()
    after = frozenset(_begun_from(control, own, jobs))
    words = ["distill", *words, "--control"]
    jobs.setdefault(control.name, Job(control.name, "control", words, control, after, config.controlled))


def _add_student(jobs: dict[str, Job], own: set[str], config: DistillConfig, words: list[str]) -> None:
    """A student and its caches; UserError if another student keeps something else in one of them."""
    needed = _begun_from(config, own, jobs)
    for folder in config.caches:
        job = Job(folder, "cache", ["distill.cache", *words], config, frozenset(needed))
        if _kept(jobs.setdefault(folder, job).config, folder) != _kept(config, folder):
            raise UserError(f"{config.name} and another run keep different things in {folder}")
        needed.append(folder)
    jobs[config.name] = Job(config.name, "student", ["distill", *words], config, frozenset(needed))


def _kept(config: DistillConfig, folder: str) -> tuple:
    """What decides what a cache holds."""
    soft, data = config.losses.soft, config.data
    names = config.caches[folder]
    together = [soft.combine, *(soft.weight[name] for name in names)] if len(names) > 1 else []
    teachers = (config.teachers[name] for name in names)
    models = [(teacher.path, teacher.precision, teacher.cache) for teacher in teachers]
    blocks = data.seq_len, data.layouts, data.shuffle_documents, data.held_out_sequences
    return models, together, soft.temperature, data.path, blocks


def _models_of(config: TrainConfig) -> list[tuple[str, str]]:
    """(what it is, where it is) of each model that a run begins from."""
    found = [("init", config.init.path)] if config.init else []
    for name, teacher in getattr(config, "teachers", {}).items():
        found.append((f"teacher '{name}'", teacher.path))
    return found


def _begun_from(config: TrainConfig, own: set[str], jobs: dict[str, Job]) -> list[str]:
    """The names of the jobs that make the models that a run begins from, which are added."""
    made = (_trained(path, own, jobs, what) for what, path in _models_of(config))
    return [name for name in made if name]


def _trained(path: str, own: set[str], jobs: dict[str, Job], what: str) -> str | None:
    """The name of the job that makes the model at a path, which is added where no cell is it; None if it is there."""
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
    if folder.is_dir() and not (finished(config) or begun_otherwise(config)):
        return None  # brought here without its run
    after = frozenset(_begun_from(config, own, jobs))
    jobs[name] = Job(name, "teacher", ["train_teachers", *words], config, after)
    return name


def _in_order(jobs: dict[str, Job], place: str) -> dict[str, Job]:
    """The jobs, each behind those that it needs."""
    ordered: dict[str, Job] = {}
    while len(ordered) < len(jobs):
        ready = {
            name: job for name, job in jobs.items() if name not in ordered and job.after <= ordered.keys()
        }
        if not ready:
            waiting = next(name for name in jobs if name not in ordered)
            raise UserError(f"{place}: {waiting} is made from itself, by way of its teachers or init")
        ordered |= ready
    return ordered


def is_done(job: Job) -> bool:
    """Whether its run has come to its end, by this config, this data and these models."""
    if job.kind == "cache":
        return (Path(job.name) / SEAL).is_file()
    if not finished(job.config):
        return False
    inputs = json_table(ROOT / job.name / "inputs.json") or {}
    seal = Path(job.config.data.path) / SEAL
    if not (seal.is_file() and inputs.get("data") == sha256(seal)):
        return False
    if any(inputs.get(key, value) != value for key, value in job.controlled.items()):
        return False
    there = [(what.replace("'", ""), Path(path)) for what, path in _models_of(job.config)]
    return all(
        inputs.get(what) == weights_hash(path) for what, path in there if what in inputs and path.is_dir()
    )


def made_otherwise(jobs: dict[str, Job]) -> str | None:
    """A line about runs that have the names of this study's and are by another config, or of other data or teachers."""
    runs = [job for job in jobs.values() if job.kind != "cache"]
    others = [
        job.name for job in runs if begun_otherwise(job.config) or (finished(job.config) and not is_done(job))
    ]
    if not others:
        return None
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
    return (
        f"{named}: made by another config, or from other data or teachers, and never to be what is asked for: delete "
        "these folders in runs/, or choose another name"
    )


def is_held(job: Job) -> bool:
    """Whether another program is at it, such as another study that shares a control."""
    return lock_is_held((partial_of(Path(job.name)) if job.kind == "cache" else ROOT / job.name) / LOCK)


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


def foretell(jobs: dict[str, Job], at_once: int = 1) -> str:
    """A line for each job that is left: its name, seed, hours and memory; and what they are together."""
    rate, known_by = machine_rate(at_once)
    shapes = {job.name: job.config.model for job in jobs.values()}
    left = [job for job in jobs.values() if not is_done(job)]
    lines, seconds = [f"{'run':<60} {'seed':>8} {'time':>9} {'memory':>9}"], {}
    for job in left:
        frozen = _frozen(job, shapes) if job.kind in ("student", "cache") else []
        found = estimate(job.config, frozen, rate, trains=job.kind != "cache")
        seconds[job.name] = found.seconds
        named = job.name if job.kind == "student" else f"{job.name} ({job.kind})"
        seed = f"seed={job.config.seed}"
        lines.append(f"{named:<60} {seed:>8} {_in_words(found.seconds):>9} {found.bytes / 1e9:>6.1f} GB")
    speed = f"{rate / 1e9:,.0f} GFLOP/s, {known_by}"
    total = _together(left, seconds, at_once)
    course = f"{at_once} at once, each" if at_once > 1 else "one after another,"
    lines.append(
        f"{len(left)} of {len(jobs)} runs are left: {_in_words(total)}, {course} at {speed}; what losses on "
        "layers, critics and filters take comes on top"
    )
    return "\n".join(lines)


def _together(jobs: list[Job], seconds: dict[str, float], at_once: int) -> float:
    """When the last of the jobs ends, so many at once, each behind what it needs."""
    ends: dict[str, float] = {}
    free = [0.0] * at_once
    for job in jobs:
        begins = max(heapq.heappop(free), *(ends.get(name, 0.0) for name in job.after), 0.0)
        ends[job.name] = begins + seconds[job.name]
        heapq.heappush(free, ends[job.name])
    return max(ends.values(), default=0.0)


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _frozen(job: Job, shapes: dict[str, Model]) -> list[Model | int]:
    """Of a student's teachers that run beside it, the shapes, or the numbers of parameters of those that are there."""
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

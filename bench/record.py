"""python -m bench.record CONFIG … --raw DIR --data DIR [--seeds 0 1 2] [--minutes 60] [--at-once 2] [--json FILE]
    python -m bench.record --table bench/record.md bench/records/*.json

From raw text to BLiMP within so many minutes, all counted but the scoring: the corpus is prepared, what a student needs
is made (teachers, its control where that teaches it, caches), and the student is trained. A CONFIG of train_teachers/
is a run without teachers. Every attempt begins from nothing in a folder of its own, with a copy of the code as it then
stands and none that is compiled, and has seeds from a thousand times its own on. Several configs take turns, seed by
seed, so that they meet the same machine: name the record that stands first, what is to beat it behind. Nothing else may
run beside it.

What is trained is not trained again, and scored in what was not asked before; one that failed is passed over until its
folder is deleted; one that was stopped begins again, for its minutes are its result. --json is written after every
attempt, with what it held of other seeds and recipes. --table renders such files: those of the same minutes, recipes
and machines as one.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from babylm_data.errors import UserError, from_zero, parser_of, positive, run_stage
from babylm_data.files import json_table
from babylm_data.sealed import LOCK, SEAL, lock, sha256, write_whole
from babylm_data.stopping import STOPPED, Stopped
from bench.__main__ import refuse_absent_folders
from bench.shapes import ROOT
from eval.scorer.model import BACKENDS

if TYPE_CHECKING:
    from distill.jobs import Job

TASKS = ("blimp_filtered", "supplement_filtered", "perplexity")
STRIDE = 1000  # between the seeds of one attempt and of the next, so that its teachers are its own too
PACKAGES = ("babylm_data", "train_teachers", "distill", "eval")
CONFIGS = (ROOT / "distill/configs", ROOT / "train_teachers/configs")
TRAINED, DONE = "trained.json", "attempt.json"
OURS = ".of-bench-record"  # in a folder that may be emptied


class Setting(NamedTuple):
    """What all attempts of a record have alike."""

    out: Path
    raw: Path | None
    """Raw text; else `prepared` is there."""
    prepared: Path | None
    prepare: list[str]
    """More options for `python -m babylm_data`."""
    data: Path
    tasks: list[str]
    backend: str | None
    at_once: int


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench.record", __doc__)
    add = parse.add_argument
    add("paths", nargs="+", type=Path, metavar="CONFIG", help="recipes; with --table: what --json wrote")
    add("--raw", type=Path, metavar="DIR", help="raw text, as `python -m babylm_data --raw` reads it")
    add(
        "--prepare",
        default="",
        metavar="ARGS",
        help='more options for it, such as "--share 0.1", in one word',
    )
    add("--prepared", type=Path, metavar="DIR", help="in its place: a data folder, which costs no minutes")
    add("--data", type=Path, metavar="DIR", help="the official evaluation data")
    add("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help=f"[{' '.join(TASKS)}]")
    add("--backend", choices=BACKENDS, help="by which models that read both ways are scored [causal]")
    add("--seeds", nargs="+", type=from_zero, default=[0, 1, 2], metavar="N", help="[0 1 2]")
    add("--minutes", type=float, default=60.0, metavar="N", help="the budget [60]")
    add("--at-once", type=positive, default=1, metavar="N", help="teachers trained side by side [1]")
    add("--out", type=Path, default=Path("runs/record"), metavar="DIR", help="[runs/record]")
    add("--json", type=Path, metavar="FILE", help="write all attempts there")
    add("--table", type=Path, metavar="FILE", help="render records into this page, and train nothing")
    return parse


def main(argv: list[str]) -> int:
    """Make the attempts or the page; 1 if an attempt failed or was over its budget."""
    args = parser().parse_args(argv)
    refuse_absent_folders(args.json, args.table)
    if args.table:
        from bench.record_page import page

        write_whole(args.table, page([read_record(path) for path in args.paths]))
        return 0
    setting, recipes = setting_of(args), recipes_of(args.paths)
    if args.json and args.json.exists() and (before := read_record(args.json))["minutes"] != args.minutes:
        raise UserError(
            f"{args.json} is of {before['minutes']:g} minutes: name another file for other budgets"
        )
    # what cannot be made, or compared, is told before an hour has gone
    made_of = {recipe: digest(setting, recipe, 0) for recipe in recipes}
    for recipe in recipes:
        if args.json and is_of_another(args.json, recipe.stem, made_of[recipe]):
            raise UserError(
                f"{args.json} has {recipe.stem} of another config or text or by other options: name another file"
            )
    if items := [task for task in setting.tasks if task != "perplexity"]:
        timed(["eval", "--check", "--data", str(setting.data), "--tasks", *items])
    attempts = []
    setting.out.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(lock(setting.out / LOCK)):
        for seed in args.seeds:
            for recipe in recipes:
                attempts.append(attempt(setting, recipe, seed, made_of[recipe]))
                print(line(attempts[-1]), flush=True)
                if args.json:
                    keep(args.json, args.minutes, command_of("bench.record", argv), attempts)
    return int(any("failed" in each or each["minutes"] > args.minutes for each in attempts))


def command_of(module: str, argv: list[str]) -> str:
    """A command as a record tells it: of what lies elsewhere on this machine the name alone."""

    def told(word: str) -> str:
        option, equals, value = word.rpartition("=")
        return f"{option}{equals}{Path(value).name}" if value.startswith(("/", "..")) else word

    return shlex.join(["python", "-m", module, *map(told, argv)])


def setting_of(args: argparse.Namespace) -> Setting:
    """What all attempts have alike, with whole paths; UserError for what is not there."""
    if (args.raw is None) == (args.prepared is None) or args.data is None:
        raise UserError("name the text, --raw DIR or --prepared DIR, and the evaluation data, --data DIR")
    if "perplexity" in args.tasks and args.backend not in (None, "causal"):
        raise UserError(f"perplexity is of causal models: name other --tasks with --backend {args.backend}")
    if args.prepare and args.prepared:
        raise UserError("--prepare goes with --raw: the folder of --prepared is there already")
    for given in (args.raw, args.prepared, args.data, args.prepared and args.prepared / "text/test"):
        if given and not given.is_dir():
            raise UserError(f"{given}: there is no such folder")
    if len(set(args.seeds)) < len(args.seeds) or len(set(args.paths)) < len(args.paths):
        raise UserError("a seed or a CONFIG stands there twice: an attempt is counted once")
    folders = [path and path.resolve() for path in (args.out, args.raw, args.prepared)]
    return Setting(
        *folders, shlex.split(args.prepare), args.data.resolve(), args.tasks, args.backend, args.at_once
    )


def recipes_of(paths: list[Path]) -> list[Path]:
    """The recipes, as they are called in the root of the repository."""
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        if path.resolve().parent not in CONFIGS:
            raise UserError(f"{path}: a recipe is a file in distill/configs or train_teachers/configs")
    return [path.resolve().relative_to(ROOT) for path in paths]


def attempt(setting: Setting, recipe: Path, seed: int, made_of: str) -> dict:
    """One recipe with one seed, from nothing to its scores; what was written of it if it is finished."""
    place = setting.out / f"{recipe.stem}-s{seed}"
    asked = digest(setting, recipe, seed)
    found, trained = json_table(place / DONE), json_table(place / TRAINED)
    if any(known and known["asked"] != asked for known in (found, trained)):
        raise UserError(
            f"{place}: was made by another config, text or other options: delete it, or give --out DIR"
        )
    if found and "failed" in found:
        return found
    if not trained:
        about = {"asked": asked, "made_of": made_of, "recipe": recipe.stem, "seed": seed}
        about |= origin() | {"prepared": setting.raw is None, "gflops": [gflops()]}
        with fresh_folder(place):
            try:
                seconds, run = made(setting, recipe, seed * STRIDE)
            except UserError as error:
                failed = about | {"failed": f"{error}; delete {place} to try it again"}
                write_whole(place / DONE, json.dumps(failed, indent=1) + "\n")
                return failed
        about["gflops"].append(gflops())
        trained = about | {"seconds": seconds, "run": run, "minutes": sum(seconds.values()) / 60}
        write_whole(place / TRAINED, json.dumps(trained, indent=1) + "\n")
    with contextlib.chdir(place):  # by the code that trained it; what has been scored already is passed over
        run = Path(trained["run"])
        found = run_facts(run) | trained
        found["scores"] = scored(run, setting.data, setting.tasks, setting.backend)
    write_whole(place / DONE, json.dumps(found, indent=1) + "\n")
    return found


def digest(setting: Setting, recipe: Path, seed: int) -> str:
    """Of all that an attempt is made from, but the code: how it is scored is not of it."""
    with kit_copy():  # whatever lies in the runs/ of the repository
        jobs = jobs_for(recipe, seed * STRIDE)
    # what is as it would be anyhow is left out: a field that comes to the kit makes no other attempt
    asked = {name: job.config.model_dump(mode="json", exclude_defaults=True) for name, job in jobs.items()}
    if setting.prepared:
        text = [sha256(setting.prepared / SEAL)]
    else:
        files = sorted(path for path in setting.raw.rglob("*") if path.is_file())
        text = [setting.prepare, {path.relative_to(setting.raw).as_posix(): sha256(path) for path in files}]
    return hashlib.sha256(json.dumps([asked, text, setting.at_once], sort_keys=True).encode()).hexdigest()


def origin() -> dict:
    """The commit of this code, and whether it was changed since."""
    from train_teachers.run import environment

    start = environment()
    return {name: start[name] for name in ("commit", "dirty")}


def gflops() -> dict[str, int]:
    """{number format: the machine's rate of matrix products as it is now, in GFLOP/s}."""
    from babylm_data.speed import product_rates
    from bench.gauges import device_type

    product_rates.cache_clear()
    return {name: round(rate / 1e9) for name, rate in product_rates(device_type()).items()}


@contextlib.contextmanager
def equipped(place: Path) -> Iterator[None]:
    """Within it the working directory is `place`, which has a copy of the kit's packages beside what it had.

    A copy, so that nobody's work at the code meanwhile changes the later stages of an attempt.
    """
    for package in PACKAGES:
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    with contextlib.chdir(place):
        yield


@contextlib.contextmanager
def kit_copy() -> Iterator[None]:
    """Within it the working directory has the kit's packages alone, and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="record-") as folder, equipped(Path(folder)):
        yield


@contextlib.contextmanager
def fresh_folder(place: Path) -> Iterator[None]:
    """Within it the working directory is `place`, with the kit's packages and nothing else, and no code is there that
    was compiled for another run; UserError where it is a folder that was not made so.
    """
    if place.exists():
        if any(place.iterdir()) and not (place / OURS).exists():
            raise UserError(f"{place} holds what this program did not make: empty it, or name another folder")
        shutil.rmtree(place)
    place.mkdir(parents=True)
    (place / OURS).touch()
    before = dict(os.environ)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(place / "compiled")
    try:
        with equipped(place):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def made(setting: Setting, recipe: Path, seed: int) -> tuple[dict[str, float], str]:
    """Seconds of each stage, and the run that came out, here in the folder of an attempt."""
    from distill.course import carry_out

    jobs, seconds = jobs_for(recipe, seed), {}
    student = next(reversed(jobs))
    data = jobs[student].config.data
    text = Path(data.path)
    text.parent.mkdir(parents=True, exist_ok=True)
    if setting.prepared:
        text.symlink_to(setting.prepared)
    else:
        size = ["--vocab-size", str(data.vocab_size)] if data.vocab_size else []
        words = ["babylm_data", "--raw", str(setting.raw), "--out", str(text), *size, *setting.prepare]
        seconds["data"] = timed(words)
    teachers = {name: job for name, job in jobs.items() if job.kind == "teacher" and name != student}
    # the student last and alone, with all that the machine has
    for stage, now, abreast in (("teachers", teachers, setting.at_once), ("student", jobs, 1)):
        begun = time.perf_counter()
        if now and (failed := carry_out(now, Path.cwd(), abreast)):
            raise UserError(failed[0])
        seconds[stage] = time.perf_counter() - begun
    return seconds, f"runs/{student}"


def jobs_for(recipe: Path, seed: int) -> dict[str, "Job"]:
    """What a recipe needs, in order and itself last; its teachers with seeds of their own."""
    from distill.jobs import Job, jobs_of_config
    from train_teachers.config import TrainConfig, load_config

    words = [str(recipe), f"seed={seed}", "revisions=false"]
    if recipe.parts[0] == "distill":
        jobs = jobs_of_config(words)
        return {name: _seeded(job, seed) if job.kind == "teacher" else job for name, job in jobs.items()}
    config = load_config(TrainConfig, words[0], words[1:])
    return {config.name: Job(config.name, "teacher", ["train_teachers", *words], config, frozenset())}


def _seeded(job: "Job", seed: int) -> "Job":
    seed += job.config.seed
    config = job.config.model_copy(update={"seed": seed})
    return job._replace(words=[*job.words, f"seed={seed}"], config=config)


def timed(words: list[str]) -> float:
    """Seconds that a program of the kit took; UserError if it failed."""
    begun = time.perf_counter()
    status = subprocess.run([sys.executable, "-m", *words]).returncode
    if status == STOPPED:
        raise Stopped
    if status:
        raise UserError(f"python -m {shlex.join(words)} failed with status {status}")
    return time.perf_counter() - begun


def scored(run: Path, data: Path, tasks: list[str], backend: str | None) -> dict[str, float]:
    """{task: accuracy, or bits per byte} of a run, in the folder of its attempt."""
    from eval.compare.scored import headline, read_scored

    text = run.parents[1] / json_table(run / "summary.json")["data"] / "text/test"
    words = [str(run / "export"), "--tasks", *tasks, "--data", str(data), "--text", str(text)]
    out = run / (f"eval-{backend}" if backend else "eval")
    timed(["eval", *words, "--out", str(out), *(["--backend", backend] if backend else [])])
    found = read_scored(out).tasks
    return {task: headline(found[task]) for task in tasks}


def run_facts(run: Path) -> dict:
    """What a reader asks of a run."""
    summary, start = json_table(run / "summary.json"), json_table(run / "environment.json")
    kept = {name: summary[name] for name in ("parameters", "words_seen", "precision")}
    return kept | {name: start[name] for name in ("started", "processor", "device")}


def read_record(path: Path) -> dict:
    """What --json wrote; UserError if it is something else."""
    found = json_table(path)
    if found is None or not {"minutes", "commands", "attempts"} <= found.keys():
        raise UserError(f"{path} is no record: name files that --json wrote")
    return found


def is_of_another(path: Path, recipe: str, made_of: str) -> bool:
    """Whether the file of --json has an attempt at that recipe that tells to be of another config, text or options."""
    attempts = read_record(path)["attempts"] if path.exists() else []
    return any(each["recipe"] == recipe and each.get("made_of", made_of) != made_of for each in attempts)


def keep(path: Path, minutes: float, command: str, attempts: list[dict]) -> None:
    """Write the attempts, and what the file has of others; each where it first stood."""
    before = read_record(path) if path.exists() else {"attempts": [], "commands": []}
    of = {(each["recipe"], each["seed"]): each for each in [*before["attempts"], *attempts]}
    commands = list(dict.fromkeys([*before["commands"], command]))
    record = {"minutes": minutes, "commands": commands, "attempts": list(of.values())}
    write_whole(path, json.dumps(record, indent=1) + "\n")


def line(found: dict) -> str:
    """An attempt in a line."""
    name = f"{found['recipe']}, seed {found['seed']}"
    if "failed" in found:
        return f"{name} failed: {found['failed']}"
    scores = ", ".join(f"{task} {value:.4f}" for task, value in found["scores"].items())
    return f"{name}: {found['minutes']:.1f} min, {scores}"


if __name__ == "__main__":
    run_stage(main)

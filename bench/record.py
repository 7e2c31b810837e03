"""python -m bench.record CONFIG … --raw DIR --data DIR [--seeds 0 1 2] [--minutes 60] [--at-once 2] [--json FILE]
    python -m bench.record --table bench/record.md bench/records/*.json

From raw text to BLiMP within so many minutes, all counted but the scoring: the corpus is prepared, what a student needs
is made (teachers, its control where that teaches it, caches), and the student is trained. A CONFIG of train_teachers/
is a run without teachers. Every attempt begins from nothing in a folder of its own, with seeds that no other has.
Several configs take turns, seed by seed, so that they meet the same machine: name the record that stands first, what is
to beat it behind. Nothing else may run beside it. A finished attempt is passed over; a half one begins again, for its
minutes are its result.

Written after every attempt: minutes by stage, scores, the machine with its rate of matrix products, the commit.
--table renders such files; differences there are from the first recipe of a file, with Welch's t-test over seeds.
"""

import argparse
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.files import json_table
from babylm_data.sealed import write_whole
from bench.__main__ import refuse_absent_folders
from bench.shapes import ROOT

if TYPE_CHECKING:
    from distill.config import DistillConfig
    from distill.jobs import Job

TASKS = ("blimp_filtered", "supplement_filtered", "perplexity")
STRIDE = 1000  # between the seeds of one attempt and of the next, so that its teachers are its own too
PACKAGES = ("babylm_data", "train_teachers", "distill", "eval")
CONFIGS = (ROOT / "distill/configs", ROOT / "train_teachers/configs")
DONE = "attempt.json"
HEAD = """# Records

What came out within a budget, from raw text, all counted but the scoring. Scores are means over seeds ± their standard
deviation; in brackets the difference from the first recipe of the table, 95 % interval and p of Welch's t-test over
seeds. Rendered by `python -m bench.record --table`, from the files in `records/`.

"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench.record", __doc__)
    add = parse.add_argument
    add("paths", nargs="+", type=Path, metavar="CONFIG", help="recipes; with --table: what --json wrote")
    add("--raw", type=Path, metavar="DIR", help="raw text, as `python -m babylm_data --raw` reads it")
    add("--prepared", type=Path, metavar="DIR", help="in its place: a data folder, which costs no minutes")
    add("--data", type=Path, metavar="DIR", help="the official evaluation data")
    add("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help=f"[{' '.join(TASKS)}]")
    add("--backend", help="by which models that read both ways are scored [causal]")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="[0 1 2]")
    add("--minutes", type=float, default=60.0, metavar="N", help="the budget [60]")
    add("--at-once", type=positive, default=1, metavar="N", help="teachers trained side by side [1]")
    add("--out", type=Path, default=Path("runs/record"), metavar="DIR", help="[runs/record]")
    add("--json", type=Path, metavar="FILE", help="write all attempts there")
    add("--table", type=Path, metavar="FILE", help="render records into this page, and train nothing")
    return parse


def main(argv: list[str]) -> int:
    """Make the attempts or the page; 1 if an attempt was over its budget."""
    args = parser().parse_args(argv)
    refuse_absent_folders(args.json, args.table)
    if args.table:
        records = [json_table(path) for path in args.paths]
        if unread := [str(path) for path, found in zip(args.paths, records, strict=True) if found is None]:
            raise UserError(f"{unread[0]} is no record: name files that --json wrote")
        write_whole(args.table, page(records))
        return 0
    if (args.raw is None) == (args.prepared is None) or args.data is None:
        raise UserError("name the text, --raw DIR or --prepared DIR, and the evaluation data, --data DIR")
    for path in (*args.paths, args.raw or args.prepared, args.data):
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
    if strange := [path for path in args.paths if path.resolve().parent not in CONFIGS]:
        raise UserError(f"{strange[0]}: a recipe is a file in distill/configs or train_teachers/configs")
    from babylm_data.speed import describe_rates
    from bench.gauges import device_type
    from bench.turns import machine

    about = machine() | {"products": describe_rates(device_type())}
    attempts = []
    for seed in args.seeds:
        for config in args.paths:
            attempts.append(attempt(args, config, seed))
            print(line(attempts[-1]), flush=True)
            if args.json:
                found = {"minutes": args.minutes, "machine": about, "attempts": attempts}
                write_whole(args.json, json.dumps(found, indent=1) + "\n")
    return int(any(each["minutes"] > args.minutes for each in attempts))


def attempt(args: argparse.Namespace, config: Path, seed: int) -> dict:
    """One recipe with one seed, from nothing to its scores; what was written of it if it is finished."""
    place = args.out.resolve() / f"{config.stem}-s{seed}"
    if found := json_table(place / DONE):
        return found
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    for package in PACKAGES:
        (place / package).symlink_to(ROOT / package)
    folders = {name: getattr(args, name) for name in ("raw", "prepared", "data")}
    folders = {name: path.resolve() for name, path in folders.items() if path}
    with contextlib.chdir(place):
        seconds, run = made(config.resolve().relative_to(ROOT), seed * STRIDE, folders, args.at_once)
        scores = scored(run, args, folders["data"])
        found = told(run) | {"recipe": config.stem, "seed": seed, "seconds": seconds, "scores": scores}
        found["minutes"] = sum(seconds.values()) / 60
        write_whole(Path(DONE), json.dumps(found, indent=1) + "\n")
    return found


def made(path: Path, seed: int, folders: dict[str, Path], at_once: int) -> tuple[dict[str, float], Path]:
    """Seconds of each stage, and the folder of the run that came out, here in the folder of an attempt."""
    from distill.config import DistillConfig
    from distill.course import carry_out
    from train_teachers.config import TrainConfig, load_config

    taught = path.parts[0] == "distill"
    config = load_config(DistillConfig if taught else TrainConfig, path)
    text, seconds = Path(config.data.path), {}
    text.parent.mkdir(parents=True, exist_ok=True)
    if "prepared" in folders:
        text.symlink_to(folders["prepared"])
    else:
        size = ["--vocab-size", str(config.data.vocab_size)] if config.data.vocab_size else []
        seconds["data"] = timed(["babylm_data", "--raw", str(folders["raw"]), "--out", str(text), *size])
    if not taught:
        seconds[config.name] = timed(["train_teachers", str(path), f"seed={seed}", "revisions=false"])
        return seconds, Path("runs") / config.name
    jobs, student = jobs_for(path, config, seed)
    teachers = {name: job for name, job in jobs.items() if job.kind == "teacher"}
    # the student last and alone, with all that the machine has
    for stage, made_now, abreast in (("teachers", teachers, at_once), ("student", jobs, 1)):
        begun = time.perf_counter()
        if failed := carry_out(made_now, Path.cwd(), abreast):
            raise UserError(failed[0])
        seconds[stage] = time.perf_counter() - begun
    return seconds, Path("runs") / student


def jobs_for(path: Path, config: "DistillConfig", seed: int) -> tuple[dict[str, "Job"], str]:
    """What a student needs, in order and itself last, and the name of its run; its teachers with seeds of their own."""
    from distill.cells import Study, cells_of
    from distill.jobs import jobs_of

    own = f"runs/{config.control().name}/export"
    fields = {
        f"teachers.{name}.path": "runs/{control}/export"
        for name, teacher in config.teachers.items()
        if teacher.path == own
    }
    study = Study(
        name=path.stem, base=str(path), fixed={"revisions": False}, beside={"student": fields}, seeds=[seed]
    )
    (cell,) = cells_of(study)
    jobs = jobs_of(study, [cell])
    needed = {cell.run}
    for job in reversed(jobs.values()):
        if job.name in needed:
            needed |= job.after
    wanted = {name: job for name, job in jobs.items() if name in needed}
    return {
        name: _seeded(job, seed) if job.kind == "teacher" else job for name, job in wanted.items()
    }, cell.run


def _seeded(job: "Job", seed: int) -> "Job":
    seed += job.config.seed
    config = job.config.model_copy(update={"seed": seed})
    return job._replace(words=[*job.words, f"seed={seed}"], config=config)


def timed(words: list[str]) -> float:
    """Seconds that a program of the kit took; UserError if it failed."""
    begun = time.perf_counter()
    if status := subprocess.run([sys.executable, "-m", *words]).returncode:
        raise UserError(f"python -m {shlex.join(words)} failed with status {status}")
    return time.perf_counter() - begun


def scored(run: Path, args: argparse.Namespace, data: Path) -> dict[str, float]:
    """{task: accuracy, or bits per byte} of a run."""
    from eval.compare.scored import headline, read_scored

    text = Path(json_table(run / "summary.json")["data"]) / "text/test"
    backend = ["--backend", args.backend] if args.backend else []
    words = ["eval", str(run / "export"), "--tasks", *args.tasks, "--data", str(data), "--text", str(text)]
    timed([*words, "--out", str(run / "eval"), *backend])
    return {task: headline(result) for task, result in read_scored(run / "eval").tasks.items()}


def told(run: Path) -> dict:
    """What a reader asks of a run."""
    summary, start = json_table(run / "summary.json"), json_table(run / "environment.json")
    kept = {name: summary[name] for name in ("parameters", "words_seen", "precision")}
    return kept | {name: start[name] for name in ("commit", "dirty", "started", "processor", "device")}


def line(found: dict) -> str:
    """An attempt in a line."""
    scores = ", ".join(f"{task} {value:.4f}" for task, value in found["scores"].items())
    return f"{found['recipe']}, seed {found['seed']}: {found['minutes']:.1f} min, {scores}"


def page(records: list[dict]) -> str:
    """The page of all records, the first given first."""
    return HEAD + "\n".join(section(record) for record in records)


def section(record: dict) -> str:
    """A table of one record: a row for each recipe, means over seeds."""
    from scipy.stats import ttest_ind

    about, attempts = record["machine"], record["attempts"]
    recipes = {each["recipe"]: [] for each in attempts}
    for each in attempts:
        recipes[each["recipe"]].append(each)
    first, *_ = recipes.values()
    tasks = list(first[0]["scores"])
    commits = sorted(
        {f"`{each['commit'][:10]}`{' with changes' if each['dirty'] else ''}" for each in attempts}
    )
    on = about["processor"] if about["device"] == "cpu" else about["device"]
    lines = [
        f"## {record['minutes']:g} minutes on {on}",
        "",
        f"{about['started'][:10]}, {about['products']}, commit {', '.join(commits)}: `{about['command']}`",
        "",
        "| recipe | seeds | parameters | words of exposure | minutes | "
        + " | ".join(map(title, tasks))
        + " |",
        "| --- " + "| ---: " * (4 + len(tasks)) + "|",
    ]
    for name, runs in recipes.items():
        cells = [spread([run["minutes"] for run in runs], ".1f")]
        for task in tasks:
            mine, theirs = ([run["scores"][task] for run in side] for side in (runs, first))
            scale, form = (1, ".4f") if task == "perplexity" else (100, ".2f")
            told = spread([scale * value for value in mine], form)
            if runs is not first and min(len(mine), len(theirs)) > 1:
                test = ttest_ind(mine, theirs, equal_var=False)
                low, high = (scale * end for end in test.confidence_interval())
                told += f" ({low:+{form}} to {high:+{form}}, p = {test.pvalue:.2g})"
            cells.append(told)
        row = [name, str(len(runs)), f"{runs[0]['parameters']:,}", f"{runs[0]['words_seen']:,}", *cells]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def title(task: str) -> str:
    """Of a column."""
    from eval.tasks import title as named

    return "held-out text, bits per byte" if task == "perplexity" else f"{named(task)}, %"


def spread(values: list[float], form: str) -> str:
    """Mean ± standard deviation; one value alone."""
    if len(values) < 2:
        return f"{values[0]:{form}}"
    return f"{fmean(values):{form}} ± {stdev(values):{form}}"


if __name__ == "__main__":
    run_stage(main)

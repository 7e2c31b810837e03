"""Who carries a request to fine-tune out: trains what is not there yet, writes the results, says what came of it."""

import difflib
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import utf8_text
from babylm_data.sealed import write_whole
from babylm_data.status import tell
from eval.finetune import glue
from eval.finetune.request import FinetuneRequest
from eval.finetune.runner import Job, Runner, read_job
from eval.finetune.tuning_folder import TuningFolder, asked, tuning_table
from eval.results.scores import called
from eval.scorer.model import find_model, model_sha256


def finetune(request: FinetuneRequest) -> None:
    """Read every task, find every fault, then train what is not there yet."""
    tree = tree_folder(request)
    jobs = [read_job(name, request.data, request.limit) for name in request.tasks]
    if tree:
        check_official(jobs)
    folder = find_model(request.model)
    if request.out.resolve() == folder.resolve():
        raise UserError(
            "--out is the model's own folder, and results in it would change the model: name another"
        )
    header = {
        "model": request.model,
        "model_sha256": model_sha256(folder),
        "random_weights": request.random_weights,
    }
    out = TuningFolder(request.out, header, submitted=request.seeds[0])
    made = stamp(request)
    runner, parts = Runner(folder, request), len(jobs) * len(request.seeds)
    for place, job in enumerate(jobs):
        settings = runner.settings(job)
        question = asked(job.files, asdict(settings))
        for turn, seed in enumerate(request.seeds, start=place * len(request.seeds)):
            tell(None, "finetune", request.model, turn, parts, goes_on=True)
            if out.finished(job.task, seed, question):
                print(f"{job.task}, seed {seed}: already there, from this model, data and settings")
                continue
            result, predictions = runner.run(job, settings, seed)
            out.add(job.task, seed, question, result | made, predictions)
        out.gather(job.task, question)
        if tree and job.task in glue.OFFICIAL:
            source = out.place(job.task, request.seeds[0]) / "predictions.json"
            write_whole(tree / job.task / source.name, utf8_text(source, "fine-tune again"))
    tell(None, "finetune", request.model, parts, parts, goes_on=False)
    print(tuning_table({name: out.content["tasks"][name] for name in request.tasks}))


def check_names(tasks: Iterable[str]) -> tuple[str, ...]:
    """The tasks asked for, each once; a UserError with the nearest name for one that does not exist."""
    known = [*glue.TASKS, "squad"]
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise UserError(f"there is no task {task!r} to fine-tune on: {hint}")
    return tuple(dict.fromkeys(tasks))


def tree_folder(request: FinetuneRequest) -> Path | None:
    """Where predictions go in the results tree, or None if they go in none; UserError for what must not go there."""
    if request.tree is None:
        return None
    unfit = {
        "--limit": request.limit,
        "--train-limit": request.train_limit,
        "--random-weights": request.random_weights,
    }
    if asked_for := [option for option, value in unfit.items() if value]:
        raise UserError(
            f"--results is for a trained model and whole tasks: leave out {asked_for[0]}, or --results"
        )
    return request.tree.root / request.tree.model / request.tree.revision / "finetune"


def check_official(jobs: list[Job]) -> None:
    """A UserError for rows that the official collator would refuse, and a line about tasks that it does not know."""
    for job in jobs:
        if job.task in glue.OFFICIAL and len(job.valid) != glue.TASKS[job.task].official_rows:
            raise UserError(
                f"{job.notes[0]}: fetch it again, leave {job.task} out, or leave out --results, "
                "which is for the official rows"
            )
    if strangers := [job.task for job in jobs if job.task not in glue.OFFICIAL]:
        print(f"the official results tree has no place for {', '.join(strangers)}: only --out gets them")


def stamp(request: FinetuneRequest) -> dict:
    """What each result says about its making."""
    libraries = ("torch", "transformers", "tokenizers", "scikit-learn")
    return {
        **called(request.PROGRAM, request.words),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in libraries},
    }

"""Who carries a request out: scores what is not there yet, writes the results, says what came of it."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.status import tell
from eval.results.jobs import Job, read_jobs
from eval.results.json_files import read_json
from eval.results.official_tree import ResultsTree, refuse_one_place
from eval.results.request import ScoreRequest
from eval.results.scores import ScoreFile, called, task_key
from eval.results.scores_table import scores_table
from eval.scorer.items import TooLong
from eval.scorer.model import find_model, load_for_scoring, model_sha256, weights_sha256


def score(request: ScoreRequest, jobs: Sequence[Job] | None = None) -> None:
    """Read everything, find every fault, then load the model and score what is not yet scored.

    `jobs`: the tasks, where they have been read already.
    """
    if request.tree:
        refuse_one_place(request.tasks.names)
    jobs = read_jobs(request.tasks) if jobs is None else jobs
    for job in jobs:
        if job.note:
            print(job.note)
    folder = find_model(request.model)
    if request.out.resolve() == folder.resolve():
        raise UserError(
            "--out is the model's own folder, and scores in it would change the model: name another"
        )
    identity = {"weights_sha256": weights_sha256(folder), "model_sha256": model_sha256(folder)}
    file = ScoreFile(request.out, {"model": request.model, **identity})
    refused = score_jobs(jobs, folder, file, request)
    done = [job for job in jobs if job.task not in refused]
    if request.tree:
        write_tree(done, file, request.tree, request.tasks.data)
    print(scores_table({job.task: file.scores["tasks"][job.task] for job in done}))
    if refused:
        more = f" ({len(refused)} tasks have no result: {', '.join(refused)})" if len(refused) > 1 else ""
        raise UserError(f"{next(iter(refused.values()))}{more}")


def score_jobs(
    jobs: Sequence[Job], folder: Path, file: ScoreFile, request: ScoreRequest
) -> dict[str, UserError]:
    """Score what the file does not hold yet; the model is loaded only if there is any. Task -> why it was refused."""
    keys = {job.task: task_key(file.scores["model_sha256"], job.measured_on) for job in jobs}
    waiting = [job for job in jobs if not file.has(job.task, keys[job.task])]
    for job in jobs:
        if job not in waiting:
            print(f"{job.task}: already scored with this model, data and settings in {request.out}")
            job.tell_again(file)
    if not waiting:
        return {}
    from eval.scorer.log_probs import Scorer

    tasks = request.tasks
    model, tokenizer = load_for_scoring(
        folder, device=request.device, dtype=tasks.dtype, backend=tasks.backend
    )
    scorer = Scorer(model, tokenizer, backend=tasks.backend, batch_tokens=request.batch_tokens)
    file.scores["parameters"] = model.num_parameters()
    made = stamp(request)  # once: the tasks of one call are one line in a list of commands
    refused = {}
    for place, job in enumerate(waiting, start=len(jobs) - len(waiting)):
        tell(None, "eval", request.model, place, len(jobs), goes_on=True)
        try:
            result, details = job.run(scorer)
        except UserError as error:  # what one task lacks is no reason to leave out the others
            refused[job.task] = error
            if isinstance(error, TooLong):
                file.refuse(job.task, str(error))
            print(f"{job.task} has no result: {error}")
            continue
        file.add(job.task, keys[job.task], result | made | {"measured_on": job.measured_on}, details)
    tell(None, "eval", request.model, len(jobs) - len(refused), len(jobs), goes_on=False)
    return refused


def stamp(request: ScoreRequest) -> dict:
    """What each result of one call says about its making; those of one `scores.json` may come from several."""
    return {
        **called(request.PROGRAM, request.words),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers")},
        },
    }


def write_tree(jobs: Sequence[Job], file: ScoreFile, tree: ResultsTree, data: Path | None) -> None:
    """The official results tree, from the files of the scores: also of what was scored before."""
    written = []
    for job in jobs:
        if job.questions:
            result = file.scores["tasks"][job.task]
            details = [
                read_json(file.path(job.task, name), "score again") for name in ("predictions", "items")
            ]
            written.append(tree.write(job.task, job.questions, result, *details))
    print(f"wrote {sum(place is not None for place in written)} tasks below {tree.folder}")
    print(f"the official collator finds them with {tree.collator_arguments}")
    if tree.revision == "main" and data:
        print(
            f"and with those of all revisions beside them by adding {tree.fast_arguments(data)} (or your track)"
        )

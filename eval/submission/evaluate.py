"""Score all that a submission needs: the full suite on the final model and on what stands beside it (teachers and
control), the fast suite and the surprisals of words on every revision, fine-tuning. What is scored already is not
scored again, so a call that was stopped goes on with the same line.

    python -m eval.submission evaluate runs/x --data evaluation_data --text runs/x-data/text
    python -m eval.submission evaluate runs/x --data evaluation_data --list      # what is missing, and no more
    python -m eval.submission evaluate runs/x --data evaluation_data --check     # are all data there? before training

writes RUN/eval, RUN/eval_revisions/chck_1M …, RUN/finetune, RUN/aoa, RUN/results (the official tree of 2025; of other
rules RUN/results-2026 …), and eval/ in the run folders of teachers and control; with --limit, the same below trial/ in
these folders, and no tree
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from babylm_data.errors import UserError, from_zero, positive
from babylm_data.status import tell
from eval.aoa.fit import AgesRequest, fit, read_human
from eval.finetune.finetuning import finetune
from eval.finetune.request import FinetuneRequest
from eval.results.jobs import print_contents
from eval.results.json_files import read_json
from eval.results.official_tree import ResultsTree
from eval.results.request import Request, ScoreRequest, TaskSet
from eval.results.workers import alone, score_each
from eval.runs.lineup import read_lineup
from eval.runs.origins import taught_by
from eval.runs.revisions import SCORES, revisions
from eval.runs.run_folder import BACKENDS_OF, Run, backend_of, read_run, read_summary, reads_of
from eval.scorer.model import BACKENDS
from eval.submission.bundled_tree import own_tree
from eval.submission.leaderboard import gather, lacking
from eval.submission.rules import Rules, add_rules, load_rules
from eval.submission.scope import (
    EvaluateRequest,
    Scope,
    beside_it,
    read_scope,
    refuse_known_faults,
    refuse_shared_places,
)

TRIAL = "trial"
GIB = 2**30
A_PROCESS = 1.5 * GIB  # libraries, a batch and its logits
TIMES_WEIGHTS = 4  # float32 weights, a bfloat16 copy, activations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a student's run folder, finished")
    add("--data", type=Path, required=True, metavar="DIR", help="folder that holds full_eval/ and fast_eval/")
    add("--text", nargs="+", default=[], metavar="PATH", help="held-out text: perplexity too")
    add_rules(add)
    add(
        "--full",
        nargs="+",
        metavar="TASK",
        help="of the final model and those beside it [those of the rules]",
    )
    add("--fast", nargs="+", metavar="TASK", help="of every revision [those of the rules, and aoa]")
    add(
        "--backend",
        choices=BACKENDS,
        help="how choices are scored, where a student learned two ways [causal]",
    )
    add("--glue", nargs="*", metavar="TASK", help="to fine-tune the final model on [those of the rules]")
    add(
        "--seeds",
        type=from_zero,
        nargs="+",
        default=[42],
        metavar="N",
        help="of fine-tuning; the first is submitted [42]",
    )
    add("--epochs", type=positive, metavar="N", help="of fine-tuning [the task's]")
    add("--partial", action="store_true", help="leave out what --data lacks, and say so")
    add(
        "--limit",
        type=positive,
        metavar="N",
        help="first N items of each subtask, for trying: all is written below trial/ in the run folders, "
        "and no results tree",
    )
    add("--processes", type=positive, metavar="N", help="models scored at a time [as many as fit]")
    add("--list", action="store_true", help="say what is missing, score nothing")
    add("--check", action="store_true", help="look at the data alone, before there is a RUN")


def evaluate(request: EvaluateRequest) -> int | None:
    """Name what is missing, then score it; 1 if `list` found anything missing."""
    rules = load_rules(request.rules)
    if rules.note:
        print(rules.noted)
    if request.check:
        return check_data(read_scope(None, rules, request), request)
    run = read_run(request.run, "student", scored=False)
    if request.list:
        read_scope(run, rules, replace(request, partial=True))
        return list_missing(run, rules)
    scope = read_scope(run, rules, request)
    refuse_known_faults(run, scope, request)
    scoring, tuning = score_requests(run, scope, request), finetune_request(run, scope, request)
    with telling(run.folder / TRIAL if request.limit else run.folder, scoring, tuning):
        carry_out(run, scope, request, scoring, tuning)
    return None


def carry_out(
    run: Run,
    scope: Scope,
    request: EvaluateRequest,
    scoring: list[ScoreRequest],
    tuning: FinetuneRequest | None,
) -> None:
    """Do all of it; a UserError in the end if a part failed."""
    processes = request.processes or fitting_processes([Path(each.model) for each in scoring])
    teachers, failed = {f"{folder}/export" for folder in taught_by(run)}, 0
    for each, (said, status) in zip(scoring, score_each(scoring, processes), strict=True):
        print(f"== {each.command}\n{said}", flush=True)
        if each.model in teachers and status == 2 and refused_tasks(each.out):
            print("a teacher has no score of some tasks, see above: what build cannot do without it refuses")
        else:
            failed += bool(status)
    failed += carried_out(ages_request(run, scope, request), fit)
    failed += carried_out(tuning, finetune)
    if failed:
        raise UserError(
            f"{failed} parts did not end well: see above, and what --list says; the same command goes on"
        )


@contextmanager
def telling(folder: Path, scoring: list[ScoreRequest], tuning: FinetuneRequest | None) -> Iterator[None]:
    """Have status.json in the folder tell, before and after, how many of the results asked for are there."""
    asked = sum(len(each.tasks.names) for each in scoring)
    asked += len(tuning.tasks) * len(tuning.seeds) if tuning else 0
    goes_on = True
    tell(folder, "evaluate", folder.name, results_of(scoring, tuning), asked, goes_on=goes_on)
    try:
        yield
        goes_on = False
    finally:
        tell(folder, "evaluate", folder.name, results_of(scoring, tuning), asked, goes_on=goes_on)


def results_of(scoring: list[ScoreRequest], tuning: FinetuneRequest | None) -> int:
    """How many results are there: of each model's tasks, and of fine-tuning."""
    done = 0
    for each in scoring:
        with suppress(UserError):  # none yet, or damaged, which is told when its turn comes
            done += len(
                set(each.tasks.names) & {*read_json(each.out / "scores.json", "", ("tasks",))["tasks"]}
            )
    places = (
        [tuning.out / task / f"seed-{seed}" for task in tuning.tasks for seed in tuning.seeds]
        if tuning
        else []
    )
    return done + sum((place / "result.json").is_file() for place in places)


def check_data(scope: Scope, request: EvaluateRequest) -> None:
    """Read the data of all that is asked, without a model."""
    if scope.human:
        read_human(scope.human)
    refuse_shared_places(scope)
    names = dict.fromkeys([*scope.full, *scope.fast, *(["perplexity"] if request.text else [])])
    print_contents(TaskSet(tuple(names), request.data, request.text))


def carried_out(request: Request | None, action: Callable[[Any], None]) -> bool:
    """Whether a part, if there is one, failed; it says why, and the others go on."""
    if request is None:
        return False
    print(f"== {request.command}", flush=True)
    return bool(alone(action, request))


def refused_tasks(out: Path) -> dict[str, str]:
    """What a model with fewer positions could not be asked, by the scores of the call that has just ended."""
    path = out / "scores.json"
    return read_json(path, "score again").get("refused", {}) if path.is_file() else {}


def list_missing(run: Run, rules: Rules) -> int:
    """Print what the submission would lack, and whether that is anything."""
    unread = []
    try:
        run = read_lineup(run.folder).student
    except UserError as error:
        unread = [str(error)]
        with suppress(UserError):
            run = read_run(run.folder, "student")
    missing = lacking(run, gather(run, rules), rules) + unread
    for line in missing:
        print(f"missing: {line}")
    print(f"{len(missing)} parts are missing" if missing else "nothing is missing")
    return int(bool(missing))


def score_requests(run: Run, scope: Scope, request: EvaluateRequest) -> list[ScoreRequest]:
    """One for each model, the student first, then what stands beside it, then its revisions."""
    folder, below = run.folder, TRIAL if request.limit else ""
    own, found = backend_of(run.summary, request.backend), []
    for beside in [folder, *beside_it(run)]:
        backend = own if beside == folder else like(own, read_summary(beside))
        tree = results_tree(run, request) if beside == folder else None
        tasks = tasks_for(scope.full, request, backend, text=bool(request.text))
        found.append(ScoreRequest(f"{beside}/export", tasks, beside / below / "eval", tree))
    fast = tasks_for(scope.fast, request, own)
    out = folder / below / SCORES
    for revision in revisions(run):
        tree = results_tree(run, request, revision.name)
        found.append(ScoreRequest(str(revision.export), fast, out / revision.name, tree))
    return found


def like(backend: str, summary: dict) -> str:
    """The way in which a model is scored beside one that is scored in this: the same, if it can be."""
    return backend_of(summary, backend if backend in BACKENDS_OF[reads_of(summary)] else None)


def tasks_for(names: Sequence[str], request: EvaluateRequest, backend: str, *, text: bool = False) -> TaskSet:
    """Tasks, and held-out text if it is given, as far as a model that is scored in this way has an answer."""
    names = dict.fromkeys([*names, *(["perplexity"] if text else [])])
    if backend != "causal":
        names.pop("perplexity", None)
    texts = request.text if "perplexity" in names else ()
    return TaskSet(tuple(names), request.data, texts, limit=request.limit, backend=backend)


def ages_request(run: Run, scope: Scope, request: EvaluateRequest) -> AgesRequest | None:
    """That of the revisions' surprisals, if ages of acquisition are due."""
    if not (scope.human and revisions(run)):
        return None
    scored, export = run.folder / SCORES, f"{run.folder}/export"
    return AgesRequest((scored,), scope.human, run.folder / "aoa", export, results_tree(run, request))


def finetune_request(run: Run, scope: Scope, request: EvaluateRequest) -> FinetuneRequest | None:
    """That of the student, if there are tasks to fine-tune on."""
    if not scope.glue:
        return None
    return FinetuneRequest(
        model=f"{run.folder}/export",
        tasks=tuple(scope.glue),
        data=(request.data,),
        out=run.folder / (TRIAL if request.limit else "") / "finetune",
        seeds=request.seeds,
        epochs=request.epochs,
        limit=request.limit,
        tree=results_tree(run, request),
    )


def results_tree(run: Run, request: EvaluateRequest, revision: str = "main") -> ResultsTree | None:
    """That of the run; a trial goes into none."""
    if request.limit:
        return None
    return own_tree(run, request.rules, revision, backend_of(run.summary, request.backend))


def fitting_processes(exports: list[Path]) -> int:
    """How many of these models can be scored at a time: one a core, or one a part of the GPU's memory, and no more than
    fit of the largest.
    """
    import psutil
    import torch

    sizes = (sum(path.stat().st_size for path in export.glob("*.safetensors")) for export in exports)
    need = A_PROCESS + TIMES_WEIGHTS * max(sizes)
    if torch.cuda.is_available():
        free = torch.cuda.mem_get_info()[0]
    else:
        free = psutil.virtual_memory().available
    return max(1, min(len(exports), os.cpu_count() or 1, int(free // need)))

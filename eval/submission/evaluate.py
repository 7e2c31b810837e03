"""Score all that a submission needs: the full suite on the final model and on what stands beside it (teachers and
control), the fast suite and the surprisals of words on every revision, fine-tuning. What is scored already is not
scored again, so a call that was stopped goes on with the same line.

    python -m eval.submission evaluate runs/x --data evaluation_data --text runs/x-data/text
    python -m eval.submission evaluate runs/x --data evaluation_data --list      # what is missing, and no more
    python -m eval.submission evaluate runs/x --data evaluation_data --check     # are all data there? before training

writes RUN/eval, RUN/eval_revisions/chck_1M …, RUN/finetune, RUN/aoa, RUN/results (the official tree), and eval/ in the
run folders of teachers and control; with --limit, the same below trial/ in these folders, and no tree
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from babylm_data.errors import UserError, from_zero, positive
from eval.aoa.__main__ import read_human
from eval.results.json_files import read_json
from eval.results.many import score_each
from eval.results.official_tree import model_name
from eval.runs.lineup import read_lineup
from eval.runs.origins import taught_by
from eval.runs.revisions import SCORES, revisions
from eval.runs.run_folders import Run, read_run
from eval.submission.asked import Asked, beside_it, read_asked, refuse_known_faults
from eval.submission.leaderboard import gather, lacking
from eval.submission.rules import Rules, add_rules, load_rules

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


def main(args: argparse.Namespace) -> int | None:
    """Name what is missing, then score it; 1 if --list found anything missing."""
    rules = load_rules(args.rules)
    if args.check:
        return check_data(read_asked(None, rules, args), args)
    run = read_run(args.run, "student", scored=False)
    if args.list:
        args.partial = True
    asked = read_asked(run, rules, args)
    if args.list:
        return list_missing(run, rules)
    refuse_known_faults(run, asked, args)
    calls = commands(run, asked, args)
    scoring = [call for call in calls if call[0] == "eval"]
    processes = args.processes or fitting_processes([Path(call[1]) for call in scoring])
    teachers, failed = {f"{folder}/export" for folder in taught_by(run)}, 0
    for call, (said, status) in zip(
        scoring, score_each([call[1:] for call in scoring], processes), strict=True
    ):
        print(f"== python -m {shlex.join(call)}\n{said}", flush=True)
        if call[1] in teachers and status == 2 and refused_tasks(call):
            print("a teacher has no score of some tasks, see above: what build cannot do without it refuses")
        else:
            failed += bool(status)
    for call in calls[len(scoring) :]:
        print(f"== python -m {shlex.join(call)}", flush=True)
        failed += bool(ended(call))
    if failed:
        raise UserError(
            f"{failed} parts did not end well: see above, and what --list says; the same command goes on"
        )
    return None


def check_data(asked: Asked, args: argparse.Namespace) -> int:
    """Read the data of all that is asked, without a model; how that ended."""
    if asked.human:
        read_human(asked.human)
    names = dict.fromkeys([*asked.full, *asked.fast, *(["perplexity"] if args.text else [])])
    text = ["--text", *args.text] if args.text else []
    return ended(["eval", "--check", "--tasks", *names, "--data", str(args.data), *text]) if names else 0


def ended(command: list[str]) -> int:
    """The exit status of a program of ours, which is stopped if this one is."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    program = subprocess.Popen([sys.executable, "-m", *command])
    try:
        return program.wait()
    finally:  # also on SIGTERM and Ctrl-C; one that has ended is not there to stop
        program.terminate()
        program.wait()
        signal.signal(signal.SIGTERM, before)


def refused_tasks(command: list[str]) -> dict[str, str]:
    """What a model with fewer positions could not be asked, by the scores of the call that has just ended."""
    path = Path(command[command.index("--out") + 1]) / "scores.json"
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


def commands(run: Run, asked: Asked, args: argparse.Namespace) -> list[list[str]]:
    """The calls of the other programs that make up the whole evaluation, each of which knows what it has done: first
    those of `python -m eval`, one a model.
    """
    folder, data = run.folder, ["--data", str(args.data)]
    limit, below = (["--limit", str(args.limit)], TRIAL) if args.limit else ([], "")
    name = model_name(str(folder / "export"))
    tree = [] if limit else ["--results", str(folder / "results"), "--model-name", name]
    full = [*asked.full, *(["perplexity"] if args.text else [])]
    text = ["--text", *args.text] if args.text else []
    calls = []
    for beside in [folder, *beside_it(run)]:
        options = [*data, *text, *limit, "--out", str(beside / below / "eval")]
        own = tree if beside == folder else []
        calls.append(["eval", f"{beside}/export", "--tasks", *full, *options, *own])
    found, out = revisions(run), folder / below / SCORES
    text = text if "perplexity" in asked.fast else []
    for revision in found:
        options = [*data, *text, *limit, "--out", str(out / revision.name)]
        own = ["--revision", revision.name, *tree] if tree else []
        calls.append(["eval", str(revision.export), "--tasks", *asked.fast, *options, *own])
    if found and asked.human:
        options = ["--human", str(asked.human), "--tokenizer", f"{folder}/export"]
        calls.append(["eval.aoa", str(out), *options, "--out", f"{folder}/aoa", *tree])
    if asked.glue:
        seeds = ["--seeds", *map(str, args.seeds)]
        epochs = ["--epochs", str(args.epochs)] if args.epochs else []
        options = [*data, *seeds, *epochs, *limit, "--out", str(folder / below / "finetune")]
        calls.append(["eval.finetune", f"{folder}/export", "--tasks", *asked.glue, *options, *tree])
    return calls


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

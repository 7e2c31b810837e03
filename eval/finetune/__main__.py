"""python -m eval.finetune runs/nursery/export --tasks rte mrpc --data evaluation_data --out runs/nursery/finetune

Fine-tune a model on (Super)GLUE tasks and SQuAD, with several seeds, and score it on their validation sets.
"""

import argparse
import difflib
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError, from_zero, positive, run_stage
from babylm_data.sealed import write_whole
from eval.finetune import glue, squad
from eval.finetune.results import TuningFolder, asked, table
from eval.finetune.runner import Job, Runner, read_job
from eval.results.scores import called
from eval.scorer.model import find_model, model_sha256

DESCRIPTION = """\
Fine-tune a model on each task, once per seed, and score it on the task's validation set.

reads   MODEL             a Hugging Face folder or hub name: a causal model (llama, gpt2 ...) or an encoder (bert ...)
        --data DIR ...    the official evaluation_data, or folders with <task>.train.jsonl and <task>.valid.jsonl,
                          sst2/train.tsv and dev.tsv, squad/train-v1.1.json and dev-v1.1.json
writes  --out DIR         DIR/<task>/seed-<n>/{predictions.json, result.json}, and DIR/finetune.json: mean and spread,
                          and which seed a submission holds: the first of --seeds
        --results DIR     DIR/<model>/<revision>/finetune/<task>/predictions.json for the official collator,
                          of the seven tasks that it knows

Causal models are read at their last real token, encoders at the first. `--head official --pool first` is the way of
the challenge's own program: its head, no segment ids, nothing between two texts, plain shuffling. The epoch with the
best validation score is kept, as there (SQuAD: the last). Defaults are the official ones: lr 3e-5, batch 32 (BoolQ,
MultiRC 16), 10 epochs (WSC 30), 512 tokens; SQuAD: lr 5e-5, batch 16, 2 epochs, windows of 384 tokens.

A result that is there already, from the same model, data, settings and seed, is not made again."""

EXAMPLE = """\
example: python -m eval.finetune runs/nursery/export --tasks rte mrpc --seeds 1 2 3 \\
           --data evaluation_data --out runs/nursery/finetune"""

LENGTH_HELP = f"most tokens of an input [{glue.GlueTask.max_length}; SQuAD {squad.TASK.max_length}]"


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a learning rate between 0 and 1")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m eval.finetune",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parse.add_argument
    add("model", metavar="MODEL", help="model folder, or a hub name")
    add("--tasks", nargs="+", required=True, metavar="TASK", help=", ".join([*glue.TASKS, "squad"]))
    add("--data", nargs="+", type=Path, required=True, metavar="DIR", help="folders with the tasks' files")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add("--seed", type=from_zero, default=42, metavar="N", help="of the new head, dropout and order [42]")
    add("--seeds", type=from_zero, nargs="+", metavar="N", help="several: each task is run once with each")
    add("--limit", type=positive, metavar="N", help="first N training and validation examples, for trying")
    add("--train-limit", type=positive, metavar="N", help="N training examples, drawn by the seed [all]")
    add("--epochs", type=positive, metavar="N", help="passes over the training examples [the task's]")
    add("--lr", type=_rate, metavar="X", help="highest learning rate [the task's]")
    add("--batch-size", type=positive, metavar="N", help="sequences a step [the task's]")
    add("--max-length", type=positive, metavar="N", help=LENGTH_HELP)
    add(
        "--stride",
        type=positive,
        default=squad.TASK.stride,
        metavar="N",
        help=f"tokens that SQuAD windows share [{squad.TASK.stride}]",
    )
    add("--head", choices=glue.HEADS, default=glue.HEADS[0], help="of the classification tasks [plain]")
    add("--pool", choices=glue.POOLS, help="token that is read [last; encoders first]")
    add(
        "--random-weights",
        action="store_true",
        help="start from random weights of the same config, as a control",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... [auto]")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: mixed precision [fp32]")
    add(
        "--results",
        type=Path,
        metavar="DIR",
        help="write the first seed's predictions into this results tree too",
    )
    add("--revision", default="main", metavar="NAME", help="revision in the results tree [main]")
    add("--model-name", metavar="NAME", help="model name in the results tree [its folder's name]")
    return parse


def check_names(tasks: list[str]) -> list[str]:
    """The tasks asked for, each once; a UserError with the nearest name for one that does not exist."""
    known = [*glue.TASKS, "squad"]
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise UserError(f"there is no task {task!r} to fine-tune on: {hint}")
    return list(dict.fromkeys(tasks))


def tree_folder(args: argparse.Namespace) -> Path | None:
    """Where predictions go in the results tree, or None if they go in none; UserError for what must not go there."""
    if args.results is None:
        return None
    unfit = {
        "--limit": args.limit,
        "--train-limit": args.train_limit,
        "--random-weights": args.random_weights,
    }
    if asked_for := [option for option, value in unfit.items() if value]:
        raise UserError(
            f"--results is for a trained model and whole tasks: leave out {asked_for[0]}, or --results"
        )
    from eval.results.official_tree import ResultsTree, model_name

    tree = ResultsTree(args.results, args.model_name or model_name(args.model), args.revision)
    return tree.root / tree.model / tree.revision / "finetune"


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


def stamp(argv: list[str]) -> dict:
    """What each result says about its making."""
    libraries = ("torch", "transformers", "tokenizers", "scikit-learn")
    return {
        **called("eval.finetune", argv),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in libraries},
    }


def main(argv: list[str]) -> None:
    """Read every task, find every fault, then train what is not there yet."""
    args = parser().parse_args(argv)
    names, tree = check_names(args.tasks), tree_folder(args)
    jobs = [read_job(name, args.data, args.limit) for name in names]
    if tree:
        check_official(jobs)
    folder = find_model(args.model)
    if args.out.resolve() == folder.resolve():
        raise UserError(
            "--out is the model's own folder, and results in it would change the model: name another"
        )
    header = {
        "model": args.model,
        "model_sha256": model_sha256(folder),
        "random_weights": args.random_weights,
    }
    seeds = list(dict.fromkeys(args.seeds or [args.seed]))
    out = TuningFolder(args.out, header, submitted=seeds[0])
    made = stamp(argv)
    runner = Runner(folder, args)
    for job in jobs:
        settings = runner.settings(job)
        question = asked(job.files, asdict(settings))
        for seed in seeds:
            if out.finished(job.task, seed, question):
                print(f"{job.task}, seed {seed}: already there, from this model, data and settings")
                continue
            result, predictions = runner.run(job, settings, seed)
            out.add(job.task, seed, question, result | made, predictions)
        out.gather(job.task, question)
        if tree and job.task in glue.OFFICIAL:
            source = out.place(job.task, seeds[0]) / "predictions.json"
            write_whole(tree / job.task / source.name, source.read_text(encoding="utf-8"))
    print(table({name: out.content["tasks"][name] for name in names}))


if __name__ == "__main__":
    run_stage(main)

"""python -m eval runs/nursery/export --tasks nursery perplexity --data runs/nursery-data/evaluation_data \
          --text runs/nursery-data/text --out runs/nursery/eval

Score a Hugging Face model on zero-shot tasks and on held-out text.
"""

import argparse
import platform
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError, positive, run_stage
from eval.results.jobs import Job, asked_tasks, read_job
from eval.results.json_files import read_json
from eval.results.many import score_all
from eval.results.official_tree import ResultsTree, model_name
from eval.results.scores import ScoreFile, called, measured_on, task_key
from eval.results.table import table
from eval.scorer.items import TooLong
from eval.scorer.model import BACKENDS, DTYPES, find_model, load, model_sha256, weights_sha256
from eval.tasks import TASKS, extent_note
from eval.tasks.choices import TIE_RULES
from eval.tasks.perplexity import WINDOW

DESCRIPTION = """\
Score a language model: the zero-shot tasks of the challenge, cross-entropy on held-out text.

reads   MODEL             a Hugging Face folder (config.json, *.safetensors, tokenizer) or a hub name
        --data DIR        DIR/full_eval/<task>/ and DIR/fast_eval/<task>/, as the official download has them
        --text PATH …     files, or folders of *.txt, *.dev, *.test, *.raw; a blank line ends a document
writes  --out DIR         DIR/scores.json, DIR/<task>/predictions.json in the official form, and
                  DIR/<task>/items.json: the best choices and what each item earned, to compare two models;
                  for several models, the same in DIR/<model's name>/

A tie between k choices is worth 1/k and is counted. A score that is NaN or infinite refuses its whole task and
says how many items have one: a broken model has no accuracy (the official scorer would call those items right).
Data with other numbers of rows than the official ones are scored, and the result is marked partial.

A task whose result is already in DIR, from the same model, data and settings, is not run again. With the other --ties
it is rewritten from items.json, without the model; its time and command stay those of the run."""

EXAMPLE = """\
example: python -m eval runs/nursery/export --tasks nursery perplexity \\
           --data runs/nursery-data/evaluation_data --text runs/nursery-data/text --out runs/nursery/eval"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m eval",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    tasks = ", ".join(["full or fast (the official lists)", *TASKS, "perplexity"])
    parse.add_argument("model", metavar="MODEL", nargs="*", help="model folders, or hub names")
    parse.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help=tasks)
    parse.add_argument("--out", type=Path, metavar="DIR", help="folder for the scores")
    parse.add_argument("--data", type=Path, metavar="DIR", help="folder that holds full_eval/ and fast_eval/")
    parse.add_argument("--text", nargs="+", default=[], metavar="PATH", help="held-out text for perplexity")
    parse.add_argument("--max-words", type=positive, metavar="N", help="first N words of each text [all]")
    parse.add_argument(
        "--window",
        type=positive,
        default=WINDOW,
        metavar="N",
        help=f"most tokens that a prediction in held-out text may look at [{WINDOW}]",
    )
    parse.add_argument("--limit", type=positive, metavar="N", help="first N items of each subtask [all]")
    parse.add_argument(
        "--ties",
        choices=TIE_RULES,
        default=TIE_RULES[0],
        help="a tie between k choices is worth 1/k, or goes to the first choice; both are reported [shared]",
    )
    parse.add_argument("--partial", action="store_true", help="leave out what --data lacks, and say so")
    parse.add_argument(
        "--backend", choices=BACKENDS, default="causal", help="what the model was trained to predict [causal]"
    )
    parse.add_argument(
        "--batch-tokens", type=positive, metavar="N", help="tokens a batch [1024 on a CPU, 16384 on a GPU]"
    )
    parse.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … [auto]")
    parse.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights [float32]")
    tree = parse.add_argument_group("official results tree, for the official collator")
    tree.add_argument("--results", type=Path, metavar="DIR", help="also write the predictions there")
    tree.add_argument(
        "--model-name", metavar="NAME", help="the model's folder in it [the run's or MODEL's name]"
    )
    tree.add_argument("--revision", default="main", metavar="NAME", help="chck_1M …, main [main]")
    parse.add_argument(
        "--processes", type=positive, default=1, metavar="N", help="of several models, how many at a time [1]"
    )
    parse.add_argument("--check", action="store_true", help="read the data, say what is there, score nothing")
    return parse


def stamp(argv: list[str]) -> dict:
    """What each result of one call says about its making; those of one `scores.json` may come from several."""
    return {
        **called("eval", argv),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers")},
        },
    }


def main(argv: list[str]) -> None:
    """Read everything, find every fault, then load the model and score what is not yet scored."""
    args = parser().parse_args(argv)
    jobs = [read_job(task, args) for task in asked_tasks(args)]
    if args.check:
        return print_contents(jobs)
    if not (args.model and args.out):
        raise UserError("a MODEL folder and --out DIR are needed (or --check, to look at the data alone)")
    if args.model[1:]:
        return score_all(args)
    (args.model,) = args.model
    folder = find_model(args.model)
    if args.out.resolve() == folder.resolve():
        raise UserError(
            "--out is the model's own folder, and scores in it would change the model: name another"
        )
    name = args.model_name or model_name(args.model)
    tree = ResultsTree(args.results, name, args.revision, args.backend) if args.results else None
    identity = {"weights_sha256": weights_sha256(folder), "model_sha256": model_sha256(folder)}
    file = ScoreFile(args.out, {"model": args.model, **identity})
    refused = score_jobs(jobs, folder, file, args, argv)
    jobs = [job for job in jobs if job.task not in refused]
    if tree:
        write_tree(jobs, file, tree)
    print(table({job.task: file.scores["tasks"][job.task] for job in jobs}))
    if refused:
        more = f" ({len(refused)} tasks have no result: {', '.join(refused)})" if len(refused) > 1 else ""
        raise UserError(f"{next(iter(refused.values()))}{more}")


def print_contents(jobs: list[Job]) -> None:
    """What --check says of each task."""
    for job in jobs:
        asked = job.questions
        content = f"{len(asked.items):,} items" if asked else f"{len(job.texts):,} texts"
        note = extent_note(job.settings.get("limit"), job.partial, job.synthetic)
        print(f"{job.task}: {content} in {len(job.files):,} files{f' ({note})' if note else ''}")


def score_jobs(
    jobs: list[Job], folder: Path, file: ScoreFile, args: argparse.Namespace, argv: list[str]
) -> dict[str, UserError]:
    """Score what the file does not hold yet; the model is loaded only if there is any. Task -> why it was refused."""
    asked = {job.task: measured_on(job.files, job.settings) for job in jobs}
    keys = {task: task_key(file.scores["model_sha256"], asked[task]) for task in asked}
    waiting = [job for job in jobs if not file.has(job.task, keys[job.task])]
    for job in jobs:
        if job not in waiting:
            print(f"{job.task}: already scored with this model, data and settings in {args.out}")
            job.tell_again(file)
    if not waiting:
        return {}
    from eval.scorer.log_probs import Scorer

    model, tokenizer = load(folder, device=args.device, dtype=args.dtype, backend=args.backend)
    scorer = Scorer(model, tokenizer, backend=args.backend, batch_tokens=args.batch_tokens)
    file.scores["parameters"] = model.num_parameters()
    made = stamp(argv)  # once: the tasks of one call are one line in a list of commands
    refused = {}
    for job in waiting:
        try:
            result, details = job.run(scorer)
        except UserError as error:  # what one task lacks is no reason to leave out the others
            refused[job.task] = error
            if isinstance(error, TooLong):
                file.refuse(job.task, str(error))
            print(f"{job.task} has no result: {error}")
            continue
        file.add(job.task, keys[job.task], result | made | {"measured_on": asked[job.task]}, details)
    return refused


def write_tree(jobs: list[Job], file: ScoreFile, tree: ResultsTree) -> None:
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


if __name__ == "__main__":
    run_stage(main)

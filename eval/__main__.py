"""python -m eval runs/nursery/export --tasks nursery perplexity --data runs/nursery-data/evaluation_data \
          --text runs/nursery-data/text --out runs/nursery/eval

Score a Hugging Face model on zero-shot tasks and on held-out text.
"""

import argparse
import sys
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.files import json_table
from babylm_data.words import revision_words
from eval.results.jobs import print_contents, read_jobs, task_names
from eval.results.official_tree import ResultsTree, model_name
from eval.results.request import ScoreRequest, TaskSet, names_of, requested
from eval.results.score import score
from eval.results.workers import score_all
from eval.runs.origins import inside_a_run
from eval.runs.run_folder import BACKENDS_OF, reads_of
from eval.scorer.model import BACKENDS, DTYPES
from eval.tasks import LISTS, TASKS
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
says how many items have one: a broken model has no accuracy (the official scorer of 2025 calls those items right).
Data with other numbers of rows than the official ones are scored, and the result is marked partial.

A task whose result is already in DIR, from the same model, data and settings, is not run again. With the other --ties
it is rewritten from items.json, without the model; its time and command stay those of the run."""

EXAMPLE = """\
example: python -m eval runs/nursery/export --tasks nursery perplexity \\
           --data runs/nursery-data/evaluation_data --text runs/nursery-data/text --out runs/nursery/eval"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval", DESCRIPTION, EXAMPLE)
    tasks = ", ".join(
        [f"the official lists {', '.join(LISTS)}; {next(iter(TASKS))}", *list(TASKS)[1:], "perplexity"]
    )
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
        help="a tie between k choices is worth 1/k, or goes to the first choice, as in the official program of 2025 "
        "(and wug shares are in float32; that of 2026 draws); both are reported [shared]",
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


def main(argv: list[str]) -> None:
    """Parse what is asked for, and have it done: for one model here, for several by other processes."""
    args = parser().parse_args(argv)
    names = task_names(args.tasks, args.data, partial=args.partial)
    tasks = requested(TaskSet, vars(args), names=names)
    if args.check:
        return print_contents(tasks)
    if not (args.model and args.out):
        raise UserError("a MODEL folder and --out DIR are needed (or --check, to look at the data alone)")
    for model in args.model:
        warn_of_backend(model, args.backend)
    if len(args.model) == 1:
        return score(request(args, tasks, args.model[0], args.out, args.revision, typed=tuple(argv)))
    names = names_of(list(dict.fromkeys(args.model)))
    refuse_unlike(args, names)
    read_jobs(tasks)  # what is wrong with them is told once, and not by each model
    score_all(
        {
            name: request(args, tasks, model, args.out / name, name if revision_words(name) else "main")
            for model, name in names.items()
        },
        args.processes,
    )


def request(
    args: argparse.Namespace,
    tasks: TaskSet,
    model: str,
    out: Path,
    revision: str,
    typed: tuple[str, ...] | None = None,
) -> ScoreRequest:
    """What is asked for of one of the models."""
    name = args.model_name or model_name(model)
    tree = ResultsTree(args.results, name, revision, args.backend) if args.results else None
    return ScoreRequest(model, tasks, out, tree, args.device, args.batch_tokens, typed=typed)


def warn_of_backend(model: str, backend: str) -> None:
    """Say so where a run of the kit is asked in a way that it has not learned."""
    run = inside_a_run(model)
    summary = json_table(run[0] / "summary.json") if run else None
    if summary and backend not in BACKENDS_OF.get(reads_of(summary), BACKENDS):
        learned = " or ".join(BACKENDS_OF[reads_of(summary)])
        print(f"warning: {model} was trained to be asked by --backend {learned}", file=sys.stderr)


def refuse_unlike(args: argparse.Namespace, names: dict[str, str]) -> None:
    """UserError for several models that would have one place in a results tree."""
    revisions = [name for name in names.values() if revision_words(name) is not None]
    if args.results and len(revisions) != (len(names) if args.model_name else 0):
        raise UserError(
            "in a results tree, several models are either revisions of one (chck_1M …; name it with --model-name) "
            "or models of their own (without --model-name)"
        )


if __name__ == "__main__":
    run_stage(main)

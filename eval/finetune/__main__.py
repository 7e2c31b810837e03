"""python -m eval.finetune runs/nursery/export --tasks rte mrpc --data evaluation_data --out runs/nursery/finetune

Fine-tune a model on (Super)GLUE tasks and SQuAD, with several seeds, and score it on their validation sets.
"""

import argparse
from pathlib import Path

from babylm_data.errors import from_zero, parser_of, positive, run_stage
from eval.finetune import glue, squad
from eval.finetune.finetuning import check_names, finetune
from eval.finetune.request import FinetuneRequest
from eval.results.official_tree import ResultsTree, model_name
from eval.results.request import requested

DESCRIPTION = """\
Fine-tune a model on each task, once per seed, and score it on the task's validation set.

reads   MODEL             a Hugging Face folder or hub name: a causal model (llama, gpt2 ...) or an encoder (bert ...)
        --data DIR ...    the official evaluation_data, or folders with <task>.train.jsonl and <task>.valid.jsonl,
                          sst2/train.tsv and dev.tsv, squad/train-v1.1.json and dev-v1.1.json
writes  --out DIR         DIR/<task>/seed-<n>/{predictions.json, result.json}, and DIR/finetune.json: mean and spread,
                          and which seed a submission holds: the first of --seeds. A report shows RUN/finetune of a
                          student, its teachers and control, and RUN/finetune-random of --random-weights
        --results DIR     DIR/<model>/<revision>/finetune/<task>/predictions.json for the official collator,
                          of the seven tasks that it knows

Causal models are read at their last real token, encoders at the first. `--head official` is the way of the challenge's
own program: its head, no segment ids, nothing between two texts, plain shuffling; of 2026 with `--pool last`, encoders
too, of 2025 with `--pool first`. (That of 2026 pads on the left, which moves learned positions; here none is moved.)
The epoch with the best validation score is kept, as there (SQuAD: the last). Defaults are the official ones: lr 3e-5,
batch 32 (BoolQ, MultiRC 16), 10 epochs (WSC 30), 512 tokens; SQuAD: lr 5e-5, batch 16, 2 epochs, windows of 384 tokens.

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
    parse = parser_of("eval.finetune", DESCRIPTION, EXAMPLE)
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


def main(argv: list[str]) -> None:
    """Parse what is asked for, and have it done."""
    args = parser().parse_args(argv)
    tree = None
    if args.results:
        tree = ResultsTree(args.results, args.model_name or model_name(args.model), args.revision)
    seeds = tuple(dict.fromkeys(args.seeds or [args.seed]))
    more = {"tasks": check_names(args.tasks), "seeds": seeds, "tree": tree, "typed": tuple(argv)}
    finetune(requested(FinetuneRequest, vars(args), **more))


if __name__ == "__main__":
    run_stage(main)

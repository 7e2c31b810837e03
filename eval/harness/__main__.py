"""python -m eval.harness runs/nursery/export --tasks babylm_nursery --data runs/nursery-data/evaluation_data \
          --out runs/nursery/harness

Run tasks of the LM evaluation harness (lm_eval) on a model, scored by the kit.
"""

import argparse
import difflib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.memory import memory_advice
from eval.harness.results_folder import (
    average_groups,
    check_free,
    removed_on_failure,
    tie_lines,
    write_results,
)
from eval.harness.task_files import DATASETS, OURS, dataset_of, own_name, write_task_files
from eval.scorer.model import DTYPES, find_model, model_sha256

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

DESCRIPTION = """\
Run the LM evaluation harness (lm_eval) itself on a causal language model, with the kit's scorer as its model.

reads   MODEL             a Hugging Face folder (config.json, *.safetensors, tokenizer) or a hub name
        --data DIR        for the kit's own tasks: DIR/full_eval/<dataset>/*.jsonl and DIR/fast_eval/…
writes  --out DIR         DIR/results.json and DIR/samples/<task>.jsonl, in the harness's own form, and
                          DIR/tasks/*.yaml, the task files of the kit's tasks, for the command `lm_eval` also:
                            lm_eval --model hf --model_args pretrained=MODEL --include_path DIR/tasks --tasks …
                          (where a group has groups, for the files of entity tracking, the score printed here is the
                          mean of theirs, which is the official one; that of the command is the mean over all tasks)

Nothing is written over: where DIR has results.json, samples or tasks already, another --out is asked for.
With --data, the kit's names without babylm_ (blimp, ewok_fast, …) are taken as the kit's tasks, which is printed.
Any other name of a task or group goes to lm_eval as it is. Nothing is downloaded, unless HF_HUB_OFFLINE=0 and
HF_DATASETS_OFFLINE=0 are set: a task whose data are not on this machine is refused.

lm_eval gives a tie to the first choice, which in the kit's tasks is the right one: the number of ties is printed, and
`python -m eval` counts them as guesses. Scores that are NaN or infinite are refused."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval.harness", DESCRIPTION)
    parse.add_argument("model", metavar="MODEL", help="model folder, or a hub name")
    parse.add_argument(
        "--tasks", nargs="+", required=True, metavar="TASK", help=f"{', '.join(DATASETS)}, or any of lm_eval"
    )
    parse.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parse.add_argument("--data", type=Path, metavar="DIR", help="folder that holds full_eval/ and fast_eval/")
    parse.add_argument(
        "--include-path", nargs="+", default=[], metavar="DIR", help="folders with task files of your own"
    )
    parse.add_argument(
        "--allow-code", action="store_true", help="run what the task files of --include-path have of code"
    )
    parse.add_argument("--limit", type=positive, metavar="N", help="first N items of each subtask [all]")
    parse.add_argument(
        "--num-fewshot", type=int, metavar="N", help="examples in the context [the task's own]"
    )
    parse.add_argument(
        "--batch-tokens", type=positive, metavar="N", help="tokens a batch [1024 on a CPU, 16384 on a GPU]"
    )
    parse.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … [auto]")
    parse.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights [float32]")
    return parse


@contextmanager
def quiet() -> Iterator[None]:
    """Without lm_eval's warning of every task that brings its own data."""
    logger = logging.getLogger("lm_eval.api.task")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def task_manager(names: list[str], folders: list[str]) -> "TaskManager":
    """What knows the task files of `folders`, and those of lm_eval if `names` needs them; else a UserError."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folders, include_defaults=False)
    # reading the 14,000 task files of lm_eval takes seconds
    if any(name not in manager.all_tasks and not name.startswith(OURS) for name in names):
        manager = TaskManager(include_path=folders)
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, [*DATASETS, *manager.all_tasks], n=1)
            hint = f"did you mean {near[0]}?" if near else "`lm_eval ls tasks` lists its own"
            raise UserError(f"there is no task {name!r}: {hint}")
    return manager


def load_tasks(manager: "TaskManager", names: list[str]) -> list:
    """The groups and tasks of lm_eval that `names` stand for; a UserError for one whose data are not there."""
    found = []
    for name in names:
        try:
            with quiet():
                loaded = manager.load(name)
        except Exception as error:  # whatever a task file, its data or the hub's library can raise
            reason = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise UserError(f"{name} cannot be loaded ({reason}): are its data on this machine?") from error
        group = loaded["groups"].get(name)
        found += [group] if group else loaded["tasks"].values()
    try:
        manager.load(found)
    except ValueError as error:
        raise UserError(f"{error}: ask for one of them") from error
    return found


def run(
    args: argparse.Namespace, folder: Path, tasks: list, manager: "TaskManager"
) -> tuple[dict, list[str]]:
    """The harness's own results with all samples, and lines about ties and about contexts that were too long."""
    from lm_eval import simple_evaluate

    from eval.harness.model import KitModel

    model = KitModel(str(folder), device=args.device, dtype=args.dtype, batch_tokens=args.batch_tokens)
    with memory_advice(f"with {model.scorer.cells:,} tokens a batch: lower --batch-tokens"), quiet():
        results = simple_evaluate(
            model, tasks=tasks, task_manager=manager, limit=args.limit, num_fewshot=args.num_fewshot
        )
    average_groups(results)
    cut = [
        f"{task}: {count:,} contexts were too long for the model and lost their beginning"
        for task, count in model.cut.items()
        if count
    ]
    return results | {"model": args.model, "model_sha256": model_sha256(folder)}, tie_lines(results) + cut


def main(argv: list[str]) -> None:
    """Read the data and the task files, find every fault, then load the model and hand over to lm_eval."""
    args = parser().parse_args(argv)
    folder = find_model(args.model)
    if args.include_path and not args.allow_code:  # a !function or a template of theirs may do anything
        raise UserError(
            f"task files of lm_eval can run code: look through {args.include_path[0]}, and add --allow-code"
        )
    if args.out.resolve() == folder.resolve():
        raise UserError(
            "--out is the model's own folder, and results in it would change the model: name another"
        )
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(name, "1")  # before the import of lm_eval, which imports what reads them
    check_free(args.out)
    names = list(dict.fromkeys(own_name(name, args.data) for name in dict.fromkeys(args.tasks)))
    folders = [*args.include_path]
    with removed_on_failure(args.out / "tasks") as made:
        if ours := list(dict.fromkeys(filter(None, map(dataset_of, names)))):
            folders.append(str(write_task_files(args.data, ours, made)))
        manager = task_manager(names, folders)
        results, lines = run(args, folder, load_tasks(manager, names), manager)
    write_results(args.out, results)

    from lm_eval.utils import make_table

    print("\n".join([make_table(results).strip(), *lines]))


if __name__ == "__main__":
    run_stage(main)

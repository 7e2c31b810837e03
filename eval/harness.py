"""python -m eval.harness runs/nursery/export --tasks babylm_nursery --data runs/nursery-data/evaluation_data \
          --out runs/nursery/harness

Run tasks of the LM evaluation harness (lm_eval) on a model, scored by the kit.
"""

import argparse
import difflib
import json
import logging
import os
from contextlib import contextmanager
from pathlib import Path

from babylm_data.errors import UserError, memory_advice, positive, run_stage
from babylm_data.sealed import write_whole
from eval.harness_files import DATASETS, dataset_of, write_task_files
from eval.model import DTYPES

DESCRIPTION = """\
Run the LM evaluation harness (lm_eval) itself on a causal language model, with the kit's scorer as its model.

reads   MODEL             a Hugging Face folder (config.json, *.safetensors, tokenizer) or a hub name
        --data DIR        for the kit's own tasks: DIR/full_eval/<dataset>/*.jsonl and DIR/fast_eval/…
writes  --out DIR         DIR/results.json and DIR/samples/<task>.jsonl, in the harness's own form, and
                          DIR/tasks/*.yaml, the task files of the kit's tasks, for the command `lm_eval` also:
                            lm_eval --model hf --model_args pretrained=MODEL --include_path DIR/tasks --tasks …

Any other name of a task or group goes to lm_eval as it is. Nothing is downloaded, unless HF_HUB_OFFLINE=0 and
HF_DATASETS_OFFLINE=0 are set: a task whose data are not on this machine is refused.

lm_eval gives a tie to the first choice, which in the kit's tasks is the right one: the number of ties is printed, and
`python -m eval` counts them as guesses. Scores that are NaN or infinite are refused."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m eval.harness",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parse.add_argument("model", metavar="MODEL", help="model folder, or a hub name")
    parse.add_argument(
        "--tasks", nargs="+", required=True, metavar="TASK", help=f"{', '.join(DATASETS)}, or any of lm_eval"
    )
    parse.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parse.add_argument("--data", type=Path, metavar="DIR", help="folder that holds full_eval/ and fast_eval/")
    parse.add_argument(
        "--include-path", nargs="+", default=[], metavar="DIR", help="folders with task files of your own"
    )
    parse.add_argument("--limit", type=positive, metavar="N", help="first N items of each subtask [all]")
    parse.add_argument(
        "--num-fewshot", type=int, metavar="N", help="examples in the context [the task's own]"
    )
    parse.add_argument(
        "--batch-tokens", type=positive, default=4096, metavar="N", help="tokens a batch [4096]"
    )
    parse.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … [auto]")
    parse.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights [float32]")
    return parse


@contextmanager
def quiet():
    """lm_eval warns of every task that brings its own data, and datasets draws a bar for every file."""
    logger = logging.getLogger("lm_eval.api.task")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def load_tasks(names: list[str], folders: list[str]) -> tuple[list, object]:
    """The harness's objects for `names`, and its task manager; a UserError for a name or data that is not there."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folders, include_defaults=False)
    if not set(names) <= set(manager.all_tasks):  # reading the harness's own 14,000 task files takes seconds
        manager = TaskManager(include_path=folders)
    found = []
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"did you mean {near[0]}?" if near else "see `lm_eval ls tasks`"
            raise UserError(f"lm_eval has no task {name!r}: {hint}")
        try:
            with quiet():
                loaded = manager.load(name)
        except Exception as error:  # whatever a task file, its data or the hub's library can raise
            reason = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise UserError(f"{name} cannot be loaded ({reason}): are its data on this machine?") from error
        group = loaded["groups"].get(name)
        found += [group] if group else loaded["tasks"].values()
    return found, manager


def tie_lines(results: dict) -> list[str]:
    """One line a task or group asked for: how many of its choices were ties, which lm_eval decided for choice 0."""
    ties, items = {}, {}
    for task, samples in results["samples"].items():
        if results["configs"][task]["output_type"] != "multiple_choice":
            continue
        items[task], ties[task] = len(samples), sum(is_tie(sample) for sample in samples)
    if not items:
        return []
    tied = {task: count for task, count in ties.items() if count}
    lines = [
        f"{sum(ties.values()):,} of {sum(items.values()):,} items are ties, which lm_eval answers with their "
        "first choice; no score is NaN or infinite"
    ]
    return lines + [f"  {task}: {count:,} of {items[task]:,} items are ties" for task, count in tied.items()]


def is_tie(sample: dict) -> bool:
    """Do several choices share the highest log-probability?"""
    nats = [answer[0] for answer in sample["filtered_resps"]]
    if "acc_mutual_info" in sample["metrics"]:  # the second half are the choices without their context
        nats = nats[: len(nats) // 2]
    return nats.count(max(nats)) > 1


def write_results(out: Path, results: dict) -> None:
    """Every task's samples, then the results that sum them up."""
    from lm_eval.utils import handle_non_serializable

    for task, samples in results.pop("samples").items():
        lines = [
            json.dumps(sample, default=handle_non_serializable, ensure_ascii=False) + "\n"
            for sample in samples
        ]
        write_whole(out / "samples" / f"{task}.jsonl", "".join(lines))
    text = json.dumps(results, indent=1, default=handle_non_serializable, ensure_ascii=False)
    write_whole(out / "results.json", text + "\n")


def main(argv: list[str]) -> None:
    """Read the data and the task files, find every fault, then load the model and hand over to lm_eval."""
    args = parser().parse_args(argv)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(name, "1")  # before the import of lm_eval, which imports what reads them
    from eval.model import find_model, model_sha256

    folder = find_model(args.model)
    names = list(dict.fromkeys(args.tasks))
    include = [*args.include_path]
    if ours := list(dict.fromkeys(filter(None, map(dataset_of, names)))):
        include.append(str(write_task_files(args.data, ours, args.out / "tasks")))
    tasks, manager = load_tasks(names, include)

    from lm_eval import simple_evaluate
    from lm_eval.utils import make_table

    from eval.harness_model import KitModel

    model = KitModel(str(folder), device=args.device, dtype=args.dtype, batch_tokens=args.batch_tokens)
    with memory_advice(f"with {args.batch_tokens:,} tokens a batch: lower --batch-tokens"), quiet():
        results = simple_evaluate(
            model, tasks=tasks, task_manager=manager, limit=args.limit, num_fewshot=args.num_fewshot
        )
    results |= {"model": args.model, "model_sha256": model_sha256(folder)}
    lines = tie_lines(results)
    lines += [
        f"{task}: {n:,} contexts were too long and lost their beginning" for task, n in model.cut.items() if n
    ]
    write_results(args.out, results)
    print(make_table(results))
    print("\n".join(lines))


if __name__ == "__main__":
    run_stage(main)

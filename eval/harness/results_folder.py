"""The folder of one run's results: it writes over nothing, and says how many choices were ties."""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import write_whole
from eval.harness.task_files import DATASETS
from eval.scorer.ties import best_choices


def check_free(out: Path) -> None:
    """Raise UserError if there is anything in `out` that the results would be written over or mixed with."""
    for name in ("results.json", "samples", "tasks"):
        if (out / name).exists():
            raise UserError(f"{out / name} is there already, and nothing is written over: name another --out")


@contextmanager
def removed_on_failure(folder: Path) -> Iterator[Path]:
    """`folder`, which does not exist yet, and will not if the block fails: the next try would be refused."""
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


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


def average_groups(results: dict) -> None:
    """Make the score of a group of the kit's groups the mean of theirs, as the official score is.

    lm_eval takes the mean over all tasks below, in which the file with the most subtasks counts the most. The standard
    error is sqrt(sum se^2) / K, as lm_eval has it, or "N/A" if one of the K has none.
    """
    groups = results.get("groups", {})
    for name, members in results["group_subtasks"].items():
        if name not in DATASETS or not groups.keys() >= {name, *members}:
            continue
        means = [groups[member]["acc,none"] for member in members]
        errors = [groups[member]["acc_stderr,none"] for member in members]
        error = math.hypot(*errors) / len(errors) if "N/A" not in errors else "N/A"
        for place in (groups[name], results["results"][name]):
            place |= {"acc,none": math.fsum(means) / len(means), "acc_stderr,none": error}


def tie_lines(results: dict) -> list[str]:
    """How many choices of the tasks were ties, which lm_eval decides for choice 0; then those of each task."""
    kinds = {task: config["output_type"] for task, config in results["configs"].items()}
    chosen = {task: rows for task, rows in results["samples"].items() if kinds[task] == "multiple_choice"}
    ties = {task: sum(map(is_tie, rows)) for task, rows in chosen.items()}
    items = {task: len(rows) for task, rows in chosen.items()}
    total = f"{sum(ties.values()):,} of {sum(items.values()):,} items are ties"
    lines = [f"{total}, which lm_eval answers with the first choice; no score is NaN or infinite"]
    lines += [f"  {task}: {ties[task]:,} of {items[task]:,} items are ties" for task in ties if ties[task]]
    return lines if items else []


def is_tie(sample: dict) -> bool:
    """Do several choices share the highest log-probability?"""
    nats = [answer[0] for answer in sample["filtered_resps"]]
    if "acc_mutual_info" in sample["metrics"]:  # the second half are the choices without their context
        nats = nats[: len(nats) // 2]
    return len(best_choices(nats)) > 1

"""Folders that `python -m eval --out` wrote, read for a comparison: what was scored, on what, and each item's worth."""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from eval.compare.paired import spearman, weights
from eval.json_files import read_json

AGAIN = "score the model again with `python -m eval`"


@dataclass(frozen=True)
class Scored:
    """One model's results; `tasks` are those of its scores.json."""

    folder: Path
    model_sha256: str
    tasks: dict[str, dict]

    def items(self, task: str) -> dict[str, dict[str, list]]:
        """{subtask: {column: [value per item]}}; a UserError if they are not those that the score sums up."""
        path = self.folder / task / "items.json"
        items = read_json(path, AGAIN)
        again = score_of(items)
        if again is not None and abs(again - self.tasks[task]["score"]) > 1e-6:
            raise UserError(f"{path} does not add up to the score in {self.folder / 'scores.json'}: {AGAIN}")
        return items


def score_of(items: dict[str, dict[str, list]]) -> float | None:
    """The score that the items add up to; None where it is no mean of theirs."""
    import numpy as np

    columns = columns_of(items)
    if "credit" in columns:
        return float(weights(list(items)) @ [np.mean(items[name]["credit"]) for name in items])
    if {"prob", "ratio"} <= columns and len(items) == 1:
        (found,) = items.values()
        return float(spearman(np.asarray(found["prob"]), np.asarray(found["ratio"])))
    return None


def columns_of(items: dict[str, dict[str, list]]) -> set[str]:
    """The columns that every subtask has: they tell which kind of task this is."""
    return set.intersection(*(set(columns) for columns in items.values())) if items else set()


def read_scored(folder: Path) -> Scored:
    """One `--out` folder; a UserError if it has no finished task."""
    remedy = "name a folder that `python -m eval --out` wrote"
    scores = read_json(folder / "scores.json", remedy, ["model_sha256", "tasks"])
    tasks = {name: result for name, result in scores["tasks"].items() if headline(result) is not None}
    if not tasks:
        raise UserError(f"{folder / 'scores.json'} holds no score: {AGAIN}")
    return Scored(folder, scores["model_sha256"], tasks)


def headline(result: dict) -> float | None:
    """The one number of a task: its score, or the bits per byte of held-out text; None if there is neither."""
    return result["score"] if "score" in result else result.get("all", {}).get("bits_per_byte")


def check_runs(side: list[Scored]) -> None:
    """Raise UserError if a side counts one model twice: its runs would seem to agree."""
    seen: dict[str, Path] = {}
    for run in side:
        if run.model_sha256 in seen:
            raise UserError(
                f"{seen[run.model_sha256]} and {run.folder} are scores of one and the same model: name each run once"
            )
        seen[run.model_sha256] = run.folder


def shared_tasks(sides: list[list[Scored]], wanted: list[str]) -> tuple[list[str], list[str]]:
    """(the tasks that all folders have, one line for each task that some lack); refuses other items.

    `wanted` are the tasks to keep to, if any: one that a folder lacks is a UserError then.
    """
    folders = [scored for side in sides for scored in side]
    names = list(dict.fromkeys(name for scored in folders for name in scored.tasks))
    missing = []
    wanted = list(dict.fromkeys(wanted))
    for name in dict.fromkeys([*wanted, *names]):
        lacking = [str(scored.folder) for scored in folders if name not in scored.tasks]
        if lacking and name in wanted:
            raise UserError(f"{name} is not scored in {lacking[0]}: {AGAIN} and --tasks {name}")
        if lacking and not wanted:
            missing.append(f"{name} is left out: it is not scored in {', '.join(lacking)}")
    shared = [name for name in wanted or names if all(name in scored.tasks for scored in folders)]
    if not shared:
        raise UserError(f"the folders have no task in common ({'; '.join(missing)})")
    for name in shared:
        check_same_items(name, folders)
    return shared, missing


def check_same_items(task: str, folders: list[Scored]) -> None:
    """Raise UserError unless all folders scored the same rows with the same settings."""
    first = folders[0]
    for other in folders[1:]:
        if first.tasks[task]["measured_on"] != other.tasks[task]["measured_on"]:
            raise UserError(
                f"{first.folder} and {other.folder} were scored on other items of {task}, or with other settings: "
                f"{AGAIN} on the same data, or leave it out with --tasks"
            )

"""Folders that `python -m eval --out` wrote, read for a comparison: what was scored, on what, and each item's worth."""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from eval.results.json_files import read_json, require, require_weights
from eval.results.scores import intact
from eval.results.scores_table import is_scored

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
        if not intact(path, self.tasks[task].get("items_sha256", "")):
            raise UserError(f"{path} is not the file that {self.folder / 'scores.json'} sums up: {AGAIN}")
        return items


def read_scored(folder: Path) -> Scored:
    """One `--out` folder; a UserError if it has no finished task."""
    remedy = "name a folder that `python -m eval --out` wrote"
    path = folder / "scores.json"
    scores = read_json(path, remedy, ["model_sha256", "tasks"])
    require(scores["tasks"], (), f"'tasks' in {path}", AGAIN)
    for name, result in scores["tasks"].items():
        require(result, ["measured_on"], f"{name} in {path}", AGAIN)
        require_weights(result, f"{path}, {name}", AGAIN)
    tasks = {name: result for name, result in scores["tasks"].items() if headline(result) is not None}
    if not tasks:
        raise UserError(f"{path} holds no score: {AGAIN}")
    return Scored(folder, scores["model_sha256"], tasks)


def headline(result: dict) -> float | None:
    """The one number of a task: its score, or the bits per byte of held-out text; None if there is neither."""
    return result["score"] if "score" in result else result.get("all", {}).get("bits_per_byte")


def is_surprisal(result: dict) -> bool:
    """Is its number a mean surprisal in nats, which says nothing of how good a model is?"""
    return "score" in result and not is_scored(result)


def check_models(folders: list[Scored]) -> None:
    """Raise UserError if one model is named twice: two runs would seem to agree, two sides to be alike."""
    seen: dict[str, Path] = {}
    for run in folders:
        if run.model_sha256 in seen:
            raise UserError(
                f"{seen[run.model_sha256]} and {run.folder} are scores of one and the same model: name each model once"
            )
        seen[run.model_sha256] = run.folder


def shared_tasks(sides: list[list[Scored]], wanted: list[str]) -> tuple[list[str], list[str]]:
    """(the tasks that all folders have, one line for each task that is left out); refuses other items.

    `wanted` are the tasks to keep to, if any: one that a folder lacks, or that has no score, is a UserError then.
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
    for name in [name for name in shared if is_surprisal(folders[0].tasks[name])]:
        reason = "its surprisals are no score, `python -m eval.aoa` reads them"
        if name in wanted:
            raise UserError(f"{name} cannot be compared: {reason}")
        missing.append(f"{name} is left out: {reason}")
        shared.remove(name)
    if not shared:
        raise UserError(f"the folders have no task in common ({'; '.join(missing)})")
    for name in shared:
        check_same_items(name, folders)
    return shared, missing


def check_same_items(task: str, folders: list[Scored]) -> None:
    """Raise UserError unless all folders scored the same rows with the same settings and one rule for ties."""
    first = folders[0]
    for other in folders[1:]:
        if first.tasks[task]["measured_on"] != other.tasks[task]["measured_on"]:
            raise UserError(
                f"{first.folder} and {other.folder} were scored on other items of {task}, or with other settings: "
                f"{AGAIN} on the same data, or leave it out with --tasks"
            )
        rules = [run.tasks[task].get("tie_rule") for run in (first, other)]
        if rules[0] != rules[1]:
            raise UserError(
                f"{first.folder} has the ties of {task} by the rule {rules[0]!r}, {other.folder} by {rules[1]!r}: "
                "give both the same --ties of `python -m eval`"
            )

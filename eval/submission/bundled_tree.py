"""The official results tree in the bundle: the folder of this model alone, and of it what the run's evaluation says.

A tree outlives what it was written from: another model's folder, revisions of a longer training, tasks scored again.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from babylm_data.errors import UserError
from eval.aoa.checkpoints import FEWEST
from eval.results.json_files import read_json
from eval.results.official_tree import ResultsTree, model_name
from eval.results.scores import intact
from eval.runs.run_folder import Run
from eval.submission.collate import AGAIN, Collected
from eval.submission.rules import Rules
from eval.tasks import TASKS, extent_note

BESIDE = ("best_temperature_report.txt", "aoa_score.json")  # what else is written with a file of the tree


def not_in_tree(student: Run, collected: Collected, rules: Rules) -> list[str]:
    """What the rules ask for and the tree that `evaluate` writes has not, a line; [] if all is there."""
    tree = own_tree(student, rules.name)
    if not (tree.root / tree.model).is_dir():
        return [
            f"results tree: {tree.root} has nothing of {tree.model}, as the run's folder is called: {AGAIN}"
        ]
    absent = [path for path, asked, _ in evaluated(student, collected, rules) if asked and not path.is_file()]
    more = f" and {len(absent) - 1:,} more are" if absent[1:] else " is"
    return [f"results tree: {absent[0]}{more} missing: {AGAIN}"] if absent else []


def copy_tree(student: Run, collected: Collected, rules: Rules, destination: Path) -> None:
    """Copy the run's tree below `destination`, as far as it is there; a line tells what is left out.

    UserError for a file that is of another time than the evaluation.
    """
    root, good = own_tree(student, rules.name).root, []
    for path, _, content in evaluated(student, collected, rules):
        if path.is_file():
            if _text(read_json(path, AGAIN)) != _text(content()):
                raise UserError(f"{path} is not what the run's evaluation says: delete it and {AGAIN}")
            good += [each for each in (path, *map(path.with_name, BESIDE)) if each.is_file()]
    for path in dict.fromkeys(good):
        target = destination / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    there = sorted(path for path in root.rglob("*") if path.is_file())
    if left := [str(path.relative_to(root)) for path in there if path not in good]:
        print(f"left out of the bundle, being no part of the run's evaluation: {len(left)} files of {root}: "
              f"{', '.join(left[:3])}{' …' if left[3:] else ''}")  # fmt: skip


def own_tree(student: Run, rules: str, revision: str = "main", backend: str | None = None) -> ResultsTree:
    """The run's tree by these rules, under the name by which `evaluate` calls the model.

    `backend`: None for that of the scores.

    Two years have one place for their forms of a task: RUN/results is that of 2025, all others have their name.
    """
    root = student.folder / ("results" if rules == "2025" else f"results-{rules}")
    name = model_name(str(student.folder / "export"))
    return ResultsTree(root, name, revision, backend or student.backend)


Part = tuple[Path, bool, Callable[[], dict]]
"""Place in the tree, whether the rules ask for it, and what reads what belongs there."""


def evaluated(student: Run, collected: Collected, rules: Rules) -> Iterator[Part]:
    """The part of each whole result of the run."""
    tree = own_tree(student, rules.name)
    full = {section.task for section in rules.keys.values()}
    fast = {entry.task for entry in rules.fast.values()}
    yield from zero_shot(student.folder / "eval", student.scores["tasks"], full, tree)
    for revision, results in collected.revisions.items():
        yield from zero_shot(revision.out, results, fast, replace(tree, revision=revision.name))
    for key, section in rules.keys.items():
        content = collected.content.get(key, {})
        if section.form == "surprisals" and of_all(content, collected):
            yield (
                tree.folder / "AoA_word" / "surprisal.json",
                len(collected.revisions) >= FEWEST,
                partial(dict, content),
            )
        if section.form == "score" and content:
            yield tree.folder / "AoA_word" / "aoa_score.json", True, partial(dict, content)
        for task in content if section.tasks else ():
            place = tree.root / tree.model / tree.revision / "finetune" / task
            yield place / "predictions.json", True, partial(dict, {task: content[task]})


def of_all(content: dict, collected: Collected) -> bool:
    """Whether surprisals are there and of every revision: the tree's file has all of them or is of another time."""
    steps = {row["step"] for row in content.get("results", ())}
    return bool(steps) and steps == {revision.name for revision in collected.revisions}


def zero_shot(
    out: Path, results: dict[str, dict], asked: set[str | None], tree: ResultsTree
) -> Iterator[Part]:
    """The parts of one model, from the folder of its scores. A place belongs to the task that is asked for, or if none
    of several is, to none.
    """
    places = {task: TASKS[task].tree for task in results if task in TASKS}
    shared = Counter(places.values())
    shared += Counter(TASKS[task].tree for task in asked if task not in (None, *places))
    for task, result in results.items():
        place = places.get(task)
        path = out / task / "predictions.json"
        if place is None or (task not in asked and shared[place] > 1):
            continue
        if extent_note(result["limit"], result["partial"]):
            continue
        if intact(path, result["predictions_sha256"]):
            yield tree.folder / place / "predictions.json", task in asked, partial(read_json, path, AGAIN)


def _text(content: dict) -> str:
    """As text, for a NaN is not equal to itself."""
    return json.dumps(content, sort_keys=True)

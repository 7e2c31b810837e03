"""The official results tree in the bundle: the folder of this model alone, and of it what the run's evaluation says.

A tree outlives what it was written from: another model's folder, revisions of a longer training, tasks scored again.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from babylm_data.errors import UserError
from eval.aoa.checkpoints import FEWEST
from eval.json_files import read_json
from eval.results_tree import ResultsTree, model_name
from eval.run_folders import Run
from eval.scores import intact
from eval.submission.collate import AGAIN, Collected
from eval.submission.rules import Rules
from eval.tasks import TASKS, extent_note

REPORT = "best_temperature_report.txt"  # beside predictions.json, and written with it


def copy_tree(student: Run, collected: Collected, rules: Rules, destination: Path) -> None:
    """Copy RUN/results/<model>, if the run has a tree, below `destination`; a line tells what is left out.

    UserError for a file that is of another time than the evaluation, and for one that a whole submission lacks.
    """
    root = student.folder / "results"
    if not root.is_dir():
        return
    name = model_name(str(student.folder / "export"))  # as `evaluate` calls it
    if not (root / name).is_dir():
        raise UserError(f"{root} has nothing of {name}, as the run's folder is called now: {AGAIN}")
    good = []
    for path, asked, content in evaluated(student, collected, rules, ResultsTree(root, name)):
        if path.is_file():
            if _text(read_json(path, AGAIN)) != _text(content):
                raise UserError(f"{path} is not what the run's evaluation says: delete it and {AGAIN}")
            good += [each for each in (path, path.with_name(REPORT)) if each.is_file()]
        elif asked and not collected.missing:
            raise UserError(f"{path} is missing: {AGAIN}")
    for path in good:
        target = destination / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    there = sorted(path for path in root.rglob("*") if path.is_file())
    if left := [str(path.relative_to(root)) for path in there if path not in good]:
        print(f"left out of the bundle, being no part of the run's evaluation: {len(left)} files of {root}: "
              f"{', '.join(left[:3])}{' …' if left[3:] else ''}")  # fmt: skip


def evaluated(
    student: Run, collected: Collected, rules: Rules, tree: ResultsTree
) -> Iterator[tuple[Path, bool, dict]]:
    """(place in the tree, whether the rules ask for it, what belongs there) of each whole result of the run."""
    full = {section.task for section in rules.keys.values()}
    fast = {entry.task for entry in rules.fast.values()}
    yield from zero_shot(student.folder / "eval", student.scores["tasks"], full, tree)
    for revision, results in collected.revisions.items():
        yield from zero_shot(revision.out, results, fast, ResultsTree(tree.root, tree.model, revision.name))
    for key, section in rules.keys.items():
        content = collected.content.get(key, {})
        if section.form == "surprisals" and content:
            yield tree.folder / "AoA_word" / "surprisal.json", len(collected.revisions) >= FEWEST, content
        for task in content if section.tasks else ():
            place = tree.root / tree.model / tree.revision / "finetune" / task
            yield place / "predictions.json", True, {task: content[task]}


def zero_shot(
    out: Path, results: dict[str, dict], asked: set[str | None], tree: ResultsTree
) -> Iterator[tuple[Path, bool, dict]]:
    """The same of one revision, from the folder of its scores."""
    for task, result in results.items():
        place = TASKS[task].tree if task in TASKS else None
        path = out / task / "predictions.json"
        if place is None or extent_note(result["limit"], result["partial"]):
            continue
        if intact(path, result["predictions_sha256"]):
            yield tree.folder / place / "predictions.json", task in asked, read_json(path, AGAIN)


def _text(content: dict) -> str:
    """As text, for a NaN is not equal to itself."""
    return json.dumps(content, sort_keys=True)

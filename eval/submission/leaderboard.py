"""The leaderboard's file and the official results tree in the bundle: written without a fault or not at all."""

import json
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path

from babylm_data.errors import UserError
from eval.runs.caveats import outside, trial
from eval.runs.revisions import FOLDER, revisions
from eval.runs.run_folder import Run
from eval.scorer.model import BACKENDS
from eval.submission.bundled_tree import copy_tree, not_in_tree
from eval.submission.check.file import check_file
from eval.submission.collate import AGAIN, Collected, collate
from eval.submission.rules import Rules, known_rules, load_rules
from eval.tasks import extent_note

MARKS = ("INCOMPLETE_", "SYNTHETIC_", "TRIAL_", "OUTSIDE_")
"""What the name of a file that nobody should submit begins with."""


@cache
def file_pattern() -> str:
    """A regular expression for the names of the leaderboard's file: of any rules, with any marks."""
    names = {load_rules(name).file for name in known_rules()}
    files = sorted(re.escape(name.format(backend=backend)) for name in names for backend in BACKENDS)
    return f"({'|'.join(MARKS)})*({'|'.join(files)})"


def files_in(bundle: Path) -> list[str]:
    """The names of the leaderboard's files in a bundle."""
    return sorted(path.name for path in bundle.glob("*.json") if re.fullmatch(file_pattern(), path.name))


def gather(student: Run, rules: Rules) -> Collected:
    """What the run's evaluation has for the file and for the results tree beside it."""
    collected = collate(student, rules)
    collected.missing += not_in_tree(student, collected, rules)
    return collected


def marked_name(file: str, student: Run, collected: Collected, words: dict) -> str:
    """The name of the leaderboard's `file`, with every mark that it deserves; `words`: the ledger."""
    why = (
        collected.missing,
        collected.synthetic,
        trial(student.summary),
        outside(student.summary, words),
    )
    return "".join(mark for mark, lines in zip(MARKS, why, strict=True) if lines) + file


def lacking(student: Run, collected: Collected, rules: Rules | None) -> list[str]:
    """What is still to be scored, a line each: what the rules ask for, and what scores.json has in part."""
    asked = {section.task for section in rules.keys.values()} if rules else set()
    others = {task: result for task, result in student.tasks.items() if task not in asked}
    stand_ins = [f"{key}: scored on synthetic stand-ins" for key in collected.synthetic]
    return [*collected.missing, *stand_ins, *in_part(others)]


def in_part(results: dict[str, dict]) -> list[str]:
    """The results that are not of their whole official task, a line each."""
    lines = []
    for task, result in results.items():
        note = extent_note(result["limit"], result["partial"], result.get("synthetic"))
        if note:
            lines.append(f"{task}: scored on {result['items']:,} items, {note}: {AGAIN} on the whole data")
    return lines


def write_leaderboard(
    path: Path,
    student: Run,
    collected: Collected,
    rules: Rules,
    data: Path | None = None,
    allow_constant: Collection[str] = (),
) -> None:
    """Write the file, and the tree beside it; a UserError for a whole one with a fault.

    `data`, `allow_constant`: see `check_file`.
    """
    path.write_text(json.dumps(collected.content), encoding="utf-8")
    if not collected.missing:
        refuse_faults(path, student, rules, data, allow_constant)
    copy_tree(student, collected, rules, path.parent / "results")


def refuse_faults(
    path: Path, student: Run, rules: Rules, data: Path | None, allow_constant: Collection[str]
) -> None:
    """Print what `check` finds; a UserError if anything is more than odd."""
    due = revisions(student)
    scores = [student.folder / "eval/scores.json"]  # those of revisions have the same items, and more ties
    names = [revision.name for revision in due]
    notes: list[str] = []
    folders = student.folder / FOLDER
    faults = check_file(path, rules, names, data, folders, scores, allow_constant, notes=notes)
    for fault in faults:
        print(f"{'warning' if fault.warning else 'fault'}: {fault}")
    for note in notes:
        print(note)
    if count := sum(not fault.warning for fault in faults):
        raise UserError(f"the leaderboard would not take the file, {count} faults: see above")

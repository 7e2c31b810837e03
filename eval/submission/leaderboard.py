"""The leaderboard's file and the official results tree in the bundle: written without a fault or not at all."""

import json
from collections.abc import Collection
from pathlib import Path

from babylm_data.errors import UserError
from eval.revisions import FOLDER, SCORES, revisions
from eval.run_folders import Run
from eval.submission.check.file import check_file
from eval.submission.collate import Collected
from eval.submission.rules import Rules
from eval.submission.tree import copy_tree


def refuse_incomplete(collected: Collected, rules: Rules) -> None:
    """What the rules ask for is there, and was scored on the official data, or it is no submission."""
    lines = [*collected.missing, *(f"{key}: scored on synthetic stand-ins" for key in collected.synthetic)]
    for line in lines:
        print(f"missing: {line}")
    if lines:
        raise UserError(
            f"{len(lines)} parts of a submission by the rules of {rules.name} are missing, see above; "
            "--partial writes what there is, under a name that says so"
        )


def write_leaderboard(
    bundle: Path,
    student: Run,
    collected: Collected,
    rules: Rules,
    data: Path | None = None,
    allow_constant: Collection[str] = (),
) -> None:
    """Write the file, under a name that says what it lacks, and the tree; a UserError for a whole one with a fault.

    `data`, `allow_constant`: see `check_file`.
    """
    marks = [("INCOMPLETE_", collected.missing), ("SYNTHETIC_", collected.synthetic)]
    path = bundle / ("".join(mark for mark, holds in marks if holds) + rules.file)
    path.write_text(json.dumps(collected.content), encoding="utf-8")
    if not collected.missing:
        refuse_faults(path, student, rules, data, allow_constant)
    copy_tree(student, collected, rules, bundle / "results")


def refuse_faults(
    path: Path, student: Run, rules: Rules, data: Path | None, allow_constant: Collection[str]
) -> None:
    """Print what `check` finds; a UserError if anything is more than odd."""
    due = revisions(student)
    scores = [student.folder / "eval/scores.json"]
    scores += [student.folder / SCORES / revision.name / "scores.json" for revision in due]
    names = [revision.name for revision in due]
    faults = check_file(path, rules, names, data, student.folder / FOLDER, scores, allow_constant)
    for fault in faults:
        print(f"{'warning' if fault.warning else 'fault'}: {fault}")
    if count := sum(not fault.warning for fault in faults):
        raise UserError(f"the leaderboard would not take the file, {count} faults: see above")

"""The leaderboard's file and the official results tree in the bundle: written without a fault or not at all."""

import json
from collections.abc import Collection
from pathlib import Path

from babylm_data.errors import UserError
from eval.revisions import FOLDER, revisions
from eval.run_folders import Run
from eval.submission.check.file import check_file
from eval.submission.collate import AGAIN, Collected
from eval.submission.rules import Rules
from eval.submission.tree import copy_tree
from eval.tasks import extent_note

MARKS = {"INCOMPLETE_": "missing", "SYNTHETIC_": "synthetic", "TRIAL_": "trial", "OUTSIDE_": "outside"}
"""What the name of a file that nobody should submit begins with -> the field of `Collected` that says why."""


def trial(student: Run) -> list[str]:
    """Why the run was one for trying, a line each; [] if it was not."""
    scale = student.summary.get("words_scale", 1)
    return [f"the revisions stand at {scale} times the words of their names"] if scale != 1 else []


def outside(student: Run, words: dict) -> list[str]:
    """Why the run is outside the competition, a line each; [] if it is not. `words`: its ledger.

    What the student itself read must be within the track; whether the teachers count too is left open by the rules.
    """
    asked = student.summary.get("competition", True)
    lines = [] if asked else ["trained with `competition: false`, without regard to the track's limits"]
    for key, check in words["readings"]["student_alone"].items():
        if check["within"] is False:
            value = check["value"] if isinstance(check["value"], int) else round(check["value"], 2)
            lines.append(
                f"{key.replace('_', ' ')} of the student: {value:,}, the track allows {check['budget']:,}"
            )
    return lines


def lacking(student: Run, collected: Collected, rules: Rules | None) -> list[str]:
    """What is still to be scored, a line each: what the rules ask for, and what scores.json has in part."""
    lines = [*collected.missing, *(f"{key}: scored on synthetic stand-ins" for key in collected.synthetic)]
    asked = {section.task for section in rules.keys.values()} if rules else set()
    for task, result in student.tasks.items():
        note = extent_note(result["limit"], result["partial"], result.get("synthetic"))
        if note and task not in asked:
            lines.append(f"{task}: scored on {result['items']:,} items, {note}: {AGAIN} on the whole data")
    return lines


def barred(collected: Collected) -> list[str]:
    """Why the run is no entry whatever is scored, a line each."""
    lines = [f"a trial: {line}" for line in collected.trial]
    return lines + [f"outside the competition: {line}" for line in collected.outside]


def write_leaderboard(
    bundle: Path,
    student: Run,
    collected: Collected,
    rules: Rules,
    data: Path | None = None,
    allow_constant: Collection[str] = (),
) -> None:
    """Write the file, under a name that says what is amiss, and the tree; a UserError for a whole one with a fault.

    `data`, `allow_constant`: see `check_file`.
    """
    marks = [mark for mark, field in MARKS.items() if getattr(collected, field)]
    path = bundle / ("".join(marks) + rules.file)
    path.write_text(json.dumps(collected.content), encoding="utf-8")
    if not collected.missing:
        refuse_faults(path, student, rules, data, allow_constant)
    copy_tree(student, collected, rules, bundle / "results")


def refuse_faults(
    path: Path, student: Run, rules: Rules, data: Path | None, allow_constant: Collection[str]
) -> None:
    """Print what `check` finds; a UserError if anything is more than odd."""
    due = revisions(student)
    scores = [student.folder / "eval/scores.json"]  # those of revisions have the same items, and more ties
    names = [revision.name for revision in due]
    faults = check_file(path, rules, names, data, student.folder / FOLDER, scores, allow_constant)
    for fault in faults:
        print(f"{'warning' if fault.warning else 'fault'}: {fault}")
    if count := sum(not fault.warning for fault in faults):
        raise UserError(f"the leaderboard would not take the file, {count} faults: see above")

"""Entity tracking: what is in a box after some operations (Kim and Schuster 2023). One JSON object a line.

Choices: each of `options` after `input_prefix`; the first is the answer. Subtask: "<file>_<numops>_ops". The score
is the mean over files (regular, ambiref, move_contents: here the phenomena) of the mean over their subtasks. 2026 asks
the same data without the rows that have "nothing" in any option.
"""

from collections import Counter
from pathlib import Path

from babylm_data.errors import UserError
from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import read_rows, same_count

MOST_OPERATIONS = 99  # the official data have 5 at most
LEFT_OUT = "nothing"


def load(files: list[Path], *, filtered: bool = False) -> Choices:
    """Every row of the JSON-lines `files` in file order, or those that 2026 asks; choice 0 is the answer."""
    items: list[Item] = []
    rows: Counter[str] = Counter()
    count = None
    for path in files:
        for row in read_rows(path):
            prefix, options = row.text("input_prefix"), row.texts("options")
            count = same_count(row, options, count, "options")
            subtask = f"{path.stem}_{row.integer('numops', MOST_OPERATIONS)}_ops"
            if filtered and any(LEFT_OUT in option for option in options):
                continue
            choices = tuple(Choice(prefix, option) for option in options)
            items.append(Item(f"{subtask}_{rows[subtask]}", subtask, choices, phenomenon=path.stem))
            rows[subtask] += 1
    if not items:
        raise UserError(f"{files[0].parent}: each row has {LEFT_OUT!r} in an option: fetch the files again")
    return Choices(items, mean_over="phenomena")

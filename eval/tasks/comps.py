"""COMPS: which concept has a property (Misra et al. 2023). One JSON object a line.

Choices: `property_phrase` after `prefix_acceptable`, the answer, and after `prefix_unacceptable`: the same words are
scored after two contexts, so a prediction quotes the whole sentence.
"""

from collections import Counter
from pathlib import Path

from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import read_rows

SUBTASKS = {"comps_base": "base", "comps_wugs": "wugs", "comps_wugs_dist-before": "wugs_dist_before"}
"""By file name; the official program takes every other file for the distractor in between, and so does this."""


def load(files: list[Path]) -> Choices:
    """Every row of the JSON-lines `files` in file order; choice 0 is the concept that has the property."""
    items: list[Item] = []
    rows: Counter[str] = Counter()
    for path in files:
        subtask = SUBTASKS.get(path.stem, "wugs_dist_in_between")
        for row in read_rows(path):
            phrase = row.text("property_phrase")
            prefixes = row.text("prefix_acceptable"), row.text("prefix_unacceptable")
            choices = tuple(Choice(f"{prefix} ", phrase) for prefix in prefixes)
            items.append(Item(f"{subtask}_{rows[subtask]}", subtask, choices))
            rows[subtask] += 1
    return Choices(items, shown="text")

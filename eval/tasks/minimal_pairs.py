"""Minimal pairs: BLiMP, its supplement, the nursery. One JSON object a line; the good sentence is the answer.

Subtask: the row's `UID`, or the file's name where rows have none (the supplement). Phenomenon: the row's
`linguistics_term`, if any.
"""

from collections import Counter
from pathlib import Path

from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import read_rows

OPTIONAL = ("UID", "field", "linguistics_term")


def load(files: list[Path]) -> Choices:
    """Every pair of the JSON-lines `files` in file order; choice 0 is the good sentence."""
    items: list[Item] = []
    rows: Counter[str] = Counter()
    for path in files:
        for row in read_rows(path, OPTIONAL):
            pair = Choice("", row.text("sentence_good")), Choice("", row.text("sentence_bad"))
            subtask, term = row.optional("UID") or path.stem, row.optional("linguistics_term")
            field = (row.optional("field") or "supplement").replace("syntax_semantics", "syntax/semantics")
            labels = (("field", field), ("UID", subtask), ("linguistics_term", term or "supplement"))
            items.append(Item(f"{subtask}_{rows[subtask]}", subtask, pair, phenomenon=term, labels=labels))
            rows[subtask] += 1
    return Choices(items)

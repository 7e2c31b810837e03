"""EWoK, elements of world knowledge: which of two targets follows from a context. One JSON object a line.

Choices: `Target1` and `Target2` after `Context1`; Target1 is the answer. The swapped half of each official item is
a line of its own. Subtask: the row's `Domain`, which is also the name of its file.
"""

from collections import Counter
from pathlib import Path

from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import read_rows

LABELS = {"context_type": "ContextType", "context_contrast": "ContextDiff", "target_contrast": "TargetDiff"}
"""What the official report groups by, and the field that it is read from."""


def load(files: list[Path]) -> Choices:
    """Every row of the JSON-lines `files` in file order; choice 0 is the target that fits."""
    items: list[Item] = []
    rows: Counter[str] = Counter()
    for path in files:
        for row in read_rows(path, tuple(LABELS.values())):
            context, domain = row.text("Context1"), row.text("Domain")
            targets = [Choice(context, f" {row.text(field)}") for field in ("Target1", "Target2")]
            said = {name: row.optional(field) for name, field in LABELS.items()}
            labels = (("UID", domain), *((name, value) for name, value in said.items() if value is not None))
            items.append(Item(f"{domain}_{rows[domain]}", domain, tuple(targets), labels=labels))
            rows[domain] += 1
    return Choices(items)

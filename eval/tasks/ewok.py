"""EWoK, elements of world knowledge: which target follows from a context. One JSON object a line.

2025: `Target1` and `Target2` after `Context1`; the target that fits is the answer. 2026: `Target1` after `Context1` and
after `Context2`, as in COMPS; the context that it fits is the answer, and a prediction quotes the whole sentence. The
swapped half of each official item is a line of its own. Subtask: the row's `Domain`, also the name of its file.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import Row, read_rows

LABELS = {"context_type": "ContextType", "context_contrast": "ContextDiff", "target_contrast": "TargetDiff"}
"""What the official report groups by, and the field that it is read from."""


def load(files: list[Path]) -> Choices:
    """Every row of the JSON-lines `files` in file order, by the rule of 2025; choice 0 is the target that fits."""
    return Choices(_items(files, targets))


def load_contexts(files: list[Path]) -> Choices:
    """The same by the rule of 2026; choice 0 is the context that fits."""
    return Choices(_items(files, contexts), shown="text")


def targets(row: Row) -> tuple[Choice, ...]:
    """Two targets after the first context."""
    context = row.text("Context1")
    return tuple(Choice(context, f" {row.text(field)}") for field in ("Target1", "Target2"))


def contexts(row: Row) -> tuple[Choice, ...]:
    """The first target after two contexts."""
    target = f" {row.text('Target1')}"
    return tuple(Choice(row.text(field), target) for field in ("Context1", "Context2"))


def _items(files: list[Path], choices: Callable[[Row], tuple[Choice, ...]]) -> list[Item]:
    items: list[Item] = []
    rows: Counter[str] = Counter()
    for path in files:
        for row in read_rows(path, tuple(LABELS.values())):
            domain = row.text("Domain")
            said = {name: row.optional(field) for name, field in LABELS.items()}
            labels = (("UID", domain), *((name, value) for name, value in said.items() if value is not None))
            items.append(Item(f"{domain}_{rows[domain]}", domain, choices(row), labels=labels))
            rows[domain] += 1
    return items

"""Global PIQA, 2026: which of several solutions fits a prompt. One JSON object a line.

Choices: `solution0`, `solution1`, … after `prompt`, four of them in the parallel half and two in the other; `label` is
the number of the right one. A solution is as likely as its tokens are on average. In the official forms each row stands
under its own name, `example_id`.
"""

from pathlib import Path

from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import read_rows


def load(subtask: str, solutions: int, files: list[Path]) -> Choices:
    """Every row of the JSON-lines `files` in file order, choices in the file's own order."""
    items: dict[str, Item] = {}
    for path in files:
        for row in read_rows(path):
            prompt, gold, name = (
                row.text("prompt"),
                row.integer("label", solutions - 1),
                row.text("example_id"),
            )
            choices = tuple(Choice(prompt, f" {row.text(f'solution{n}')}") for n in range(solutions))
            if name in items:
                raise row.fault(f"has the example_id {name!r} of another row")
            items[name] = Item(f"{name}_0", subtask, choices, gold, labels=(("UID", name),))
    return Choices(list(items.values()), per_token=True)

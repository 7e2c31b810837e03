"""Global PIQA: which of two solutions fits a prompt. One JSON object a line. Unverified.

No official file of this task was ever seen. The fields are those of the data set on the Hugging Face hub: `prompt`,
`solution0`, `solution1`, in `label` the number of the right one, in `example_id` the name of the row, if it has one.
Every result is marked "unverified".
"""

from pathlib import Path

from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.json_rows import read_rows


def load(subtask: str, files: list[Path]) -> Choices:
    """Every row of the JSON-lines `files` in file order, choices in the file's own order."""
    items: list[Item] = []
    for path in files:
        for row in read_rows(path, ("example_id",)):
            prompt, gold = row.text("prompt"), row.integer("label", 1)
            solutions = tuple(Choice(prompt, f" {row.text(field)}") for field in ("solution0", "solution1"))
            name = row.optional("example_id") or f"{subtask}_{len(items)}"
            items.append(Item(name, subtask, solutions, gold))
    return Choices(items, unverified=True)

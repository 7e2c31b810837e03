"""Minimal pairs: BLiMP, its supplement, the nursery. One JSON object a line; the good sentence is the answer.

Subtask: the row's `UID`, or the file's name where rows have none (the supplement). Phenomenon: the row's
`linguistics_term`, if any.
"""

import json
from collections import Counter
from pathlib import Path

from babylm_data.errors import UserError
from eval.items import Choice, Item


def load(folder: Path) -> list[Item]:
    """Every pair of `folder`/*.jsonl in file order; choice 0 is the good sentence."""
    items: list[Item] = []
    rows: Counter[str] = Counter()
    for path in sorted(folder.glob("*.jsonl")):
        for place, row in read_rows(path):
            pair = tuple(
                Choice("", _sentence(row, field, place)) for field in ("sentence_good", "sentence_bad")
            )
            subtask = str(row.get("UID", path.stem))
            items.append(
                Item(f"{subtask}_{rows[subtask]}", subtask, pair, phenomenon=row.get("linguistics_term"))
            )
            rows[subtask] += 1
    return items


def read_rows(path: Path) -> list[tuple[str, dict]]:
    """The objects of a JSON-lines file, each with its place ("file, line n"). Empty lines are no rows."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): fetch the file again") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{place} is not JSON ({error.msg}): fetch the file again") from error
        if not isinstance(row, dict):
            raise UserError(f"{place} is not a JSON object: fetch the file again")
        rows.append((place, row))
    if not rows:
        raise UserError(f"{path} has no rows: fetch the file again")
    return rows


def _sentence(row: dict, field: str, place: str) -> str:
    sentence = row.get(field)
    if not isinstance(sentence, str) or not sentence:
        raise UserError(f"{place} has no text in {field!r}: is this a file of minimal pairs?")
    return sentence

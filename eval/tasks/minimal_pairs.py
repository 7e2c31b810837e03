"""Minimal pairs: BLiMP, its supplement, the nursery. One JSON object a line; the good sentence is the answer.

Subtask: the row's `UID`, or the file's name where rows have none (the supplement). Phenomenon: the row's
`linguistics_term`, if any.
"""

import json
from collections import Counter
from pathlib import Path

from babylm_data.errors import UserError
from eval.items import Choice, Item


def load(files: list[Path]) -> list[Item]:
    """Every pair of the JSON-lines `files` in file order; choice 0 is the good sentence."""
    items: list[Item] = []
    rows: Counter[str] = Counter()
    for path in files:
        for place, row in read_rows(path):
            good, bad = (_text(row, field, place) for field in ("sentence_good", "sentence_bad"))
            subtask = path.stem if row.get("UID") is None else _text(row, "UID", place)
            term = None if row.get("linguistics_term") is None else _text(row, "linguistics_term", place)
            uid = f"{subtask}_{rows[subtask]}"
            items.append(Item(uid, subtask, (Choice("", good), Choice("", bad)), phenomenon=term))
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


def _text(row: dict, field: str, place: str) -> str:
    text = row.get(field)
    if not isinstance(text, str) or not text:
        raise UserError(f"{place} has no text in {field!r}: is this a file of minimal pairs?")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no tokenizer reads
        raise UserError(
            f"{place} has half a character (a lone surrogate) in {field!r}: mend that line"
        ) from None
    return text

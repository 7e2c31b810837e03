"""CSV files of measurements, read with one line about whatever is wrong with them."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import utf8_text

REMEDY = "fetch the file again"


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with a header, each with its place ("file, line n"); `columns` must be among its own.

    A row that ends early (a file that was cut) is refused; what the cells say is left to `text` and `number`.
    """
    content = utf8_text(path, REMEDY, newline="")
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}, is not CSV ({error}): {REMEDY}") from error
    header = lines[0][1] if lines else []
    if lacking := [name for name in columns if header.count(name) != 1]:
        raise UserError(f"{path} has no column, or several, of the name {lacking[0]!r}: {REMEDY}")
    rows = []
    for number_of_line, cells in lines[1:]:
        place = f"{path}, line {number_of_line}"
        if len(cells) != len(header):
            raise UserError(f"{place} has {len(cells)} cells, the header {len(header)}: {REMEDY}")
        rows.append((place, dict(zip(header, cells, strict=True))))
    if not rows:
        raise UserError(f"{path} has no rows: {REMEDY}")
    return rows


def text(row: dict[str, str], column: str, place: str) -> str:
    """A cell that may not be empty."""
    if not row[column].strip():
        raise UserError(f"{place} has no text in {column!r}: {REMEDY}")
    return row[column]


def number(row: dict[str, str], column: str, place: str, *, may_lack: bool = False) -> float:
    """A cell as a finite number; NaN for an empty one where it `may_lack`."""
    if may_lack and not row[column]:
        return math.nan
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{place} has {row[column]!r} in {column!r}, which is no number: {REMEDY}")
    return value

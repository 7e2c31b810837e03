"""JSON files of evaluation data, read so that a damaged row is named and never becomes another question."""

import json
import mmap
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import utf8_text

SYNTHETIC = re.compile(rb'"synthetic"\s*:\s*true')
"""The mark of a row that stands in for an official one. A text that quotes it has backslashes before its quotes."""


@dataclass(frozen=True)
class Row:
    """One object of a file; `place` is "file, line n". Each method refuses a field that is not what it reads."""

    place: str
    values: dict

    def text(self, field: str) -> str:
        """A text that is not blank."""
        return self._checked_text(self.values.get(field), field)

    def optional(self, field: str) -> str | None:
        """The same, or None where the field is absent or null."""
        return None if self.values.get(field) is None else self.text(field)

    def texts(self, field: str) -> list[str]:
        """A list of two or more texts."""
        found = self.values.get(field)
        if not isinstance(found, list) or len(found) < 2:
            raise self.fault(f"has no list of texts in {field!r}")
        return [self._checked_text(text, field) for text in found]

    def integer(self, field: str, most: int) -> int:
        """A whole number from 0 to `most`."""
        number = self.values.get(field)
        if type(number) is not int or not 0 <= number <= most:
            raise self.fault(f"has no whole number from 0 to {most} in {field!r}")
        return number

    def fraction(self, field: str) -> float:
        """A number from 0 to 1."""
        number = self.values.get(field)
        if type(number) not in (int, float) or not 0 <= number <= 1:
            raise self.fault(f"has no number from 0 to 1 in {field!r}")
        return float(number)

    def fault(self, what: str) -> UserError:
        """The error for a row of which `what` is true."""
        return UserError(f"{self.place} {what}: fetch the file again")

    def _checked_text(self, text: object, field: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise self.fault(f"has no text in {field!r}")
        if has_half_character(text):
            raise self.fault(f"has half a character (a lone surrogate) in {field!r}")
        return text


def read_rows(path: Path, optional: Sequence[str] = ()) -> list[Row]:
    """The rows of a JSON-lines file; a UserError with its line for one that is no object. Blank lines are no rows.

    Of the fields that are `optional` all rows have the same: a row without its subtask would join another one.
    """
    rows = [
        Row(f"{path}, line {number}", _parsed(line, f"{path}, line {number}"))
        for number, line in enumerate(_lines(path), start=1)
        if line.strip()
    ]
    if not rows:
        raise UserError(f"{path}, line 1: the file has no rows: fetch it again")
    first = rows[0]
    for row in rows:
        for field in optional:
            if (row.values.get(field) is None) != (first.values.get(field) is None):
                lacking, other = (row, first) if row.values.get(field) is None else (first, row)
                raise lacking.fault(f"has no text in {field!r}, which line {other.place.split()[-1]} has")
    return rows


def is_synthetic(files: Iterable[Path]) -> bool:
    """Whether any row of any file is marked as a stand-in for official data; no file may be empty.

    A search in the mapped bytes, which a reader has just brought into memory: no copy, no parsing.
    """
    for path in files:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if SYNTHETIC.search(data):
                return True
    return False


def read_object(path: Path) -> dict:
    """The one JSON object of a file; a UserError, with the line where there is one, for whatever is wrong with it."""
    return _parsed("\n".join(_lines(path)), str(path))


def has_half_character(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no tokenizer reads."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _lines(path: Path) -> list[str]:
    return utf8_text(path, "fetch the file again").split("\n")


def _parsed(text: str, place: str) -> dict:
    try:
        row = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        inside = f", line {error.lineno}," if "\n" in text else ""
        raise UserError(f"{place}{inside} is not JSON ({error.msg}): fetch the file again") from None
    except (ValueError, RecursionError) as error:
        # a key twice, NaN, a number of thousands of digits; or nesting beyond the parser's stack
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).split(";")[0]
        raise UserError(f"{place} is not valid ({reason}): fetch the file again") from None
    if not isinstance(row, dict):
        raise UserError(f"{place} is not a JSON object: fetch the file again")
    return row


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} stands in it twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def same_count(row: Row, texts: Sequence[str], before: int | None, field: str) -> int:
    """How many `texts` a row has, which must be as many as the row before it had (None: it is the first)."""
    if before is not None and len(texts) != before:
        raise row.fault(f"has {len(texts)} texts in {field!r}, the rows before it {before}")
    return len(texts)

"""What is wrong with a submission file: a line for each kind of fault in each place."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from eval.submission.check.strict_json import Doubled
from eval.submission.check.values import shown


@dataclass(frozen=True)
class Fault:
    """One line. `place` names the key, the subtask or revision and the row; rows are counted from 0."""

    place: str
    what: str
    remedy: str
    warning: bool = False
    """True: odd, but no reason to refuse the file."""
    more: int = 0
    """How many more rows of the place have a fault of this kind."""
    unit: str = "rows"

    def __str__(self) -> str:
        more = f" (and {self.more:,} more {self.unit})" if self.more else ""
        return f"{self.place}: {self.what}{more}: {self.remedy}"


class Faults:
    """Collects faults; those of one kind in one place become one line, which tells the first and counts the rest."""

    def __init__(self, allow_constant: Collection[str] = ()) -> None:
        """`allow_constant`: keys whose values may be the same throughout; then that is a warning."""
        self.allow_constant = allow_constant
        self._found: dict[tuple[str, str], Fault] = {}

    def add(self, place: str, what: str, remedy: str, *, warning: bool = False) -> None:
        """A fault that is there once."""
        self._found.setdefault((place, what), Fault(place, what, remedy, warning))

    def add_row(
        self, place: str, row: int | str, kind: str, what: str, remedy: str, *, warning: bool = False
    ) -> None:
        """A fault of one row (or other named part, as "subtask x") of a place, which others may share."""
        if (place, kind) in self._found:
            before = self._found[place, kind]
            self._found[place, kind] = replace(before, more=before.more + 1)
            return
        named, unit = (f"row {row}", "rows") if isinstance(row, int) else (row, "of them")
        self._found[place, kind] = Fault(
            f"{place}, {named}", what, remedy, warning, unit=f"{unit} of {place}" if unit == "rows" else unit
        )

    def add_constant(self, place: str, key: str, what: str) -> None:
        """The same value throughout: the mark of a model that was not read, or learned nothing."""
        remedy = f"see that the model was loaded and trained; if it was, pass --allow-constant {key}"
        self.add(place, what, remedy, warning=key in self.allow_constant)

    def found(self) -> list[Fault]:
        """All, in the order in which they were found."""
        return list(self._found.values())


def check_keys(
    value: object, place: str, needed: Collection[str], faults: Faults, optional: Collection[str] = ()
) -> dict | None:
    """`value` if it is an object, with a fault for each key that it lacks, has twice or should not have; else None.

    `place` is empty for the file as a whole.
    """
    inside, place = f"{place}/" if place else "", place or "the file"
    if not isinstance(value, dict):
        faults.add(place, f"{shown(value)} stands where an object belongs", "collate the file again")
        return None
    if isinstance(value, Doubled):
        faults.add(place, f"the key {shown(value.twice)} stands in it twice", "leave only the right one")
    for key in needed:
        if key not in value:
            faults.add(f"{inside}{key}", "is missing", "evaluate it, and collate the file again")
    for key in value:
        if key not in needed and key not in optional:
            near = difflib.get_close_matches(key, [name for name in needed if name not in value], n=1)
            remedy = f"did you mean {near[0]}?" if near else "leave it out"
            faults.add(place, f"the key {shown(key)} is none of the rules'", remedy)
    return value


def check_order(
    found: Sequence, expected: Sequence, place: str, what: str, remedy: str, faults: Faults
) -> None:
    """Faults of rows that are not, by their ids, the `expected` ones in this order. None in `found`: a row without.

    `what` is what identifies a row, in words ("id"); `remedy`: what to do about another number of rows.
    """
    if len(found) != len(expected):
        faults.add(place, f"has {len(found):,} rows, the data {len(expected):,}", remedy)
    if found == expected:
        return
    places = {identity: number for number, identity in enumerate(expected)}
    seen: dict = {}
    excused = set()  # rows that are there, but do not say which they are
    for row, identity in enumerate(found):
        if identity is None or identity not in places:
            excused.add(expected[min(row, len(expected) - 1)])
            if identity is not None:
                here = f", not {shown(expected[row])}" if len(found) == len(expected) else ""
                problem = f"the {what} is {shown(identity)}{here}"
                faults.add_row(place, row, what, problem, "the rows are those of the data file, in its order")
        elif identity in seen:
            problem = f"the {what} {shown(identity)} is that of row {seen[identity]} too"
            faults.add_row(place, row, "twice", problem, "keep each row once")
        else:
            seen[identity] = row
    for (identity, row), right in zip(seen.items(), sorted(seen, key=places.__getitem__), strict=True):
        if identity != right:
            problem = f"the {what} {shown(identity)} stands where {shown(right)} belongs: out of order"
            faults.add_row(place, row, "order", problem, "put the rows into the order of the data file")
    for identity in expected:
        if identity not in seen and identity not in excused:
            problem = f"the row with the {what} {shown(identity)} is missing"
            faults.add_row(place, places[identity], "missing", problem, "evaluate all of the data file")


def twins(told: Sequence[tuple[str, Sequence[float]]], most: float) -> Iterator[tuple[str, str]]:
    """(earlier name, name) of each with the numbers of one before it, to `most`: rounding tells no models apart."""
    import numpy as np

    before: list[tuple[str, np.ndarray]] = []
    for name, numbers in told:
        own = np.asarray(numbers, dtype=float)
        alike = [other for other, its in before if its.shape == own.shape and np.abs(its - own).max() <= most]
        if alike:
            yield alike[0], name
        else:
            before.append((name, own))

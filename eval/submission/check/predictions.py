"""The sections of a submission file that hold a prediction for each row: subtask -> {"predictions": rows}."""

import math
from collections.abc import Callable, Iterator

from eval.submission.check.faults import Faults, check_keys, check_order
from eval.submission.check.gold import Gold
from eval.submission.check.values import checker, shown
from eval.submission.rules import Section

AGAIN = "evaluate it again, and collate the file again"
Checks = dict[str, Callable[[object], str | None]]


def check_predictions(key: str, section: Section, value: object, gold: Gold | None, faults: Faults) -> None:
    """Add what is wrong with the `value` of `key`; without `gold` choices are not looked at."""
    expected = section.rows
    if section.examples:  # without gold, what the file itself names
        expected = dict.fromkeys(gold.choices if gold else value if isinstance(value, dict) else (), 1)
    if (subtasks := check_keys(value, key, expected, faults)) is None:
        return
    if section.examples and len(subtasks) != (count := sum(section.rows.values())):
        faults.add(key, f"has {len(subtasks):,} examples, the data {count:,}", AGAIN)
    known: dict[str, list[dict]] = {}
    for name, count in expected.items():
        place = f"{key}/{name}" if not section.examples else f"{key}/{shown(name)}"
        if (
            name in subtasks
            and (rows := row_list(subtasks[name], place, "predictions", (), faults)) is not None
        ):
            checks = {
                field: checker(kind, section.labels.get(name, 0)) for field, kind in section.row.items()
            }
            fit = check_fields(rows, checks, place, faults)
            own = section.row["id"] == "row"
            ids = [number if own else f"{name}_{number}" for number in range(count)]
            check_ids(rows, ids, place, section.remedy, faults)
            known[name] = [row for row, fits in zip(rows, fit, strict=True) if fits]
            if section.no_previous:
                check_previous(rows, fit, section.no_previous, gold, place, faults)
            if gold and name in gold.choices:
                check_choices(known[name], gold.choices[name], name, place, faults)
    check_varied(key, section, known, faults)
    if gold and gold.by_place:
        check_places(key, known, gold, faults)


def row_list(
    value: object, place: str, name: str, optional: tuple[str, ...] | list[str], faults: Faults
) -> list | None:
    """The list under `name`, which is all that `value` holds but for what is `optional`."""
    found = check_keys(value, place, [name], faults, optional)
    if found is None or name not in found:
        return None
    if not isinstance(rows := found[name], list):
        faults.add(f"{place}/{name}", f"{shown(rows)} stands where a list belongs", AGAIN)
        return None
    return rows


def check_fields(rows: list, checks: Checks, place: str, faults: Faults) -> list[bool]:
    """Whether each row is an object with just these fields, each of its kind; with faults of those that are not."""
    fit = []
    for number, row in enumerate(rows):
        faulty = list(_row_faults(row, checks))
        for kind, what in faulty:
            faults.add_row(place, number, kind, what, AGAIN)
        fit.append(not faulty)
    return fit


def _row_faults(row: object, checks: Checks) -> Iterator[tuple[str, str]]:
    """(kind of fault, what is wrong) of one row."""
    if type(row) is dict and row.keys() == checks.keys():
        for field, check in checks.items():
            if problem := check(row[field]):
                yield f"{field} {problem}", f"{shown(row[field])} in {field!r} {problem}"
        return
    if not isinstance(row, dict):
        yield "object", f"{shown(row)} stands where a row belongs"
        return
    if twice := getattr(row, "twice", None):
        yield f"twice {twice}", f"the key {shown(twice)} stands in it twice"
    for field in checks:
        if field not in row:
            yield f"lacks {field}", f"{field!r} is missing"
    for field in row:
        if field not in checks:
            yield "unknown", f"the key {shown(field)} is none of the rules'"


def check_ids(rows: list, expected: list, place: str, remedy: str, faults: Faults) -> None:
    """Rows in the order of the data, by their ids."""
    kind = type(expected[0])
    found = [row.get("id") if isinstance(row, dict) else None for row in rows]
    found = [identity if type(identity) is kind else None for identity in found]
    check_order(found, expected, place, "id", remedy, faults)


def check_previous(
    rows: list, fit: list[bool], most: int, gold: Gold | None, place: str, faults: Faults
) -> None:
    """NaN for the word before where there is none, and only there; without gold, not in too many rows."""
    lacking = {n for n, row in enumerate(rows) if fit[n] and math.isnan(row["prev_pred"])}
    if gold is None or gold.no_previous is None:
        if len(lacking) > most:
            what = f"{len(lacking):,} rows have NaN in 'prev_pred', and {most:,} have no word before"
            faults.add(place, what, AGAIN)
        return
    for number in sorted(lacking - gold.no_previous):
        faults.add_row(place, number, "nan", "NaN in 'prev_pred', and there is a word before", AGAIN)
    for number in sorted(gold.no_previous - lacking):
        if number < len(rows) and fit[number]:
            what = f"{shown(rows[number]['prev_pred'])} in 'prev_pred', and no word before: NaN belongs there"
            faults.add_row(place, number, "not nan", what, AGAIN)


def check_choices(
    rows: list[dict], choices: list[tuple[str, ...]], name: str, place: str, faults: Faults
) -> None:
    """Each prediction is one of its item's choices; white space around it does not count."""
    for row, texts in _with_choices(rows, choices, name):
        if row["pred"].strip() not in texts:
            what = f"the prediction {shown(row['pred'])} is no choice of {row['id']}"
            number = int(row["id"].rpartition("_")[2])
            faults.add_row(place, number, "choice", what, "evaluate it by these rules, on the data in --data")


def check_places(key: str, known: dict[str, list[dict]], gold: Gold, faults: Faults) -> None:
    """No model chooses by place: the first choice is the answer, and what a broken scorer gives for ties."""
    pairs = [
        (row["pred"].strip(), texts)
        for name, rows in known.items()
        for row, texts in _with_choices(rows, gold.choices.get(name, []), name)
    ]
    for where, index in (("first", 0), ("last", -1)):
        if len(pairs) > 1 and all(pred == texts[index] for pred, texts in pairs):
            faults.add_constant(
                key, key, f"all {len(pairs):,} predictions are the {where} choice of their item"
            )


def _with_choices(
    rows: list[dict], choices: list[tuple[str, ...]], name: str
) -> Iterator[tuple[dict, tuple[str, ...]]]:
    """The rows whose ids are among the data's, each with the texts of its choices."""
    known = {f"{name}_{number}": texts for number, texts in enumerate(choices)}
    for row in rows:
        if (texts := known.get(row["id"])) is not None:
            yield row, texts


def check_varied(key: str, section: Section, known: dict[str, list[dict]], faults: Faults) -> None:
    """Not the same value throughout the section; of classifiers, which each learn a subtask, not throughout one."""
    groups = known if section.labels else {"": [row for rows in known.values() for row in rows]}
    for name, rows in groups.items():
        values = {row[section.varies] for row in rows}
        if len(rows) > 1 and len(values) == 1:
            what = f"all {len(rows):,} rows have {shown(values.pop())} in {section.varies!r}"
            faults.add_constant(f"{key}/{name}" if name else key, name or key, what)

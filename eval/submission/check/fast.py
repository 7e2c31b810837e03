"""The scores of the fast tasks: task -> a {name: score} for each revision, in order.

The lists do not say which revision an entry is of, so one that is missing shows in their length, one that is
repeated in its scores, and an order that is wrong not at all.
"""

from collections.abc import Callable, Sequence

from eval.submission.check.faults import Faults, check_keys
from eval.submission.check.kinds import checker, shown
from eval.submission.check.predictions import AGAIN
from eval.submission.rules import FastList, Rules

NEAR = 1e-6  # of a whole number of right answers


def check_fast(rules: Rules, value: object, due: Sequence[str], faults: Faults) -> None:
    """Add what is wrong with the fast scores of the revisions that are `due`."""
    if (lists := check_keys(value, rules.fast_key, rules.fast, faults)) is None:
        return
    told: list[list[str]] = []
    for key, entry in rules.fast.items():
        if key in lists:
            told.append(check_list(f"{rules.fast_key}/{key}", key, entry, lists[key], due, faults))
    complete = [list(scores) for scores in zip(*told, strict=False)] if all(told) else []
    groups: dict[str, list[str]] = {}
    for revision, scores in zip(due, complete, strict=False):
        groups.setdefault("".join(scores), []).append(revision)
    for twins in groups.values():
        if 1 < len(twins) < len(due):
            what = f"{' and '.join(twins)} have equal scores in every fast task: one model was scored twice"
            faults.add(f"{rules.fast_key}, {twins[1]}", what, "score each revision's own weights")


def check_list(
    place: str, key: str, entry: FastList, value: object, due: Sequence[str], faults: Faults
) -> list[str]:
    """One task's list; the text of each of its entries, [] if these are not all there."""
    if not isinstance(value, list):
        faults.add(place, f"{shown(value)} stands where a list belongs", AGAIN)
        return []
    if len(value) != len(due):
        what = f"has {len(value):,} entries for the {len(due):,} revisions {due[0]} … {due[-1]}"
        faults.add(place, what, "score every revision once; of a shorter run, say so with --words")
    check = checker(entry.value)
    for number, scores in enumerate(value):
        where = f"{place}, {due[number]}" if number < len(due) else f"{place}, entry {number}"
        if (found := check_keys(scores, where, entry.rows, faults)) is not None:
            for name in (name for name in entry.rows if name in found):
                _check_score(where, name, found[name], check, entry.rows[name], faults)
    texts = [_text(scores, entry) or f"entry {number}" for number, scores in enumerate(value)]
    check_repeated(place, key, texts, due, faults)
    return texts if len(texts) == len(due) else []


def _text(scores: object, entry: FastList) -> str:
    """The scores of one revision, to compare; empty if they are not all there."""
    found = [scores.get(name) for name in entry.rows] if isinstance(scores, dict) else [None]
    return str(found) if all(type(score) in (int, float) for score in found) else ""


def _check_score(
    where: str,
    name: str,
    score: object,
    check: Callable[[object], str | None],
    rows: int | None,
    faults: Faults,
) -> None:
    """One score: of its kind and, where it is a mean over `rows`, a share of so many."""
    if problem := check(score):
        what = f"{shown(score)} {problem}"
        faults.add_row(where, name, f"score {problem}", what, "write fractions of 1, as the collator does")
    elif rows and abs(score * rows - round(score * rows)) > NEAR * rows:
        what = f"{score} is no share of {rows:,} rows: scored with --limit, or with shared ties?"
        faults.add_row(where, name, "share", what, "count the predictions that are right", warning=True)


def check_repeated(place: str, key: str, texts: list[str], due: Sequence[str], faults: Faults) -> None:
    """Different models seldom have equal scores: odd for two revisions, and a fault for all of three or more."""
    if len(texts) > 2 and len(set(texts)) == 1:
        faults.add_constant(place, key, f"all {len(texts):,} revisions have the same scores")
        return
    told: dict[str, int] = {}
    for number, text in enumerate(texts):
        twin = told.setdefault(text, number)
        if twin != number and number < len(due):
            what = f"the scores are those of {due[twin]}"
            faults.add_row(
                place, due[number], "equal", what, "see that no revision stands twice", warning=True
            )

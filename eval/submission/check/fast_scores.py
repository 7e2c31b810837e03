"""The scores of the fast tasks: task -> a {name: score} for each revision, in order.

The lists do not say which revision an entry is of, so one that is missing shows in their length, one that is
repeated in its scores, and an order that is wrong not at all.
"""

from collections.abc import Callable, Sequence
from math import isfinite

from eval.submission.check.faults import Faults, check_keys, twins
from eval.submission.check.predictions import AGAIN
from eval.submission.check.values import checker, shown
from eval.submission.rules import FastList, Rules

NEAR = 1e-6  # of a whole number of right answers
ROUNDED = 1e-6  # between the scores of two scorings of one model
REMEDIES = {
    "fraction": "write fractions of 1, as the collator does",
    "correlation": "write a correlation, from -1 to 1; a model that is constant has none: score it again",
    "gain": "write the gain in explained variance as a fraction of 1, as the collator does",
}


def check_fast(rules: Rules, value: object, due: Sequence[str], faults: Faults) -> None:
    """Add what is wrong with the fast scores of the revisions that are `due`."""
    if (lists := check_keys(value, rules.fast_key, rules.fast, faults)) is None:
        return
    told: list[list[list[float]]] = []
    for key, entry in rules.fast.items():
        if key in lists:
            told.append(check_list(f"{rules.fast_key}/{key}", key, entry, lists[key], due, faults))
    if not (told and all(told)):  # a list is not all there, which is told
        return
    together = [(name, sum(scores, [])) for name, *scores in zip(due, *told, strict=True)]
    found = list(twins(together, ROUNDED))
    every = len(found) == len(due) - 1 > 1  # which is told of each list
    for twin, name in () if every else found:
        what = f"{twin} and {name} have equal scores in every fast task: one model was scored twice"
        faults.add(f"{rules.fast_key}, {name}", what, "score each revision's own weights")


def check_list(
    place: str, key: str, entry: FastList, value: object, due: Sequence[str], faults: Faults
) -> list[list[float]]:
    """One task's list; the scores of each of its entries, [] if these are not all there."""
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
                _check_score(where, name, found[name], check, entry, faults)
    whole = {number: own for number, scores in enumerate(value) if (own := _scores(scores, entry))}
    if entry.zeros and whole and not any(map(any, whole.values())):
        faults.add(place, "every score is 0", entry.zeros)
    else:
        coarse = entry.value == "fraction" and len(entry.rows) == 1
        check_repeated(place, key, whole, due, faults, coarse=coarse)
    return list(whole.values()) if len(whole) == len(due) == len(value) else []


def _scores(scores: object, entry: FastList) -> list[float]:
    """The scores of one revision, to compare; [] if they are not all there."""
    found = [scores.get(name) for name in entry.rows] if isinstance(scores, dict) else [None]
    return found if all(type(score) in (int, float) and isfinite(score) for score in found) else []


def _check_score(
    where: str,
    name: str,
    score: object,
    check: Callable[[object], str | None],
    entry: FastList,
    faults: Faults,
) -> None:
    """One score: of its kind and, where it is a mean over rows, a share of so many."""
    if problem := check(score):
        what = f"{shown(score)} {problem}"
        faults.add_row(where, name, f"score {problem}", what, REMEDIES.get(entry.value, AGAIN))
    elif (rows := entry.rows[name]) and abs(score * rows - round(score * rows)) > NEAR * rows:
        what = f"{score} is no share of {rows:,} rows: scored with --limit, or with shared ties?"
        faults.add_row(where, name, "share", what, "count the predictions that are right", warning=True)


def check_repeated(
    place: str, key: str, scores: dict[int, list[float]], due: Sequence[str], faults: Faults, *, coarse: bool
) -> None:
    """Different models seldom have equal scores: odd for two revisions, and a fault for all of three or more.

    `coarse`: an entry is one share of some rows, which two models may well have in common.
    """
    named = [(due[number], own) for number, own in scores.items() if number < len(due)]
    found = list(twins(named, ROUNDED))
    if len(named) > 2 and len(found) == len(named) - 1:
        faults.add_constant(place, key, f"all {len(named):,} revisions have the same scores")
        return
    for twin, name in found if not coarse else ():
        what = f"the scores are those of {twin}"
        faults.add_row(place, name, "equal", what, "see that no revision stands twice", warning=True)

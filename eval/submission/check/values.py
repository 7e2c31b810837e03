"""What the values of a submission file may be, and how they and the rows that lack them are named in a message."""

import json
import math
from collections.abc import Callable
from functools import partial

from eval.submission.rules import Kind

LONGEST = 60


def shown(value: object) -> str:
    """A value on one line, cut, in ASCII: half a surrogate pair could not be printed."""
    try:
        text = json.dumps(value)
    except RecursionError:  # what the reader's stack just bore
        text = "a value in very many brackets"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def checker(kind: Kind, labels: int = 0) -> Callable[[object], str | None]:
    """A function of a value: None if it is of the kind, else what is wrong with it, in a few words.

    "subtask_row" is `<subtask>_<row>` and "row" the row's number, from 0: which one is not asked here.
    """
    return partial(_label, labels=labels) if kind == "label" else _CHECKS[kind]


def _any_text(value: object) -> str | None:
    if type(value) is not str:
        return "is no text"
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return "has half a character (a lone surrogate)"
    return None


def _text(value: object) -> str | None:
    return _any_text(value) or (None if value.strip() else "is a blank text")


def _whole(value: object) -> str | None:
    return None if type(value) is int and value >= 0 else "is no whole number"


def _number(value: object) -> str | None:
    if type(value) not in (float, int):
        return "is no number"
    return None if math.isfinite(value) else "is not finite"


def _surprisal(value: object) -> str | None:
    if type(value) is int:
        return "is a whole number, where the leaderboard takes 3.0 for 3"
    return _number(value) or (None if value >= -_ROUNDED_LOG else "is below 0, which no surprisal is")


def _surprisal_or_nan(value: object) -> str | None:
    return None if type(value) is float and math.isnan(value) else _surprisal(value)


def _between(value: object, least: float, most: float) -> str | None:
    return _number(value) or (None if least <= value <= most else f"is not from {least:g} to {most:g}")


def _label(value: object, labels: int) -> str | None:
    known = type(value) is int and 0 <= value < labels
    return None if known else f"is none of the labels {', '.join(map(str, range(labels)))}"


_ROUNDED_LOG = 1e-3  # nats; -log p of a p that rounding made more than 1
_ROUNDING = 1e-9  # a gain in R^2 is 0 or more but for rounding, and 1 at most
_CHECKS: dict[str, Callable[[object], str | None]] = {
    "subtask_row": _text,
    "row": _whole,
    "text": _text,
    "any_text": _any_text,
    "whole": _whole,
    "surprisal": _surprisal,
    "surprisal_or_nan": _surprisal_or_nan,
    "fraction": partial(_between, least=0, most=1),
    "correlation": partial(_between, least=-1, most=1),
    "gain": partial(_between, least=-_ROUNDING, most=1),
}

"""A submission file as JSON, read so that nothing in it is lost or becomes something else in silence.

Python's reader keeps the last of two equal keys, and takes NaN and numbers of any length. Here such a key is
remembered with its object; NaN and infinity come through as floats, and so does a whole number
of more than 18 digits: the checks of the values, which know the place, refuse them.
"""

import json
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import refuse_hollow

DIGITS = 18


class Doubled(dict):
    """An object in whose text a key stands twice; it holds the last value, as everywhere."""

    twice: str


def read_submission(path: Path) -> object:
    """The JSON value in `path`; a UserError if there is none."""
    remedy = "name the file that the collator wrote"
    if path.exists():
        refuse_hollow(path)
    try:
        text = path.read_bytes().decode("utf-8")
        if text.startswith("\ufeff"):
            raise UserError(
                f"{path} begins with a byte-order mark, and the leaderboard's reader takes none: save it as UTF-8 "
                "without one"
            )
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except FileNotFoundError:
        raise UserError(f"{path} is not there: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): {remedy}") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, character {error.colno}, is not JSON ({error.msg}): {remedy}"
        ) from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: {remedy}") from None


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = Doubled(found)
    names = [name for name, _ in pairs]
    doubled.twice = next(name for name in names if names.count(name) > 1)
    return doubled


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS else float(digits)

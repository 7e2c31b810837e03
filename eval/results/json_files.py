"""JSON files of other stages, read with one line about whatever is wrong with them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON, refuse_hollow


def read_json(path: Path, remedy: str, keys: Sequence[str] = ()) -> dict:
    """The JSON object in `path`, which must hold `keys`; else a UserError that ends with `remedy`."""
    if path.exists():
        refuse_hollow(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except BAD_JSON as error:
        raise UserError(f"{path} is not valid JSON ({error}): {remedy}") from None
    require(value, keys, str(path), remedy)
    return value


@contextmanager
def damage_named(what: object, remedy: str) -> Iterator[None]:
    """Turn what goes wrong with values of other kinds than a file should hold into one UserError that names `what`."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{what} holds something else than the kit wrote there ({reason}): {remedy}"
        ) from error


def require_weights(result: dict, name: str, remedy: str) -> None:
    """Raise UserError unless a result that is a mean over choices says what each subtask counts in it."""
    cells = result.get("by_subtask", {}) if result.get("metric") == "accuracy" else {}
    require(cells, (), f"'by_subtask' of {name}", remedy)
    for subtask, cell in cells.items():
        require(cell, ("weight",), f"{name}, {subtask}, of an earlier version,", remedy)


def require(value: object, keys: Sequence[str], name: str, remedy: str) -> None:
    """Raise UserError unless `value` is a JSON object that holds all `keys`."""
    if not isinstance(value, dict):
        raise UserError(f"{name} is not a JSON object: {remedy}")
    if lacking := [key for key in keys if key not in value]:
        raise UserError(f"{name} lacks {', '.join(lacking)}: {remedy}")

"""The rows that the official data have, so that a file which is missing or cut short is noticed."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROWS = Path(__file__).with_name("official_rows.yaml")


def official_rows(task: str) -> dict[str, int] | None:
    """Rows of each official subtask of a task; None where there are no official data."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(ROWS)).get(task)


def deviations(task: str, subtasks: Iterable[str]) -> list[str]:
    """How a task's items, one name of a `subtask` each, differ in number from the official ones; [] if they do not."""
    official = official_rows(task)
    if official is None:
        return []
    found = Counter(subtasks)
    unlike = [name for name in sorted({*official, *found}) if found[name] != official.get(name, 0)]
    return [
        f"{name} has {found[name]:,} rows, the official data {official.get(name, 0):,}" for name in unlike
    ]


def deviation_note(unlike: list[str]) -> str:
    """The deviations in one phrase: the first, and how many more there are."""
    more = f" (and {len(unlike) - 1:,} more subtasks differ)" if unlike[1:] else ""
    return f"{unlike[0]}{more}" if unlike else ""

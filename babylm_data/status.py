"""status.json: how far a program has come by what is on the disk, and whether anything is left to do."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from babylm_data.errors import STATUS
from babylm_data.sealed import write_whole

STATUS_FILE = "status.json"


def tell(folder: Path | None, stage: str, name: str, done: int, of: int, *, goes_on: bool) -> None:
    """Write it into the folder, if there is one, and where the environment says."""
    told = {"stage": stage, "name": name, "done": done, "of": of, "goes_on": goes_on}
    places = [folder / STATUS_FILE] if folder else []
    places += [Path(place)] if (place := os.environ.get(STATUS)) else []
    for place in places:
        write_whole(place, json.dumps(told) + "\n")


@contextmanager
def in_one(stage: str, name: str) -> Iterator[None]:
    """Tell of work that is there whole or not at all, before it and after it has ended well."""
    tell(None, stage, name, 0, 1, goes_on=True)
    yield
    tell(None, stage, name, 1, 1, goes_on=False)

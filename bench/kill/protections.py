"""What keeps a run whole, taken away one at a time: `bench.kill` must miss each, or it would prove nothing."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import IO, NamedTuple
from unittest.mock import patch

from babylm_data.sealed import seal
from bench.kill.lab import Lab, Tally
from bench.kill.stages import STAGES


def writing_in_place() -> None:
    """Folders are written under their final names."""
    from train_teachers import checkpoint

    @contextmanager
    def open_folder(path: Path, needed: int | None = None):
        path.mkdir(parents=True, exist_ok=True)
        yield path
        seal(path)

    checkpoint.sealed_folder = open_folder
    patch.object(checkpoint, "proven_damage", lambda path: None).start()  # refuses a name that is not there


def forgetting_the_optimiser() -> None:
    """A run that goes on has its weights again and not its optimiser's state."""
    from train_teachers import loop

    honest = loop.load_state
    loop.load_state = lambda path, module, optimizers, scaler: honest(path, module, [], scaler)


def keeping_later_lines() -> None:
    """Lines of steps that are taken again stay in the curve."""
    from train_teachers.run import Run

    Run.forget_after = lambda self, step: None


def appending_only() -> None:
    """A cache is not cut back to what is known to be on the disk."""
    from distill import cache_writer

    class Uncut:
        def __init__(self, file: IO) -> None:
            self.file = file

        def __enter__(self) -> "Uncut":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> object:
            return (lambda size: None) if name == "truncate" else getattr(self.file, name)

    cache_writer.open = lambda *arguments: Uncut(open(*arguments))


def plain_files() -> None:
    """Files are written where they belong, and not under another name first."""
    from eval.results import scores

    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            os.fsync(file.fileno())  # an instant like any other
            file.write(text[len(text) // 2 :])

    scores.write_whole = write


class Protection(NamedTuple):
    """A protection: how to take it away, and the stage that needs it."""

    take_away: Callable[[], None]
    stage: str


PROTECTIONS = {
    "folders under other names until they are whole": Protection(writing_in_place, "teacher"),
    "the optimiser's state": Protection(forgetting_the_optimiser, "teacher"),
    "no line twice": Protection(keeping_later_lines, "teacher"),
    "caches cut back": Protection(appending_only, "cache"),
    "files under other names until they are whole": Protection(plain_files, "score"),
}


def unprotected(lab: Lab, name: str, rng: Random) -> Tally:
    """Play the stage that needs a protection without it; what is wrong then is what should be.

    Dying before each operation, not at random instants: whether those hit what is unprotected would be luck.
    """
    take_away, stage = PROTECTIONS[name]
    lab.reset(STAGES[stage])
    lab.finish(STAGES[stage], take_away)  # without an interruption nobody misses it
    tally = lab.operations(stage, rng, plant=take_away, enough=1)
    tally.name = f"without {name}"
    return tally

"""A place that is put back to how it was, programs that are begun in it and killed, and the tally of it."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from tqdm import tqdm

from babylm_data.errors import STATUS
from babylm_data.stopping import STOPPED
from bench.hostile_workplace import environment, make_workplace
from bench.kill import forked
from bench.kill.hub import LocalHub
from bench.kill.operations import Operations
from bench.kill.stages import FIRST, STAGES, Stage, differences, fingerprint

SAID = "said.txt"
"""Beside the place: what the last program there has printed."""
TOLD = "told.json"
"""And how far it has come, as it tells a job of Slurm."""
LOOK = 0.002  # seconds between looks at whether a program has ended
BEYOND = 1.2  # instants are drawn up to this many times what a stage takes, so that each comes to its end
GOING_ON = 20  # operations with which a program finds out how far it is, or more
SHOWN = 3  # of what is wrong


@dataclass
class Tally:
    """What came of it, for one stage."""

    name: str
    lines: int = 0
    """How often the stage came to its end."""
    kills: int = 0
    longest: float = 0.0
    """Seconds from a signal to the end of the program, at most."""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        waited = f", {self.longest:.1f} s at most" if self.longest else ""
        wrong = f"{len(self.wrong)} wrong: {'; '.join(self.wrong[:SHOWN])}" if self.wrong else "all the same"
        return f"{self.name:28} {self.kills:4} kills {self.lines:4} lines{waited}: {wrong}"


def evenly(things: Sequence, most: int | None) -> Sequence:
    """All of them, or at most so many that are spread evenly."""
    if most is None or most >= len(things):
        return things
    return [things[len(things) * part // most] for part in range(most)]


def last_line(text: str) -> str:
    """Where a program says what was wrong."""
    return text.rpartition("\n")[2]


class Lab:
    """Where stages are played, each from the same files, always under the same paths."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "work" / "place"
        self.hub: LocalHub | None = None
        os.environ.update(environment())
        first = folder / "first"
        # in a child: this process must not have computed anything
        if forked.wait(forked.begin(lambda: make_workplace(first), folder, folder / SAID)):
            raise RuntimeError((folder / SAID).read_text())
        forked.load_libraries()
        self.bases: dict[tuple[str, ...], Path] = {(): first}
        for stage in FIRST:
            self.place = first
            self.finish(stage)
        self.place = folder / "work" / "place"
        self._alone: dict[str, tuple[dict[str, str], float]] = {}

    def reset(self, stage: Stage) -> None:
        """Put the place back to how it is before a stage."""
        base = self.base(stage.after)
        if self.hub:
            self.hub.leave()
        shutil.rmtree(self.place.parent, ignore_errors=True)
        shutil.copytree(base, self.place, symlinks=True)
        self.hub = LocalHub(self.place) if stage.pushes else None

    def files(self) -> dict[str, str]:
        """The fingerprint of the place, where a hub leaves what it holds."""
        if self.hub:
            self.hub.leave()
            self.hub = None
        return fingerprint(self.place)

    def base(self, after: tuple[str, ...]) -> Path:
        """A folder in which these stages have come to their end."""
        if after not in self.bases:
            stage = STAGES[after[-1]]
            self.reset(stage)
            self.finish(stage)
            self.bases[after] = self.folder / "-".join(after)
            self.place.rename(self.bases[after])
        return self.bases[after]

    def start(self, stage: Stage, plant: Callable[[], object] | None = None) -> int:
        """Begin a stage; the number of its process."""
        plants = [plant, self.hub.plant if self.hub else None]
        actions = [*filter(None, plants), partial(forked.call, stage.module, stage.arguments)]
        os.environ[STATUS] = str(self.place.parent / TOLD)
        return forked.begin(lambda: [act() for act in actions], self.place, self.place.parent / SAID)

    def finish(self, stage: Stage, plant: Callable[[], object] | None = None) -> None:
        """Carry a stage out; RuntimeError with what it said if it fails."""
        if status := forked.wait(self.start(stage, plant)):
            raise RuntimeError(f"status {status}: {last_line(self.said())}")

    def said(self) -> str:
        """What the last program has said."""
        return (self.place.parent / SAID).read_text(errors="replace").strip()

    def told(self) -> dict | None:
        """What the last program that told how far it is has said."""
        place = self.place.parent / TOLD
        return json.loads(place.read_text()) if place.exists() else None

    def left_alone(self, name: str) -> tuple[dict[str, str], float]:
        """The files that a stage leaves if nobody touches it, and the seconds that it takes."""
        if name not in self._alone:
            self.reset(STAGES[name])
            since = time.monotonic()
            self.finish(STAGES[name])
            seconds = time.monotonic() - since
            self._alone[name] = self.files(), seconds
        return self._alone[name]

    def end(self, stage: Stage, tally: Tally, plant: Callable[[], object] | None = None) -> None:
        """Carry a stage out that was interrupted, and see whether the place is as it would have left it by itself."""
        tally.lines += 1
        try:
            self.finish(stage, plant)
        except RuntimeError as error:
            tally.wrong.append(str(error))
        else:
            told = self.told()
            if told is None or told["goes_on"] or told["done"] != told["of"]:
                tally.wrong.append(f"status.json does not say that all is done: {told}")
            tally.wrong += differences(self.files(), self.left_alone(tally.name)[0])

    def survive(
        self,
        name: str,
        kills: int,
        rng: Random,
        number: signal.Signals = signal.SIGKILL,
    ) -> Tally:
        """Play a stage with so many kills: as often as that takes, each time to its end."""
        stage, tally = STAGES[name], Tally(name)
        usual = self.left_alone(name)[1]
        bar = tqdm(total=kills, desc=name, unit=" kills", disable=None, leave=False)
        while tally.kills < kills and len(tally.wrong) < SHOWN:
            self.reset(stage)
            while tally.kills < kills and self.interrupt(
                stage, tally, rng.uniform(0, BEYOND * usual), number
            ):
                tally.kills += 1
            self.end(stage, tally)
            bar.update(tally.kills - bar.n)
        bar.close()
        return tally

    def interrupt(self, stage: Stage, tally: Tally, after: float, number: signal.Signals) -> bool:
        """Begin a stage and send it a signal after so many seconds; False if it ended before."""
        pid = self.start(stage)
        end = time.monotonic() + after
        while time.monotonic() < end:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self.judge(tally, os.waitstatus_to_exitcode(status), 0)
                return False
            time.sleep(LOOK)
        since = time.monotonic()
        if number == signal.SIGKILL:
            with suppress(ProcessLookupError):  # it has no group of its own yet
                os.killpg(pid, number)
        os.kill(pid, number)
        status = forked.wait(pid)
        # it may have come to its end meanwhile, or not have listened yet
        self.judge(tally, status, 0, -number, *([] if number == signal.SIGKILL else [STOPPED]))
        if status == STOPPED:
            tally.longest = max(tally.longest, time.monotonic() - since)
        return status != 0

    def judge(self, tally: Tally, status: int, *expected: int) -> None:
        """Note an exit status that should not be."""
        if status not in expected:
            tally.wrong.append(f"status {status}: {last_line(self.said())}")

    def operations(
        self,
        name: str,
        rng: Random,
        *,
        most: int | None = None,
        enough: int = SHOWN,
        plant: Callable[[], object] = lambda: None,
    ) -> Tally:
        """Play a stage once for each operation on a file, or for so many of them, dying before it.

        The second start dies as well, before an operation of going on. In any order: where a protection is missing,
        what is wrong lies close together. Ends when `enough` is wrong.
        """
        stage, tally = STAGES[name], Tally(name)
        count = Operations()

        def planted() -> None:
            plant()
            count.plant()

        self.reset(stage)
        self.finish(stage, planted)
        seen = count.seen
        chosen = evenly(range(1, seen + 1), most)
        for at in tqdm(
            rng.sample(chosen, len(chosen)), desc=name, unit=" operations", disable=None, leave=False
        ):
            if len(tally.wrong) >= enough:
                break
            self.reset(stage)
            for count.dies_at in (at, 1 + at % GOING_ON):
                status = forked.wait(self.start(stage, planted))
                self.judge(tally, status, -signal.SIGKILL, 0)
                tally.kills += status != 0
            self.end(stage, tally, plant)
        return tally

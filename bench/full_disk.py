"""Writing where the disk is full after so many bytes: by the kernel's limit on a file, and by a small disk of its own.

The second needs the right to mount one, and is left out where there is none.
"""

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import product
from pathlib import Path

from tqdm import trange

from bench.children import Outcome, in_child
from bench.damage import contents
from bench.damage_workplace import WRITINGS, Writing, copy
from bench.hostile_workplace import inside

BLOCK = 4096  # bytes that a small file takes of a disk in memory
SIZE = 64 * 2**20  # bytes of that disk
LINE = re.compile(
    r"error: \S+ cannot be written \(.+\): .*[\d,]+ bytes.*, and [\d,]+ are free: make room, .*"
    r"|error: \S+ needs [\d,]+ MB more and the disk has [\d,]+: make room, .*"  # seen before anything was begun
)


@contextmanager
def limited_files(place: Path, limit: int) -> Iterator[None]:
    """No file of this process may be longer than `limit` bytes."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def filled_disk(place: Path, room: int) -> Iterator[None]:
    """The disk of `place` has no more than `room` bytes left."""
    filler = place.parent / "filler"
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(place).free - room // BLOCK * BLOCK)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A disk in memory at a new folder; yields whether it may be mounted here."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    mounted = False
    with suppress(FileNotFoundError):
        mounted = not subprocess.run(command, capture_output=True).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def blocks(sizes: list[int]) -> int:
    """Bytes of a disk that files take together."""
    return sum(-(-size // BLOCK) * BLOCK for size in sizes)


DISKS = {"limit of a file": (limited_files, max), "small disk": (filled_disk, blocks)}
"""How a disk is made full, and how many bytes are just enough for files of some sizes."""


def play_full_disks(workplace: Path, place: Path, count: int) -> tuple[dict[tuple[str, str], int], list[str]]:
    """By (kind of file, kind of disk) how many of `count` sizes went as they should, and what was wrong else."""
    good, faults = {}, []
    with small_disk(place / "disk") as mounted:
        for (disk, (full, enough)), (name, writing) in product(DISKS.items(), WRITINGS.items()):
            if full is filled_disk and not mounted:
                continue
            here = place / ("disk" if full is filled_disk else "limited") / "work"
            most = enough(sizes_of(writing, workplace, here))
            good[name, disk] = 0
            for number in trange(count, desc=f"{name}, {disk}", mininterval=1.0, disable=None):
                room = most * number // count
                if fault := play(writing, workplace, here, partial(full, here, room)):
                    faults.append(f"{name}, {disk}, {room:,} bytes: {fault}")
                else:
                    good[name, disk] += 1
    return good, faults


def sizes_of(writing: Writing, workplace: Path, here: Path) -> list[int]:
    """Bytes of each file that is written."""
    copy(workplace, here)
    before = contents(here)
    write(writing, here)
    after = contents(here)
    return [len(after[name][1]) for name in after if after[name] != before.get(name)]


def write(writing: Writing, here: Path, full: Callable = nullcontext) -> Outcome:
    """How it ends in a process of its own."""

    def work() -> None:
        with inside(here), full():
            writing.write()

    return in_child(work)


def play(writing: Writing, workplace: Path, here: Path, full: Callable) -> str | None:
    """What was wrong about a full disk, and about the same call when there was room again, if anything."""
    copy(workplace, here)
    before = contents(here)
    outcome = write(writing, here, full)
    if not (LINE.fullmatch(outcome.refusal or "") and writing.named in outcome.refusal):
        return outcome.told
    after = contents(here)
    if changed := [name for name in before if after.get(name) != before[name]]:
        return f"{changed[0]} was changed"
    for name in after.keys() - before.keys():
        if ".tmp-" in name:
            return f"{name} was left"
        if "/." not in f"/{name}" and not whole(here / name):
            return f"{name} is half-written"
    if (again := write(writing, here)).status:
        return f"with room again, {again.told}"
    return other_cache(here) if writing.made.parent.name == "caches" else None


def whole(path: Path) -> bool:
    """A folder, or a file that holds JSON."""
    try:
        return path.is_dir() or bool(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return False


def other_cache(here: Path) -> str | None:
    """In what the new cache, begun on a full disk, is not the one that was written in one go."""
    new, right = (contents(here / "caches" / name) for name in ("new", "a"))
    differing = [name for name in right if name.endswith((".bin", ".npy")) and new.get(name) != right[name]]
    return f"{differing[0]} of the cache is another" if differing else None

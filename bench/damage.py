"""Damage to what is on the disk is found before it is used, and a full disk leaves whole what was there.

Files of a checkpoint, a cache of soft targets and a data folder are damaged one at a time, drawn by the seed: cut, a
bit flipped, a range zeroed, deleted, appended to, exchanged, emptied, put on a broken sector, denied, turned into a
folder. Whoever reads it then must refuse it in one line, or go back to the checkpoint before and say so. Then each
kind of file is written where the disk is full after so many bytes: what was there must stay whole, nothing half-
written may bear a final name, the error must be one line with the path and the bytes, and with room the same call
must do its work.

  python -m bench.damage
  python -m bench.damage --seed 7 --count 2000
  python -m bench.damage --without-verification --sizes 1    what the bench says if nothing is checked
"""

import argparse
import os
import shutil
import stat
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from unittest.mock import patch

from babylm_data.errors import UserError, from_zero, parser_of, run_stage

if TYPE_CHECKING:
    from bench.children import Outcome
    from bench.damage_workplace import Artefact

SHOWN = 20  # faults in full


def cut(path: Path, rng: Random, folder: Path) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def flip(path: Path, rng: Random, folder: Path) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def zero(path: Path, rng: Random, folder: Path) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    stop = min(len(content), start + rng.choice([1, 16, 512, 4096]))
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)


def delete(path: Path, rng: Random, folder: Path) -> None:
    path.unlink()


def append(path: Path, rng: Random, folder: Path) -> None:
    path.write_bytes(path.read_bytes() + rng.choice([b"\n", b"\0", rng.randbytes(64)]))


def exchange(path: Path, rng: Random, folder: Path) -> None:
    """With another file of its size, else two halves of it with each other."""
    content = path.read_bytes()
    twins = [other for other in folder.rglob(path.name) if other != path]
    twins = [other for other in twins if other.stat().st_size == len(content)]
    if twins:
        path.write_bytes(twins[0].read_bytes())
        twins[0].write_bytes(content)
    else:
        half = len(content) // 2
        path.write_bytes(content[half : 2 * half] + content[:half] + content[2 * half :])


def empty(path: Path, rng: Random, folder: Path) -> None:
    path.write_bytes(b"")


def break_sector(path: Path, rng: Random, folder: Path) -> None:
    """As where the disk is broken: it opens, and to read it is an error (EIO)."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def deny(path: Path, rng: Random, folder: Path) -> None:
    path.chmod(0)


def turn_into_folder(path: Path, rng: Random, folder: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS = {
    "cut": cut,
    "bit flipped": flip,
    "zeroed": zero,
    "deleted": delete,
    "appended": append,
    "exchanged": exchange,
    "emptied": empty,
    "unreadable": break_sector,
    "denied": deny,
    "a folder": turn_into_folder,
}


def is_plain(path: Path) -> bool:
    """Is it a file, and no link?"""
    return stat.S_ISREG(path.lstat().st_mode)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What is below a folder: of each file its rights and its bytes."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if is_plain(path) else b"")
        for path in folder.rglob("*")
    }


def spoil(artefact: "Artefact", kind: str, rng: Random) -> Path:
    """Damage one of its files, drawn anew until its bytes or rights are others; which one."""
    before = contents(artefact.folder)
    while True:
        path = rng.choice(artefact.files())
        if path.stat().st_size:
            KINDS[kind](path, rng, artefact.folder)
        if contents(artefact.folder) != before:
            return path


def fault_of(artefact: "Artefact", outcome: "Outcome", before: str | None) -> str | None:
    """What was wrong about how damage was met, if anything; `before`: what the checkpoint before has."""
    if outcome.refusal:
        named = str(artefact.folder) in outcome.refusal
        return None if named else f"another thing was refused: {outcome.refusal}"
    if outcome.status:
        return outcome.told
    if "going back to the checkpoint before it" in outcome.said:
        return None if outcome.value == before else f"went back to {outcome.value} instead of {before}"
    return "loaded as if nothing were"


def believe_everything() -> None:
    """Look at no seal from now on."""
    from babylm_data import sealed
    from train_teachers import checkpoint

    for module, name in ((sealed, "damage"), (checkpoint, "proven_damage")):
        patch.object(module, name, lambda path: None).start()  # refuses a name that is not there


def read(artefact: "Artefact", *, verified: bool = True) -> "Outcome":
    """How reading it ends in a process of its own."""
    from bench.children import give_up_override, in_child

    def work() -> object:
        give_up_override()
        if not verified:
            believe_everything()
        return artefact.read()

    return in_child(work)


def play_damages(
    workplace: Path, place: Path, *, count: int, seed: int, verified: bool = True
) -> tuple[Counter, Counter, list[str]]:
    """By (artefact, kind) how many were played and how many found, and what was wrong with each other one."""
    from tqdm import trange

    from bench.damage_workplace import ARTEFACTS, STATE, copy
    from bench.hostile_workplace import inside

    played, found, faults = Counter(), Counter(), []
    copy(workplace, place)
    with inside(place):
        older, newest = sorted(STATE.glob("step-*"))
        copy(newest, Path("newest"))
        shutil.rmtree(newest)
        kept = read(ARTEFACTS["checkpoint"]).value
        for number in trange(count, unit=" damages", mininterval=1.0, disable=None):
            rng = Random(f"{seed} {number}")
            name, kind = list(product(ARTEFACTS, KINDS))[number % (len(ARTEFACTS) * len(KINDS))]
            artefact = ARTEFACTS[name]
            copy(workplace / artefact.folder, artefact.folder)
            path = spoil(artefact, kind, rng)
            before = kept if contents(older) == contents(workplace / older) else None
            fault = fault_of(artefact, read(artefact, verified=verified), before)
            played[name, kind] += 1
            if fault:
                faults.append(f"{number}: {path}, {kind}: {fault}")
            else:
                found[name, kind] += 1
            copy(workplace / artefact.folder, artefact.folder)
    return played, found, faults


def table(rows: list[str], columns: list[str], cells: dict[tuple[str, str], str]) -> str:
    """Aligned text; the cell of (row, column), or nothing."""
    lines = [["", *columns], *([row, *(cells.get((row, column), "") for column in columns)] for row in rows)]
    widths = [max(map(len, parts)) for parts in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench.damage", __doc__)
    add = parse.add_argument
    add("--count", type=from_zero, default=500, metavar="N", help="damages [500]")
    add("--seed", type=from_zero, default=0, metavar="N", help="of what is drawn [0]")
    add("--sizes", type=from_zero, default=20, metavar="N", help="of a full disk, for each kind of file [20]")
    add("--without-verification", dest="verified", action="store_false", help="look at no seal")
    return parse


def main(argv: list[str]) -> int:
    """Play the damages and the full disks; 1 if anything was wrong with any."""
    args = parser().parse_args(argv)
    # before torch is loaded: what its threads hold would be lost in a fork
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

    from bench.children import in_child
    from bench.damage_workplace import ARTEFACTS, WRITINGS, make_workplace
    from bench.full_disk import DISKS, play_full_disks

    with tempfile.TemporaryDirectory(prefix="damage-") as temporary:
        place = Path(temporary).resolve()
        workplace = place / "workplace"
        if (made := in_child(lambda: make_workplace(workplace))).status:
            raise UserError(f"the workplace cannot be made: {made.told}")
        played, found, faults = play_damages(
            workplace, place / "damaged", count=args.count, seed=args.seed, verified=args.verified
        )
        print(f"seed {args.seed}")
        if args.count:
            cells = {cell: f"{found[cell]} / {played[cell]}" for cell in played}
            print(f"\ndamages found / played\n{table(list(ARTEFACTS), list(KINDS), cells)}")
        good, left = play_full_disks(workplace, place / "full", args.sizes) if args.sizes else ({}, [])
        if args.sizes:
            cells = {cell: f"{number} / {args.sizes}" for cell, number in good.items()}
            print(f"\nfull disks, intact / played\n{table(list(WRITINGS), list(DISKS), cells)}")
    faults += left
    print("\n".join(["", *faults[:SHOWN], f"{sum(played.values())} damages, {sum(found.values())} found"]))
    print(f"{len(good) * args.sizes} full disks, {sum(good.values())} intact")
    return int(bool(faults))


if __name__ == "__main__":
    run_stage(main)

"""Kills at random instants of every stage of the line; what comes out in the end is what one left alone gives.

A stage is begun in a small workplace, killed after a random time, begun again by the same command, and so on until it
ends; then every file is compared, byte for byte but for what tells the time, with those of a stage that nobody touched:
weights, optimiser states, curves, caches, scores, bundles, what a local hub holds.

  python -m bench.kill                              20 kills over the training stages, and 20 over the others
  python -m bench.kill kills --kills 200 --seed 1
  python -m bench.kill kills --stages cache "student ted" --kills 50
  python -m bench.kill kills --signal TERM          asks instead of killing: exit status 85, and how long that took
  python -m bench.kill phases                       asks in each phase of each program, by each signal
  python -m bench.kill operations                   dies before each operation on a file, and in the middle of tensors
  python -m bench.kill controls                     takes one protection away at a time: each must be missed
  python -m bench.kill kills phases operations controls --most 20
"""

import argparse
import os
import signal
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from babylm_data.errors import from_zero, parser_of, positive, run_stage
from babylm_data.stopping import SIGNALS

if TYPE_CHECKING:
    from bench.kill.lab import Tally

GROUPS = ("training", "others")
GAMES = ("kills", "phases", "operations", "controls")


def main(argv: list[str]) -> int:
    """Play, print a line for each stage; 1 if anything was wrong."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: threads do not come along with a fork
    args = parser().parse_args(argv)
    number, rng, bad = signal.Signals[f"SIG{args.signal}"], Random(args.seed), False
    with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
        from bench.kill.lab import Lab, evenly
        from bench.kill.phases import PHASES, ask_in
        from bench.kill.protections import PROTECTIONS, unprotected
        from bench.kill.stages import ALIKE

        lab = Lab(Path(temporary))
        for game in args.games:
            chosen = [group for training in (True, False) if (group := stages_of(args.stages, training))]
            if game == "kills":
                plays = (
                    lab.survive(name, share, rng, number)
                    for group in chosen
                    for name, share in zip(group, shares(args.kills, len(group)), strict=True)
                )
            elif game == "phases":
                plays = (
                    ask_in(lab, name, [SIGNALS[n % 3]] if args.most else SIGNALS)
                    for n, name in enumerate(evenly(list(PHASES), args.most))
                )
            elif game == "operations":
                names = [name for group in chosen for name in group if name not in ALIKE]
                most = shares(args.most, len(names)) if args.most else [None] * len(names)
                plays = (lab.operations(name, rng, most=m) for name, m in zip(names, most, strict=True))
            else:
                plays = (unprotected(lab, name, rng) for name in PROTECTIONS)
            bad |= told(game, plays)
    return int(bad)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from bench.kill.stages import STAGES

    parse = parser_of("bench.kill", __doc__)
    add, stages = parse.add_argument, ", ".join(STAGES)
    add(
        "games",
        nargs="*",
        choices=GAMES,
        default=["kills"],
        metavar="GAME",
        help=f"{', '.join(GAMES)} [kills]",
    )
    add("--stages", nargs="+", choices=[*GROUPS, *STAGES], default=GROUPS, metavar="STAGE", help=stages)
    add("--kills", type=positive, default=20, metavar="N", help="of each group of stages [20]")
    add(
        "--most",
        type=positive,
        metavar="N",
        help="operations, or phases with one signal each, spread evenly; controls take all [all]",
    )
    add(
        "--seed",
        type=from_zero,
        default=0,
        metavar="N",
        help="of instants, and of the order of operations [0]",
    )
    add("--signal", choices=("KILL", "TERM", "INT", "USR1"), default="KILL", help="[KILL]")
    return parse


def stages_of(wanted: Sequence[str], training: bool) -> list[str]:
    """The names of the stages that are asked for, of one of the groups."""
    from bench.kill.stages import STAGES

    group = GROUPS[not training]
    return [
        name for name, stage in STAGES.items() if stage.training == training and {name, group} & set(wanted)
    ]


def shares(total: int, parts: int) -> list[int]:
    """A number in even parts."""
    return [total * (part + 1) // parts - total * part // parts for part in range(parts)]


def told(game: str, plays: Iterable["Tally"]) -> bool:
    """Print what came of each play, and of all; whether any did not come out as it should."""
    tallies = []
    for tally in plays:
        print(tally, flush=True)
        tallies.append(tally)
    fine = sum(bool(tally.wrong) == (game == "controls") for tally in tallies)
    kills, lines = (sum(getattr(tally, name) for tally in tallies) for name in ("kills", "lines"))
    print(
        f"{game}: {kills} kills, {lines} lines to their end, {fine} of {len(tallies)} as they should be\n",
        flush=True,
    )
    return fine < len(tallies)


if __name__ == "__main__":
    run_stage(main)

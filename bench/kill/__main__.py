"""Kills at random instants of every stage of the line; what comes out in the end is what one left alone gives.

A stage is begun in a small workplace, killed after a random time, begun again by the same command, and so on until it
ends; then every file is compared, byte for byte but for what tells the time, with those of a stage that nobody touched:
weights, optimiser states, curves, caches, scores, bundles, what a local hub holds.

  python -m bench.kill                              20 kills over the training stages, and 20 over the others
  python -m bench.kill --kills 200 --seed 1
  python -m bench.kill --stages cache "student ted" --kills 50
  python -m bench.kill --signal TERM                asks instead of killing: exit status 85, and how long that took
  python -m bench.kill --operations                 dies before each operation on a file, and in the middle of tensors
  python -m bench.kill --controls                   takes one protection away at a time: each must be missed
"""

import os
import signal
import tempfile
from pathlib import Path
from random import Random

from babylm_data.errors import from_zero, parser_of, positive, run_stage

GROUPS = ("training", "others")


def main(argv: list[str]) -> int:
    """Play, print a line for each stage; 1 if anything was wrong."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: threads do not come along with a fork
    from bench.kill.lab import Lab, Tally
    from bench.kill.protections import PROTECTIONS, unprotected
    from bench.kill.stages import STAGES

    parser = parser_of("bench.kill", __doc__)
    add = parser.add_argument
    add(
        "--stages",
        nargs="+",
        choices=[*GROUPS, *STAGES],
        default=GROUPS,
        metavar="STAGE",
        help=", ".join(STAGES),
    )
    add(
        "--kills",
        type=positive,
        default=20,
        metavar="N",
        help="of the training stages, and of the others [20]",
    )
    add("--seed", type=from_zero, default=0, metavar="N", help="of the instants [0]")
    add("--signal", choices=("KILL", "TERM", "INT", "USR1"), default="KILL", help="[KILL]")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--operations", action="store_true", help="die before each operation on a file")
    instead.add_argument("--controls", action="store_true", help="without one protection at a time")
    args = parser.parse_args(argv)
    number, rng = signal.Signals[f"SIG{args.signal}"], Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
        lab = Lab(Path(temporary))
        if args.controls:
            return report([unprotected(lab, name, args.kills, rng) for name in PROTECTIONS], missed=True)
        wanted = set(args.stages)
        tallies: list[Tally] = []
        for training in (True, False):
            of_group = {name: s for name, s in STAGES.items() if s.training == training}
            names = list(of_group) if GROUPS[not training] in wanted else [n for n in of_group if n in wanted]
            for place, name in enumerate(names):
                share = args.kills * (place + 1) // len(names) - args.kills * place // len(names)
                tally = lab.operations(name) if args.operations else lab.survive(name, share, rng, number)
                print(tally, flush=True)
                tallies.append(tally)
        return report(tallies)


def report(tallies: list, *, missed: bool = False) -> int:
    """The sum of all in a line; whether anything was not as it should be."""
    bad = [tally for tally in tallies if bool(tally.wrong) == (not missed)]
    lines, kills = (sum(getattr(tally, name) for tally in tallies) for name in ("lines", "kills"))
    print(
        f"{kills} kills, {lines} lines to their end, {len(tallies) - len(bad)} of {len(tallies)} as they should be"
    )
    return int(bool(bad))


if __name__ == "__main__":
    run_stage(main)

"""python -m bench.revisions CONFIG [key.path=value …] [--repeats N]

What writing revisions costs: the same training with and without them, in turns, in one process. CONFIG is one of
train_teachers; a schedule that is shortened by `words_scale=…` holds all revisions of a track, closer together than
any real one. Printed: the seconds of the loop, each way and their ratio; and, where other work on the machine makes
these say little, what can be told inside one run: how long the loop stood still for the revisions, and what processor
time the thread beside it took. The data must be there; runs go into a temporary folder.
"""

import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from babylm_data.errors import parser_of, positive, run_stage


@contextlib.contextmanager
def measured(clocks: dict[str, tuple[object, object]]) -> Iterator[dict[str, float]]:
    """Seconds spent in methods of the writer while the context lasts: name -> (the class, clock).

    Of those that call each other, the time counts once, for the outer one.
    """
    spent, honest, inside = dict.fromkeys(clocks, 0.0), {}, threading.local()
    for name, (owner, clock) in clocks.items():
        honest[name] = getattr(owner, name)

        def timed(*arguments, name=name, clock=clock):
            if getattr(inside, "one", False):
                return honest[name](*arguments)
            inside.one, began = True, clock()
            try:
                return honest[name](*arguments)
            finally:
                spent[name] += clock() - began
                inside.one = False

        setattr(owner, name, timed)
    try:
        yield spent
    finally:
        for name, (owner, _) in clocks.items():
            setattr(owner, name, honest[name])


def seconds(config) -> float:
    """Of the loop alone, of one training from the first step to the last in the current folder."""
    from train_teachers import stage
    from train_teachers.objective import HardObjective

    taken, train = [], stage.train

    def timed(*arguments, **options):
        began = time.perf_counter()
        progress = train(*arguments, **options)
        taken.append(time.perf_counter() - began)
        return progress

    stage.train = timed
    try:
        stage.run_training(config, kind="teacher", make_objective=lambda *_: HardObjective())
    finally:
        stage.train = train
    return taken[0]


def one_turn(config) -> tuple[float, int]:
    """Train once in the current folder and print what it took: the seconds of the loop, and how many revisions."""
    from train_teachers.revisions import RevisionWriter

    clocks = {
        "write": (RevisionWriter, time.perf_counter),
        "wait": (RevisionWriter, time.perf_counter),
        "_export": (RevisionWriter, time.thread_time),
    }
    with measured(clocks) as spent:
        took = seconds(config)
    written = len(os.listdir(f"runs/{config.name}/revisions")) if config.revisions else 0
    stood, beside = spent["write"] + spent["wait"], spent["_export"]
    inside = f", of which {stood:.2f} s stood still, and {beside:.2f} s of a processor beside it"
    print(f"{written:>3} revisions: {took:.2f} s{inside if config.revisions else ''}", flush=True)
    return took, written


def main(argv: list[str]) -> None:
    """Train in turns, print the ratio."""
    parser = parser_of("bench.revisions", __doc__)
    parser.add_argument("config", help="YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="change fields of the config")
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="of each way [3]")
    args = parser.parse_intermixed_args(argv)

    from train_teachers.config import TrainConfig, load_config

    config = load_config(TrainConfig, args.config, args.overrides)
    data = config.data.model_copy(update={"path": str(Path(config.data.path).resolve())})
    found: dict[bool, list[float]] = {True: [], False: []}
    most = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for turn in range(-1, 2 * args.repeats):  # the first is not counted: it compiles
            on = turn % 4 in (1, 2)
            changes = {"name": f"turn-{turn + 1}", "data": data, "revisions": on}
            took, written = one_turn(config.model_copy(update=changes))
            most = max(most, written)
            if turn >= 0:
                found[on].append(took)
    ratios = [with_ / without for with_, without in zip(found[True], found[False], strict=True)]
    on, off = statistics.median(found[True]), statistics.median(found[False])
    print(
        f"with {on:.2f} s, without {off:.2f} s, ratio {statistics.median(ratios):.4f} "
        f"({min(ratios):.4f} to {max(ratios):.4f}), {(on - off) / max(1, most):.3f} s a revision"
    )


if __name__ == "__main__":
    run_stage(main)

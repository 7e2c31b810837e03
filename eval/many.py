"""Several models in one call: as many processes as asked for, one model after the other in each, a folder for each."""

import argparse
import contextlib
import gc
import io
import os
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from babylm_data.errors import LOOK_AFTER, UserError
from babylm_data.words import revision_words


def names_of(models: list[str]) -> dict[str, str]:
    """What each model is called below --out: the last part of its path that is not "export"."""
    names = {}
    for model in models:
        parts = [part for part in Path(model).parts if part != "export"]
        names[model] = parts[-1] if parts else model
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise UserError(
            f"two of the models are called {twice[0]}: score them one at a time, each with its --out"
        )
    return names


def score_all(args: argparse.Namespace) -> None:
    """Do `python -m eval MODEL … --out OUT/<name>` for each model; a UserError in the end if any of them failed.

    What each printed is shown, in order, when it has ended. The processes share the processor's cores among them.
    """
    names = names_of(list(dict.fromkeys(args.model)))
    revisions = [name for name in names.values() if revision_words(name) is not None]
    if args.results and len(revisions) != (len(names) if args.model_name else 0):
        raise UserError(
            "in a results tree, several models are either revisions of one (chck_1M …; name it with --model-name) "
            "or models of their own (without --model-name)"
        )
    threads = max(1, (os.cpu_count() or 1) // args.processes)
    commands = [
        [model, *options_of(args), "--out", str(args.out / name), *revision_of(name)]
        for model, name in names.items()
    ]
    failed = []
    with ProcessPoolExecutor(
        args.processes, get_context("spawn"), initializer=begin, initargs=(threads,)
    ) as pool:
        try:
            for name, (said, good) in zip(names.values(), pool.map(score_one, commands), strict=True):
                print(f"== {name}\n{said}", flush=True)
                failed += [] if good else [name]
        except BrokenProcessPool:
            raise UserError(
                "a process was killed, as it is where memory is short: ask for fewer with --processes; "
                "what is scored already is kept"
            ) from None
    if failed:
        raise UserError(
            f"{len(failed)} of {len(names)} models have no scores ({', '.join(failed)}): see above"
        )


def begin(threads: int) -> None:
    """What each process does first: it takes its share of the cores, unless the user has said how many, and ends with
    the one that began it, which may be killed: a worker would wait for its next model for ever.
    """
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # torch reads it when it is first imported
    gc.set_threshold(LOOK_AFTER)


def score_one(argv: list[str]) -> tuple[str, bool]:
    """`python -m eval ARGV` in this process, which has its libraries loaded from the model before: what it said, and
    whether it came to an end.
    """
    from eval.__main__ import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(argv)
        except UserError as error:
            print(f"error: {error}")
            return said.getvalue(), False
        except Exception:  # of this model, and no reason to leave out the others
            traceback.print_exc()
            return said.getvalue(), False
    return said.getvalue(), True


def options_of(args: argparse.Namespace) -> list[str]:
    """The command line of all that is the same for every model."""
    options = []
    for name, value in vars(args).items():
        if name in ("model", "out", "revision", "processes") or value in (None, False, []):
            continue
        values = value if isinstance(value, list) else [] if value is True else [value]
        options += [f"--{name.replace('_', '-')}", *map(str, values)]
    return options


def revision_of(name: str) -> list[str]:
    """The option that says which revision a model is, if its name is one's."""
    return ["--revision", name] if revision_words(name) is not None else []

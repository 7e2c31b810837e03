"""Several models in one call: as many processes as asked for, one model after the other in each, a folder for each."""

import argparse
import contextlib
import gc
import io
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from tqdm import tqdm

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
    commands = [
        [model, *options_of(args), "--out", str(args.out / name), *revision_of(name)]
        for model, name in names.items()
    ]
    failed = []
    for name, (said, status) in zip(names.values(), score_each(commands, args.processes), strict=True):
        print(f"== {name}\n{said}", flush=True)
        failed += [name] if status else []
    if failed:
        raise UserError(
            f"{len(failed)} of {len(names)} models have no scores ({', '.join(failed)}): see above"
        )


def score_each(commands: list[list[str]], processes: int) -> Iterator[tuple[str, int]]:
    """`python -m eval COMMAND` for each, so many at a time, in processes that load their libraries once: what it said,
    and its exit status, in order. One at a time shows its progress as it goes on.

    Where a process is killed the rest is scored one at a time, and what is killed then has failed.
    """
    done = 0
    with tqdm(total=len(commands), unit=" models", disable=None if processes > 1 else True) as bar:
        while done < len(commands):
            threads = max(1, (os.cpu_count() or 1) // processes)
            pool = ProcessPoolExecutor(
                processes, get_context("spawn"), initializer=begin, initargs=(threads,)
            )
            score = partial(score_one, shows_progress=processes == 1)
            try:
                with pool:
                    for ended in pool.map(score, commands[done:]):
                        done += 1
                        bar.update()
                        yield ended
            except BrokenProcessPool:
                if processes == 1:
                    done += 1
                    bar.update()
                    yield "error: its process was killed, as it is where memory is short", 1
                else:
                    processes = 1
                    short = "as it is where memory is short: the rest is scored one at a time"
                    print(f"warning: a process was killed, {short}", file=sys.stderr)


def begin(threads: int) -> None:
    """What each process does first: it takes its share of the cores, unless the user has said how many, and ends with
    the one that began it, which may be killed: a worker would wait for its next model for ever.
    """
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # torch reads it when it is first imported
    gc.set_threshold(LOOK_AFTER)


def score_one(argv: list[str], *, shows_progress: bool = False) -> tuple[str, int]:
    """`python -m eval ARGV` in this process, which has its libraries loaded from the model before: what it said, and
    its exit status. Where it shows its progress, what goes to stderr is said at once.
    """
    from eval.__main__ import main

    said, status = io.StringIO(), 0
    errors = sys.stderr if shows_progress else said
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            main(argv)
        except UserError as error:
            print(f"error: {error}")
            status = 2
        except Exception:  # of this model, and no reason to leave out the others
            traceback.print_exc()
            status = 1
    return said.getvalue(), status


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

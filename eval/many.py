"""Several models in one call: a process each, as many at a time as asked for, each with a folder of its own."""

import argparse
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from babylm_data.errors import UserError
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
    """Run `python -m eval MODEL … --out OUT/<name>` for each model; a UserError in the end if any of them failed.

    What each printed is shown when it ends. The processes share the processor's cores among them.
    """
    names = names_of(list(dict.fromkeys(args.model)))
    revisions = [name for name in names.values() if revision_words(name) is not None]
    if args.results and len(revisions) != (len(names) if args.model_name else 0):
        raise UserError(
            "in a results tree, several models are either revisions of one (chck_1M …; name it with --model-name) "
            "or models of their own (without --model-name)"
        )
    threads = max(1, (os.cpu_count() or 1) // args.processes)
    environment = {"OMP_NUM_THREADS": str(threads)} | dict(os.environ)
    with ThreadPoolExecutor(args.processes) as pool:
        score = partial(_score, options=options_of(args), out=args.out, environment=environment)
        ended = pool.map(score, names.keys(), names.values())
        failed = [name for name, status in zip(names.values(), ended, strict=True) if status]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(names)} models have no scores ({', '.join(failed)}): see above"
        )


def options_of(args: argparse.Namespace) -> list[str]:
    """The command line of all that is the same for every model."""
    options = []
    for name, value in vars(args).items():
        if name in ("model", "out", "revision", "processes") or value in (None, False, []):
            continue
        values = value if isinstance(value, list) else [] if value is True else [value]
        options += [f"--{name.replace('_', '-')}", *map(str, values)]
    return options


def _score(model: str, name: str, *, options: list[str], out: Path, environment: dict[str, str]) -> int:
    revision = ["--revision", name] if revision_words(name) is not None else []
    command = [sys.executable, "-m", "eval", model, *options, "--out", str(out / name), *revision]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    print(f"== {name}\n{run.stdout}{run.stderr}", flush=True)
    return run.returncode

"""python -m bench.gpu [--json FILE] [--markdown FILE] [--minutes N] [--parts NAME …]

Everything that has to be seen on a GPU, in one command of a few minutes, to be run wherever one can be had. Each part
has a process of its own and says what it saw as it goes on; what no longer fits is said not to have been reached.

bits      a llama in bf16, fp16 and fp32, one that was killed and went on, a GPT-2 with dropout: each twice the same
          weights; held-out losses by number format
speed     tokens/s of a llama of 8.1M parameters and a GPT-2 of 92M, compiled bf16, Muon
losses    a student that every loss teaches, Sinkhorn's with the rest, twice the same weights
waits     whether a step with two teachers ever waits for the device
cache     soft targets written twice, once by a pass that was killed, the same bytes; a student of them twice
compiled  the llama of `bits`, compiled, twice and killed
ratios    the figures of python -m bench, one turn

Exit status 1 if anything was not as it should be. Works on a processor too, where it takes longer.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from babylm_data.errors import parser_of, positive, run_stage
from babylm_data.sealed import write_whole
from bench.__main__ import refuse_absent_folders
from bench.shapes import ROOT

PARTS = ("bits", "speed", "losses", "waits", "cache", "compiled", "ratios")
ROW = "row "  # before what a part tells as JSON


class Check(NamedTuple):
    """One thing that was seen."""

    part: str
    what: str
    figure: str
    good: bool | None
    """Whether it is as it should be; None for what is only measured."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench.gpu", __doc__)
    add = parse.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME", help="[all, in this order]")
    add("--minutes", type=positive, default=8, metavar="N", help="all together [8]")
    add("--json", type=Path, metavar="FILE", help="write every row there")
    add("--markdown", type=Path, metavar="FILE", help="write the table there")
    add("--inside", type=Path, metavar="DIR", help=argparse.SUPPRESS)  # what a part's own process is told
    return parse


def main(argv: list[str]) -> int:
    """Run the parts one after the other, print and write their rows; 1 if one is not as it should be."""
    args = parser().parse_args(argv)
    if args.inside:
        run_part(args.parts[0], args.inside)
        return 0
    refuse_absent_folders(args.json, args.markdown)
    from bench.turns import machine

    about, until, rows = machine(), time.monotonic() + 60 * args.minutes, []
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        for part in args.parts:
            for row in rows_of(part, Path(folder), until):
                mark = "  !" if row.good is False else ""
                print(f"{row.part:<9} {row.what:<58} {row.figure}{mark}", flush=True)
                rows.append(row)
                if args.json:  # after each row: the machine may be taken away
                    report = {"machine": about, "rows": [row._asdict() for row in rows]}
                    write_whole(args.json, json.dumps(report, indent=1) + "\n")
                if args.markdown:
                    write_whole(args.markdown, markdown(about, rows))
    return int(any(row.good is False for row in rows))


def rows_of(part: str, place: Path, until: float) -> Iterator[Check]:
    """What a part sees, in a process of its own that ends, with all that it has begun, when the time is up."""
    seconds = until - time.monotonic()
    if seconds < 1:
        yield Check(part, "not reached", "the time was up", None)
        return
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-m", "bench.gpu", "--parts", part, "--inside", str(place)]
    with open(place / f"{part}.errors", "w+", encoding="utf-8") as errors:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
        process = subprocess.Popen(command, cwd=place, env=environment, start_new_session=True, **pipes)
        timer = threading.Timer(seconds, kill_all, [process])
        timer.start()
        try:
            for line in process.stdout:
                what = line.strip()
                yield Check(
                    part, *(json.loads(what[len(ROW) :]) if what.startswith(ROW) else (what, "", None))
                )
            status = process.wait()
        finally:
            timer.cancel()
            kill_all(process)
            process.wait()
            process.stdin.close()
            process.stdout.close()
        if time.monotonic() >= until:
            yield Check(part, "the rest was not reached", "the time was up", None)
        elif status:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["?"])[-1]
            yield Check(part, "did not end well", f"exit status {status}: {last[:200]}", False)


def kill_all(process: subprocess.Popen) -> None:
    """End a process that has a session of its own, and every other one in that."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_part(part: str, place: Path) -> None:
    """The part itself, in its own process: a line for each thing seen."""
    threading.Thread(target=end_with_the_other, daemon=True).start()
    from transformers import logging

    from bench import gpu_parts

    logging.disable_progress_bar()
    for row in getattr(gpu_parts, part)(place):
        print(ROW + json.dumps(row), flush=True)


def end_with_the_other() -> None:
    """End this process and all that it has begun when the one that it is told by is no more, however that ended."""
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


def markdown(about: dict, rows: list[Check]) -> str:
    """The table for a log."""
    head = [
        f"{about['device']}, torch {about['torch']}, transformers {about['transformers']}, Python {about['python']}, "
        f"commit {(about['commit'] or 'unknown')[:7]}, {about['started'][:10]}: `python -m bench.gpu`",
        "",
        "| | | figure | |",
        "| --- | --- | ---: | --- |",
    ]
    mark = {True: "as it should be", False: "**not** as it should be", None: ""}
    body = [f"| {row.part} | {row.what} | {row.figure} | {mark[row.good]} |" for row in rows]
    return "\n".join([*head, *body]) + "\n"


if __name__ == "__main__":
    run_stage(main)

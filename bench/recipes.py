"""python -m bench.recipes [NAME …] [--train]

Every recipe of distill/configs/ (or those named) as its user meets it:

- without --train: `python -m distill CONFIG --check`, one sequence through its full shapes. Where a folder that the
  config names is not there, random ones stand in. Printed: seconds and peak memory.
- with --train: the -tiny twins are trained on the nursery corpus and its teachers, which `make submission` leaves in
  runs/, those of bert and hybrids on one of 300,000 words, which their configs say how to make. Teachers of another
  kind, controls that teach, and caches are made first, as their configs say (NAME-seed1 by that of NAME). Printed:
  each term on held-out text before the first step and after the last. The terms of a critic are no distance until it
  has learnt one, so in their place stands the sliced Wasserstein distance of the same layers; a term whose filters
  are trained first is compared from then on.

Exit status 1 if a check fails or a term does not fall.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from babylm_data.errors import UserError, parser_of, run_stage

CONFIGS = Path("distill/configs")
Falls = dict[str, tuple[float, float]]
"""term -> (first, last) value on held-out text."""


def check(config: Path) -> bool:
    """Run `--check`, print what it took, return whether it passed."""
    from train_teachers.stand_ins import MADE_UP

    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "distill", str(config), "--check"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds, gib = time.perf_counter() - start, usage.ru_maxrss / 2**20
    passed = os.waitstatus_to_exitcode(status) in (0, MADE_UP)
    verdict = "passed" if passed else f"FAILED: {(errors.strip().splitlines() or ['?'])[-1]}"
    print(f"{config.stem:<28} {seconds:>5.0f} s {gib:>6.1f} GiB  {verdict}", flush=True)
    return passed


def train(config: Path) -> bool:
    """Train a twin (or find it trained), print its terms, return whether each fell."""
    for words in [*lacking(config), ["distill", str(config)]]:
        done = subprocess.run([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
        if done.returncode:  # it has said why
            told = f"python -m {shlex.join(words)}: exit status {done.returncode}"
            print(f"{config.stem:<28} FAILED: {told}", flush=True)
            return False
    run = Path("runs") / config.stem
    seconds = json.loads((run / "summary.json").read_text(encoding="utf-8"))["seconds"]
    terms = held_out(config, run)
    for term, (first, last) in terms.items():
        verdict = "falls" if last < first else "DOES NOT FALL"
        print(
            f"{config.stem:<28} {seconds:>5.0f} s  {term:<26} {first:>9.4f} {last:>9.4f}  {verdict}",
            flush=True,
        )
    return all(last < first for first, last in terms.values())


def lacking(path: Path) -> list[list[str]]:
    """Programs that make what a twin needs and that is not there: teachers, its own control among them, and caches."""
    from distill.jobs import is_done, jobs_of_config

    *needed, _ = jobs_of_config([str(path)]).values()
    return [job.words for job in needed if not is_done(job)]


def held_out(path: Path, run: Path) -> Falls:
    """Every term of a finished run on held-out text."""
    from distill.config import DistillConfig
    from train_teachers.config import load_config

    config = load_config(DistillConfig, path)
    matched_from = config.losses.ted.until * config.data.words if config.losses.ted else 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    terms: Falls = {}
    for name in lines[-1]:
        if name.startswith("val/") and not name.startswith(("val/wasserstein.", "val/unaveraged")):
            since = matched_from if name.startswith("val/ted.") else 0
            values = [line[name] for line in lines if name in line and line["words_seen"] >= since]
            terms[name.removeprefix("val/")] = values[0], values[-1]
    return terms | (sliced(config, "wasserstein", run) if config.losses.wasserstein else {})


def sliced(config, name: str, run: Path) -> Falls:
    """The sliced distance of the layers that a loss of sets compares, of the first weights and of the last."""
    from distill.__main__ import objective_of
    from distill.config import SlicedWasserstein
    from train_teachers.objective import held_out_terms
    from train_teachers.pretrained import load_pretrained
    from train_teachers.stage import Ready

    loss = getattr(config.losses, name)
    if loss.projector != "none":
        raise UserError(f"{config.name}: the sliced distance is taken without projectors: projector: none")
    judge = SlicedWasserstein(weight=loss.weight, layer_map=loss.layer_map, projector="none")
    losses = config.losses.model_copy(update={name: None, "sliced_wasserstein": judge})
    config = config.model_copy(update={"losses": losses, "precision": "fp32"})
    ready = Ready(config, objective_of(config))
    first, last = (
        held_out_terms(student, ready.objective, ready.held_out.some(32), micro_batch_size=32)
        for student in (ready.student, load_pretrained(run / "export").to(ready.accelerator.device))
    )
    return {name: (first[name], last[name]) for name in first if name.startswith("sliced_wasserstein.")}


def main(argv: list[str]) -> int:
    """Check or train what is named."""
    parser = parser_of("bench.recipes", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes, such as ted (default: all)")
    parser.add_argument("--train", action="store_true", help="train the -tiny twins")
    args = parser.parse_args(argv)
    every = sorted(CONFIGS.glob("*.yaml"))
    twins = [path for path in every if path.with_stem(path.stem.removesuffix("-tiny")) in set(every) - {path}]
    recipes = (
        twins if args.train else [path for path in every if path.with_stem(f"{path.stem}-tiny") in twins]
    )
    wanted = {f"{name}-tiny" if args.train else name for name in args.names}
    if unknown := sorted(wanted - {path.stem for path in recipes}):
        raise UserError(f"{CONFIGS} has no recipe {unknown[0]}.yaml with a twin")
    results = [
        (train if args.train else check)(path) for path in recipes if not wanted or path.stem in wanted
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    run_stage(main)

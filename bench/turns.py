"""Turns of the sides on one machine, a process each, in data and models that are made up for them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

import distill.stand_ins
import train_teachers.stand_ins
from babylm_data.errors import UserError
from bench.shapes import ROOT, Config
from bench.spec import Request, Result, Side, Spec
from distill.cache_writer import write_caches
from distill.config import Cache, DistillConfig, Teacher
from train_teachers.run import environment

CACHED, KEPT = ("cached", "muon"), 32  # sides that read soft targets, and the tokens that are kept of them
CHANGES_SPEED = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")
"""Variables of the environment that each process inherits, and that change what a processor shows of itself."""


def machine() -> dict:
    """Processor, device and versions; the instructions that PyTorch uses; the variables that are set."""
    return environment() | {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "variables": {name: os.environ[name] for name in CHANGES_SPEED if name in os.environ},
    }


@contextlib.contextmanager
def made_up(config: Config) -> Iterator[Config]:
    """The config with random words and random models in its folders, which are gone when the context ends."""
    with contextlib.ExitStack() as stack:
        with contextlib.redirect_stdout(None):  # which names each stand-in
            if isinstance(config, DistillConfig):
                config = stack.enter_context(distill.stand_ins.filled_in(config))
            else:
                config, _ = stack.enter_context(train_teachers.stand_ins.filled_in(config))
        yield config


def spec_of(config: Config, side: Side, request: Request) -> Spec:
    """What a turn of a side is told; its config has as many words as its steps need."""
    words = (request.warmup + request.steps) * config.batch_size * config.data.seq_len
    changes: dict = {"data": config.data.model_copy(update={"words": words, "offset": "fixed"})}
    if side == "muon":
        changes["optim"] = config.optim.model_copy(update={"optimizer": "muon"})
    if side in CACHED and isinstance(config, DistillConfig):
        changes["teachers"] = _with_cache(config)
    return Spec(
        side=side,
        config=config.model_copy(update=changes),
        plain_precision=request.plain_precision or ("fp16" if torch.cuda.is_available() else "fp32"),
        warmup=request.warmup,
        steps=request.steps,
    )


def _with_cache(config: DistillConfig) -> dict[str, Teacher]:
    """The teachers with a cache beside the data: one for all where they are made into one target."""
    path, each, teachers = f"{config.data.path}-soft-targets", config.losses.soft.combine == "separate", {}
    for name, teacher in config.teachers.items():
        cache = Cache(path=f"{path}-{name}" if each else path, top=KEPT)
        teachers[name] = teacher.model_copy(update={"cache": cache})
    return teachers


def take_turn(spec: Spec, place: Path, threads: int | None = None) -> Result:
    """Run one turn in a process of its own, in the folder `place`; UserError in one line if it fails."""
    told, tells = place / "spec.json", place / "result.json"
    told.write_text(spec.model_dump_json(), encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run(
        [sys.executable, "-m", "bench.side", str(told), str(tells)],
        cwd=place,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode < 0:
        raise UserError(
            f"side {spec.side}: ended by signal {-done.returncode}, which a full memory may be; "
            "choose a smaller shape, or override batch_size"
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise UserError(f"side {spec.side}: {said.removeprefix('error: ')}")
    return Result.model_validate_json(tells.read_text(encoding="utf-8"))


def take_turns(
    config: Config, sides: tuple[Side, ...], turns: int, request: Request, place: Path, label: str = ""
) -> dict[Side, list[Result]]:
    """The sides in turn, A B A B …, each in the same folders; a line for each turn."""
    for side in sides:  # what is refused is refused before anything is made
        spec_of(config, side, request)
    results: dict[Side, list[Result]] = {side: [] for side in sides}
    with made_up(config) as filled:
        if set(sides) & set(CACHED) and isinstance(config, DistillConfig):
            with contextlib.redirect_stdout(None):
                write_caches(spec_of(filled, "cached", request).config.model_copy(update={"compile": False}))
        for turn in range(turns):
            for side in sides:
                result = take_turn(spec_of(filled, side, request), place, request.threads)
                results[side].append(result)
                print(f"{label}turn {turn + 1} of {turns}, {line(result)}", flush=True)
    return results


def line(result: Result) -> str:
    """A turn in one line."""
    seconds = " ".join(f"{value:.3f}" for value in result.seconds)
    return f"{result.side}: {seconds} s a step, peak {result.peak_bytes / 2**30:.2f} GiB"

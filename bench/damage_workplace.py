"""The small workplace of `bench.damage`: what runs leave on a disk, how each kind of it is read, and written."""

import hashlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from babylm_data.fingerprint import fingerprint
from babylm_data.prepare import Settings, prepare
from babylm_data.tokenizer_files import load_tokenizer
from babylm_data.tokens import open_data, open_tokens
from bench.hostile_workplace import CONFIGS, inside, write_model, write_texts
from distill.cache_writer import write_caches
from distill.config import DistillConfig
from distill.teachers import Teachers
from eval.results.scores import ScoreFile
from train_teachers.checkpoint import export, load_state, newest, save_state
from train_teachers.config import TrainConfig, load_config
from train_teachers.language_model import build
from train_teachers.objective import HardObjective, hard_alone
from train_teachers.optim import build_optimizers
from train_teachers.stage import run_training
from train_teachers.step import Trained

STATE, EXPORT, DATA, TOKENIZER = (
    Path(name) for name in ("runs/teacher/state", "runs/teacher/export", "data", "data/tokenizer")
)
SETTINGS = Settings(source="raw", track="2025/strict-small", vocab_size=300)
NEXT = 1000  # a step that the run has not reached


class Artefact(NamedTuple):
    """One kind of what a run leaves."""

    folder: Path
    """All of it; what is damaged in it is drawn from `files`."""
    files: Callable[[], list[Path]]
    """Those that a reader would use."""
    read: Callable[[], Any]
    """As a program reads it; returns what was loaded of it, as far as another could have been."""


class Writing(NamedTuple):
    """One kind of what is written."""

    write: Callable[[], Any]
    made: Path
    """Where it lies then."""
    named: str
    """What an error of it names."""


def make_workplace(place: Path) -> None:
    """In a new folder: data, a model, a run of two checkpoints, two caches of soft targets of one size, scores."""
    place.mkdir(parents=True)
    with inside(place):
        write_texts()
        prepare(DATA, SETTINGS, raw=Path("raw"), workers=1)
        write_model()
        for name, content in CONFIGS.items():
            Path(name).write_text(content, encoding="utf-8")
        run_training(run_config(), kind="teacher", make_objective=hard_alone)
        for name, temperature in (("a", 2.0), ("b", 3.0)):
            write_caches(cache_config(name, temperature))
        add_scores("first")


def run_config() -> TrainConfig:
    """That of the run, which saves after every step."""
    return load_config(TrainConfig, "teacher.yaml", ["checkpoint_seconds=1e-9", "wandb=null"])


def cache_config(name: str, temperature: float = 2.0) -> DistillConfig:
    """A student that reads the cache of this name."""
    changes = [f"teachers.a.cache.path=caches/{name}", f"losses.soft.temperature={temperature}", "wandb=null"]
    return load_config(DistillConfig, "cached.yaml", changes)


def fresh() -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """What the run trains, before its first step."""
    config = run_config()
    trained = Trained(build(config.model, load_tokenizer(TOKENIZER), seed=1), HardObjective())
    return trained, build_optimizers(trained, config.optim)


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read_checkpoint() -> str | None:
    """Go on from the newest checkpoint; which step it is and which weights it has."""
    trained, optimizers = fresh()
    if not (path := newest(STATE)):
        return None
    progress = load_state(path, trained, optimizers, None)
    weights = b"".join(p.detach().numpy().tobytes() for p in trained.parameters())
    return f"{progress['step']} {hashlib.sha256(weights).hexdigest()}"


def read_cache() -> None:
    """Open a cache as a run does, and look at all of it."""
    teachers = Teachers(
        cache_config("a"), fingerprint(TOKENIZER), SETTINGS.vocab_size, device=torch.device("cpu")
    )
    for blocks in teachers.cached["a"].blocks.values():
        blocks.tobytes()


def read_data() -> None:
    """Open a data folder as a run does, and look at all tokens."""
    for split in open_data(DATA)["splits"]:
        tokens = open_tokens(DATA, split)
        for array in (tokens.tokens, tokens.words, tokens.documents):
            array.tobytes()


def newest_checkpoint() -> list[Path]:
    """Its files."""
    return files_of(max(STATE.glob("step-*")))


ARTEFACTS = {
    "checkpoint": Artefact(STATE, newest_checkpoint, read_checkpoint),
    "cache": Artefact(Path("caches"), lambda: files_of(Path("caches/a")), read_cache),
    "data": Artefact(DATA, lambda: files_of(DATA), read_data),
}


def save_checkpoint() -> None:
    """The next one of the run."""
    trained, optimizers = fresh()
    load_state(newest(STATE), trained, optimizers, None)
    save_state(STATE, trained, optimizers, None, {"step": NEXT})


def add_scores(task: str) -> None:
    """The results of a task of some hundred items."""
    items = {f"item {number}": math.sqrt(number) for number in range(500)}
    details = {"predictions": {"subtask": items}, "items": {"subtask": {"earned": items}}}
    scores = ScoreFile(Path("scores"), {"model": "runs/teacher/export", "model_sha256": "0"})
    scores.add(task, "0", {"score": 0.5, "by_subtask": items}, details)


WRITINGS = {
    "checkpoint": Writing(save_checkpoint, STATE / f"step-{NEXT:08d}", f"{STATE}/step-{NEXT:08d}"),
    "export": Writing(lambda: export(fresh()[0].student, TOKENIZER, EXPORT), EXPORT, str(EXPORT)),
    "cache": Writing(lambda: write_caches(cache_config("new")), Path("caches/new"), "caches/"),
    "data": Writing(
        lambda: prepare(Path("again"), SETTINGS, raw=Path("raw"), workers=1), Path("again"), "/again"
    ),
    "scores": Writing(lambda: add_scores("second"), Path("scores/second"), "scores/"),
}


def copy(workplace: Path, place: Path) -> None:
    """A copy of a workplace, in the place of one that is there."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(workplace, place)

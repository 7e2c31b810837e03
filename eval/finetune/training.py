"""How the seeds of one task were trained, as their result.json files tell it: losses and scores by epoch, time, speed.

Versions before these figures recorded fewer of them: what a file does not tell is None here, or no point of a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.finetune.tuning_folder import mean_and_spread
from eval.results.json_files import damage_named, read_json


@dataclass(frozen=True)
class Training:
    """The training with one seed."""

    created: str
    command: str
    parameters: int | None
    """Of the whole network, the new head among them."""
    device: str | None
    seconds: float | None
    """From the texts to the predictions."""
    trained_a_second: float | None
    """Examples of the task, while training alone."""
    validated_a_second: float | None
    """Examples of the task, while validating alone."""
    epochs: dict[int, dict[str, float]]
    """epoch -> "loss", "validation_loss" and each metric, as far as they are known."""


@dataclass(frozen=True)
class Curve:
    """One number by epoch, over seeds."""

    epochs: list[int]
    mean: list[float]
    spread: list[float | None]
    """Standard deviation over seeds; None of one seed."""


def read_training(path: Path, remedy: str) -> Training:
    """What a result.json tells of its training; a UserError that ends with `remedy` for a damaged one."""
    made = read_json(path, remedy, ("created", "command"))
    with damage_named(path, remedy):
        return Training(
            str(made["created"]),
            str(made["command"]),
            _known(made, "parameters", int),
            _known(made, "device", str),
            _known(made, "seconds", float),
            _trained_a_second(made),
            _validated_a_second(made),
            {
                int(entry["epoch"]): {name: float(entry[name]) for name in entry if name != "epoch"}
                for entry in made.get("epochs", [])
            },
        )


def _known(made: dict, name: str, kind: type) -> Any:
    return kind(made[name]) if name in made else None


def _trained_a_second(made: dict) -> float | None:
    """Sequences that went through a step, as examples (SQuAD cuts one into several), by the seconds that they took."""
    if not made.get("training_seconds"):
        return None
    settings, sequences = made["settings"], made["sequences"]["train"]
    seen = min(made["steps"] * settings["batch_size"], settings["epochs"] * sequences)  # no batch is larger
    return seen * made["examples"]["train"] / sequences / made["training_seconds"]


def _validated_a_second(made: dict) -> float | None:
    if not made.get("validation_seconds"):
        return None
    return len(made["epochs"]) * made["examples"]["valid"] / made["validation_seconds"]


def mean_of(seeds: Sequence[Training], name: str) -> float | None:
    """The mean over seeds of a field of `Training`; None unless every seed tells it."""
    values = [getattr(seed, name) for seed in seeds]
    return fmean(values) if values and None not in values else None


def curve(seeds: Sequence[Training], name: str) -> Curve:
    """A number by epoch; only epochs of which every seed tells it, or the mean would jump where one joins."""
    first = seeds[0].epochs if seeds else {}
    epochs = [epoch for epoch in first if all(name in seed.epochs.get(epoch, {}) for seed in seeds)]
    found = [mean_and_spread([seed.epochs[epoch][name] for seed in seeds]) for epoch in epochs]
    return Curve(epochs, [mean for mean, _ in found], [spread for _, spread in found])

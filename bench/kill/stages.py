"""The stages that `bench.kill` interrupts, and what of a place must be the same, however often it was."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from babylm_data.sealed import LOCK, SEAL, damage
from bench.hostile_workplace import PROGRAMS
from distill.config import Losses

FULL = ["lesson.yaml", "name=full", "revisions=true", "words_scale=1e-4", "wandb=null"]
OFTEN = [
    "checkpoint_seconds=1e-9",
    "wandb=null",
]  # a checkpoint at every step: writing is most of what is done
SHORT = ["data.words=200"]
REVISIONS = ["revisions=true", "words_scale=3e-5"]
MASKED = ["model.family=bert", "targets=masked"]


class Stage(NamedTuple):
    """A program of the line, as it is called in the workplace of `bench.hostile`."""

    module: str
    arguments: list[str]
    training: bool = False
    after: tuple[str, ...] = ()
    """The stages that have come to their end before."""
    pushes: bool = False
    """To a hub of its own, which is empty at first."""


def _students() -> dict[str, Stage]:
    """The distillation with each loss beside hard and soft, and without teachers."""
    needed = {"heads": ["weight=0.3", "layers=[1]", "soft.a=0.3"], "ted": ["weight.a=0.3", "until=0.5"]}
    needed |= {"z_loss": ["weight=0.3"]}
    names = [name for name in Losses.model_fields if name not in ("hard", "soft")]
    options = {name: needed.get(name, ["weight.a=0.3"]) for name in names}
    found = {}
    for name, settings in options.items():
        losses = [f"losses.{name}.{setting}" for setting in settings]
        found[f"student {name}"] = Stage("distill", ["student.yaml", *OFTEN, *SHORT, "seed=1", *losses], True)
    return found


STAGES = {
    "teacher": Stage(
        "train_teachers", ["teacher.yaml", "name=fresh", *OFTEN, *SHORT, *REVISIONS], training=True
    ),
    "short teacher": Stage(
        "train_teachers", ["teacher.yaml", "name=short", *OFTEN, "data.words=80", *REVISIONS], True
    ),
    "student": Stage(
        "distill", ["student.yaml", "micro_batch_size=2", *OFTEN, *SHORT, *REVISIONS], training=True
    ),
    "control": Stage("distill", ["student.yaml", "--control", *OFTEN, *SHORT], training=True),
    "masked teacher": Stage(
        "train_teachers", ["teacher.yaml", "name=masked", *MASKED, *OFTEN, *SHORT, *REVISIONS], training=True
    ),
    "masked student": Stage(
        "distill",
        ["student.yaml", "teachers.a.path=runs/masked/export", *MASKED, *OFTEN, *SHORT],
        training=True,
        after=("masked teacher",),
    ),
    "hybrid student": Stage(
        "distill",
        ["student.yaml", "targets=hybrid", "teachers.a.reads=causal", *OFTEN, *SHORT],
        training=True,
    ),
    **_students(),
    "data": Stage("babylm_data", PROGRAMS["babylm_data"].arguments),
    "nursery": Stage("babylm_data", ["--source", "nursery", "--words", "4000", "--out", "nursery"]),
    "cache": Stage("distill.cache", ["cached.yaml", *OFTEN]),
    "score": Stage("eval", [word for word in PROGRAMS["eval"].arguments if word not in ("--limit", "5")]),
    "finetune": Stage("eval.finetune", [*PROGRAMS["eval.finetune"].arguments, "--seeds", "1", "2", "3"]),
    "evaluate": Stage(
        "eval.submission",
        "evaluate runs/full --data eval --text text --full nursery --fast nursery --glue".split(),
    ),
    "ages": Stage("eval.aoa", PROGRAMS["eval.aoa"].arguments),
    "build": Stage("eval.submission", ["build", "runs/full", "--partial"], after=("evaluate",)),
    "push": Stage(
        "eval.submission",
        ["push", "runs/full", "--repo", "somebody/full", "--partial"],
        after=("evaluate", "build"),
        pushes=True,
    ),
    "report": Stage("eval.report", ["runs/full", "--out", "page.html"], after=("evaluate",)),
}
FIRST = [Stage("distill", FULL), Stage("distill", [*FULL, "--control"])]
"""What is trained before any of them: a student with its revisions, and its control."""
ALIKE = [name for name, stage in STAGES.items() if stage.training and name != "short teacher"]
ALIKE += ["nursery", "evaluate"]
"""Those that write what another one writes."""
CLOCK = re.compile(
    r'"((training_|validation_)?seconds|seconds_in_sums|tokens_per_second|created|started|starts|commit|dirty)": ?'
    r'("[^"]*"|[^,}\]]*)'
)
"""What differs between two runs that nobody interrupts."""
OF_ONE_START = {"environment.json", "tracking_id.txt", LOCK, SEAL, "command.txt"}


def fingerprint(place: Path) -> dict[str, str]:
    """Of every file of a place, by its path: the hash of what does not depend on the clock.

    In a sealed folder the seal is part of it as far as it is right: it has the hashes of times as well.
    """
    return dict(_fingerprints(place))


def _fingerprints(place: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.name == SEAL:
            yield name, damage(path.parent) or "intact"
        if path.is_file() and path.name not in OF_ONE_START:
            data = path.read_bytes()
            if path.suffix in (".json", ".jsonl"):
                data = CLOCK.sub("", data.decode()).encode()
            yield name, hashlib.sha256(data).hexdigest()


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """The paths that differ, each with what is wrong."""
    lines = [f"{name} is not there" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{name} should not be there" for name in sorted(found.keys() - expected.keys())]
    return lines + [
        f"{name} differs" for name in sorted(found.keys() & expected.keys()) if found[name] != expected[name]
    ]

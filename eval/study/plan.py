"""What `python -m distill.study` wrote down of a study: which run is which cell, and which runs are finished."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import json_table
from babylm_data.sealed import sha256
from eval.results.json_files import damage_named, read_json

STUDIES, RUNS = Path("runs/studies"), Path("runs")
REMEDY = "train it with `python -m distill.study STUDY.yaml`"
KEYS = ("name", "question", "base", "judge", "files", "axes", "seeds", "cells")


@dataclass(frozen=True)
class Cell:
    """One student with one seed, by its runs' names."""

    label: str
    values: dict[str, str]
    seed: int
    run: str
    control: str
    command: list[str]


@dataclass(frozen=True)
class Plan:
    """A study and its cells."""

    folder: Path
    name: str
    question: str
    base: str
    judge: str
    distilled: bool
    """Whether cells are students, each compared with its control; else all are compared with one of them."""
    against: list[str] | dict[str, str]
    """Cells, and values of axes, that all others are compared with; or by cell, which one."""
    axes: dict[str, list[str]]
    seeds: list[int]
    cells: list[Cell]
    files: list[str]
    """Its YAML file, and those that it is like."""

    @property
    def labels(self) -> list[str]:
        """What its cells are, but for their seeds."""
        return list(dict.fromkeys(cell.label for cell in self.cells))

    @property
    def baselines(self) -> list[str]:
        """Cells, and values of axes, that all others are compared with."""
        return [] if isinstance(self.against, dict) else self.against

    @property
    def compared(self) -> list[tuple[str, str]]:
        """(cell, what it is compared with beside its control)."""
        if isinstance(self.against, dict):
            return list(self.against.items())
        labels = self.labels
        return [
            (label, first) for first in labels if first in self.against for label in labels if label != first
        ]

    @property
    def rival(self) -> str:
        """What cells are compared with."""
        if self.distilled:
            return "the control"
        return next(cell.label for cell in self.cells if cell.run == cell.control)

    @property
    def runs(self) -> list[str]:
        """All runs by name, controls first."""
        return list(dict.fromkeys([cell.control for cell in self.cells] + [cell.run for cell in self.cells]))

    @property
    def unfinished(self) -> list[str]:
        """Those that have not come to their end."""
        return [name for name in self.runs if not (RUNS / name / "summary.json").is_file()]


def read_plan(named: str) -> Plan:
    """The plan of a study that is named by its YAML file or by its name.

    UserError if nobody has begun it, or its file is not what it was then.
    """
    path = STUDIES / named / "study.json"
    if Path(named).suffix in (".yaml", ".yml"):
        if not Path(named).is_file():
            raise UserError(f"{named}: no such study")
        path = next(filter(partial(_is_of, named), sorted(STUDIES.glob("*/study.json"))), None)
        if path is None:
            raise UserError(f"{named} has not been begun: {REMEDY}")
    content = read_json(path, REMEDY, KEYS)
    with damage_named(path, REMEDY):
        for file, digest in content["files"].items():
            if Path(file).is_file() and sha256(Path(file)) != digest:
                raise UserError(f"{file} is not what it was when its runs were begun: {REMEDY}")
        cells = [Cell(**cell) for cell in content["cells"]]
        taken = {key: content[key] for key in KEYS if key not in ("cells", "files")}
        # older versions had no word for these
        taken |= {"distilled": content.get("distilled", True), "against": content.get("against", [])}
        return Plan(folder=path.parent, **taken, cells=cells, files=list(content["files"]))


def _is_of(named: str, path: Path) -> bool:
    """Whether a plan is that of a YAML file."""
    files = list((json_table(path) or {}).get("files", ()))  # that of another study may be of another version
    return bool(files) and Path(files[0]).resolve() == Path(named).resolve()

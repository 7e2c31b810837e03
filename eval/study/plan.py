"""What `python -m distill.study` wrote down of a study: which run is which cell, and which runs are finished."""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.yaml_files import read_table
from eval.results.json_files import damage_named, read_json

STUDIES, RUNS = Path("runs/studies"), Path("runs")
REMEDY = "train it with `python -m distill.study STUDY.yaml`"
KEYS = ("name", "question", "base", "judge", "axes", "seeds", "cells")


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
    axes: dict[str, list[str]]
    seeds: list[int]
    cells: list[Cell]

    @property
    def labels(self) -> list[str]:
        """What its cells are, but for their seeds."""
        return list(dict.fromkeys(cell.label for cell in self.cells))

    @property
    def runs(self) -> list[str]:
        """All runs by name, controls first."""
        return list(dict.fromkeys([cell.control for cell in self.cells] + [cell.run for cell in self.cells]))

    @property
    def unfinished(self) -> list[str]:
        """Those that have not come to their end."""
        return [name for name in self.runs if not (RUNS / name / "summary.json").is_file()]


def read_plan(named: str) -> Plan:
    """The plan of a study that is named by its YAML file or by its name; a UserError if nobody has begun it."""
    name = named
    if named.endswith((".yaml", ".yml")):
        path = Path(named)
        if not path.is_file():
            raise UserError(f"{path}: no such study")
        name = read_table(path).get("name") or path.stem
    path = STUDIES / name / "study.json"
    content = read_json(path, REMEDY, KEYS)
    with damage_named(path, REMEDY):
        cells = [Cell(**cell) for cell in content["cells"]]
        return Plan(folder=path.parent, **{key: content[key] for key in KEYS if key != "cells"}, cells=cells)

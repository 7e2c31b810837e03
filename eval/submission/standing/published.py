"""The published scores of eval/submission/standing/published.yaml, in percent."""

import math
from dataclasses import dataclass
from pathlib import Path

PUBLISHED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Column:
    """What is compared: a task's score, that of one of its subtasks, or the plain mean of other columns."""

    title: str
    task: str = ""
    subtask: str | None = None
    mean: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedModel:
    """A published model; `scores` are percent by column."""

    model: str
    scores: dict[str, float]
    source: str
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Rows that may be compared with each other: one year, one track, one scorer."""

    name: str
    year: int
    track: str
    scorer: str
    note: str
    rows: list[PublishedModel]


@dataclass(frozen=True)
class Published:
    """eval/submission/standing/published.yaml."""

    columns: dict[str, Column]
    caveats: list[str]
    groups: list[Group]

    def ours(self, results: dict[str, dict]) -> dict[str, dict]:
        """Column -> our cell of it, if we have all of it: "score", "standard_error", "chance", fractions of 1."""
        return {name: cell for name in self.columns if (cell := self._cell(name, results))}

    def _cell(self, name: str, results: dict[str, dict]) -> dict | None:
        column = self.columns[name]
        if column.mean:
            cells = [self._cell(other, results) for other in column.mean]
            return None if None in cells else mean_of(cells)
        result = results.get(column.task)
        if result is None or column.subtask not in (None, *result["by_subtask"]):
            return None
        cell = result["by_subtask"][column.subtask] if column.subtask else result
        return {key: cell[key] for key in ("score", "standard_error")} | {"chance": result.get("chance")}

    def tasks(self, name: str) -> set[str]:
        """All that go into a column."""
        column = self.columns[name]
        return {column.task} if column.task else set().union(*map(self.tasks, column.mean))


def mean_of(cells: list[dict]) -> dict:
    """The plain mean; of independent errors sqrt(sum se^2) / K, and None where one of the K is not known."""
    errors, chances = ([cell[key] for cell in cells] for key in ("standard_error", "chance"))
    return {
        "score": math.fsum(cell["score"] for cell in cells) / len(cells),
        "standard_error": None if None in errors else math.hypot(*errors) / len(cells),
        "chance": None if None in chances else math.fsum(chances) / len(cells),
    }


def load_published(path: Path = PUBLISHED) -> Published:
    """The published scores; a TypeError for a field that is not known or not there."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(OmegaConf.load(path))
    groups = [
        Group(**group | {"rows": [PublishedModel(**row) for row in group["rows"]]})
        for group in content["groups"]
    ]
    columns = {
        name: Column(**column | {"mean": tuple(column.get("mean", ()))})
        for name, column in content["columns"].items()
    }
    return Published(columns, content["caveats"], groups)

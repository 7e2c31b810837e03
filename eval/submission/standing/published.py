"""The published scores of eval/submission/standing/published.yaml, in percent."""

from dataclasses import dataclass
from pathlib import Path

PUBLISHED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Column:
    """What is compared: a task's score, or that of one of its subtasks."""

    title: str
    task: str
    subtask: str | None = None

    def find(self, results: dict[str, dict]) -> dict | None:
        """Our cell with "score" and "standard_error", fractions of 1; None if we have none."""
        result = results.get(self.task)
        return result["by_subtask"].get(self.subtask) if result and self.subtask else result


@dataclass(frozen=True)
class Row:
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
    rows: list[Row]


@dataclass(frozen=True)
class Published:
    """eval/submission/standing/published.yaml."""

    columns: dict[str, Column]
    caveats: list[str]
    groups: list[Group]


def load_published(path: Path = PUBLISHED) -> Published:
    """The published scores; a TypeError for a field that is not known or not there."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(OmegaConf.load(path))
    groups = [Group(**group | {"rows": [Row(**row) for row in group["rows"]]}) for group in content["groups"]]
    columns = {name: Column(**column) for name, column in content["columns"].items()}
    return Published(columns, content["caveats"], groups)

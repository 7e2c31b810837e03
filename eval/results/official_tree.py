"""The results folder of the official evaluation program, which its collator reads.

    DIR/<model>/<revision>/zero_shot/<backend>/<task>/<dataset>/{predictions.json,best_temperature_report.txt}

Both files are what the official program writes of the same choices, but for the order of subtasks, which is that in
which its file system lists the data; its report counts percent at temperature 1. Model names stay whole, although that
program cuts its argument at the last dot. Two years can have one place for a task: a tree is of one year.
"""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import write_whole
from eval.tasks import TASKS
from eval.tasks.questions import Questions, Report


@dataclass(frozen=True)
class ResultsTree:
    """Where one revision of one model has its place below `root`."""

    root: Path
    model: str
    revision: str = "main"
    backend: str = "causal"

    def __post_init__(self) -> None:
        for option, name in (("--model-name", self.model), ("--revision", self.revision)):
            if not name or name in (".", "..") or "/" in name or "\\" in name:
                raise UserError(f"{name!r} cannot be the name of a folder: name another with {option}")

    @property
    def words(self) -> list[str]:
        """The options that name it."""
        revision = ["--revision", self.revision] if self.revision != "main" else []
        return [*revision, "--results", str(self.root), "--model-name", self.model]

    @property
    def folder(self) -> Path:
        """Where the tasks are."""
        return self.root / self.model / self.revision / "zero_shot" / self.backend

    def write(
        self, task: str, questions: Questions, result: dict, predictions: dict, per_item: dict
    ) -> Path | None:
        """Write one task's files; the folder that holds them, or None for a task that the tree has no place for."""
        place = TASKS[task].tree
        if place is None:
            return None
        write_whole(self.folder / place / "predictions.json", json.dumps(predictions))
        if report := questions.report(result, per_item):
            write_whole(self.folder / place / "best_temperature_report.txt", text_of(report))
        return self.folder / place

    @property
    def collator_arguments(self) -> str:
        """What to give to the official collator: it takes the name up to its last dot for the folder's."""
        name = self.model if Path(self.model).stem == self.model else f"{self.model}.x"
        options = {
            "--model_path_or_name": name,
            "--backend": self.backend,
            "--results_dir": str(self.root),
            "--revision_name": self.revision,
        }
        return shlex.join(word for option in options.items() for word in option)

    def fast_arguments(self, data: Path) -> str:
        """What to add where all revisions are in the tree: by itself it leaves out the fast scores, and its track is
        another one.
        """
        return shlex.join(["--fast", "--track", "strict-small", "--fast_eval_dir", str(data / "fast_eval")])


def refuse_one_place(tasks: Iterable[str], remedy: str = "give each year another --results") -> None:
    """A UserError for two tasks with the same place in a tree: the second would be written over the first."""
    places: dict[str, str] = {}
    for task in tasks:
        place = TASKS[task].tree if task in TASKS else None
        if place and (other := places.setdefault(place, task)) != task:
            raise UserError(
                f"{other} and {task} have one place in a results tree, which is of one year: {remedy}"
            )


def model_name(model: str) -> str:
    """What a model is called in the tree: its folder's name, the run's for an export, the last part of a hub name."""
    if not Path(model).is_dir():
        return model.rstrip("/").rpartition("/")[2]
    folder = Path(model).resolve()
    return folder.parent.name if folder.name == "export" else folder.name


def text_of(report: Report) -> str:
    """best_temperature_report.txt."""
    lines = ["TEMPERATURE: 1.00", ""]
    for name, values in report.sections.items():
        lines += [
            f"### {name.upper()} {report.metric}",
            *(f"{key}: {value:.2f}" for key, value in values.items()),
            "",
        ]
    return "\n".join([*lines, f"### AVERAGE {report.metric}", f"{report.average:.2f}", "", ""])

"""The tasks that can be asked for. A new one: a file with `load(files) -> Questions` and a line in `TASKS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from eval.items import Questions
from eval.tasks import minimal_pairs


@dataclass(frozen=True)
class Task:
    """What people call a task, where its files lie under the data folder, and what reads them."""

    title: str
    folder: str
    load: Callable[[list[Path]], Questions]
    tree: str | None = None
    """Where its predictions stand in an official results tree, below zero_shot/<backend>/; None: nowhere."""
    lists: tuple[str, ...] = ()
    """The official lists that it is on: "full", "fast"."""
    pattern: str = "*.jsonl"

    def files(self, data: Path) -> list[Path]:
        """The task's files, in order; a UserError if there are none.

        Some official files lie under full_eval/ and, the very same, under fast_eval/: either copy will do.
        """
        for folder in (self.folder, self.folder.replace("full_eval/", "fast_eval/")):
            if found := sorted((data / folder).glob(self.pattern)):
                return found
        raise UserError(
            f"there are no {self.pattern} files in {data / self.folder}: "
            "put the evaluation data there, or name its parent folder with --data"
        )


TASKS = {
    "blimp_filtered": Task(
        "BLiMP", "full_eval/blimp_filtered", minimal_pairs.load, "blimp/blimp_filtered", ("full",)
    ),
    "supplement_filtered": Task(
        "BLiMP supplement",
        "full_eval/supplement_filtered",
        minimal_pairs.load,
        "blimp/supplement_filtered",
        ("full",),
    ),
    "blimp_fast": Task(
        "BLiMP (fast)", "fast_eval/blimp_fast", minimal_pairs.load, "blimp/blimp_fast", ("fast",)
    ),
    "supplement_fast": Task(
        "BLiMP supplement (fast)",
        "fast_eval/supplement_fast",
        minimal_pairs.load,
        "blimp/supplement_fast",
        ("fast",),
    ),
    "nursery": Task("Nursery pairs", "full_eval/nursery", minimal_pairs.load, "blimp/nursery"),
}


def title(name: str) -> str:
    """A task's or subtask's name as people write it."""
    return TASKS[name].title if name in TASKS else name.replace("_", " ")


def extent_note(limit: int | None, partial: bool) -> str:
    """What keeps a score from being one on the whole official task, in words; empty if nothing does."""
    notes = ["other rows than the official ones"] if partial else []
    notes += [f"only the first {limit} of each subtask"] if limit else []
    return ", ".join(notes)

"""The tasks that can be asked for. A new one: a file with `load(files) -> items` and a line in `TASKS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from eval.items import Item
from eval.tasks import minimal_pairs
from eval.tasks.official import deviations


@dataclass(frozen=True)
class Task:
    """What people call a task, where its files lie under the data folder, and what reads them."""

    title: str
    folder: str
    load: Callable[[list[Path]], list[Item]]

    def files(self, data: Path) -> list[Path]:
        """The task's files, in order; a UserError if there are none."""
        found = sorted((data / self.folder).glob("*.jsonl"))
        if not found:
            raise UserError(
                f"there are no *.jsonl files in {data / self.folder}: "
                "put the evaluation data there, or name its parent folder with --data"
            )
        return found

    def is_partial(self, data: Path, *, allowed: bool) -> bool:
        """Are the task's files others than the official ones? A UserError if so, unless that is `allowed`."""
        unlike = deviations(data / self.folder, self.files(data))
        if unlike and not allowed:
            more = f" (and {len(unlike) - 1} more such files)" if unlike[1:] else ""
            raise UserError(
                f"{unlike[0]}{more}: download the evaluation data again, or pass --partial to score "
                "what is there and mark the result"
            )
        return bool(unlike)


TASKS = {
    "blimp_filtered": Task("BLiMP", "full_eval/blimp_filtered", minimal_pairs.load),
    "supplement_filtered": Task("BLiMP supplement", "full_eval/supplement_filtered", minimal_pairs.load),
    "blimp_fast": Task("BLiMP (fast)", "fast_eval/blimp_fast", minimal_pairs.load),
    "supplement_fast": Task("BLiMP supplement (fast)", "fast_eval/supplement_fast", minimal_pairs.load),
    "nursery": Task("Nursery pairs", "full_eval/nursery", minimal_pairs.load),
}


def title(name: str) -> str:
    """A task's or subtask's name as people write it."""
    return TASKS[name].title if name in TASKS else name.replace("_", " ")


def extent_note(limit: int | None, partial: bool) -> str:
    """What keeps a score from being one on the whole official task, in words; empty if nothing does."""
    notes = ["other rows than the official ones"] if partial else []
    notes += [f"only the first {limit} of each subtask"] if limit else []
    return ", ".join(notes)

"""The tasks that can be asked for. A new one: a file with `load(files) -> Questions` and a line in `TASKS`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import entries, is_clutter, refuse_hollow, say_unread
from babylm_data.sealed import sha256
from eval.tasks import aoa, comps, entity_tracking, ewok, global_piqa, minimal_pairs, reading, wug
from eval.tasks.questions import Questions


@dataclass(frozen=True)
class Task:
    """What people call a task, where its files lie under the data folder, and what reads them."""

    title: str
    folder: str
    load: Callable[[list[Path]], Questions]
    tree: str | None = None
    """Where its predictions stand in an official results tree, below zero_shot/<backend>/; None: nowhere."""
    lists: tuple[str, ...] = ()
    """The official lists that it is on, of `LISTS`."""
    pattern: str = "*.jsonl"

    def find(self, data: Path) -> list[Path]:
        """The task's files, in order; [] if there are none.

        Some official files lie under full_eval/ and, the very same, under fast_eval/: either copy will do.
        """
        for folder in (self.folder, self.folder.replace("full_eval/", "fast_eval/")):
            if found := sorted(p for p in (data / folder).glob(self.pattern) if not is_clutter(p)):
                for path in found:
                    refuse_hollow(path)
                return found
        return []

    def files(self, data: Path) -> list[Path]:
        """The same, and what lies beside them or is there twice is named; a UserError if there are none."""
        if found := self.find(data):
            digests: dict[str, Path] = {}
            for path in found:
                if (twin := digests.setdefault(sha256(path), path)) != path:
                    print(
                        f"warning: {twin.name} and {path.name} in {path.parent} are the same rows, and both count"
                    )
            folder = found[0].parent
            say_unread(
                folder, [p for p in entries(folder) if p not in found and p.name not in READ_ELSEWHERE]
            )
            return found
        raise UserError(
            f"there are no {self.pattern} files in {data / self.folder}: "
            "put the evaluation data there, or name its parent folder with --data"
        )


READ_ELSEWHERE = {"cdi_human.csv"}
LISTS = ("full", "fast", "full-2026", "fast-2026")
"""What the official programs ask the final model and each revision: those of 2025, and those of 2026."""
FULL, FAST = ("full", "full-2026"), ("fast", "fast-2026")

TASKS = {
    "blimp_filtered": Task(
        "BLiMP", "full_eval/blimp_filtered", minimal_pairs.load, "blimp/blimp_filtered", FULL
    ),
    "supplement_filtered": Task(
        "BLiMP supplement",
        "full_eval/supplement_filtered",
        minimal_pairs.load,
        "blimp/supplement_filtered",
        FULL,
    ),
    "ewok_filtered": Task("EWoK", "full_eval/ewok_filtered", ewok.load, "ewok/ewok_filtered", ("full",)),
    "ewok_contexts": Task(
        "EWoK (2026)",
        "full_eval/ewok_filtered",
        ewok.load_contexts,
        "ewok/ewok_filtered",
        ("full-2026",),
    ),
    "entity_tracking": Task(
        "Entity tracking",
        "full_eval/entity_tracking",
        entity_tracking.load,
        "entity_tracking/entity_tracking",
        ("full",),
    ),
    "entity_tracking_filtered": Task(
        "Entity tracking (2026)",
        "full_eval/entity_tracking",
        partial(entity_tracking.load, filtered=True),
        "entity_tracking/entity_tracking",
        ("full-2026",),
    ),
    "blimp_fast": Task("BLiMP (fast)", "fast_eval/blimp_fast", minimal_pairs.load, "blimp/blimp_fast", FAST),
    "supplement_fast": Task(
        "BLiMP supplement (fast)",
        "fast_eval/supplement_fast",
        minimal_pairs.load,
        "blimp/supplement_fast",
        FAST,
    ),
    "ewok_fast": Task("EWoK (fast)", "fast_eval/ewok_fast", ewok.load, "ewok/ewok_fast", ("fast",)),
    "ewok_contexts_fast": Task(
        "EWoK (2026, fast)", "fast_eval/ewok_fast", ewok.load_contexts, "ewok/ewok_fast", ("fast-2026",)
    ),
    "entity_tracking_fast": Task(
        "Entity tracking (fast)",
        "fast_eval/entity_tracking_fast",
        entity_tracking.load,
        "entity_tracking/entity_tracking_fast",
        ("fast",),
    ),
    "entity_tracking_filtered_fast": Task(
        "Entity tracking (2026, fast)",
        "fast_eval/entity_tracking_fast",
        partial(entity_tracking.load, filtered=True),
        "entity_tracking/entity_tracking_fast",
        ("fast-2026",),
    ),
    "wug_adj_nominalization": Task(
        "Wug, adjective nominalization",
        "full_eval/wug_adj_nominalization",
        partial(wug.load, "wug_adj"),
        "wug_adj/wug_adj_nominalization",
        ("full", "fast"),
    ),
    "wug_past_tense": Task(
        "Wug, past tense",
        "full_eval/wug_past_tense",
        partial(wug.load, "wug_past"),
        "wug_past/wug_past_tense",
        ("full", "fast"),
    ),
    "reading": Task(
        "Reading",
        "full_eval/reading",
        reading.load,
        "reading",
        LISTS,
        pattern="reading_data.csv",
    ),
    "reading_spaced": Task(
        "Reading, words with their space",
        "full_eval/reading",
        reading.load_spaced,
        pattern="reading_data.csv",
    ),
    "aoa": Task("Surprisals of words", "full_eval/aoa", aoa.load, pattern=aoa.FILE),
    "comps": Task("COMPS", "full_eval/comps", comps.load, "comps/comps", FULL),
    "global_piqa_parallel": Task(
        "Global PIQA, parallel",
        "full_eval/global_piqa_parallel",
        partial(global_piqa.load, "global_piqa_parallel", 4),
        "global_piqa_parallel/global_piqa_parallel",
        LISTS[2:],
    ),
    "global_piqa_nonparallel": Task(
        "Global PIQA, not parallel",
        "full_eval/global_piqa_nonparallel",
        partial(global_piqa.load, "global_piqa_nonparallel", 2),
        "global_piqa_nonparallel/global_piqa_nonparallel",
        LISTS[2:],
    ),
    "nursery": Task("Nursery pairs", "full_eval/nursery", minimal_pairs.load, "blimp/nursery"),
}

SPELLINGS = {
    "blimp": "blimp_filtered",
    "supplement": "supplement_filtered",
    "blimp_supplement": "supplement_filtered",
    "ewok": "ewok_filtered",
    "wug_adj": "wug_adj_nominalization",
    "wug_past": "wug_past_tense",
}
"""The official programs' short names, which mean the full data."""


def on_list(name: str) -> list[str]:
    """The tasks of one of `LISTS`, in its order; [] if there is no such list."""
    return [task for task, entry in TASKS.items() if name in entry.lists]


def title(name: str) -> str:
    """A task's or subtask's name as people write it."""
    return TASKS[name].title if name in TASKS else name.replace("_", " ")


def extent_note(limit: int | None, partial: bool, synthetic: bool = False) -> str:
    """What keeps a score from being one on the whole official task, in words; empty if nothing does."""
    notes = ["synthetic stand-ins, not the official data"] if synthetic else []
    notes += ["other rows than the official ones"] if partial else []
    notes += [f"only the first {limit} of each subtask"] if limit else []
    return ", ".join(notes)

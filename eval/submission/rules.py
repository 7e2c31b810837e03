"""The format of the submission file in each year, from `eval/submission/years/<name>.yaml`.

Numbers of rows come from the official data's (eval/tasks/official_rows.yaml, eval/finetune/glue.py), revisions from the
track (babylm_data/tracks): a Rules object has it all put together.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from babylm_data.errors import UserError
from babylm_data.words import load_track, revision_marks
from eval.finetune.glue import TASKS
from eval.tasks.official import ROWS

RULES = Path(__file__).with_name("years")
TRACKS = ("strict-small", "strict")

Kind = Literal[
    "subtask_row", "row", "text", "any_text", "whole", "surprisal", "surprisal_or_nan", "fraction", "correlation",
    "gain", "label",
]  # fmt: skip
"""What a field may hold; eval/submission/check/values.py says what each means."""


class Part(BaseModel):
    """Typed and strict: a misspelt field of a rules file is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Section(Part):
    """What stands under one key of the file."""

    form: Literal["predictions", "surprisals", "score"] = "predictions"
    """subtask -> {"predictions": rows}; {"results": rows of all revisions}; or {name: number}."""
    task: str | None = None
    """The task of `eval.tasks` that is asked."""
    tasks: list[str] = []
    """The tasks of `eval.finetune` that are its subtasks."""
    row: dict[str, Kind]
    varies: str = "pred"
    """The field that a model which has learned anything does not give the same value throughout."""
    optional: list[str] = []
    """Keys that may stand beside the rows."""
    no_previous: int = 0
    """Most rows whose field of the kind "surprisal_or_nan" may be NaN."""
    remedy: str = "evaluate all of it, without --limit, and collate the file again"
    """What to do where a subtask has another number of rows."""
    examples: bool = False
    """True: each example is a subtask with one row, and the names are those of the data."""
    rows: dict[str, int] = {}
    """Rows of each subtask; of "surprisals" those of one revision; of `examples` how many examples there are."""
    labels: dict[str, int] = {}
    """Of each subtask, how many labels there are; of `tasks` only."""


class FastList(Part):
    """The scores of one fast task, a {name: score} for each revision."""

    task: str
    scores: list[str] = []
    """The names of the scores, where they are not those of subtasks."""
    value: Kind
    zeros: str = ""
    """What to do where every score is 0, if that is the mark of a known fault."""
    rows: dict[str, int | None] = {}
    """Name of each score -> how many rows it is the mean over (None: it is no mean)."""


class Rules(Part):
    """All that a year asks of the file, keys in order."""

    name: str
    year: str
    note: str = ""
    """What who has a file checked by them should know."""
    file: str
    """Its name, with the place of the backend in it."""
    license: bool = False
    """Does the leaderboard ask for one on the model card?"""
    keys: dict[str, Section]
    fast_key: str
    fast: dict[str, FastList]

    @property
    def noted(self) -> str:
        """The note, and whose it is."""
        return f"rules of {self.name}: {self.note}"

    def revisions(self, track: str, words: int | None = None, scale: float = 1.0) -> list[str]:
        """Names of the revisions that are due after `words` of exposure (None: all of the track), in order.

        `scale`: of a shortened schedule, see `revision_marks`.
        """
        budget = load_track(f"{self.year}/{track}")
        seen = budget.exposure_words if words is None else words
        return [name for name, _ in revision_marks(budget, seen, 1.0 if words is None else scale)]

    def total_rows(self, revisions: int) -> int:
        """Rows of a complete file."""
        return sum(
            sum(section.rows.values()) * (revisions if section.form == "surprisals" else 1)
            for section in self.keys.values()
        )


def known_rules() -> list[str]:
    """The names that `load_rules` takes."""
    return sorted(path.stem for path in RULES.glob("*.yaml"))


def add_rules(add: Callable, default: str | None = "2025") -> None:
    """The option that names the rules; `add` is the `add_argument` of a parser."""
    add("--rules", choices=known_rules(), default=default, help=f"of the leaderboard [{default or 'none'}]")


def load_rules(name: str) -> Rules:
    """The rules called "2025", "2026", …; UserError with the nearest name if there are none."""
    known = known_rules()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise UserError(f"there are no rules {name!r}: did you mean {nearest}? (known: {', '.join(known)})")
    from omegaconf import OmegaConf

    official = OmegaConf.to_container(OmegaConf.load(ROWS))
    read = _read(name)
    read["keys"] = {key: _section(section, official) for key, section in read["keys"].items()}
    read["fast"] = {key: _fast_list(entry, official) for key, entry in read["fast"].items()}
    return Rules(name=name, **read)


def _read(name: str) -> dict:
    """A rules file, with what it takes over from the rules that it is like."""
    from omegaconf import OmegaConf

    read = OmegaConf.to_container(OmegaConf.load(RULES / f"{name}.yaml"))
    like = read.pop("like", None)
    if like is None:
        return read
    other = _read(like)
    for part in ("keys", "fast"):
        if part in read:
            read[part] = {key: other[part][key] if own is None else own for key, own in read[part].items()}
    return other | read


def _section(section: dict, official: dict[str, dict[str, int]]) -> Section:
    rows, labels = dict(official[section["task"]]) if "task" in section else {}, {}
    for task in section.get("tasks", ()):
        rows[task], labels[task] = TASKS[task].official_rows, TASKS[task].labels
    return Section(**section, rows=rows, labels=labels)


def _fast_list(entry: dict, official: dict[str, dict[str, int]]) -> FastList:
    names: dict[str, int | None] = dict.fromkeys(entry.get("scores", ()))
    for subtask, count in official[entry["task"]].items() if not names else ():
        names[subtask] = count if entry["value"] == "fraction" else None
    return FastList(**entry, rows=names)

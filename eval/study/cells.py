"""Every cell of a study against its control, measure by measure, and what that allows to be said.

The rule, fixed before any run: a cell's runs are compared with its controls of the same seeds on the same items; the
interval holds the noise of training and, in tasks of choices, that of drawing the items (`eval.compare.seeds`);
p-values are corrected for the number of cells (Holm), and only what is below 0.05 then is called a difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

from eval.compare.paired import holm, weights_of
from eval.compare.scored import Scored, check_same_items, headline, is_surprisal, read_scored
from eval.compare.seeds import difference_of, seeds_to_settle
from eval.runs.lineup import check_control
from eval.runs.run_folder import Run, read_run, read_summary
from eval.study.plan import RUNS, Plan
from eval.tasks import title
from eval.tasks.perplexity import is_lossy

SIGNIFICANT, UNKNOWN = 0.05, "not distinguishable"
HARD, TEXT = "hard", "perplexity"
TITLES = {HARD: "Held-out hard loss, nats a token", TEXT: "Held-out text, bits per byte"}


@dataclass(frozen=True)
class Finished:
    """One finished run, with what it was scored on."""

    name: str
    out: Path

    @cached_property
    def scored(self) -> Scored | None:
        """Its scores; None if it has none."""
        return read_scored(self.out) if (self.out / "scores.json").is_file() else None

    @cached_property
    def summary(self) -> dict:
        """Of its training."""
        return read_summary(RUNS / self.name)

    @cached_property
    def run(self) -> Run:
        """Its folder, checked."""
        return read_run(RUNS / self.name, self.summary["kind"], scored=False)

    def value(self, measure: str) -> float | None:
        """The one number of a measure; None if it was not taken."""
        if measure == HARD:
            return self.summary["val/hard"]
        result = self.scored.tasks.get(measure) if self.scored else None
        return None if result is None or is_surprisal(result) else headline(result)


@dataclass
class Compared:
    """A study's cells, by measure and label."""

    plan: Plan
    cells: dict[str, dict[str, dict]] = field(default_factory=dict)
    """measure -> label -> as `eval.compare.seeds` tells it, with "values", "controls" and "verdict"."""
    left_out: list[str] = field(default_factory=list)
    """Runs that are not finished and tasks that not all were asked, a line each."""

    @property
    def record(self) -> dict:
        """What `results.json` holds of a study."""
        plan = self.plan
        told = {"name": plan.name, "question": plan.question, "base": plan.base, "judge": plan.judge}
        told |= {"axes": plan.axes, "seeds": plan.seeds, "left_out": self.left_out, "said": self.said}
        values = {cell.label: cell.values for cell in plan.cells}
        return told | {
            "cells": [{"label": each, "values": values[each]} for each in plan.labels],
            "measures": self.cells,
        }

    @property
    def said(self) -> str:
        """In a sentence or two, what came out by what the study is judged by."""
        judge = self.plan.judge
        if judge not in self.cells:
            return f"Not judged: no cell has {TITLES.get(judge, title(judge))}."
        cells = self.cells[judge]
        told = {
            which: [label for label in cells if cells[label]["verdict"] == which]
            for which in ("better", "worse")
        }
        by = f"By {TITLES.get(judge, title(judge))[0].lower()}{TITLES.get(judge, title(judge))[1:]}"
        parts = [f"{len(labels)} {which} ({', '.join(labels)})" for which, labels in told.items() if labels]
        rest = len(cells) - sum(map(len, told.values()))
        if not parts:
            return f"{by}, none of {len(cells)} cells can be told from its control."
        return f"{by}, of {len(cells)} cells {' and '.join(parts)} than the control; {rest} cannot be told from it."


def sign_of(measure: str) -> int:
    """1 where more is better, -1 where less is."""
    return -1 if measure in (HARD, TEXT) else 1


def compare_cells(plan: Plan, out_of: Callable[[str], Path]) -> Compared:
    """All cells that have a finished run with a finished control; `out_of` a run's name, where its scores are.

    UserError if a run is no control of its student, or was asked other items.
    """
    unfinished = plan.unfinished
    runs = {name: Finished(name, out_of(name)) for name in plan.runs if name not in unfinished}
    pairs: dict[str, list[tuple[Finished, Finished]]] = {label: [] for label in plan.labels}
    for cell in plan.cells:
        if cell.run in runs and cell.control in runs:
            refuse_strangers(runs[cell.run], runs[cell.control])
            pairs[cell.label].append((runs[cell.run], runs[cell.control]))
    compared = Compared(plan, left_out=[f"{name} is not finished" for name in unfinished])
    tasks = dict.fromkeys(task for run in runs.values() if run.scored for task in run.scored.tasks)
    for measure in [HARD, *tasks]:
        if lacking := [run.name for run in runs.values() if run.value(measure) is None]:
            compared.left_out.append(f"{measure} is left out: {lacking[0]} has no score in it")
            continue
        cells = {label: _cell(measure, found) for label, found in pairs.items() if found}
        _correct(cells, sign_of(measure))
        if cells:
            compared.cells[measure] = cells
    return compared


def refuse_strangers(student: Finished, control: Finished) -> None:
    """UserError unless the one is the control of the other."""
    check_control(student.run, control.run)


def _cell(measure: str, pairs: Sequence[tuple[Finished, Finished]]) -> dict:
    """One cell against its controls by one measure."""
    sides = list(zip(*pairs, strict=True))
    scores = [[run.value(measure) for run in side] for side in sides]
    items, weights, lossy = [[{}] * len(pairs)] * 2, {}, False
    if measure != HARD:
        folders = [run.scored for side in sides for run in side]
        check_same_items(measure, folders)
        lossy = any(is_lossy(folder.tasks[measure]) for folder in folders)
    if measure not in (HARD, TEXT):
        items = [[run.scored.items(measure) for run in side] for side in sides]
        weights = weights_of(folders[0].tasks[measure])
    found = difference_of(*items, weights, scores)
    spreads = [stdev(side) if len(side) > 1 else None for side in scores]
    return found | {
        "runs": [run.name for run in sides[0]],
        "controls": [run.name for run in sides[1]],
        "mean": fmean(scores[0]),
        "control_mean": fmean(scores[1]),
        "standard_deviation": spreads[0],
        "noise": spreads[1],
        "lossy": lossy,
    }


def _correct(cells: dict[str, dict], sign: int) -> None:
    """Give each cell its p-value after Holm's correction, a verdict, and how many seeds would give it another."""
    tested = [cell for cell in cells.values() if cell["p_value"] is not None]
    for cell, p in zip(tested, holm([cell["p_value"] for cell in tested]), strict=True):
        cell["p_holm"] = p
    for cell in cells.values():
        known = cell.get("p_holm", 1.0) < SIGNIFICANT
        cell["verdict"] = ("better" if sign * cell["difference"] > 0 else "worse") if known else UNKNOWN
        if cell["p_value"] is not None:  # by the strictest level that the correction may ask for
            of_one, of_items = cell["seed_error"] ** 2 * cell["seeds"], cell["item_error"] ** 2
            level = 1 - SIGNIFICANT / len(tested)
            needed = None if known else seeds_to_settle(abs(cell["difference"]), of_one, of_items, level)
            cell["seeds_to_settle"] = needed if needed and needed > cell["seeds"] else None

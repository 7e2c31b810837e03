"""Every cell of a study against its control, measure by measure, and what that allows to be said.

The rule, fixed before any run: a cell's runs are compared with its controls of the same seeds on the same items; the
interval holds the noise of training and, in tasks of choices, that of drawing the items (`eval.compare.seeds`);
p-values are corrected for the number of cells (Holm), and only what is below 0.05 then is called a difference. What one
axis does is told in the same way: each of its values against its first, the means over all cells that are else alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from babylm_data.files import json_lines
from eval.compare.paired import Columns, columns_of, holm, weights_of
from eval.compare.scored import Scored, check_same_items, headline, is_surprisal, read_scored
from eval.compare.seeds import difference_of, paired_runs, seeds_to_settle
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
    def metrics(self) -> list[dict]:
        """What it logged; nothing if that is gone."""
        return json_lines(RUNS / self.name / "metrics.jsonl", "step")

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


@dataclass(frozen=True)
class Side:
    """What is compared under one seed: a run, or the mean of several."""

    runs: tuple[Finished, ...]

    def value(self, measure: str) -> float:
        """The one number of a measure."""
        return fmean(run.value(measure) for run in self.runs)

    def items(self, measure: str) -> Columns:
        """What each item earned, on average over the runs; {} of a task that has no such thing."""
        found = [run.scored.items(measure) for run in self.runs]
        if not all("credit" in columns_of(each) for each in found):
            return {}
        return {
            name: {"credit": np.mean([each[name]["credit"] for each in found], axis=0)} for name in found[0]
        }


@dataclass
class Compared:
    """A study's cells against their controls, and against each other where one thing alone is otherwise."""

    plan: Plan
    cells: dict[str, dict[str, dict]] = field(default_factory=dict)
    """measure -> label -> as `eval.compare.seeds` tells it, with "runs", "controls", "verdict" and so on."""
    contrasts: dict[str, dict[str, dict]] = field(default_factory=dict)
    """measure -> "axis: value, not first value" -> the same of the means over all that is otherwise alike."""
    runs: dict[str, Finished] = field(default_factory=dict)
    """Those that are finished, by name."""
    left_out: list[str] = field(default_factory=list)
    """Runs that are not finished and tasks that not all were asked, a line each."""

    @property
    def record(self) -> dict:
        """What `results.json` holds of a study."""
        plan = self.plan
        told = {"name": plan.name, "question": plan.question, "base": plan.base, "judge": plan.judge}
        told |= {"axes": plan.axes, "seeds": plan.seeds, "left_out": self.left_out}
        told |= {"said": self.said, "answers": self.answers}
        values = {cell.label: cell.values for cell in plan.cells}
        return told | {
            "cells": [{"label": each, "values": values[each]} for each in plan.labels],
            "measures": self.cells,
            "contrasts": self.contrasts,
        }

    @property
    def said(self) -> str:
        """In two sentences, what came out by what the study is judged by."""
        judge = self.plan.judge
        if judge not in self.cells:
            return f"Not judged: no cell has {heading(judge)}."
        cells = self.cells[judge]
        best = max(cells, key=lambda label: sign_of(judge) * cells[label]["difference"])
        counts = [f"{_count(cells, which)} {which}" for which in ("better", "worse") if _count(cells, which)]
        rest = len(cells) - sum(_count(cells, which) for which in ("better", "worse"))
        by = f"By {lowered(heading(judge))}"
        told = f"{by}, of {len(cells)} cells {' and '.join(counts)} than the control; {rest} cannot be told from it."
        if not counts:
            told = f"{by}, none of {len(cells)} cells can be told from its control."
        return f"{told} The best, {best}: {_signed(cells[best], judge)}."

    @property
    def answers(self) -> list[str]:
        """What each change of one thing does by what the study is judged by, a sentence each."""
        judge = self.plan.judge
        return [
            f"{label}: {_signed(found, judge)}, {found['verdict']}."
            for label, found in self.contrasts.get(judge, {}).items()
        ]


def _signed(found: dict, measure: str) -> str:
    """A difference, and how sure it is."""
    times, digits = scale_of(measure)
    return f"{times * found['difference']:+.{digits}f} ({interval_of(found, measure)})"


def _count(cells: dict[str, dict], verdict: str) -> int:
    return sum(cell["verdict"] == verdict for cell in cells.values())


def heading(measure: str) -> str:
    """What a measure is called, with its unit."""
    return TITLES.get(measure, f"{title(measure)}, %")


def lowered(text: str) -> str:
    """As it stands in the middle of a sentence: BLiMP stays as it is."""
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def scale_of(measure: str) -> tuple[int, int]:
    """What a value is multiplied with where it is shown, and its digits then."""
    return (1, 4) if sign_of(measure) < 0 else (100, 2)


def interval_of(found: dict, measure: str) -> str:
    """The interval of a difference in words."""
    times, digits = scale_of(measure)
    if not found["interval"]:
        return "its noise is not known"
    low, high = (f"{times * end:+.{digits}f}" for end in found["interval"])
    return f"95 % interval {low} to {high}"


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
    compared = Compared(plan, runs=runs, left_out=[f"{name} is not finished" for name in unfinished])
    tasks = dict.fromkeys(task for run in runs.values() if run.scored for task in run.scored.tasks)
    for measure in [HARD, *tasks]:
        if lacking := [run.name for run in runs.values() if run.value(measure) is None]:
            compared.left_out.append(f"{measure} is left out: {lacking[0]} has no score in it")
            continue
        cells = {label: _cell(measure, found) for label, found in pairs.items() if found}
        contrasts = {label: _difference(measure, *sides) for label, sides in _contrasts(plan, runs)}
        for found in (cells, contrasts):
            _correct(found, sign_of(measure))
        if cells:
            compared.cells[measure] = cells
        if contrasts:
            compared.contrasts[measure] = contrasts
    return compared


def refuse_strangers(student: Finished, control: Finished) -> None:
    """UserError unless the one is the control of the other."""
    check_control(student.run, control.run)


def _contrasts(
    plan: Plan, runs: Mapping[str, Finished]
) -> Iterator[tuple[str, tuple[list[Side], list[Side]]]]:
    """Each value of an axis beside the first one: all cells that have it, and those that have the first and are else
    the same, by the seeds of which all are finished.
    """
    places = {(cell.seed, tuple(cell.values.items())): cell.run for cell in plan.cells}
    for axis, (first, *others) in plan.axes.items():
        for value in others:
            settings = list(dict.fromkeys(values for _, values in places if (axis, value) in values))
            sides: tuple[list[Side], list[Side]] = [], []
            for seed in plan.seeds:
                changed = [tuple({**dict(values), axis: first}.items()) for values in settings]
                names = [[places.get((seed, values)) for values in side] for side in (settings, changed)]
                if all(name in runs for side in names for name in side):
                    for side, found in zip(sides, names, strict=True):
                        side.append(Side(tuple(runs[name] for name in found)))
            if sides[0]:
                yield f"{axis}: {value}, not {first}", sides


def _cell(measure: str, pairs: Sequence[tuple[Finished, Finished]]) -> dict:
    """One cell against its controls by one measure."""
    sides = list(zip(*pairs, strict=True))
    found = _difference(measure, *([Side((run,)) for run in side] for side in sides))
    scores = [[run.value(measure) for run in side] for side in sides]
    spreads = [stdev(side) if len(side) > 1 else None for side in scores]
    return found | {
        "runs": [run.name for run in sides[0]],
        "controls": [run.name for run in sides[1]],
        "mean": fmean(scores[0]),
        "control_mean": fmean(scores[1]),
        "standard_deviation": spreads[0],
        "noise": spreads[1],
    }


def _difference(measure: str, a: Sequence[Side], b: Sequence[Side]) -> dict:
    """One side less the other, the same seeds in order."""
    sides = [[side.value(measure) for side in both] for both in (a, b)]
    if measure == HARD:
        return paired_runs(*sides) | {"lossy": False}
    folders = [run.scored for side in (*a, *b) for run in side.runs]
    check_same_items(measure, folders)
    lossy = {"lossy": any(is_lossy(folder.tasks[measure]) for folder in folders)}
    if measure == TEXT:
        return paired_runs(*sides) | lossy
    items = [[side.items(measure) for side in both] for both in (a, b)]
    return difference_of(*items, weights_of(folders[0].tasks[measure]), sides) | lossy


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

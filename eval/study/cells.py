"""Every cell of a study against its control, measure by measure, and what that allows to be said.

The rule, fixed before any run: a cell's runs are compared with its controls of the same seeds on the same items; the
interval holds the noise of training and, in tasks of choices, that of drawing the items (`eval.compare.seeds`);
p-values are corrected for the number of cells (Holm), and only what is below 0.05 then is called a difference. What one
axis does is told in the same way: each of its values against its first, or those that the study names, the means over
all cells that are else alike; and so is each cell against those that the study names. Where the controls are others
too, as of students of other sizes, it is the gains over these that are compared.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from babylm_data.errors import UserError
from eval.compare.measures import HARD, TEXT, Measure
from eval.compare.paired import holm, weights_of
from eval.compare.scored import check_same_items
from eval.compare.seeds import LEVEL, MOST, difference_of, paired_runs, seeds_to_settle
from eval.runs.lineup import check_control
from eval.runs.run_folder import machines
from eval.study.finished import Finished, Side
from eval.study.plan import Plan
from eval.tasks.perplexity import is_lossy

UNKNOWN = "not distinguishable"
ALIKE = ("data", "tokenizer", "targets")
"""What runs must have alike for their losses to be compared, as their summaries have it."""
Pair = tuple[Finished, Finished]


@dataclass
class Compared:
    """A study's cells against their controls, and against each other where one thing alone is otherwise."""

    plan: Plan
    measures: dict[str, Measure] = field(default_factory=dict)
    cells: dict[str, dict[str, dict]] = field(default_factory=dict)
    """measure -> label -> as `eval.compare.seeds` tells it, with "runs", "controls", "verdict" and so on."""
    contrasts: dict[str, dict[str, dict]] = field(default_factory=dict)
    """measure -> "axis: value, not first value" -> the same of the means over all that is otherwise alike."""
    runs: dict[str, Finished] = field(default_factory=dict)
    """Those that are finished, by name."""
    left_out: list[str] = field(default_factory=list)
    """Runs that are not finished, and what cannot be compared, a line each."""

    @property
    def judged(self) -> dict[str, dict]:
        """The cells by what the study is judged by."""
        return self.cells.get(self.plan.judge, {})

    @property
    def record(self) -> dict:
        """What `results.json` holds of a study."""
        plan, starts = self.plan, [run.environment for run in self.runs.values()]
        told = {"name": plan.name, "question": plan.question, "base": plan.base, "judge": plan.judge}
        told |= {"rival": plan.rival, "axes": plan.axes, "seeds": plan.seeds, "left_out": self.left_out}
        told |= {"commits": sorted({start["commit"] for start in starts if start.get("commit")})}
        told |= {"dirty": any(start.get("dirty") for start in starts)}
        told |= {"date": max((start.get("started", "") for start in starts), default="")[:10]}
        told |= {"machines": machines(starts)}
        told |= {"said": self.said, "answers": self.answers}
        values = {cell.label: cell.values for cell in plan.cells}
        return told | {
            "cells": [{"label": each, "values": values[each]} for each in plan.labels],
            "metrics": {name: measure.metric for name, measure in self.measures.items()},
            "measures": self.cells,
            "contrasts": self.contrasts,
        }

    @property
    def said(self) -> str:
        """In a few sentences, what came out by what the study is judged by."""
        measure, cells = self.measures.get(self.plan.judge, Measure(self.plan.judge)), self.judged
        if not cells:
            return f"Not judged: no cell has {measure.in_a_sentence}."
        contrasts, best = self.contrasts.get(self.plan.judge, {}), measure.best_first(cells)[0]
        told = [counted(cells.values(), self.plan.rival)]
        for baseline in self.plan.baselines:
            others = [contrasts.get(f"{label}, not {baseline}") for label in self.plan.labels]
            if others := [each for each in others if each]:
                told.append(counted(others, baseline))
        controls = {tuple(cell["controls"]) for cell in cells.values()}
        gains = "best" if len(controls) == 1 else "largest gain over a control of its own"
        which = f"{measure.in_a_sentence} ({'less' if measure.less_is_better else 'more'} is better)"
        return f"By {which}: {'. '.join(told)}. The {gains}, {best}: {in_words(cells[best], measure)}."

    @property
    def answers(self) -> list[str]:
        """What each change of one thing does by what the study is judged by, a sentence each.

        How all cells stand to a baseline is summed up in what is `said`, unless there is nothing else.
        """
        found, told = self.contrasts.get(self.plan.judge, {}), {}
        if self.plan.baselines:
            told = {label: each for label, each in found.items() if ": " in label}
        measure = self.measures.get(self.plan.judge)
        return [f"{label}: {in_words(each, measure)}." for label, each in (told or found).items()]


def counted(found: Collection[dict], rival: str) -> str:
    """How many of some cells are better than what they are compared with, worse, and neither."""
    verdicts = Counter(each["verdict"] for each in found)
    told = f"{verdicts['better']} of {len(found)} cells better than {rival}"
    told += f", {verdicts['worse']} worse" * bool(verdicts["worse"])
    return told + f", {verdicts[UNKNOWN]} not to be told from it" * bool(verdicts[UNKNOWN])


def in_words(found: dict, measure: Measure) -> str:
    """A difference, how sure it is, and what it is called after the correction for all of them."""
    of_gains = " in the gain over the control" if found.get("of_gains") else ""
    return (
        f"{measure.shown(found['difference'], '+')}{of_gains} ({measure.interval(found)}), {found['verdict']}"
    )


def compare_cells(plan: Plan, out_of: Callable[[str], Path]) -> Compared:
    """All cells that have a finished run with a finished control; `out_of` a run's name, where its scores are.

    What cannot be compared is left out, and said.
    """
    unfinished = plan.unfinished
    runs = {name: Finished(name, out_of(name)) for name in plan.runs if name not in unfinished}
    compared = Compared(plan, runs=runs, left_out=list(not_finished(plan)))
    pairs: dict[str, list[Pair]] = {label: [] for label in plan.labels}
    of_run: dict[str, Pair] = {}
    for cell in plan.cells:
        if cell.run in runs and cell.control in runs:
            with leaving_out(compared, cell.run):
                pair = (runs[cell.run], runs[cell.control])
                if plan.distilled:
                    refuse_strangers(*pair)
                of_run[cell.run] = pair
                if cell.run != cell.control:
                    pairs[cell.label].append(pair)
    results = [run.scored.tasks for run in runs.values() if run.scored]
    for name in dict.fromkeys([HARD, *(task for tasks in results for task in tasks)]):
        if lacking := [run.name for run in runs.values() if run.value(name) is None]:
            compared.left_out.append(f"{name} is left out: {lacking[0]} has no score in it")
            continue
        metric = next((tasks[name].get("metric") for tasks in results if name in tasks), None)
        measure = Measure(name, metric or "accuracy")
        cells, contrasts = {}, {}
        for label, found in pairs.items():
            with leaving_out(compared, f"{name}, {label}"):
                cells |= {label: _cell(name, found)} if found else {}
        for label, sides in _contrasts(plan, of_run):
            with leaving_out(compared, f"{name}, {label}"):
                contrasts[label] = _difference(name, *sides) | {"of_gains": bool(sides[0][0].less)}
        for found, kept in ((cells, compared.cells), (contrasts, compared.contrasts)):
            if found:
                compared.measures[name], kept[name] = measure, found
                correct(found, measure.sign)
    return compared


def not_finished(plan: Plan) -> Iterator[str]:
    """What is not finished, with its seeds: a line for the controls, and one for each cell."""
    runs = [("the control", cell.seed, cell.control) for cell in plan.cells if plan.distilled]
    runs += [(cell.label, cell.seed, cell.run) for cell in plan.cells]
    unfinished, seeds = set(plan.unfinished), defaultdict(dict)
    for label, seed, name in runs:
        if name in unfinished:
            seeds[label][seed] = None
    for label, lacking in seeds.items():
        yield f"{label} is not finished: seed{'s' * (len(lacking) > 1)} {', '.join(map(str, lacking))}"


@contextmanager
def leaving_out(compared: Compared, what: str) -> Iterator[None]:
    """Turn a UserError into a line of what is left out of a comparison."""
    try:
        yield
    except UserError as error:
        compared.left_out.append(f"{what} is left out: {error}")


def refuse_strangers(student: Finished, control: Finished) -> None:
    """UserError unless the one is the control of the other."""
    check_control(student.run, control.run)


def _contrasts(plan: Plan, of_run: Mapping[str, Pair]) -> Iterator[tuple[str, tuple[list[Side], list[Side]]]]:
    """What is compared beside cells and their controls, by the seeds of which all can be.

    Each value of an axis beside the first, or those that the plan names: all cells that have it, and those that have
    the other and are else the same. Each cell beside those that the plan names.
    """
    places = {(cell.seed, tuple(cell.values.items())): cell.run for cell in plan.cells}
    runs = {(cell.seed, cell.label): cell.run for cell in plan.cells}
    for axis, values in plan.axes.items():
        references, told = [value for value in values if value in plan.baselines] or values[:1], set()
        for first, value in itertools.product(references, values):
            if value == first or (first, value) in told:
                continue
            told.add((value, first))
            settings = list(dict.fromkeys(found for _, found in places if (axis, value) in found))
            changed = [tuple({**dict(found), axis: first}.items()) for found in settings]
            names = [
                [[places.get((seed, found)) for found in side] for side in (settings, changed)]
                for seed in plan.seeds
            ]
            yield from _sides(f"{axis}: {value}, not {first}", names, of_run)
    for label, first in plan.compared:
        names = [[[runs[seed, label]], [runs[seed, first]]] for seed in plan.seeds]
        yield from _sides(f"{label}, not {first}", names, of_run)


def _sides(
    what: str, names: Sequence[Sequence[Sequence[str]]], of_run: Mapping[str, Pair]
) -> Iterator[tuple[str, tuple[list[Side], list[Side]]]]:
    """Both sides of a comparison, from the runs of each seed; of gains, where the controls are others too."""
    pairs = [
        [[of_run[name] for name in side] for side in both]
        for both in names
        if all(name in of_run for side in both for name in side)
    ]
    controls = [{control for side in pairs for _, control in side[which]} for which in (0, 1)]
    of_gains = controls[0] != controls[1]
    if pairs:
        yield what, tuple([_side(side[which], of_gains=of_gains) for side in pairs] for which in (0, 1))


def _side(pairs: Sequence[Pair], *, of_gains: bool) -> Side:
    runs, controls = zip(*pairs, strict=True)
    return Side(runs, controls if of_gains else ())


def _cell(measure: str, pairs: Sequence[Pair]) -> dict:
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
    runs = [run for side in (*a, *b) for run in side.all_runs]
    if measure == HARD:
        for key in ALIKE:
            if len({str(run.summary.get(key)) for run in runs}) > 1:
                raise UserError(f"losses of runs that have another {key} say nothing beside each other")
        return paired_runs(*sides) | {"lossy": False}
    folders = [run.scored for run in runs]
    check_same_items(measure, folders)
    lossy = {"lossy": any(is_lossy(folder.tasks[measure]) for folder in folders)}
    if measure == TEXT:
        return paired_runs(*sides) | lossy
    items = [[side.items(measure) for side in both] for both in (a, b)]
    return difference_of(*items, weights_of(folders[0].tasks[measure]), sides) | lossy


def correct(found: dict[str, dict], sign: int) -> None:
    """Give each difference its p-value after Holm's correction, a verdict, and how many seeds would give another."""
    tested = [each for each in found.values() if each["p_value"] is not None]
    for each, p in zip(tested, holm([each["p_value"] for each in tested]), strict=True):
        each["p_holm"] = p
    for each in found.values():
        known = each.get("p_holm", 1.0) < 1 - LEVEL
        each["verdict"] = ("better" if sign * each["difference"] > 0 else "worse") if known else UNKNOWN
        each["settles"] = "one more seed tells" if each["p_value"] is None else "settled"
        if (
            each["p_value"] is not None and not known
        ):  # by the strictest level that the correction may ask for
            of_one, of_items = each["seed_error"] ** 2 * each["seeds"], each["item_error"] ** 2
            level = 1 - (1 - LEVEL) / len(tested)
            needed = seeds_to_settle(abs(each["difference"]), of_one, of_items, level)
            each["settles"] = f"over {MOST:,}" if needed is None else str(max(needed, each["seeds"] + 1))

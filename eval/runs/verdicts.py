"""What two scores beside each other allow to be said, in numbers and in plain sentences."""

from dataclasses import dataclass, field

from eval.compare.paired import Weights, Z, item_difference, weights_of
from eval.compare.scored import Scored
from eval.results.scores_table import percent
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run
from eval.tasks import title


@dataclass(frozen=True)
class Difference:
    """Student minus control on one task or subtask; both numbers are fractions of 1."""

    value: float
    standard_error: float | None
    """Of the paired differences: both answered the same items and find the same ones hard, so it is taken item by
    item (a correlation's by a bootstrap over rows, that of reading sentence by sentence). None where one of the scores
    has no error."""
    by_subtask: dict[str, "Difference"] = field(default_factory=dict)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95 % over drawings of the items; None where the error is not known."""
        if self.standard_error is None:
            return None
        reach = Z * self.standard_error
        return self.value - reach, self.value + reach

    @property
    def outside(self) -> bool:
        """Does the interval leave out 0? No where it is not known."""
        return self.standard_error is not None and abs(self.value) > Z * self.standard_error


def differences(lineup: Lineup) -> dict[str, Difference]:
    """The student less its control on every task."""
    return {task: _difference(lineup, task) for task in lineup.student.tasks}


def _difference(lineup: Lineup, task: str) -> Difference:
    runs = lineup.student, lineup.control
    results = [run.tasks[task] for run in runs]
    known = None not in [result["standard_error"] for result in results]
    items = [items_of(run, task) if known else {} for run in runs]
    weights = weights_of(results[0])
    whole = _less(results, items, weights)
    for name in results[0]["by_subtask"]:
        cells = [result["by_subtask"][name] for result in results]
        whole.by_subtask[name] = _less(
            cells, [{name: side[name]} if known else {} for side in items], weights
        )
    return whole


def _less(results: list[dict], items: list[dict], weights: Weights) -> Difference:
    """The first of two scores less the second; `items` is what items.json holds of each, {}: no error."""
    student, control = results
    error = item_difference(*items, weights).get("standard_error")
    return Difference(student["score"] - control["score"], error)


def items_of(run: Run, task: str) -> dict:
    """{subtask: {column: [value per item]}} of a run; a UserError if they are not those that its score sums up."""
    return Scored(run.folder / "eval", run.scores["model_sha256"], run.scores["tasks"]).items(task)


def points_of(metric: str) -> str:
    """What a difference of scores, times 100, is counted in."""
    return "percentage points" if metric == "accuracy" else f"hundredths ({metric.replace('_', ' ')})"


def groups(result: dict) -> dict[str, dict]:
    """The finer grain of a task's result: phenomena where the benchmark has them, else its subtasks."""
    return result["by_phenomenon"] or result["by_subtask"]


def verdicts(lineup: Lineup, found: dict[str, Difference]) -> list[str]:
    """Plain sentences about student and control: of held-out text, one a task, and one of what the errors leave out."""
    return [
        *of_text(lineup),
        *(sentence(task, lineup.student.tasks[task], delta) for task, delta in found.items()),
        "One seed: the intervals hold the noise of drawing the test items, item by item. Seed noise is not in them; "
        "another seed could give another difference.",
    ]


def of_text(lineup: Lineup) -> list[str]:
    """What both need for the same held-out text, where both have read it: a text has no items to draw, so no error."""
    student, control = lineup.student.held_out, lineup.control.held_out
    if not (student and control and student[0] == control[0]):
        return []
    mine, theirs = (f"{found['bits_per_byte']:.4f}" for _, found in (student, control))
    told = f"the student needs {mine} bits a byte, the same model trained without distillation {theirs}"
    return [f"Held-out text ({student[0]}): {told}."]


def sentence(task: str, result: dict, delta: Difference) -> str:
    """What the student's score on one task, less its control's, allows to be said."""
    if result.get("synthetic"):
        return (
            f"{title(task)}: scored on synthetic stand-ins for the official data, from which nothing follows."
        )
    points = f"{percent(abs(delta.value), None)} {points_of(result['metric'])}"
    where = "above" if delta.value >= 0 else "below"
    measured = f"{title(task)}: the student is {points} {where} the same model trained without distillation"
    if delta.standard_error is None:
        return f"{measured}. Its standard error is not known: no claim of superiority follows."
    low, high = (f"{100 * end:+.2f}" for end in delta.interval)
    measured += f" (95 % interval {low} to {high})"
    return (
        f"{measured} for this pair of runs."
        if delta.outside
        else f"{measured}. No claim of superiority follows."
    )

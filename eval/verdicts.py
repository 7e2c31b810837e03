"""What two scores beside each other allow to be said, in numbers and in plain sentences."""

import math
from dataclasses import dataclass

from eval.lineup import Lineup
from eval.table import percent
from eval.tasks import title


@dataclass(frozen=True)
class Difference:
    """Student minus control on one task, subtask or phenomenon; both numbers are fractions of 1."""

    value: float
    standard_error: float | None
    """sqrt(se_student^2 + se_control^2): as if they answered different items. They answer the same ones, so
    this is rather too wide than too narrow. None where one of them has no error."""

    @property
    def outside(self) -> bool:
        """Is the difference larger than two joint standard errors? No where they are not known."""
        return self.standard_error is not None and abs(self.value) > 2 * self.standard_error


def difference(student: dict, control: dict) -> Difference:
    """Compare two results that hold "score" and "standard_error"."""
    errors = student["standard_error"], control["standard_error"]
    return Difference(student["score"] - control["score"], None if None in errors else math.hypot(*errors))


def points_of(metric: str) -> str:
    """What a difference of scores, times 100, is counted in."""
    return "percentage points" if metric == "accuracy" else f"hundredths ({metric.replace('_', ' ')})"


def groups(result: dict) -> dict[str, dict]:
    """The finer grain of a task's result: phenomena where the benchmark has them, else its subtasks."""
    return result["by_phenomenon"] or result["by_subtask"]


def verdicts(lineup: Lineup) -> list[str]:
    """One plain sentence a task about student and control, and one about what the errors leave out."""
    return [
        *(sentence(lineup, task) for task in lineup.student.tasks),
        "One seed: the standard errors are those of drawing the test items. Seed noise is not in them; "
        "another seed could give another difference.",
    ]


def sentence(lineup: Lineup, task: str) -> str:
    """What the student's score on one task, less its control's, allows to be said."""
    result = lineup.student.tasks[task]
    delta = difference(result, lineup.control.tasks[task])
    points = f"{percent(abs(delta.value), delta.standard_error)} {points_of(result['metric'])}"
    where = "above" if delta.value >= 0 else "below"
    measured = f"{title(task)}: the student is {points} {where} the same model trained without distillation"
    if delta.standard_error is None:
        return f"{measured}. Its standard error is not known: no claim of superiority follows."
    if not delta.outside:
        return f"{measured}, inside two joint standard errors. No claim of superiority follows."
    return f"{measured}, outside two joint standard errors for this pair of runs."

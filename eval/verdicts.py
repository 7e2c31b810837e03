"""What two scores beside each other allow to be said, in numbers and in plain sentences."""

import math
from dataclasses import dataclass

from eval.lineup import Lineup
from eval.tasks import title


@dataclass(frozen=True)
class Difference:
    """Student minus control on one task, subtask or phenomenon; both numbers are fractions of 1."""

    value: float
    standard_error: float
    """sqrt(se_student^2 + se_control^2): as if they answered different items. They answer the same ones, so
    this is rather too wide than too narrow."""

    @property
    def outside(self) -> bool:
        """Is the difference larger than two joint standard errors?"""
        return abs(self.value) > 2 * self.standard_error


def difference(student: dict, control: dict) -> Difference:
    """Compare two results that hold "accuracy" and "standard_error"."""
    error = math.hypot(student["standard_error"], control["standard_error"])
    return Difference(student["accuracy"] - control["accuracy"], error)


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
    """What the student's accuracy on one task, less its control's, allows to be said."""
    delta = difference(lineup.student.tasks[task], lineup.control.tasks[task])
    points = f"{abs(100 * delta.value):.2f} ± {100 * delta.standard_error:.2f} percentage points"
    where = "above" if delta.value >= 0 else "below"
    measured = f"{title(task)}: the student is {points} {where} the same model trained without distillation"
    if not delta.outside:
        return f"{measured}, inside two joint standard errors. No claim of superiority follows."
    return f"{measured}, outside two joint standard errors for this pair of runs."

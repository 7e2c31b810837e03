"""How a run is drawn: one mark, colour and line throughout a page."""

from dataclasses import dataclass
from typing import Any

from eval.report.svg import CONTROL, STAND_INS, STUDENT, TEACHERS
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run

TEACHER_MARKS = {"^": "▲", "s": "■", "D": "◆", "v": "▼"}
DASHED = (0, (5, 2))


@dataclass(frozen=True)
class Look:
    """Of one run, or of one cell of a study."""

    marker: str
    """Matplotlib's."""
    character: str
    """The same mark in text."""
    colour: str
    """A stand-in for a colour of the page (`eval.report.svg`)."""
    width: float = 1.2
    """Of a line, in points."""
    dashes: Any = "solid"
    order: int = 3
    """What has a higher one lies above."""

    @property
    def css(self) -> str:
        """Its colour on the page."""
        return STAND_INS[self.colour]


STUDENT_LOOK = Look("o", "●", STUDENT, width=2.0, order=4)
CONTROL_LOOK = Look("o", "○", CONTROL, width=1.4, dashes=DASHED)


def look_of(lineup: Lineup, run: Run) -> Look:
    """Of a run beside the others of its lineup."""
    return look_as(run.role, lineup.teachers.index(run) if run.role == "teacher" else 0)


def look_as(role: str, number: int = 0) -> Look:
    """Of a student, a control, or teacher `number`."""
    if role != "teacher":
        return CONTROL_LOOK if role == "control" else STUDENT_LOOK
    index = number % len(TEACHERS)
    return Look(*list(TEACHER_MARKS.items())[index], TEACHERS[index])

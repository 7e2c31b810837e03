"""Task-aware filters (Liang et al. 2023, TED, arXiv 2210.01351), in one run.

Stage one, the first `until` of the run: a linear filter on each chosen layer of the frozen teacher learns, through
an output head of its own, to predict the targets. Stage two: the teacher's filters are frozen, their heads
unused, and the student's filtered states are drawn to the teacher's.
Differs from the paper: the student's filters are its projectors, which begin at random with stage two, where the
paper trains them in stage one too, on a frozen student; and the student learns from the other losses meanwhile.
"""

from torch import Tensor, nn

from distill.heads import OutputHead
from train_teachers.objective import wide
from train_teachers.outputs import Output


class Filter(nn.Module):
    """A linear filter and the head that it is trained through: teacher states (…, D) -> (…, width)."""

    def __init__(self, teacher_width: int, width: int, vocab_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(teacher_width, width)
        self.head = OutputHead(width, vocab_size)

    def forward(self, states: Tensor) -> Tensor:
        """Filtered states."""
        return self.linear(wide(states))

    def output(self, teacher_ND: Tensor) -> Output:
        """What it predicts of the targets, seen through filter and head."""
        return self.head(self(teacher_ND))

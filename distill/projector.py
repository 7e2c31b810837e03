"""The map from student space to teacher space; always in that direction."""

from torch import Tensor, nn


class Projector(nn.Module):
    """A trained linear map (…, student width) -> (…, teacher width), one per pair of layers."""

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(student_width, teacher_width)

    def forward(self, student_states: Tensor) -> Tensor:
        """Student states in the teacher's space."""
        return self.linear(student_states)

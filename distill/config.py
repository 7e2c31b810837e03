"""The config of a distillation: a training config, plus teachers and losses."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from train_teachers.config import Strict, TrainConfig

Weight = Annotated[float, Field(gt=0)]
TeacherName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Teacher(Strict):
    """A frozen model that shares the student's tokenizer."""

    path: str
    """Folder (or hub name) that AutoModelForCausalLM loads, such as runs/NAME/export."""


class Hard(Strict):
    """Cross-entropy with the next token, in nats per token."""

    weight: float = Field(ge=0)
    """Coefficient of the term."""


class Soft(Strict):
    """Forward KL divergence to each teacher's soft targets times temperature squared, in nats per token."""

    weight: dict[str, Weight]
    """Teacher name: coefficient of its term."""
    temperature: float = Field(default=2.0, gt=0)
    """Divides the logits of teachers and student in this loss alone."""


class LayerPair(Strict):
    """Two entries of HF `hidden_states`: 0 is the embeddings, L the last block behind the final norm."""

    teacher: int = Field(ge=0)
    """Index in the teacher."""
    student: int = Field(ge=0)
    """Index in the student."""


class Hidden(Strict):
    """Mean squared error between teacher states and projected student states."""

    weight: dict[str, Weight]
    """Teacher name: coefficient of its term."""
    layer_map: dict[str, Annotated[list[LayerPair], Field(min_length=1)]]
    """Teacher name: the pairs of layers that are matched, each with a projector of its own."""


class Losses(Strict):
    """The terms of the training signal; weights are coefficients and need not sum to 1."""

    hard: Hard
    soft: Soft | None = None
    hidden: Hidden | None = None


class DistillConfig(TrainConfig):
    """One distillation: a student, its teachers, its losses."""

    teachers: dict[TeacherName, Teacher] = Field(min_length=1)
    """Name (letters, digits, - and _): teacher."""
    losses: Losses

    @model_validator(mode="after")
    def _teachers_are_used(self) -> Self:
        soft, hidden = self.losses.soft, self.losses.hidden
        used = set(soft.weight if soft else ()) | set(hidden.weight if hidden else ())
        if unknown := sorted(used - set(self.teachers)):
            raise ValueError(f"losses name a teacher '{unknown[0]}' that is not under teachers")
        if idle := sorted(set(self.teachers) - used):
            raise ValueError(f"teacher '{idle[0]}' has a weight in no loss: give it one or remove it")
        if hidden and set(hidden.weight) != set(hidden.layer_map):
            raise ValueError("losses.hidden: weight and layer_map must name the same teachers")
        for name, pairs in hidden.layer_map.items() if hidden else ():
            if (highest := max(pair.student for pair in pairs)) > self.model.num_hidden_layers:
                raise ValueError(
                    f"losses.hidden.layer_map.{name}: the student has {self.model.num_hidden_layers} layers, "
                    f"no index {highest}"
                )
        return self

    def control(self) -> TrainConfig:
        """The same student on the same batches without distillation, named <name>-control."""
        shared = {name: getattr(self, name) for name in TrainConfig.model_fields}
        return TrainConfig.model_construct(**shared | {"name": f"{self.name}-control"})

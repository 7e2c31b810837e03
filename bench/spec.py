"""What a turn of one side is told and what it tells: JSON between the benchmark and its processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from distill.config import DistillConfig
from train_teachers.config import Strict, TrainConfig

Side = Literal["plain", "online", "cached", "muon"]
"""The field's plain loop; the kit, its teachers running in each step; with a cache of their targets; that with Muon."""
SIDES: tuple[Side, ...] = get_args(Side)
PlainPrecision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    shape: str
    overrides: Sequence[str] = ()
    """`key.path=value` on the config of the shape, for all sides."""
    sides: Sequence[Side] = ()
    """Empty: those that fit the shape and the optimiser."""
    growth: bool = False
    """How a step grows, instead of a comparison."""
    turns: int = 3
    """Of each side."""
    warmup: int = 2
    """Steps at the beginning of a turn that are not counted; the first compiles."""
    steps: int = 3
    """Timed steps of a turn."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Of the kit; side muon has its own, and the plain loop AdamW."""
    plain_precision: PlainPrecision | None = None
    """Of the plain loop: fp32, or the Trainer's `bf16=True` or `fp16=True`; None: as the field has it, fp16 on a GPU
    and fp32 on a processor."""
    compiled: bool = True
    """The kit's step."""
    memory: bool = True
    """Measure the peak at the vocabulary of the memory ratio too."""
    threads: int | None = None
    """Of the processor; None: as torch chooses."""


class Spec(Strict):
    """One turn of one side, in a process of its own."""

    side: Side
    config: DistillConfig | TrainConfig
    """Shapes, folders and batches, for all sides; without teachers a student alone with the hard loss."""
    plain_precision: PlainPrecision = "fp32"
    """As in the request."""
    warmup: int = Field(gt=0)
    """Steps that are not counted: at least the first, which has no step before it."""
    steps: int = Field(gt=0)
    """Timed steps."""

    @property
    def distils(self) -> bool:
        """Whether there are teachers."""
        return isinstance(self.config, DistillConfig)


class Result(Strict):
    """What one turn of one side took."""

    side: Side
    seconds: list[float]
    """Of each timed step: from the end of the step before it to its own end, on the device."""
    tokens_per_step: int
    """Target tokens of a step."""
    peak_bytes: int
    """Most memory of the process over loading, warm-up and timed steps: resident on a CPU, allocated on a GPU."""
    loaded_bytes: int
    """The same before the first step: models loaded, nothing subtracted."""
    muon_seconds: list[float]
    """Spent in Muon's step() in each timed step; empty without Muon."""
    flops: dict[str, float]
    """Arithmetic of a step: `student` (forward and backward), `teachers` (forward), `muon`."""
    rate: float
    """FLOP/s of matrix products in `precision`, measured in this process after its steps."""
    losses: dict[str, float]
    """`hard` and `soft` of the first step, nats per target token, unweighted: alike on all sides but for rounding."""
    precision: str
    """Number format of the forward pass."""
    compiled: bool
    optimizer: str
    threads: int
    device: str

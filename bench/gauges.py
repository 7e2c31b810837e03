"""What a process takes: seconds of its steps, bytes at its peak, arithmetic, and the rate of matrix products."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from babylm_data.speed import FORMATS, synchronise, time_products
from bench.spec import Result, Spec

SIZES = {"cpu": (512, 768, 1024), "cuda": (4096, 8192)}  # of square matrices
SECONDS = 0.3  # of products at each size


def device_type() -> str:
    """Where the steps run: the first GPU, else the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_bytes() -> int:
    """The most memory that this process has had so far: allocated on a GPU, else resident.

    On Linux from VmHWM: `ru_maxrss` of a new process begins at the peak of the one that started it.
    """
    if device_type() == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="utf-8").splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Clock:
    """The ends of this process's steps, made when the models are loaded and no step was taken."""

    def __init__(self) -> None:
        self.loaded_bytes, self.ends = peak_bytes(), []

    def tick(self) -> None:
        """A step has ended; waits for the device."""
        synchronise(device_type())
        self.ends.append(time.perf_counter())

    def result(self, spec: Spec, *, precision: str, muon: "Part | None" = None, **facts) -> Result:
        """What the steps took, and the rate of products after them."""
        seconds = [end - before for before, end in zip(self.ends, self.ends[1:], strict=False)]
        peak = peak_bytes()  # before the matrices of the rate
        if muon:
            facts["flops"] |= {"muon": muon.flops}
        cuda = device_type() == "cuda"
        return Result(
            side=spec.side,
            seconds=seconds[-spec.steps :],
            tokens_per_step=spec.config.batch_size * spec.config.data.seq_len,
            peak_bytes=peak,
            loaded_bytes=self.loaded_bytes,
            muon_seconds=muon.seconds()[-spec.steps :] if muon else [],
            rate=product_rate(precision),
            precision=precision,
            threads=torch.get_num_threads(),
            device=torch.cuda.get_device_name() if cuda else "cpu",
            **facts,
        )


class Part:
    """A part of every step: the seconds of each call on the device, and the arithmetic of the first call."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call, self.flops = call, 0.0
        self._marks: list[tuple] = []

    def __call__(self) -> None:
        """Call it, and wait for nothing."""
        began = _mark()
        if self._marks:
            self.call()
        else:
            with FlopCounterMode(display=False) as counter:
                self.call()
            self.flops = float(counter.get_total_flops())
        self._marks.append((began, _mark()))

    def seconds(self) -> list[float]:
        """Of each call, in order."""
        synchronise(device_type())
        if device_type() == "cuda":
            return [began.elapsed_time(end) / 1000 for began, end in self._marks]
        return [end - began for began, end in self._marks]


def _mark():
    """A moment: of the device's own queue on a GPU, where to look at a clock one would have to wait."""
    if device_type() == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def step_flops(
    student: PreTrainedModel, teachers: list[PreTrainedModel], sequences: int, seq_len: int
) -> dict[str, float]:
    """Arithmetic of a step without its optimiser: what the formulas need, however often a program computes it.

    Forward 2 a token per weight that multiplies, and causal attention; backward twice that (Kaplan et al. 2020).
    """
    tokens = sequences * seq_len
    return {
        "student": 3 * tokens * _forward(student, seq_len),
        "teachers": tokens * sum(_forward(teacher, seq_len) for teacher in teachers),
    }


def _forward(model: PreTrainedModel, seq_len: int) -> float:
    """FLOPs a token of a forward pass."""
    layers = [part for part in model.modules() if isinstance(part, (nn.Linear, Conv1D))]
    shape = model.config
    attention = shape.num_hidden_layers * shape.hidden_size * seq_len
    return 2.0 * (sum(layer.weight.numel() for layer in layers) + attention)


def product_rate(precision: str) -> float:
    """FLOP/s of matrix products that go on for a while: that of the best of a few sizes."""
    device, rates = device_type(), []
    for size in SIZES[device]:
        taken = time_products(size, FORMATS[precision], device, SECONDS)
        rates.append(2 * size**3 * len(taken) / sum(taken))
    return max(rates)

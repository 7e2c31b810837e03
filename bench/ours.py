"""The kit's side: the step of train_teachers with the objective of distill, opened as a run opens it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bench.gauges import Clock, Part, step_flops
from bench.spec import Result, Spec
from distill.__main__ import objective_of
from distill.config import DistillConfig
from train_teachers.config import TrainConfig
from train_teachers.muon import Muon
from train_teachers.objective import hard_alone
from train_teachers.stage import Ready
from train_teachers.step import Stepper, Trained


class Kit(NamedTuple):
    """A run of the kit before its first step."""

    step: Callable[[int], tuple[dict[str, Tensor], int]]
    """Take step number i (from 0): the sum of each term over the target tokens, and how many those are."""
    student: PreTrainedModel
    teachers: list[PreTrainedModel]
    """Those that run in a step."""
    optimizers: list[torch.optim.Optimizer]
    precision: str
    compiled: bool


def open_kit(config: DistillConfig | TrainConfig) -> Kit:
    """The one place that knows how the kit makes and takes a step."""
    distils = isinstance(config, DistillConfig)
    ready = Ready(config, objective_of(config) if distils else hard_alone)
    ready.student.train()
    trained = Trained(ready.student, ready.objective)
    stepper = Stepper(trained, config, ready.accelerator, steps=ready.steps, manner=ready.manner)

    def step(number: int) -> tuple[dict[str, Tensor], int]:
        result = stepper(number, ready.batches.batch(number))
        return result.sums, result.num_targets

    return Kit(
        step,
        ready.student,
        list(ready.objective.teachers.models.values()) if distils else [],
        stepper.main_optimizers,
        ready.manner.precision,
        ready.manner.compiled,
    )


def run(spec: Spec) -> Result:
    """One turn."""
    config, kit = spec.config, open_kit(spec.config)
    muon = next((optimizer for optimizer in kit.optimizers if isinstance(optimizer, Muon)), None)
    part = muon and Part(muon.step)
    if muon:
        muon.step = part
    flops = step_flops(kit.student, kit.teachers, config.batch_size, config.data.seq_len)
    clock = Clock()
    sums, targets = kit.step(0)
    first = {name: float(value) / targets for name, value in sums.items()}
    clock.tick()
    for number in range(1, spec.warmup + spec.steps):
        kit.step(number)
        clock.tick()
    return clock.result(
        spec,
        precision=kit.precision,
        muon=part,
        flops=flops,
        losses=first,
        compiled=kit.compiled,
        optimizer=config.optim.optimizer,
    )

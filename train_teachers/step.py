"""One optimiser step: blocks of tokens go in, the weights move, the sums of the loss terms come out."""

import contextlib
import math
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from transformers import PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.speed import FORMATS
from babylm_data.tokens import Blocks
from train_teachers.averaging import AveragedWeights
from train_teachers.config import TrainConfig
from train_teachers.device import Manner
from train_teachers.objective import Objective, Terms
from train_teachers.optim import build_optimizers, set_rates
from train_teachers.sharding import accumulating, clip, prepare, within
from train_teachers.targets import Batch

GRADIENT = "the gradient"
NEVER = 2**31 - 1  # no step has this number
Found = TypeVar("Found")


class Trained(nn.Module):
    """Student and objective as one module: what is optimised, checkpointed and wrapped for several GPUs."""

    def __init__(self, student: PreTrainedModel, objective: Objective) -> None:
        super().__init__()
        self.student, self.objective = student, objective

    def forward(self, batch: Batch) -> Terms:
        """The objective's terms on a micro-batch."""
        return self.objective(self.student, batch)

    def within(self, call: Callable[[], Found]) -> Found:
        """What `call` gives: whatever else needs the parameters as a forward pass has them."""
        return call()


class StepResult(NamedTuple):
    """What one step did, over all processes; tensors that nobody has waited for yet."""

    sums: dict[str, Tensor]
    """Each term, unweighted, summed over the target tokens."""
    counts: dict[str, int]
    """Of how many positions each term is a mean; what is not named here, of all that have a target."""
    num_targets: int
    num_tokens: int
    lr: float
    grad_norm: Tensor
    """Before clipping; infinite where fp16 overflowed and the step was passed over."""

    def count(self, name: str) -> int:
        """Of how many positions a term, or a part of it (`hidden.k@2-4`), is a mean."""
        return self.counts.get(name.partition("@")[0], self.num_targets)


class NonFinite:
    """Remembers on the device at which step a value was first not finite, so that nobody waits for it at each step."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, ...], Tensor] = {}

    def note(self, step: int, values: dict[str, Tensor]) -> Tensor:
        """1.0 if any of the values is not finite, else 0.0."""
        bad = ~torch.isfinite(torch.stack([value.float() for value in values.values()]))
        first = torch.where(bad, step, NEVER)
        names = tuple(values)
        self._first[names] = torch.minimum(first, self._first.get(names, first))
        return bad.any().float()

    def first(self, ignored: Container[str]) -> tuple[str, int] | None:
        """Which value, and at which step, since the last call; waits for the device."""
        steps = [
            (step, name)
            for names, first in self._first.items()
            for name, step in zip(names, first.tolist(), strict=True)
            if step < NEVER and name not in ignored
        ]
        self._first = {}
        return min(steps)[::-1] if steps else None


class Stepper:
    """Takes the optimiser steps of a run. Step `s` is a function of the weights, the batch, and (seed, s).

    It does not wait for the device, but where Sinkhorn's solver looks at its errors. A step whose loss or gradient is
    not finite changes no weight, and `refuse_non_finite` tells of it later.
    """

    def __init__(
        self, trained: Trained, config: TrainConfig, accelerator: Accelerator, *, steps: int, manner: Manner
    ) -> None:
        self.trained, self.config, self.accelerator, self.steps = trained, config, accelerator, steps
        self.manner = manner
        accelerator.ddp_handler = DistributedDataParallelKwargs(
            find_unused_parameters=len(trained.objective.moments) > 1
        )
        self.module = prepare(trained, accelerator)  # before the optimisers: it may put shards for parameters
        self.main_optimizers = build_optimizers(trained, config.optim, products=FORMATS[manner.muon])
        self.averaged = None
        if config.averaging:  # a part of what is checkpointed
            self.averaged = trained.averaged = AveragedWeights(trained.student, config.averaging, steps=steps)
        self.optimizers = [*self.main_optimizers, *trained.objective.own_optimizers.values()]
        """All that a checkpoint holds; the schedule and the gradients of the run are for the main ones."""
        check_all_optimised(trained, self.optimizers)
        positions = trained.objective.judged(manner.micro_batch_size, config.data.seq_len)
        trained.objective.in_chunks.settle(positions, trained.student.config.vocab_size, accelerator.device)
        if manner.compiled:
            trained.objective.compile_parts(trained.student)
        self.non_finite = NonFinite()

    def __call__(self, step: int, blocks: Blocks) -> StepResult:
        """Step number `step` (from 0) on the blocks of the whole batch, of which each process takes its part."""
        torch.manual_seed(_seed(self.config.seed, step, self.accelerator.process_index))  # dropout
        lr = set_rates(self.main_optimizers, self.config.optim, (step + 1) / self.steps)
        objective, accelerator = self.trained.objective, self.accelerator
        batch = objective.targets.of_step(blocks, self.config.seed, step, step / self.steps)
        share = len(blocks.starts) // accelerator.num_processes
        mine = batch.rows(accelerator.process_index * share, (accelerator.process_index + 1) * share)
        parts = [part.to(accelerator.device) for part in mine.split(self.manner.micro_batch_size)]
        own = self._train_own(step, parts[0])
        counts = objective.counts(batch)
        objective.divide(counts, batch.num_targets)
        sums = self._gradients(parts, batch.num_targets)
        scaler = accelerator.scaler  # fp16 only
        for optimizer in self.main_optimizers if scaler else ():
            scaler.unscale_(optimizer)
        sums |= {name: loss * batch.num_targets for name, loss in own.items()}
        norm = clip(self.trained.parameters(), self.config.optim.clip or math.inf)
        bad = self.non_finite.note(
            step, {**{f"loss {name}": value for name, value in sums.items()}, GRADIENT: norm}
        )
        for optimizer in self.main_optimizers:
            optimizer.found_inf = bad  # fused AdamW and our Muon look at it on the device
            optimizer.step()
            optimizer.zero_grad()
        if scaler:
            scaler.update()
        if self.averaged:
            self.averaged.add(step)
        return StepResult(sums, counts, batch.num_targets, batch.inputs_BT.numel(), lr, norm)

    def exported(self) -> contextlib.AbstractContextManager[None]:
        """Within, the student has the weights that are exported."""
        return self.averaged.in_place() if self.averaged else contextlib.nullcontext()

    def settle(self) -> None:
        """Give the student the weights that are exported."""
        if self.averaged:
            self.averaged.settle()

    def refuse_non_finite(self) -> None:
        """UserError if a loss or the gradient was not finite since the last call; waits for the device.

        In fp16 an infinite gradient is usual, until the scale of the gradients is used up.
        """
        scaler = self.accelerator.scaler
        usual = {GRADIENT} if scaler and scaler.get_scale() >= 1 else set()
        if found := self.non_finite.first(usual):
            what, step = found
            raise UserError(
                f"{what} is not finite at step {step}: no step was taken and the last checkpoint is intact; "
                "try again with name=… and a lower optim.lr or precision=fp32"
            )

    def _train_own(self, step: int, batch: Batch) -> dict[str, Tensor]:
        """Set what changes over the run; let the objective train its own parts on one micro-batch."""
        objective = self.trained.objective
        objective.begin_step(step / self.steps)
        if not objective.own_optimizers:
            return {}
        with self.accelerator.autocast():
            losses = within(self.trained, lambda: objective.train_own(self.trained.student, batch))
        # the mean: what is not finite on one process passes the step over on all
        return {name: self.accelerator.reduce(loss, "mean") for name, loss in losses.items()}

    def _gradients(self, parts: Sequence[Batch], num_targets: int) -> dict[str, Tensor]:
        """The gradient of the weighted mean over the batch's targets; the sum of each term."""
        accelerator, sums = self.accelerator, {}
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            with contextlib.nullcontext() if last else accumulating(self.module, accelerator):
                terms = self.module(part)
                # divided once, by the targets of the whole step; DDP takes the mean over processes, hence the factor
                accelerator.backward(terms.total * (accelerator.num_processes / num_targets))
            for name, value in terms.sums.items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: accelerator.reduce(value, "sum") for name, value in sums.items()}


def check_all_optimised(module: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    """Every trainable parameter stands in exactly one optimiser: a forgotten projector would never learn."""
    held = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    trainable = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    assert len(held) == len(set(held)), "a parameter stands in two optimisers"
    forgotten = [name for key, name in trainable.items() if key not in set(held)]
    assert not forgotten, f"in no optimiser: {forgotten}"


def _seed(*parts: int) -> int:
    """One 63-bit seed, a pure function of its parts."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)

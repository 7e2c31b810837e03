"""What a training run minimises: the interface of an objective, and the hard loss.

Shape suffixes: B sequences, T positions, N = B * T positions in one row, V vocabulary.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from babylm_data.tokens import Blocks
from train_teachers.device import compiled_bodies
from train_teachers.language_model import reading
from train_teachers.outputs import Beside, Flags, InChunks, output_of
from train_teachers.targets import IGNORE, NEXT_TOKEN, Batch, Targets

CAUSAL, MASKED = "@causal", "@masked"
"""Beside outputs: the positions at which a model is asked that reads so; no teacher's name has such a letter."""


class Terms(NamedTuple):
    """What an objective makes of a batch."""

    total: Tensor
    """Weighted sum of the terms, with its gradient."""
    sums: dict[str, Tensor]
    """Each term, unweighted and without gradient, summed over the target positions; and what is logged beside them."""


class Objective(nn.Module):
    """What is minimised. A module, so that whatever it owns is optimised and saved by construction.

    Called with (student, batch) it gives the terms that count at this step. The loop divides their total once, by the
    number of target tokens of the whole optimiser step, and logs every term unweighted, per token.
    """

    def __init__(self, targets: Targets = NEXT_TOKEN) -> None:
        super().__init__()
        self.targets = targets
        """What the student is asked."""
        self.in_chunks = InChunks()
        self.weights: dict[str, float] = {}
        """Coefficient of each term at this step; they need not sum to 1."""
        # tensors, not numbers: what changes at every step must not make the compiler start again
        self.register_buffer("coefficients", torch.zeros(0), persistent=False)
        self.sources: dict[str, str] = {}
        """What it was made from beside the config: name -> hash, so that a resumed run is the same run."""
        self.notes: list[str] = []
        """What a reader of the run should know of it, a line each."""
        self.flops_per_token = 0.0
        """Arithmetic beside the student's own, such as the teachers' forward passes."""
        self.own_optimizers: dict[str, torch.optim.Optimizer] = {}
        """Of the parameters that `train_own` trains, by kind; they are checkpointed with the rest."""
        self.moments = (0.0,)
        """Progress (0-1) at which the terms that count may be others than before; each counts at one of them."""
        self._compiled: dict[int, Callable] = {}

    @property
    def frozen(self) -> list[PreTrainedModel]:
        """Models beside the student that it asks."""
        return []

    def compile_parts(self, student: PreTrainedModel) -> None:
        """Compile what a training step spends its time in: the models, and what is done to a chunk of outputs.

        Each by itself, and not the objective as a whole: what is plain Python between them stays plain Python.
        """
        self.in_chunks.compile()
        self._compiled = compiled_bodies((student, *self.frozen))

    def body(self, model: PreTrainedModel, student: PreTrainedModel) -> Callable:
        """What gives the final states of a model: compiled while the student trains, for a few batches as it is."""
        return self._compiled.get(id(model), model.base_model) if student.training else model.base_model

    @property
    def counted(self) -> dict[str, Tensor]:
        """The weights above 0."""
        names = [name for name, weight in self.weights.items() if weight > 0]
        return dict(zip(names, self.coefficients.unbind(), strict=True))

    def weigh(self, weights: dict[str, float]) -> None:
        """Give the terms these weights: what `begin_step` does, and who looks at one term alone."""
        self.weights = weights
        self._set_coefficients([weight for weight in weights.values() if weight > 0])

    def _set_coefficients(self, numbers: list[float]) -> None:
        self.coefficients = torch.tensor(numbers).to(self.coefficients.device, non_blocking=True)

    def judged(self, sequences: int, length: int) -> int:
        """At how many positions of so many sequences outputs are looked at, at most."""
        return self.targets.most(sequences, length)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Of how many positions of a whole batch each term is a mean; it is asked before the terms of its parts."""
        found = dict.fromkeys(self.weights, batch.num_targets)
        if batch.full_B is not None:
            masked = int((batch.targets_BT[batch.full_B] != IGNORE).sum())
            found |= {"hard.causal": batch.num_targets - masked, "hard.masked": masked}
        return found

    def divide(self, counts: dict[str, int], num_targets: int) -> None:
        """Have a total that is divided by the targets of a step be the weighted sum of means over `counts`."""
        if set(counts.values()) != {num_targets}:
            weights = ((weight, counts[name]) for name, weight in self.weights.items() if weight > 0)
            self._set_coefficients([weight * num_targets / max(1, count) for weight, count in weights])

    def begin_step(self, progress: float, *, every_term: bool = False) -> None:
        """Called before each step with the share (0-1) of the run that is done: sets what changes over the run.

        With `every_term` also the terms that do not count then are computed: to measure them.
        """

    @contextlib.contextmanager
    def learning(
        self, student: PreTrainedModel, batch: Batch
    ) -> Iterator[dict[str, Callable[[], dict[str, Tensor]]]]:
        """What the objective trains by itself (critics, filters), unfrozen; their losses on the batch, by kind."""
        yield {}

    def train_own(self, student: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        """Called after `begin_step`, before the gradients of the step: one turn of what trains by itself.

        Returns the losses of that, per token, to be logged.
        """
        return {}


def wide(values: Tensor) -> Tensor:
    """In float32, or in float64 where it was that before: losses are never summed in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def hard_N(logits_NV: Tensor, targets_N: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the target, in nats per position; 0 where that is IGNORE.

    With label smoothing s it is (1 - s) times the target plus s / V of every token.
    """
    return F.cross_entropy(
        wide(logits_NV), targets_N, ignore_index=IGNORE, reduction="none", label_smoothing=label_smoothing
    )


class HardObjective(Objective):
    """Cross-entropy with the targets alone: how teachers and the no-distillation control are trained."""

    def __init__(self, targets: Targets = NEXT_TOKEN) -> None:
        super().__init__(targets)
        self.weigh(self.targets.parts)

    def forward(self, student: PreTrainedModel, batch: Batch) -> Terms:
        """The hard loss."""
        body = self.body(student, student)
        final_BTD = body(**reading(student, batch), use_cache=False).last_hidden_state
        outputs, targets_N = (
            {"student": output_of(student, final_BTD.flatten(0, 1))},
            batch.targets_BT.flatten(),
        )
        beside = flags_of(batch)
        totals, sums = self.in_chunks(hard_terms, self.counted, outputs, beside, targets_N, batch.places_N)
        return Terms(totals["student"], sums)


def hard_alone(*_: object, targets: Targets = NEXT_TOKEN) -> HardObjective:
    """The objective of a run that learns from text alone, whatever else is known."""
    return HardObjective(targets)


def flags_of(batch: Batch) -> dict[str, Beside]:
    """What stands beside outputs of a batch in which sequences are read in two ways."""
    if batch.full_B is None:
        return {}
    return {f"@{reads}": Flags(batch.asked_N(reads)) for reads in ("causal", "masked")}


def in_parts(hard_C: Tensor, beside: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of the hard loss: one, or one for each way in which sequences are read, 0 where another is meant."""
    if MASKED not in beside:
        return {"hard": hard_C}
    return {f"hard.{flag[1:]}": torch.where(beside[flag], hard_C, 0.0) for flag in (CAUSAL, MASKED)}


def hard_terms(
    logits: dict[str, Tensor], beside: dict[str, Tensor], targets_C: Tensor
) -> dict[str, dict[str, Tensor]]:
    """The hard loss of a chunk, of each output: 0 where there is no target."""
    return {name: in_parts(hard_N(logits_CV, targets_C), beside) for name, logits_CV in logits.items()}


@torch.no_grad()
def held_out_terms(
    student: PreTrainedModel,
    objective: Objective,
    blocks: Blocks,
    *,
    micro_batch_size: int,
    look: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Each term per token on held-out blocks, at the temperatures of the end of the run; `hard` is what counts.

    What is drawn at random is drawn alike each time, so the values of one run can be compared. `look` is called before
    each forward pass.
    """
    totals, was_training = {}, student.training
    student.eval()
    batch = objective.targets.of_items(blocks)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective.begin_step(1.0, every_term=True)
        counts = objective.counts(batch)
        for part in batch.split(micro_batch_size):
            look()
            for name, value in objective(student, part.to(student.device)).sums.items():
                totals[name] = totals.get(name, 0.0) + value.double()
    student.train(was_training)
    return {name: float(totals[name]) / max(1, count) for name, count in counts.items() if name in totals}

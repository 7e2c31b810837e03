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
from train_teachers.outputs import InChunks, output_of
from train_teachers.targets import IGNORE, Batch, Targets, next_token


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

    targets: Targets = staticmethod(next_token)
    """What the student is asked."""

    def __init__(self) -> None:
        super().__init__()
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
        above = torch.tensor([weight for weight in weights.values() if weight > 0])
        self.coefficients = above.to(self.coefficients.device, non_blocking=True)

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
    """Cross-entropy with the next token, in nats per position; 0 where the target is IGNORE.

    With label smoothing s the target is (1 - s) times the next token plus s / V of every token.
    """
    return F.cross_entropy(
        wide(logits_NV), targets_N, ignore_index=IGNORE, reduction="none", label_smoothing=label_smoothing
    )


class HardObjective(Objective):
    """Cross-entropy with the targets alone: how teachers and the no-distillation control are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh({"hard": 1.0})

    def forward(self, student: PreTrainedModel, batch: Batch) -> Terms:
        """The hard loss."""
        body = self.body(student, student)
        final_BTD = body(input_ids=batch.inputs_BT, use_cache=False).last_hidden_state
        outputs, targets_N = (
            {"student": output_of(student, final_BTD.flatten(0, 1))},
            batch.targets_BT.flatten(),
        )
        totals, sums = self.in_chunks(hard_term, self.counted, outputs, {}, targets_N, batch.places_N)
        return Terms(totals["student"], sums)


def hard_term(logits: dict[str, Tensor], _: dict, targets_C: Tensor) -> dict[str, dict[str, Tensor]]:
    """The hard loss of a chunk, of each output."""
    return {name: {"hard": hard_N(logits_CV, targets_C)} for name, logits_CV in logits.items()}


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
    batch = objective.targets(blocks, 0, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective.begin_step(1.0, every_term=True)
        for part in batch.split(micro_batch_size):
            look()
            for name, value in objective(student, part.to(student.device)).sums.items():
                totals[name] = totals.get(name, 0.0) + value.double()
    student.train(was_training)
    return {
        name: float(value) / batch.num_targets for name, value in totals.items() if name in objective.weights
    }

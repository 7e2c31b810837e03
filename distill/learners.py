"""What is trained beside the student and stays with the run: projectors, heads, critics, filters.

Projectors and heads follow the gradient of the objective and are optimised with the student. Critics and filters
have losses and optimisers of their own, so to the main optimiser they are frozen.
Shape suffixes: N positions, D width.
"""

from collections.abc import Container
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from babylm_data.errors import UserError
from distill.config import Layered, LayerPair, Losses, Projected, Ted
from distill.filters import Filter
from distill.heads import OutputHead
from distill.projector import Projector
from distill.teachers import Signals
from distill.transport import Critic, critic_loss
from train_teachers.objective import hard_N
from train_teachers.outputs import InChunks

Pairs = dict[str, dict[str, list[LayerPair]]]
"""loss -> teacher -> its pairs of layers."""


class Place(NamedTuple):
    """One pair of layers of one loss, and what is trained for it."""

    teacher: str
    reads: str
    """What that is asked."""
    pair: LayerPair
    label: str
    """`gpt2@4-2`: layer 4 of teacher gpt2, layer 2 of the student."""
    project: nn.Module
    """Student states to the space of the loss: a projector, or the identity."""
    learner: nn.Module | None
    """Its critic or filter."""


class Learners(nn.Module):
    """The modules by kind and `<loss>-<teacher>`, in the order of that teacher's pairs of layers."""

    def __init__(
        self,
        losses: Losses,
        pairs: Pairs,
        student: PreTrainedModel,
        teachers: dict[str, PreTrainedModel],
        reads: dict[str, str],
    ) -> None:
        super().__init__()
        self.losses = losses
        width, vocab_size = student.config.hidden_size, student.config.vocab_size
        heads = losses.heads.layers if losses.heads else ()
        self.heads = nn.ModuleDict({str(layer): OutputHead(width, vocab_size) for layer in heads})
        self.projectors, self.critics, self.filters = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.places: dict[str, list[Place]] = {}
        """Every pair of layers by loss."""
        for name, loss in losses.layered.items():
            self.places[name] = []
            for teacher, there in pairs[name].items():
                deep = teachers[teacher].config.get_text_config().hidden_size
                key, count = f"{name}-{teacher}", range(len(there))
                projectors = learners = [None] * len(there)
                if target := _projected_width(name, loss, width, deep):
                    projectors = nn.ModuleList(Projector(width, target) for _ in count)
                    self.projectors[key] = projectors
                if name == "wasserstein":
                    learners = nn.ModuleList(Critic(deep, loss.critic) for _ in count)
                    self.critics[key] = learners
                if name == "ted":
                    learners = nn.ModuleList(Filter(deep, target, vocab_size) for _ in count)
                    self.filters[key] = learners
                for pair, project, learner in zip(there, projectors, learners, strict=True):
                    label = f"{teacher}@{pair.teacher}-{pair.student}"
                    self.places[name].append(
                        Place(teacher, reads[teacher], pair, label, project or nn.Identity(), learner)
                    )
        self.critics.requires_grad_(False)
        self.filters.requires_grad_(False)

    def own_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Of critics and filters, where there are any."""
        optimizers: dict[str, torch.optim.Optimizer] = {}
        if self.critics:
            rate = self.losses.wasserstein.critic_lr
            optimizers["critics"] = torch.optim.RMSprop(self.critics.parameters(), lr=rate)
        if self.filters:
            rate = self.losses.ted.filter_lr
            optimizers["filters"] = torch.optim.AdamW(self.filters.parameters(), lr=rate)
        return optimizers

    def critic_losses(self, see: Signals) -> dict[str, Tensor]:
        """What each critic minimises, on the target positions."""
        loss, losses = self.losses.wasserstein, {}
        everywhere = loss.at == "all"
        for place in self._seen("wasserstein", see.teachers):
            with torch.no_grad():
                student_ND = place.project(see.student.hidden_ND[place.pair.student])
                student_ND = see.counting(student_ND, place.reads, everywhere=everywhere)
            teacher_ND = see.teachers[place.teacher].hidden_ND[place.pair.teacher]
            teacher_ND = see.counting(teacher_ND, place.reads, everywhere=everywhere)
            losses[f"critic.{place.label}"] = critic_loss(
                place.learner, student_ND, teacher_ND, gradient_penalty=loss.gradient_penalty
            )
        return losses

    def filter_losses(self, see: Signals, in_chunks: InChunks) -> dict[str, Tensor]:
        """What each filter minimises: nats per target token."""
        places = {f"filter.{place.label}": place for place in self._seen("ted", see.teachers)}
        outputs = {
            name: place.learner.output(see.teachers[place.teacher].hidden_ND[place.pair.teacher])
            for name, place in places.items()
        }

        def values(logits: dict[str, Tensor], asked: dict[str, Tensor], targets_C: Tensor) -> dict:
            found = {}
            for name, logits_CV in logits.items():
                hard_C, there_C = hard_N(logits_CV, targets_C), asked.get(f"@{places[name].reads}")
                found[name] = {name: hard_C if there_C is None else torch.where(there_C, hard_C, 0.0)}
            return found

        one = see.targets_N.new_ones((), dtype=torch.float32)
        given = (see.asked, see.targets_N, see.places_N)
        totals, _ = in_chunks(values, dict.fromkeys(outputs, one), outputs, *given)
        return {
            name: total / see.counting_N(places[name].reads).sum().clamp_min(1)
            for name, total in totals.items()
        }

    def _seen(self, name: str, teachers: Container[str]) -> list[Place]:
        return [place for place in self.places[name] if place.teacher in teachers]


def descend(losses: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """One step of an optimiser on the sum of the losses, with the mean gradient of all processes.

    A loss that is not finite moves nothing but by momentum; the run ends of it at the next line.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    total = sum(losses.values())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            gradient = torch.where(torch.isfinite(total), gradient, 0.0).nan_to_num(0.0, 0.0, 0.0)
        if gradient is not None and torch.distributed.is_initialized():
            torch.distributed.all_reduce(gradient)
            gradient /= torch.distributed.get_world_size()
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad()


def _projected_width(name: str, loss: Layered, student: int, teacher: int) -> int | None:
    """Where the projectors of a loss lead to; None if it has none."""
    if isinstance(loss, Ted):
        return loss.width or teacher
    if not isinstance(loss, Projected):
        return None
    if loss.projector == "linear":
        return teacher
    if student != teacher:
        raise UserError(
            f"losses.{name}: projector: none needs equal widths, the student has {student}, the teacher {teacher}"
        )
    return None

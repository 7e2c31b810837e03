"""The gradient audit: before a run starts, every term of its objective must be seen to work.

The best-known public distillation code of this niche computes its hidden loss under `no_grad`, so the term it is
named for never moved a weight. One small batch finds that out in a second.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from babylm_data.errors import UserError
from train_teachers.objective import Objective
from train_teachers.targets import Batch


@dataclass(frozen=True)
class Finding:
    """One term on the audit batch."""

    value: float
    """Unweighted, per target token."""
    weight: float
    """From the config."""
    gradient_share: float
    """Norm of the weighted term's gradient on the student, as a fraction of the sum over terms."""


def audit(
    student: nn.Module,
    objective: Objective,
    batch: Batch,
    *,
    autocast: Callable[[], AbstractContextManager] = contextlib.nullcontext,
) -> dict[str, Finding]:
    """Send one batch backward through each term alone; UserError that names the first term that is dead.

    Every term must have a finite value and a non-zero, finite gradient on the student, and a term on layers must depend
    on no trainable parameter but those of student and objective, which are all that is optimised (one on outputs is
    given logits, and their gradient reaches what these are made of). Every parameter the objective owns
    (projectors, heads) must receive a gradient from some term, and what trains by itself from its own loss.
    """
    mine = [p for p in student.parameters() if p.requires_grad]
    owned = [(name, p) for name, p in objective.named_parameters() if p.requires_grad]
    known, reached = {id(p) for p in [*mine, *(p for _, p in owned)]}, set()
    norms, values, weights = {}, {}, {}
    for name, value, weight, total in _all_terms(student, objective, batch, autocast):
        count = max(1, objective.counts(batch)[name])
        values[name], weights[name] = value / count, weight
        if weight == 0:  # the hard loss, which is computed in any case, to be logged
            norms[name] = 0.0
            continue
        if not total.requires_grad:
            raise UserError(f"loss '{name}' carries no gradient at all: it is computed from detached values")
        if any(id(leaf) not in known for leaf in _leaves(total)):
            raise UserError(
                f"loss '{name}' depends on a parameter outside student and objective: no optimiser would train it"
            )
        # of the sum, not of the weighted mean: in fp16 the latter would fall below the smallest number
        gradients = torch.autograd.grad(total, mine + [p for _, p in owned], allow_unused=True)
        on_student, on_owned = gradients[: len(mine)], gradients[len(mine) :]
        norms[name] = _norm(on_student) * weight / count
        if not 0 < norms[name] < float("inf"):
            why = (
                ": the student is at its goal already, begin with other weights" if values[name] == 0 else ""
            )
            raise UserError(
                f"loss '{name}' sends no usable gradient to the student (norm {norms[name]}){why}"
            )
        reached |= {owner for (owner, _), g in zip(owned, on_owned, strict=True) if g is not None and g.any()}
    if dead := sorted({name for name, _ in owned} - reached):
        raise UserError(f"no loss sends a gradient to '{dead[0]}' of the objective: it would never learn")
    _audit_own(student, objective, batch, autocast)
    share = {name: norm / sum(norms.values()) for name, norm in norms.items()}
    return {name: Finding(values[name], weights[name], share[name]) for name in values}


def _all_terms(
    student: nn.Module, objective: Objective, batch: Batch, autocast: Callable[[], AbstractContextManager]
) -> Iterator[tuple[str, float, float, Tensor]]:
    """(name, sum, weight, itself alone with its gradient) of each term, at the first moment at which it counts."""
    seen: set[str] = set()
    for moment in objective.moments:
        objective.begin_step(moment)
        weights = objective.weights
        new = [name for name, weight in weights.items() if weight and name not in seen]
        if moment == objective.moments[0]:
            new += [name for name in objective.targets.parts if name not in new]
        for name in new:
            objective.weigh({other: float(other == name) for other in weights})
            with autocast():
                terms = objective(student, batch)
            seen.add(name)
            yield name, terms.sums[name].item(), weights[name], terms.total
        objective.weigh(weights)
    if never := sorted(set(objective.weights) - seen):
        raise UserError(f"loss '{never[0]}' has weight 0 from the beginning of the run to its end: remove it")
    objective.begin_step(objective.moments[0])


def _leaves(total: Tensor) -> Iterator[Tensor]:
    """Every trainable tensor that `total` was computed from."""
    waiting, met = [total.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in met:
            met.add(node)
            if hasattr(node, "variable"):
                yield node.variable
            waiting += [child for child, _ in node.next_functions]


def _audit_own(
    student: nn.Module, objective: Objective, batch: Batch, autocast: Callable[[], AbstractContextManager]
) -> None:
    """Refuse a part that is to train by itself, and one of whose parameters its own losses do not reach."""
    names = {id(p): name for name, p in objective.named_parameters()}
    for moment in objective.moments:
        objective.begin_step(moment)
        with autocast(), objective.learning(student, batch) as kinds:
            for kind, losses in kinds.items():
                parameters = [p for g in objective.own_optimizers[kind].param_groups for p in g["params"]]
                gradients = torch.autograd.grad(sum(losses().values()), parameters, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    if gradient is None or not gradient.any():
                        raise UserError(
                            f"'{names[id(parameter)]}' gets no gradient from the loss of the {kind}"
                        )
    objective.begin_step(objective.moments[0])


def _norm(gradients: tuple[Tensor | None, ...]) -> float:
    return sum(float((g.float() ** 2).sum()) for g in gradients if g is not None) ** 0.5


def audit_table(findings: dict[str, Finding]) -> str:
    """The findings as text: term, value, weight, share of the gradient norm."""
    rows = [f"{'term':<18} {'value':>9} {'weight':>8} {'gradient share':>15}"]
    rows += [
        f"{n:<18} {f.value:>9.4f} {f.weight:>8.3g} {f.gradient_share:>14.1%}" for n, f in findings.items()
    ]
    return "\n".join(rows)

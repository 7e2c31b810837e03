"""The gradient audit: before a run starts, every term of its objective must be seen to work.

The best-known public distillation code of this niche computes its hidden loss under `no_grad`, so the term it is
named for never moved a weight. One small batch finds that out in a second.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from babylm_data.errors import UserError
from train_teachers.objective import Batch, Objective


@dataclass(frozen=True)
class Finding:
    """One term on the audit batch."""

    value: float
    """Unweighted, per target token."""
    weight: float
    """From the config."""
    gradient_share: float
    """Norm of the weighted term's gradient on the student, as a fraction of the sum over terms."""


def audit(student: nn.Module, objective: Objective, batch: Batch) -> dict[str, Finding]:
    """Send one batch backward through each term alone; UserError that names the first term that is dead.

    Every term must have a finite value and a non-zero, finite gradient on the student, and every parameter the
    objective owns (projectors, critics) must receive a gradient from some term.
    """
    mine = [p for p in student.parameters() if p.requires_grad]
    owned = [(name, p) for name, p in objective.named_parameters() if p.requires_grad]
    reached: set[str] = set()
    norms, values = {}, {}
    terms = objective(student, batch)
    for name, total in terms.items():
        weight = objective.weights[name]
        values[name] = total.item() / batch.num_targets
        if weight == 0:  # the hard loss is computed in any case, to be logged
            norms[name] = 0.0
            continue
        if not total.requires_grad:
            raise UserError(f"loss '{name}' carries no gradient at all: it is computed from detached values")
        # of the sum, not of the weighted mean: in fp16 the latter would fall below the smallest number
        gradients = torch.autograd.grad(
            total, mine + [p for _, p in owned], retain_graph=True, allow_unused=True
        )
        on_student, on_owned = gradients[: len(mine)], gradients[len(mine) :]
        norms[name] = _norm(on_student) * weight / batch.num_targets
        if not 0 < norms[name] < float("inf"):
            raise UserError(f"loss '{name}' sends no usable gradient to the student (norm {norms[name]})")
        reached |= {owner for (owner, _), g in zip(owned, on_owned, strict=True) if g is not None and g.any()}
    if dead := sorted({name for name, _ in owned} - reached):
        raise UserError(f"no loss sends a gradient to '{dead[0]}' of the objective: it would never learn")
    share = {name: norm / sum(norms.values()) for name, norm in norms.items()}
    return {name: Finding(values[name], objective.weights[name], share[name]) for name in terms}


def _norm(gradients: tuple[Tensor | None, ...]) -> float:
    return sum(float((g.float() ** 2).sum()) for g in gradients if g is not None) ** 0.5


def table(findings: dict[str, Finding]) -> str:
    """The findings as text: term, value, weight, share of the gradient norm."""
    rows = [f"{'term':<18} {'value':>9} {'weight':>8} {'gradient share':>15}"]
    rows += [
        f"{n:<18} {f.value:>9.4f} {f.weight:>8.3g} {f.gradient_share:>14.1%}" for n, f in findings.items()
    ]
    return "\n".join(rows)

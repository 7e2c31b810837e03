"""The whole training signal of a distillation on one screen.

    total = w_hard * hard + sum over teachers k of ( w_soft[k] * soft[k] + w_hidden[k] * hidden[k] )

    hard       cross-entropy with the next token                                    nats per token
    soft[k]    T^2 * KL(softmax(teacher k / T) || softmax(student / T))              nats per token
    hidden[k]  mean over pairs of layers and over width of (P h_student - h_teacher)^2

Each is a token mean: terms are summed over target positions here and divided once, in the loop.
Shape suffixes: B sequences, T positions, N = B * T, V vocabulary, D width.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.config import DistillConfig
from distill.losses import hidden_mse_N, soft_N
from distill.projector import Projector
from distill.teachers import Teachers
from train_teachers.language_model import num_parameters
from train_teachers.objective import IGNORE, Batch, hard_N


class DistillObjective(nn.Module):
    """Owns the projectors, so they are optimised and checkpointed by construction, and never exported."""

    def __init__(self, config: DistillConfig, teachers: Teachers, student: PreTrainedModel) -> None:
        super().__init__()
        self.losses, self.teachers, self.sources = config.losses, teachers, teachers.sources
        soft, hidden = self.losses.soft, self.losses.hidden
        self.weights = {"hard": self.losses.hard.weight}
        self.weights |= {f"soft.{name}": weight for name, weight in (soft.weight if soft else {}).items()}
        self.weights |= {
            f"hidden.{name}": weight for name, weight in (hidden.weight if hidden else {}).items()
        }
        width = student.config.hidden_size
        self.projectors = nn.ModuleDict(
            {
                f"to-{name}": nn.ModuleList(
                    Projector(width, teachers.models[name].config.hidden_size) for _ in pairs
                )
                for name, pairs in (hidden.layer_map if hidden else {}).items()
            }
        )
        self.flops_per_token = sum(2.0 * num_parameters(model)[0] for model in teachers.models.values())

    def forward(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """One unweighted sum over the target positions per term."""
        soft, hidden = self.losses.soft, self.losses.hidden
        signals = self.teachers(batch.inputs_BT)
        out = student(input_ids=batch.inputs_BT, use_cache=False, output_hidden_states=hidden is not None)
        logits_NV, targets_N = out.logits.flatten(0, 1), batch.targets_BT.flatten()
        is_target_N = targets_N != IGNORE

        terms = {"hard": hard_N(logits_NV, targets_N).sum()}
        for name in soft.weight if soft else ():
            teacher_NV = signals[name].logits_BTV.flatten(0, 1)
            terms[f"soft.{name}"] = (
                soft_N(logits_NV, teacher_NV, temperature=soft.temperature) * is_target_N
            ).sum()
        for name, pairs in (hidden.layer_map if hidden else {}).items():
            per_pair = []
            for pair, projector in zip(pairs, self.projectors[f"to-{name}"], strict=True):
                projected_ND = projector(out.hidden_states[pair.student]).flatten(0, 1)
                teacher_ND = signals[name].hidden_BTD[pair.teacher].flatten(0, 1)
                per_pair.append((hidden_mse_N(projected_ND, teacher_ND) * is_target_N).sum())
            terms[f"hidden.{name}"] = torch.stack(per_pair).mean()
        return terms

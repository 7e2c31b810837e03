"""Parameter groups, optimisers, and the schedule as one function of progress."""

import math

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from train_teachers.config import Optim, value
from train_teachers.language_model import blocks_of, family_of
from train_teachers.muon import Muon

DECAYS = "decays"  # of a group of parameters: whether weight decay is for them


def schedule(optim: Optim, progress: float) -> float:
    """Learning rate at `progress` (the share of all steps, this one included), as a fraction of the peak."""
    if progress < optim.warmup:
        return progress / optim.warmup
    if optim.schedule == "constant":
        return 1.0
    if optim.schedule == "wsd":
        fallen = max(0.0, (progress - (1 - optim.decay)) / optim.decay)
        return 1 - (1 - optim.final_lr) * fallen
    fallen = (progress - optim.warmup) / max(1e-12, 1 - optim.warmup)
    return optim.final_lr + (1 - optim.final_lr) * 0.5 * (1 + math.cos(math.pi * fallen))


def build_optimizers(
    module: nn.Module, optim: Optim, *, products: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """Optimisers that together hold every trainable parameter of `module` exactly once.

    Matrices decay, vectors (norms, biases) do not, from the first `set_rates` on. With `muon`, the matrices inside the
    model's blocks go to Muon, which multiplies in the number format `products`; embeddings, output head, vectors and
    the objective's own parameters stay with AdamW.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    chosen = _block_matrices(module.student) if optim.optimizer == "muon" else set()
    hidden = [p for _, p in named if id(p) in chosen]
    undecayed = family.undecayed if (family := family_of(module.student)) else None
    still = {id(p) for name, p in named if p.ndim < 2 or name.rpartition(".")[2] == undecayed}
    matrices = [p for _, p in named if id(p) not in chosen | still]
    vectors = [p for _, p in named if id(p) in still]
    groups = [
        {"params": matrices, DECAYS: True},
        {"params": vectors, DECAYS: False},
    ]
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=0.0,
        fused=True,
    )
    if optim.optimizer == "adamw":
        return [adamw]
    return [
        adamw,
        Muon(_muon_groups(module, hidden, optim), lr=optim.lr, weight_decay=0.0, dtype=products),
    ]


def _muon_groups(module: nn.Module, hidden: list[nn.Parameter], optim: Optim) -> list[dict]:
    """One group; with `per_neuron` two, for a layer of GPT-2 (Conv1D) has its neurons in columns."""
    if not optim.per_neuron:
        return [{"params": hidden, DECAYS: True}]
    turned = {id(layer.weight) for layer in module.modules() if isinstance(layer, Conv1D)}
    groups = [
        {
            "params": [p for p in hidden if (id(p) in turned) == bool(neurons)],
            "neurons": neurons,
            DECAYS: True,
        }
        for neurons in (0, 1)
    ]
    return [group for group in groups if group["params"]]


def _block_matrices(student: PreTrainedModel) -> set[int]:
    """The ids of the matrices that states are multiplied with inside the blocks of a model."""
    layers = (layer for block in blocks_of(student) for layer in block.modules())
    return {id(layer.weight) for layer in layers if isinstance(layer, (nn.Linear, Conv1D))}


def set_rates(optimizers: list[torch.optim.Optimizer], optim: Optim, progress: float) -> float:
    """Set learning rate, which is returned, and decay of this step everywhere: nothing to save, nothing to restore."""
    lr, decay = optim.lr * schedule(optim, progress), value(optim.weight_decay, progress)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"], group["weight_decay"] = lr, decay * group[DECAYS]
    return lr

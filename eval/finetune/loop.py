"""Fine-tuning: one short loop for every task, with the official program's optimiser, schedule and choice of epoch.

It is a loop of our own, not the library's Trainer: what has to be reproduced (full batches only, the first best
epoch by the task's metric, the learning rate that ends at a tenth) is forty lines here, and would be three
overridden methods and a callback there. What the library has is taken from it: the schedule and AdamW.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedModel, get_cosine_with_min_lr_schedule_with_warmup

from babylm_data.errors import UserError
from eval.finetune.encoding import Encoded, epoch_batches

WARMUP, FLOOR, WEIGHT_DECAY = 0.06, 0.1, 0.01


@dataclass(frozen=True)
class Settings:
    """All that decides a result beside the model, the data and the seed."""

    lr: float
    """Highest learning rate; warmed up over 6 % of the steps, then down a cosine to a tenth."""
    epochs: int
    batch_size: int
    """Sequences per optimiser step."""
    max_length: int
    """Tokens of a sequence: what was asked, or all the positions that the model has."""
    precision: str
    """fp32, or bf16 for automatic mixed precision over float32 weights."""
    head: str
    pool: str | None = None
    stride: int | None = None
    """Tokens that two windows over one passage share (spans only)."""
    limit: int | None = None
    """Only the first so many training and validation examples."""
    train_limit: int | None = None
    """Only so many training examples, drawn by the seed."""

    @property
    def grouped(self) -> bool:
        """Whether batches are of like length: faster, but not the official program's plain shuffling."""
        return self.head != "official"


@dataclass(frozen=True)
class Validation:
    """What one pass over the validation set found."""

    loss: float
    """Mean over its sequences, in nats, without dropout."""
    metrics: dict[str, float]
    predictions: dict
    """What predictions.json holds."""


class Problem(Protocol):
    """A task, tokenised for one model."""

    train: Encoded
    notes: list[str]
    keep: str
    """Which epoch counts: "best" by `metric` on the validation set, the first of equals, or "last"."""
    metric: str
    majority: dict[str, float] | None
    """What the most frequent training label alone scores, where there are labels."""

    def network(self, backbone: PreTrainedModel, settings: Settings) -> nn.Module:
        """The backbone with a new head; has a method `loss(inputs, targets)`."""

    def validate(self, network: nn.Module, settings: Settings) -> Validation:
        """Loss, metrics and predictions on the validation set; draws nothing from any generator."""


def autocast(settings: Settings, device: torch.device) -> torch.autocast:
    """The precision asked for, as a context."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")


@torch.inference_mode()
def outputs(
    network: nn.Module, encoded: Encoded, settings: Settings
) -> Iterator[tuple[list[int], Any, Tensor]]:
    """Rows of each batch, what the network gives for them without dropout, and their targets.

    FloatingPointError if what it gives is not finite: of such logits argmax still names a label and max a span, and a
    broken model would get a score.
    """
    network.eval()
    device = next(network.parameters()).device
    for rows in tqdm(encoded.sorted_batches(), desc="validation", disable=None, leave=False):
        inputs, targets = encoded.batch(rows, device)
        with autocast(settings, device):
            found = network(inputs)
        real = inputs[
            "attention_mask"
        ].bool()  # a tuple holds logits (B, T), of which those of padding are infinite
        parts = [part[real] for part in found] if isinstance(found, tuple) else [found]
        if not all(part.isfinite().all() for part in parts):
            raise FloatingPointError
        yield rows, found, targets


def optimiser(
    network: nn.Module, settings: Settings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over all parameters, decay on each of them as in the official program, and the schedule."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=WEIGHT_DECAY)
    schedule = get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, int(WARMUP * steps), steps, min_lr_rate=FLOOR
    )
    return optimizer, schedule


def tune(network: nn.Module, problem: Problem, settings: Settings, *, seed: int, label: str) -> dict:
    """Train `network` in place; {"metrics", "predictions", "kept_epoch", "epochs": one entry each, "steps", seconds}.

    Draws from torch's generator, which the caller seeds; the order of the rows comes from `seed` alone.
    """
    rng, encoded = random.Random(seed), problem.train
    lengths = [len(ids) for ids in encoded.ids]
    steps = max(1, len(encoded) // settings.batch_size) * settings.epochs
    optimizer, schedule = optimiser(network, settings, steps)
    history, kept, trained, validated = [], {}, 0.0, 0.0
    with tqdm(total=steps, desc=label, unit=" steps", disable=None, leave=False) as progress:
        for epoch in range(1, settings.epochs + 1):
            batches = epoch_batches(lengths, settings.batch_size, rng, grouped=settings.grouped)
            begun = time.perf_counter()
            loss = _train_epoch(network, encoded, batches, optimizer, schedule, settings, progress)
            between = time.perf_counter()
            if not math.isfinite(loss):
                raise _not_finite(f"{label}: the loss is", epoch)
            try:
                found = problem.validate(network, settings)
            except FloatingPointError:
                raise _not_finite(f"{label}: the validation logits are", epoch) from None
            trained, validated = trained + between - begun, validated + time.perf_counter() - between
            score = found.metrics[problem.metric]
            progress.set_postfix({problem.metric: f"{score:.3f}"})
            if not kept or problem.keep == "last" or score > kept["metrics"][problem.metric]:
                kept = {"kept_epoch": epoch, "metrics": found.metrics, "predictions": found.predictions}
            history.append({"epoch": epoch, "loss": loss, "validation_loss": found.loss} | found.metrics)
    seconds = {"training_seconds": round(trained, 3), "validation_seconds": round(validated, 3)}
    return kept | {"epochs": history, "steps": steps} | seconds


def _not_finite(what: str, epoch: int) -> UserError:
    return UserError(
        f"{what} not finite in epoch {epoch}: lower --lr; if that does not help, the model is broken"
    )


def _train_epoch(
    network: nn.Module,
    encoded: Encoded,
    batches: list[list[int]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: Settings,
    progress: tqdm,
) -> float:
    """One pass over the batches; mean loss in nats."""
    network.train()
    device = next(network.parameters()).device
    total: Tensor | float = 0.0
    for rows in batches:
        inputs, targets = encoded.batch(rows, device)
        with autocast(settings, device):
            loss = network.loss(inputs, targets)
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total = total + loss.detach()  # no .item(): it would wait for the GPU at every step
        progress.update()
    return float(total) / len(batches)

"""The field's plain loop, as BabyLlama's descendants have it: a Trainer whose loss runs the teachers.

Each step is one forward and one backward pass over the whole batch. The target is the softmax of the mean of the
teachers' logits, the soft loss KLDivLoss over the full vocabulary, AdamW the Trainer's. Kinder than the field in two
things: teachers compute no loss of their own, and in a half format they run in it as the student does. Batches, first
weights and targets are those of the kit, and so are the losses of the first step.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from babylm_data.tokenizer_files import load_tokenizer
from bench.gauges import Clock, device_type, step_flops
from bench.spec import Result, Spec
from train_teachers.language_model import build
from train_teachers.pretrained import load_pretrained
from train_teachers.stage import batches_of

TEMPERATURE, HARD, SOFT = 2.0, 0.5, 0.5


def plain_losses(
    student: nn.Module,
    teachers: list[PreTrainedModel],
    inputs: dict[str, Tensor],
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, Tensor]:
    """`hard`, and with teachers `soft`.

    hard is a mean over tokens; soft, by `batchmean` over (batch, position, token), is divided by the batch alone: it is
    a mean over tokens times the length of a sequence.
    """
    seen = student(**inputs)
    losses = {"hard": seen.loss}
    if teachers:
        with torch.no_grad(), autocast():
            every = [teacher(input_ids=inputs["input_ids"]).logits for teacher in teachers]
            target = F.softmax(torch.stack(every).mean(dim=0) / TEMPERATURE, dim=-1)
        distance = nn.KLDivLoss(reduction="batchmean")
        losses["soft"] = distance(F.log_softmax(seen.logits / TEMPERATURE, dim=-1), target) * TEMPERATURE**2
    return losses


class PlainTrainer(Trainer):
    """The Trainer with the distillation loss; keeps the losses of its first step."""

    def __init__(self, *args, teachers: list[PreTrainedModel], **options) -> None:
        super().__init__(*args, **options)
        self.teachers = [teacher.to(self.args.device).eval() for teacher in teachers]
        self.first: dict[str, Tensor] = {}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None) -> Tensor:
        """The weighted sum; `num_items_in_batch` counts for accumulation, of which there is none."""
        losses = plain_losses(model, self.teachers, inputs, self.accelerator.autocast)
        self.first = self.first or {name: loss.detach() for name, loss in losses.items()}
        return HARD * losses["hard"] + SOFT * losses["soft"] if "soft" in losses else losses["hard"]


class Ticks(TrainerCallback):
    """Tells the clock of each step's end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args, state, control, **_) -> None:
        """Called by the Trainer."""
        self.clock.tick()


def sequences(spec: Spec) -> np.ndarray:
    """The sequences of all steps in their order, (S, T + 1), from the kit's own batches."""
    batches, steps = batches_of(spec.config), spec.warmup + spec.steps
    return np.concatenate([batches.batch(step).tokens for step in range(steps)])


def inputs_of(rows: list[np.ndarray]) -> dict[str, Tensor]:
    """A batch as a causal model of transformers takes it.

    The targets are given as such: `labels` alone, which a model shifts for itself, would leave the last position
    without one, and the hard loss would be another than the kit's.
    """
    tokens_BT1 = torch.from_numpy(np.stack(rows))
    inputs_BT, targets_BT = tokens_BT1[:, :-1], tokens_BT1[:, 1:].contiguous()
    return {"input_ids": inputs_BT, "labels": inputs_BT, "shift_labels": targets_BT}


def run(spec: Spec) -> Result:
    """One turn; everything that is not named is the Trainer's default."""
    config = spec.config
    student = build(config.model, load_tokenizer(f"{config.data.path}/tokenizer"), seed=config.seed)
    paths = [teacher.path for teacher in config.teachers.values()] if spec.distils else []
    teachers = [load_pretrained(Path(path)) for path in paths]
    arguments = TrainingArguments(
        output_dir="trainer",
        per_device_train_batch_size=config.batch_size,
        max_steps=spec.warmup + spec.steps,
        learning_rate=2.5e-4,
        weight_decay=0.1,
        lr_scheduler_type="cosine",
        train_sampling_strategy="sequential",
        remove_unused_columns=False,  # rows of an array have none
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=device_type() == "cpu",
        bf16=spec.plain_precision == "bf16",
        fp16=spec.plain_precision == "fp16",
    )
    trainer = PlainTrainer(
        student, arguments, teachers=teachers, data_collator=inputs_of, train_dataset=list(sequences(spec))
    )
    clock = Clock()
    trainer.add_callback(Ticks(clock))
    trainer.train()
    first = {name: float(loss) for name, loss in trainer.first.items()}
    if "soft" in first:
        first["soft"] /= config.data.seq_len  # to a mean over tokens, as the kit has it
    return clock.result(
        spec,
        precision=spec.plain_precision,
        flops=step_flops(student, teachers, config.batch_size, config.data.seq_len),
        losses=first,
        compiled=False,
        optimizer="adamw",
    )

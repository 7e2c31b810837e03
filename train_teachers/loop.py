"""THE loop: teachers, students and controls are trained here and differ only in the objective."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.tokens import Batches
from train_teachers.checkpoint import load_state, save_state
from train_teachers.config import TrainConfig
from train_teachers.objective import Batch, Objective, held_out_hard
from train_teachers.optim import build_optimizers, set_lr
from train_teachers.run import Run
from train_teachers.tracking import progress_bar, tracking

STOPPED = 85  # exit status of a run that was asked to stop, has saved, and goes on with the same command


class Trained(nn.Module):
    """Student and objective as one module: what is optimised, checkpointed and wrapped for several GPUs."""

    def __init__(self, student: PreTrainedModel, objective: Objective) -> None:
        super().__init__()
        self.student, self.objective = student, objective

    def forward(self, tokens_BT1: Tensor) -> dict[str, Tensor]:
        """One unweighted sum over target positions per term."""
        return self.objective(self.student, Batch.from_sequences(tokens_BT1))


@dataclass
class Progress:
    """Where a run stands: what a checkpoint records beside the tensors."""

    step: int = 0
    words_seen: int = 0
    tokens_seen: int = 0
    seconds: float = 0.0
    """Spent in training steps, over all starts of the run."""
    sums: dict[str, float] = field(default_factory=dict)
    """Each term summed over the target tokens since the last line of metrics.jsonl."""
    tokens_in_sums: int = 0
    seconds_in_sums: float = 0.0


def train(
    student: PreTrainedModel,
    objective: Objective,
    batches: Batches,
    held_out: np.ndarray,
    config: TrainConfig,
    run: Run,
    accelerator: Accelerator,
    *,
    compiled: bool,
) -> Progress:
    """Train until the budget of words is reached, from the run's newest checkpoint if there is one.

    Each turn: validate, stop or save if due, step, log; the last turn only validates and saves. The same config
    on the same machine gives the same weights, interrupted or not.
    """
    trained = Trained(student, objective)
    optimizers = build_optimizers(trained, config.optim)
    check_all_optimised(trained, optimizers)
    module = accelerator.prepare(trained)
    forward = torch.compile(module) if compiled else module
    total = batches.steps_for(config.data.words)
    micro = config.micro_batch_size or config.batch_size // accelerator.num_processes
    validate_at = set(np.linspace(0, total, config.validations + 1).round().astype(int).tolist())
    sequences = torch.from_numpy(held_out).to(accelerator.device)
    progress = Progress(**(load_state(run.folder / "state", trained, optimizers, accelerator.scaler) or {}))
    if accelerator.is_main_process:
        run.forget_after(progress.step)

    def take_step() -> tuple[dict[str, Tensor], int, float, float]:
        """One optimiser step; (sums of the terms, target tokens, learning rate, gradient norm)."""
        torch.manual_seed(_seed(config.seed, progress.step, accelerator.process_index))  # dropout
        lr = set_lr(optimizers, config.optim, (progress.step + 1) / total)
        tokens_BT1 = torch.from_numpy(batches.batch(progress.step))
        num_targets = Batch.from_sequences(tokens_BT1).num_targets
        parts = tokens_BT1.chunk(accelerator.num_processes)[accelerator.process_index].split(micro)
        sums: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(module):
                terms = forward(part.to(accelerator.device))
                weighted = sum(objective.weights[name] * value for name, value in terms.items())
                # divided once, by the targets of the whole step; DDP takes the mean over processes, hence the factor
                accelerator.backward(weighted * (accelerator.num_processes / num_targets))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.detach()
        scaler = accelerator.scaler  # fp16 only
        for optimizer in optimizers if scaler else ():
            scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(trained.parameters(), config.optim.clip or float("inf"))
        sums = {name: accelerator.reduce(value, "sum") for name, value in sums.items()}
        _refuse_non_finite(progress.step, sums, norm, scaler)
        # in fp16 a gradient may overflow: then no optimiser steps, and the scale falls
        for optimizer in optimizers if torch.isfinite(norm) else ():
            scaler.step(optimizer) if scaler else optimizer.step()
        if scaler:
            scaler.update()
        for optimizer in optimizers:
            optimizer.zero_grad()
        return sums, num_targets, lr, float(norm)

    def save() -> None:
        if accelerator.is_main_process:
            save_state(run.folder / "state", trained, optimizers, accelerator.scaler, asdict(progress))

    saved_at = time.monotonic()
    with (
        _stop_signals() as stop,
        progress_bar(config, progress.words_seen, shown=accelerator.is_main_process) as bar,
        tracking(config, run, on=accelerator.is_main_process) as log,
    ):
        while True:
            if progress.step in validate_at:
                with accelerator.autocast():
                    loss = held_out_hard(student, sequences, micro_batch_size=micro)
                log({"step": progress.step, "words_seen": progress.words_seen, "val/hard": loss})
                bar.set_description(f"{run.name}: held-out {loss:.3f}", refresh=False)
            if progress.step == total:
                save()
                return progress
            stopping = _on_any_process(bool(stop), accelerator)
            if stopping or time.monotonic() - saved_at > config.checkpoint_seconds:
                save()
                saved_at = time.monotonic()
            if stopping:
                bar.close()
                print(
                    f"stopped at step {progress.step} of {total}: the same command goes on", file=sys.stderr
                )
                sys.exit(STOPPED)

            started = time.perf_counter()
            words = batches.words(progress.step)
            sums, tokens, lr, norm = take_step()
            progress.step += 1
            progress.words_seen += words
            progress.tokens_seen += tokens
            progress.tokens_in_sums += tokens
            for name, value in sums.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value.item()
            progress.seconds_in_sums += time.perf_counter() - started
            bar.update(words)
            if progress.step % config.log_every == 0 or progress.step == total:
                means = {
                    f"loss/{name}": value / progress.tokens_in_sums for name, value in progress.sums.items()
                }
                counts = {name: getattr(progress, name) for name in ("step", "words_seen", "tokens_seen")}
                progress.seconds += progress.seconds_in_sums
                speed = round(progress.tokens_in_sums / progress.seconds_in_sums)
                clock = {"seconds": round(progress.seconds, 3), "tokens_per_second": speed}
                log(
                    {**counts, **clock, "lr": lr, "grad_norm": norm if math.isfinite(norm) else None, **means}
                )
                bar.set_postfix(loss=f"{means['loss/hard']:.3f}", tok_s=f"{speed:,}", refresh=False)
                progress.sums, progress.tokens_in_sums, progress.seconds_in_sums = {}, 0, 0.0


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


def _refuse_non_finite(
    step: int, sums: dict[str, Tensor], norm: Tensor, scaler: torch.amp.GradScaler | None
) -> None:
    """Stop before the optimiser sees it. In fp16 an infinite gradient is usual, until the scale is used up."""
    bad = [name for name, value in sums.items() if not torch.isfinite(value)]
    hopeless = not torch.isfinite(norm) and (scaler is None or scaler.get_scale() < 1)
    if bad or hopeless:
        what = f"loss {', '.join(bad)}" if bad else "the gradient"
        raise UserError(
            f"{what} is not finite at step {step}: no step was taken and the last checkpoint is intact; "
            "try again with name=… and a lower optim.lr or precision=fp32"
        )


def _on_any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether `flag` is set on any process, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum"))


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that receives the first SIGINT, SIGTERM or SIGUSR1; after it each acts at once, as usual."""
    received: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def note(number: int, _frame: object) -> None:
        received.append(number)
        for other, handler in before.items():
            signal.signal(other, handler)

    before = {number: signal.signal(number, note) for number in names}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

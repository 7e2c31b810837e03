"""THE loop: teachers, students and controls are trained here and differ only in the objective."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel

from babylm_data.speed import synchronise
from babylm_data.stopping import Stopped, asked, listening, saving_first
from babylm_data.tokens import Batches, Blocks
from train_teachers.checkpoint import load_state, newest, save_state
from train_teachers.config import TrainConfig
from train_teachers.device import Manner
from train_teachers.objective import HardObjective, Objective, held_out_terms
from train_teachers.revisions import RevisionWriter
from train_teachers.run import Run
from train_teachers.sharding import within
from train_teachers.step import Stepper, StepResult, Trained
from train_teachers.tracking import progress_bar, tracking

FEW = 32  # held-out sequences for the other terms, which cost a forward pass of each teacher


@dataclass
class Progress:
    """Where a run stands: what a checkpoint records beside the tensors."""

    step: int = 0
    words_seen: int = 0
    tokens_seen: int = 0
    seconds: float = 0.0
    """Spent in training steps, over all starts of the run."""
    sums: dict[str, float | torch.Tensor] = field(default_factory=dict)
    """Each term summed over the target tokens since the last line of metrics.jsonl; waits on the device till then."""
    tokens_in_sums: dict[str, int] = field(default_factory=dict)
    """How many those were: fewer for a term that was not on all the time."""
    tokens: int = 0
    """Read since then."""
    seconds_in_sums: float = 0.0

    def add(self, result: StepResult, words: int) -> None:
        """Count one more step."""
        self.step += 1
        self.words_seen += words
        self.tokens_seen += result.num_tokens
        self.tokens += result.num_tokens
        for name, value in result.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.double()
            self.tokens_in_sums[name] = self.tokens_in_sums.get(name, 0) + result.count(name)

    def line(self, result: StepResult, objective: Objective) -> dict:
        """The next line of metrics.jsonl: means over the target tokens since the line before it.

        What an objective gives beside the terms that have a weight is logged apart from the losses.
        """
        means = {name: float(value) / max(1, self.tokens_in_sums[name]) for name, value in self.sums.items()}
        hard = hard_of(means, objective)
        norm = float(result.grad_norm)
        self.seconds += self.seconds_in_sums
        line = {
            "step": self.step,
            "words_seen": self.words_seen,
            "tokens_seen": self.tokens_seen,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens / self.seconds_in_sums),
            "lr": result.lr,
            "grad_norm": norm if math.isfinite(norm) else None,
            "loss/hard": hard,
            **{
                f"{'loss' if name in objective.weights else 'layer'}/{name}": mean
                for name, mean in means.items()
            },
        }
        self.sums, self.tokens_in_sums, self.tokens, self.seconds_in_sums = {}, {}, 0, 0.0
        return line

    def record(self) -> dict:
        """What a checkpoint holds of it."""
        return asdict(self) | {"sums": {name: float(value) for name, value in self.sums.items()}}


def train(
    student: PreTrainedModel,
    objective: Objective,
    batches: Batches,
    held_out: Blocks,
    config: TrainConfig,
    run: Run,
    accelerator: Accelerator,
    *,
    manner: Manner,
    revisions: RevisionWriter,
) -> Progress:
    """Train until the budget of words is reached, from the run's newest checkpoint if there is one.

    Each turn: validate, stop or save if due, step, log; the last turn only validates and saves. The same config
    on the same machine gives the same weights, interrupted or not. The student ends with those that are exported.
    Until the first step is done there is nothing to save, and a signal stops the process wherever it is, as in the
    minute in which code is compiled.
    """
    trained, total = Trained(student, objective), batches.steps_for(config.data.words)
    take_step = Stepper(trained, config, accelerator, steps=total, manner=manner)
    agreed, watch = Agreed(accelerator), Stopwatch(accelerator.device)
    state = (run.folder / "state", trained, take_step.optimizers, accelerator.scaler)
    # the first process chooses: the others might see another disk
    chosen = broadcast_object_list([newest(state[0]) if accelerator.is_main_process else None])[0]
    progress = Progress(**(load_state(chosen, *state[1:]) if chosen else {}))
    validate_at = set(np.linspace(0, total, config.validations + 1).round().astype(int).tolist())
    begun_at, first = progress.step, accelerator.is_main_process
    if first:
        run.forget_after(progress.step)
        run.tell(progress.step, total)

    saved_at = time.monotonic()
    with (
        listening(),
        progress_bar(config.data.words, progress.words_seen, "words", shown=first) as bar,
        tracking(config, run, on=first) as log,
        revisions,
        contextlib.ExitStack() as unsaved,
    ):
        watch.lap()  # what came before is no training
        while True:
            if progress.step in validate_at:
                with watch.halted(progress), contextlib.suppress(GivenUp):
                    loss = validate(progress, held_out, take_step, log, agreed.look)
                    bar.set_description(f"{run.name}: held-out {loss:.3f}", refresh=False)
            done = progress.step == total
            stopping, due = agreed(time.monotonic() - saved_at > config.checkpoint_seconds)
            if done or stopping or due:
                take_step.refuse_non_finite()
                with watch.halted(progress):
                    revisions.wait()  # a checkpoint is never ahead of a revision that is due
                    save_state(*state, progress.record(), owner=first)
                    if first:
                        run.tell(progress.step, total)
                saved_at = time.monotonic()
            if stopping:
                bar.close()
                leave(progress.step, total, accelerator)
            if done:
                take_step.settle()
                return progress

            words = batches.words(progress.step)
            result = take_step(progress.step, batches.batch(progress.step))
            if progress.step == begun_at:
                unsaved.enter_context(saving_first())
            progress.add(result, words)
            bar.update(words)
            revisions.write(student, progress.step, take_step.exported)
            if progress.step % config.log_every == 0 or progress.step == total:
                take_step.refuse_non_finite()
                progress.seconds_in_sums += watch.lap()
                line = progress.line(result, objective)
                log(line)
                speed = f"{line['tokens_per_second']:,}"
                bar.set_postfix(loss=f"{line['loss/hard']:.3f}", tok_s=speed, refresh=False)


def hard_of(terms: dict[str, float], objective: Objective) -> float:
    """The hard loss, from its terms."""
    return sum(share * terms[name] for name, share in objective.targets.parts.items())


class Stopwatch:
    """Seconds of training: between two looks, each of which waits for what the device was given."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.since = device, time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        synchronise(self.device.type)
        before, self.since = self.since, time.perf_counter()
        return self.since - before

    @contextlib.contextmanager
    def halted(self, progress: Progress) -> Iterator[None]:
        """What is not training: the seconds before it are counted, and those within are not."""
        progress.seconds_in_sums += self.lap()
        yield
        self.lap()


def validate(
    progress: Progress,
    held_out: Blocks,
    take_step: Stepper,
    log: Callable[[dict], None],
    look: Callable[[], None],
) -> float:
    """Log the held-out hard loss, which is returned (nats per token), and on a few blocks every other term.

    The hard loss is that of the weights that are exported. Where these are a mean, that of the last ones is logged
    beside it, and every other term is of these: what it needs beside the student has no mean. `look` is called before
    each forward pass, and may end it by an exception.
    """
    trained, objective, size = (
        take_step.trained,
        take_step.trained.objective,
        take_step.manner.micro_batch_size,
    )
    alone = HardObjective(objective.targets)

    def terms(of: Objective, blocks: Blocks) -> dict[str, float]:
        # for each a context of its own: one keeps the weights that it has converted
        with take_step.accelerator.autocast():
            measured = partial(held_out_terms, trained.student, of, blocks, micro_batch_size=size, look=look)
            return within(trained, measured)

    with take_step.exported():
        hard = terms(alone, held_out)
    beside = terms(objective, held_out.some(FEW)) if objective.weights.keys() - hard else {}
    loss = hard_of(hard, objective)
    line = {"step": progress.step, "words_seen": progress.words_seen, "val/hard": loss}
    if averaged := take_step.averaged:
        same = progress.step <= averaged.begins
        line["val/unaveraged"] = loss if same else hard_of(terms(alone, held_out), objective)
    log({f"val/{name}": value for name, value in (beside | hard).items()} | line)
    return loss


def leave(step: int, total: int, accelerator: Accelerator) -> NoReturn:
    """End the process of a run that was asked to stop, once the first process has saved it."""
    accelerator.wait_for_everyone()  # a launcher kills the others as soon as one has left
    raise Stopped(f"stopped at step {step} of {total}: the same command goes on")


class GivenUp(Exception):
    """The work was left where it was, and is done again at the next start."""


class Agreed:
    """What all processes do at the same step: stop if any was asked to, save if the clock of the first says so.

    Of several processes each knows it a step later, lest all wait.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator, self.before = accelerator, None

    def __call__(self, due: bool) -> tuple[bool, bool]:
        """Called once a turn by every process, with what its own clock says; whether to stop, and to save."""
        if self.accelerator.num_processes == 1:
            return asked(), due
        before, told = self.before, torch.tensor([asked(), due and self.accelerator.is_main_process]).float()
        self.before = self.accelerator.reduce(told.to(self.accelerator.device, non_blocking=True), "sum")
        stopping, saving = (False, False) if before is None else map(bool, before.tolist())
        if saving:  # at this step, and not at the next one again
            self.before[1] = 0
        return stopping, saving

    def look(self) -> None:
        """Leave by GivenUp if any process was asked to stop; every process looks as often as the others."""
        if self.accelerator.num_processes == 1:
            if asked():
                raise GivenUp
            return
        told = torch.tensor([asked(), False], dtype=torch.float32, device=self.accelerator.device)
        heard = self.accelerator.reduce(told, "sum")
        if heard[0]:
            self.before = heard  # so that all stop at this very step
            raise GivenUp

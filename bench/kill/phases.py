"""Every phase of every long program, asked to stop just there by each signal: status 85, at once or
after one step, and nothing is lost."""

import importlib
import os
import signal
import time
from collections.abc import Callable, Container, Sequence
from functools import wraps
from typing import NamedTuple

from babylm_data.stopping import SIGNALS, STOPPED
from bench.kill import forked
from bench.kill.lab import Lab, Tally, last_line
from bench.kill.stages import STAGES

SAID, AT_ONCE = "the same command goes on", "stopped at once"
"""What each says, and none who came to its end by itself."""


class Phase(NamedTuple):
    """A stage, and the call in it (from 0) that a signal comes before."""

    stage: str
    target: str
    """module:name of a function, or module:Class.method."""
    call: int = 0
    done: Container[int | None] = (None,)
    """What status.json may say then; None if the program has not come so far as to tell."""


PHASES = {
    "start-up": Phase("teacher", "train_teachers.stage:Ready.__init__"),
    "building the model": Phase("teacher", "train_teachers.stage:_student"),
    "loading teachers": Phase("student", "distill.teachers:Teachers.__init__"),
    "gradient audit": Phase("student", "train_teachers.stage:audit"),
    "validation before the first step": Phase("teacher", "train_teachers.loop:held_out_terms", done=(0,)),
    "first step, or its compilation": Phase("teacher", "train_teachers.step:Stepper.__call__", done=(0,)),
    "step": Phase("teacher", "train_teachers.step:Stepper.__call__", 5, done=(6,)),
    "accumulation": Phase("student", "train_teachers.step:Trained.forward", 13, done=(7,)),
    "validation": Phase("student", "train_teachers.loop:held_out_terms", 3, done=(9,)),
    "save": Phase("teacher", "train_teachers.loop:save_state", 4, done=(5,)),
    # in a thread, while the steps go on
    "revision": Phase("student", "train_teachers.revisions:export", 2, done=range(4, 8)),
    "export": Phase("teacher", "train_teachers.stage:export", done=(9,)),
    "training one's own parts": Phase(
        "student wasserstein", "distill.objective:DistillObjective.train_own", 4, done=(5,)
    ),
    "first block of a cache": Phase("cache", "distill.cache_writer:Pass._kept", done=(0,)),
    "cache": Phase("cache", "distill.cache_writer:Pass._kept", 1, done=(256,)),
    "sealing a cache": Phase("cache", "distill.cache_writer:seal", done=(807,)),
    "cleaning": Phase("data", "babylm_data.clean:clean_source", 1, done=(0,)),
    "tokenizer": Phase("data", "babylm_data.prepare:train_tokenizer", done=(0,)),
    "encoding": Phase("data", "babylm_data.prepare:encode_split", 1, done=(0,)),
    "scoring": Phase("score", "eval.scorer.log_probs:Scorer.sums", 1, done=(0,)),
    "held-out text": Phase("score", "eval.tasks.perplexity:_nats", done=(1,)),
    "fine-tuning": Phase("finetune", "eval.finetune.loop:_train_epoch", 1, done=(1,)),
    "validation of fine-tuning": Phase("finetune", "eval.finetune.loop:outputs", 1, done=(1,)),
    "models in other processes": Phase("evaluate", "eval.results.workers:tqdm.update", done=range(1, 9)),
    "ages": Phase("ages", "eval.aoa.fit:fit", done=(0,)),
    "building a submission": Phase("build", "eval.submission.bundle:build", done=(0,)),
    "pushing": Phase("push", "eval.submission.push.send:deliver", 1, done=(1,)),
}


def asked_in(phase: Phase, number: signal.Signals, told: Callable[[], None]) -> Callable[[], None]:
    """What has a child send itself a signal when it comes to a phase; `told` is called just before."""

    def plant() -> None:
        module, _, path = phase.target.partition(":")
        holder = importlib.import_module(module)
        *owners, name = path.split(".")
        for owner in owners:
            holder = getattr(holder, owner)
        honest, calls = getattr(holder, name), iter(range(10**9))

        @wraps(honest)
        def call(*arguments: object, **options: object) -> object:
            if next(calls) == phase.call:
                told()
                os.kill(os.getpid(), number)
            return honest(*arguments, **options)

        setattr(holder, name, call)

    return plant


def ask_in(lab: Lab, name: str, signals: Sequence[signal.Signals] = SIGNALS) -> Tally:
    """Ask a program to stop in a phase, by each signal in turn, and carry it out then."""
    phase = PHASES[name]
    stage, tally = STAGES[phase.stage], Tally(phase.stage)
    asked = lab.folder / "asked"
    for number in signals:
        lab.reset(stage)
        asked.unlink(missing_ok=True)
        status = forked.wait(lab.start(stage, asked_in(phase, number, asked.touch)))
        tally.kills += 1
        if not asked.exists():
            tally.wrong.append(f"{phase.target} was not called")
            continue
        tally.longest = max(tally.longest, time.time() - asked.stat().st_mtime)
        if status != STOPPED or SAID not in lab.said() or AT_ONCE in lab.said():
            tally.wrong.append(f"{number.name}: status {status}: {last_line(lab.said())}")
        told = lab.told() or {"done": None, "goes_on": True}
        if told["done"] not in phase.done or not told["goes_on"]:
            tally.wrong.append(
                f"{number.name}: status.json says {told}, not {phase.done} and that it goes on"
            )
        lab.end(stage, tally, None)
    tally.name = name
    return tally

"""python forked_ranks.py STAGE CONFIG [EVENT]: `torchrun --standalone --nproc-per-node=2 -m STAGE CONFIG`, forked.

The same launcher, but its two processes are forks of one that has loaded torch and transformers, which takes longer
than training a tiny model. EVENT is what befalls the second of them alone in its fourth step, by its name in EVENTS.
"""

import json
import os
import runpy
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

from accelerate import Accelerator
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

import distill.objective  # noqa: F401
import train_teachers.stage  # noqa: F401
from babylm_data.errors import UserError
from train_teachers.sharding import gathered
from train_teachers.step import Stepper

AT = 3  # the step before which it comes


def fail(error):
    """Raise it."""
    raise error


def poison():
    """Make every gradient from now on not a number."""

    def backward(self, loss, honest=Accelerator.backward):
        honest(self, loss * float("nan"))

    Accelerator.backward = backward


EVENTS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "signalled": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "user error": lambda: fail(UserError("planted: mend it")),
    "error": lambda: fail(RuntimeError("planted")),
    "not a number": poison,
    "counted": lambda: None,
}


class Exchanges(TorchDispatchMode):
    """Counts what is exchanged with the other process, by the name of the operation."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.namespace == "c10d":
            self.counts[operation.name().removeprefix("c10d::").partition(".")[0].strip("_")] += 1
        return operation(*args, **(kwargs or {}))


def weights_of(stepper):
    """Copies of all parameters, whole."""
    return {name: gathered(p, keep=True).clone() for name, p in stepper.trained.named_parameters()}


def plant(event):
    """Have it come; each process writes what that step exchanged, what it held behind it, and what moved since."""
    rank, steps, before = int(os.environ["RANK"]), [], {}

    def step(self, *given, honest=Stepper.__call__):
        steps.append(1)
        if len(steps) != AT + 1:
            return honest(self, *given)
        before.update(weights_of(self))
        if rank == 1:
            EVENTS[event]()
        with Exchanges() as exchanges:
            result = honest(self, *given)
        write_counts(Path(f"counts-{rank}.json"), self, exchanges.counts)
        return result

    def refuse(self, honest=Stepper.refuse_non_finite):
        if before:
            now = weights_of(self)
            moved = [name for name, weight in before.items() if not weight.equal(now[name])]
            Path(f"moved-{rank}").write_text("\n".join(moved))
        honest(self)

    Stepper.__call__, Stepper.refuse_non_finite = step, refuse


def write_counts(path, stepper, exchanges):
    """How many numbers a process holds of parameters and of optimiser state, and how often a step exchanges some."""
    held = {
        "parameters": list(stepper.trained.parameters()),
        "state": [v for o in stepper.main_optimizers for state in o.state.values() for v in state.values()],
    }
    counts = {
        name: sum((t.to_local() if isinstance(t, DTensor) else t).numel() for t in tensors)
        for name, tensors in held.items()
    }
    path.write_text(json.dumps(counts | exchanges))


def run(stage, config, *events):
    """What `python -m stage config` does, in a rank of the job."""
    sys.argv = [stage, config]
    for event in events:
        plant(event)
    try:
        runpy.run_module(stage, run_name="__main__")
    except SystemExit as end:  # the launcher would wait for ever for what this function returns
        if end.code:
            os._exit(end.code)
    except Exception:  # which the launcher would keep to itself
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    job = LaunchConfig(
        1,
        1,
        2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id="two",
        start_method="fork",
        max_restarts=0,
    )
    elastic_launch(job, run)(*sys.argv[1:])

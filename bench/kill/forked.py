"""Programs of the kit in forked children: their libraries are loaded once, by the parent, and a call takes a second.

The parent must not have computed anything: threads do not come along with a fork.
"""

import faulthandler
import importlib
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from babylm_data.stopping import SIGNALS

LONGEST = 600  # seconds that a child may live: one that hangs ends with status 1 and tells where

LIBRARIES = ("train_teachers.stage", "distill.objective", "distill.cache_writer", "eval.finetune.loop")
LIBRARIES += (
    "eval.scorer.log_probs",
    "eval.submission.evaluate",
    "eval.submission.bundle",
    "eval.submission.push.send",
)


def load_libraries() -> None:
    """Load once what every program would."""
    # tqdm's own lock is one for all processes of a fork: killed while it holds it, a child would stop all others
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0  # nor a thread that might hold it in the instant of a fork
    for module in LIBRARIES:
        importlib.import_module(module)


def begin(action: Callable[[], object], place: Path, said: Path) -> int:
    """Begin an action in a child, in `place` and a process group of its own; its number. `said` gets what it prints."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setsid()
        os.chdir(place)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        signal.set_wakeup_fd(-1)  # that of the parent
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        action()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def call(module: str, arguments: list[str]) -> None:
    """What `python -m module arguments` does, in this process."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def wait(pid: int) -> int:
    """The exit status of a child; minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

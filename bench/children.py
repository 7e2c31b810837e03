"""Work in a forked process: it may be killed, give up its rights or be denied the disk, and its parent goes on.

The libraries are loaded once, by the parent, which computes nothing itself: what a library's threads hold is lost in a
fork.
"""

import contextlib
import ctypes
import faulthandler
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from babylm_data.errors import run_stage

LONGEST = 60  # seconds, then it is killed
CRASH = 1  # status after a traceback


CAPABILITIES = 0x20080522  # version 3 of what the kernel takes
OVERRIDE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class Outcome(NamedTuple):
    """How a piece of work ended."""

    status: int
    """As of a program: 0, 2 after a user's error, 1 after a traceback; below 0 the signal that killed it."""
    said: str
    """On stderr."""
    value: Any
    """What the work returned, as JSON has it; None unless the status is 0."""

    @property
    def refusal(self) -> str | None:
        """The one line of a user's error, if that is how it ended."""
        lines = self.said.splitlines()
        return lines[-1] if self.status == 2 and [line[:7] for line in lines].count("error: ") == 1 else None

    @property
    def told(self) -> str:
        """In a line, for whoever looks for the reason."""
        ended = signal.Signals(-self.status).name if self.status < 0 else f"status {self.status}"
        return f"{ended}: {(self.said.strip().splitlines() or ['nothing said'])[-1][:300]}"


def in_child(work: Callable[[], Any]) -> Outcome:
    """Do some work in a forked process as a program of the kit does it, its errors told as there."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        with contextlib.suppress(BaseException):
            os.close(reading)
            faulthandler.disable()  # who was killed tells by its status
            signal.alarm(LONGEST)
            with os.fdopen(writing, "w", encoding="utf-8") as answer:
                json.dump(_as_program(work), answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        text = answer.read()
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return Outcome(-os.WTERMSIG(ended), "", None)
    return Outcome(*json.loads(text)) if text else Outcome(CRASH, "it ended without an answer", None)


def _as_program(work: Callable[[], Any]) -> Outcome:
    status, value = 0, []
    sys.argv = ["work"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            run_stage(lambda _: value.append(work()))
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            status = CRASH
            traceback.print_exc()
    return Outcome(status, said.getvalue(), value[0] if not status else None)


def give_up_override() -> None:
    """Let the rights of files hold for this process, even if it is root's; nothing to do for anybody else."""
    library = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    library.capget(header, sets)
    sets[0] &= ~OVERRIDE  # of what is in effect
    if library.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")

"""How a program stops when it is asked to, from its first line to its last, and in every phase between.

What the kit writes outlives a kill at any instant, so a program that is asked to stop may simply end: the first
SIGINT, SIGTERM or SIGUSR1 raises `Stopped` wherever the program is. Only who holds work that is not on the disk yet,
as a training loop does, has it wait: within `saving_first` a signal is noted, `asked` tells of it, and who works there
saves and leaves. A second signal ends the process at once.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 85  # exit status of a program that was asked to stop, and goes on with the same command
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
SAID = "stopped: the same command goes on"
ECHO = 0.5  # seconds in which another signal is the first once more: a terminal sends it, and a launcher hands it on
UNWINDING = 3.0  # seconds, after which a process ends even if a library has swallowed the stop, or waits for something


class Stopped(SystemExit):
    """The program was asked to stop, and has nothing to save any more; `said` is what to tell."""

    def __init__(self, said: str = SAID) -> None:
        super().__init__(STOPPED)
        self.said = said


class _Heard:
    """When this process was first asked to stop, and how many hold work that is not saved yet."""

    at: float | None = None
    holding = 0


def asked() -> bool:
    """Whether this process has been asked to stop."""
    return _Heard.at is not None


def listen() -> dict[int, object]:
    """Take the signals, for the rest of the program; what took them before."""
    return {number: signal.signal(number, _hear) for number in SIGNALS}


@contextmanager
def listening() -> Iterator[None]:
    """Take the signals within; where they are taken already, nothing changes."""
    if signal.getsignal(SIGNALS[0]) is _hear:
        yield
        return
    before = listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Heard.at = None


@contextmanager
def saving_first() -> Iterator[None]:
    """Have a signal wait: who works within looks whether the program is `asked` to stop, saves, and raises Stopped.

    Who comes to the end of the work without having looked is stopped there.
    """
    with listening():
        _Heard.holding += 1
        try:
            yield
        finally:
            _Heard.holding -= 1
        if asked():
            raise Stopped


def _hear(number: int, _frame: object) -> None:
    now = time.monotonic()
    if _Heard.at is None:
        _Heard.at = now
        if not _Heard.holding:
            timer = threading.Timer(UNWINDING, _end)
            timer.daemon = True
            timer.start()
            raise Stopped
    elif now - _Heard.at > ECHO:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _end() -> None:
    os.write(2, f"{SAID}\n".encode())
    os._exit(STOPPED)

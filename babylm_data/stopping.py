"""How a program stops when it is asked to, from its first line to its last, and in every phase between.

What the kit writes outlives a kill at any instant, so a program that is asked to stop may simply end: the first
SIGINT, SIGTERM or SIGUSR1 raises `Stopped` wherever the program is. Only who holds work that is not on the disk yet,
as a training loop does, has it wait: within `saving_first` a signal is noted, `asked` tells of it, and who works there
saves and leaves. A second signal ends the process at once. A thread sees to what Python cannot: it hears the signals
while a library computes, and ends a process that does not come to its end.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPED = 85  # exit status of a program that was asked to stop, and goes on with the same command
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
FAREWELL = "stopped: the same command goes on"
ECHO = 0.5  # seconds in which another signal is the first once more: a terminal sends it, and a launcher hands it on
UNWINDING = (
    5.0  # seconds without unsaved work after which it is over: a library may swallow the stop, or wait
)
LOOK = 0.1  # seconds


class Stopped(SystemExit):
    """The program was asked to stop, and has nothing to save any more; `said` is what to tell."""

    def __init__(self, said: str = FAREWELL) -> None:
        super().__init__(STOPPED)
        self.said = said


class _Heard:
    """Whether this process has been asked to stop, and how many hold work that is not saved yet."""

    asked = False
    holding = 0


def asked() -> bool:
    """Whether this process has been asked to stop."""
    return _Heard.asked


def listen() -> Callable[[], None]:
    """Take the signals; what is returned gives them back."""
    heard_at, written_to = os.pipe()
    os.set_blocking(written_to, False)
    woken = signal.set_wakeup_fd(written_to, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _hear) for number in SIGNALS}
    threading.Thread(target=_watch, args=(heard_at,), daemon=True).start()

    def leave() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.close(written_to)  # which ends the thread
        _Heard.asked = False

    return leave


@contextmanager
def listening() -> Iterator[None]:
    """Take the signals within; where they are taken already, nothing changes."""
    if signal.getsignal(SIGNALS[0]) is _hear:
        yield
        return
    leave = listen()
    try:
        yield
    finally:
        leave()


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


def _hear(_number: int, _frame: object) -> None:
    first, _Heard.asked = not _Heard.asked, True
    if first and not _Heard.holding:
        raise Stopped


def _watch(heard_at: int) -> None:
    """End the process at a second signal, or if after the first it has nothing to save and still does not end."""
    first = free = None
    while True:
        if select.select([heard_at], [], [], None if first is None else LOOK)[0]:
            if not (numbers := os.read(heard_at, 64)):
                os.close(heard_at)
                return
            if signals := [number for number in numbers if number in SIGNALS]:
                if first is not None and time.monotonic() - first > ECHO:
                    os._exit(128 + signals[0])
                first = first or time.monotonic()
        if first is not None:
            free = time.monotonic() if free is None or _Heard.holding else free
            if time.monotonic() - free > UNWINDING:
                os.write(2, b"stopped at once: the same command goes on\n")
                os._exit(STOPPED)

"""Other processes for a part of the work: they share the cores, and end when the one that began them does."""

import gc
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread

from babylm_data.errors import LOOK_AFTER, STATUS
from babylm_data.stopping import Stopped


@contextmanager
def pool_of(processes: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes, which share the processor's cores among them; killed where the work is stopped.

    Spawned: a fork would copy the locks of whatever threads the caller's libraries have started.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    spawn = get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=begin, initargs=(threads,)) as pool:
        try:
            yield pool
        except (Stopped, GeneratorExit):
            for child in active_children():  # else the pool would wait for what they are at
                child.kill()
            raise


def begin(threads: int) -> None:
    """What each process does first: it takes its share of the cores, unless the user has said how many, leaves the
    signals of a terminal or a job to the one that began it, and ends with it: else a worker would wait for ever.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    os.environ.pop(STATUS, None)  # it tells how far all of them are
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # torch reads it when it is first imported
    gc.set_threshold(LOOK_AFTER)

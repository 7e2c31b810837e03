"""Threads that wait for each other: how long they spin before they sleep, which other processes pay for.

A parallel loop ends when its slowest thread does, and by default libgomp's others spin till then. Where another process
has the cores, the slow thread is not even running: two trainings on two cores, each spinning, take ten times as long as
one. It is enough that one of them sleeps; alone, sleeping costs a third more time.
"""

import os
import time
from pathlib import Path

LOADAVG = Path("/proc/loadavg")
# Looks at what is running, and seconds between them: what comes and goes does not count.
LOOKS, APART = 5, 0.01
# Turns, some 10 us: costs nothing alone, where the default of 300,000 makes two that spin wait.
SPIN = "10000"


def give_way() -> None:
    """Let this process's threads sleep if others have the cores, else spin briefly. Before torch is imported.

    Does nothing where the user has said what threads are to do.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ.update({"OMP_WAIT_POLICY": "passive"} if _is_crowded() else {"GOMP_SPINCOUNT": SPIN})


def _is_crowded() -> bool:
    """Have there been, at every look, more threads ready to run than cores for them and for this process's own?"""
    try:
        ours = min(len(os.sched_getaffinity(0)), int(os.environ.get("OMP_NUM_THREADS", "9999")))
        cores = os.cpu_count() - ours
        for look in range(LOOKS):
            if look:
                time.sleep(APART)
            running = int(LOADAVG.read_text().split()[3].split("/")[0])  # "0.20 0.18 0.12 2/345 6789"
            if running - 1 <= cores:  # this thread is one of them
                return False
    except (OSError, ValueError, IndexError, AttributeError):  # not Linux: nobody tells
        return False
    return True

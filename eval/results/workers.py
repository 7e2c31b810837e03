"""Several models in one call: as many processes as asked for, one model after the other in each, a folder for each."""

import contextlib
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from typing import Any

from tqdm import tqdm

from babylm_data.errors import UserError
from babylm_data.processes import pool_of
from eval.results.jobs import Job, read_jobs
from eval.results.request import Request, ScoreRequest, TaskSet
from eval.results.score import score

KILLED = "process was killed, as it is where memory is short"


def score_all(requests: dict[str, ScoreRequest], processes: int) -> None:
    """Score each model, by its name; a UserError in the end if any of them failed.

    What each printed is shown, in order, when it has ended. The processes share the processor's cores among them.
    """
    failed = []
    for name, (said, status) in zip(requests, score_each(list(requests.values()), processes), strict=True):
        print(f"== {name}\n{said}", flush=True)
        failed += [name] if status else []
    if failed:
        raise UserError(
            f"{len(failed)} of {len(requests)} models have no scores ({', '.join(failed)}): see above"
        )


def score_each(requests: list[ScoreRequest], processes: int) -> Iterator[tuple[str, int]]:
    """Carry out each request, so many at a time, in processes that load their libraries once: what it said, and the
    exit status that it would have, in order. One at a time shows its progress as it goes on.

    Where a process is killed the rest is scored one at a time, and what is killed then has failed.
    """
    done = 0
    with tqdm(total=len(requests), unit=" models", disable=None if processes > 1 else True) as bar:
        while done < len(requests):
            one = partial(score_one, shows_progress=processes == 1)
            try:
                with pool_of(processes) as pool:
                    for ended in pool.map(one, requests[done:]):
                        done += 1
                        bar.update()
                        yield ended
            except BrokenProcessPool:
                if processes == 1:
                    done += 1
                    bar.update()
                    yield f"error: its {KILLED}", 1
                else:
                    processes = 1
                    print(f"warning: a {KILLED}: the rest is scored one at a time", file=sys.stderr)


def alone(action: Callable[[Any], None], request: Request) -> int:
    """Carry out a request in a process of its own, which may fail or be killed; the exit status that it would have."""
    with pool_of(1) as pool:
        try:
            return pool.submit(_ended, action, request).result()
        except BrokenProcessPool:
            print(f"error: its {KILLED}")
            return 1


def _ended(action: Callable[[Any], None], request: Request) -> int:
    try:
        action(request)
    except UserError as error:
        print(f"error: {error}", flush=True)
        return 2
    except Exception:  # of this part, and no reason to leave out the others
        traceback.print_exc()
        return 1
    return 0


@lru_cache(maxsize=1)
def jobs_of(tasks: TaskSet) -> tuple[Job, ...]:
    """The tasks, read once in a process that asks them of one model after the other."""
    return read_jobs(tasks)


def score_one(request: ScoreRequest, *, shows_progress: bool = False) -> tuple[str, int]:
    """Carry out a request in this process, which has its libraries loaded from the model before: what it said, and
    the exit status that it would have. Where it shows its progress, what goes to stderr is said at once.
    """
    said = io.StringIO()
    errors = sys.stderr if shows_progress else said
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        status = _ended(lambda asked: score(asked, jobs_of(asked.tasks)), request)
    return said.getvalue(), status

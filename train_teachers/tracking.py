"""What a person sees of a run while it goes on: a progress bar, metrics.jsonl, and wandb where asked."""

import contextlib
import http.client
import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from babylm_data.errors import UserError
from train_teachers.config import TrainConfig
from train_teachers.run import Run

if TYPE_CHECKING:
    from wandb import Run as WandbRun

WANDB_MODES = {"online": "online", "offline": "offline", "disabled": "disabled"}
WANDB_MODES |= {"shared": "shared", "run": "online", "dryrun": "offline"}
PATIENCE = 2.5  # seconds that wandb's server has for an answer before a run starts
SECONDS_BETWEEN_LINES = 30.0  # where nobody watches a terminal


def progress_bar(total: int, done: int, unit: str, *, shown: bool = True, desc: str | None = None) -> tqdm:
    """How much of it is done, with speed and time left; in a log file a line every half minute."""
    terminal = sys.stderr.isatty()
    bar = tqdm(
        desc=desc,
        total=total,
        initial=done,
        unit=f" {unit}",
        unit_scale=True,
        mininterval=0.5 if terminal else SECONDS_BETWEEN_LINES,
        disable=not shown,
    )
    if not terminal and shown:
        bar.sp = lambda text: print(text, file=sys.stderr, flush=True)  # lines, not one line overwritten
    return bar


def wandb_mode(config: TrainConfig) -> str:
    """online, offline or disabled: what WANDB_MODE says, else the config; UserError for another word."""
    mode = os.environ.get("WANDB_MODE", config.wandb.mode)
    if mode not in WANDB_MODES:
        raise UserError(f"WANDB_MODE is {mode!r}: set it to one of {', '.join(WANDB_MODES)}, or unset it")
    return WANDB_MODES[mode]


@contextlib.contextmanager
def tracking(config: TrainConfig, run: Run, *, on: bool) -> Iterator[Callable[[dict], None]]:
    """A function that logs one record to metrics.jsonl and, where asked, to wandb; if not `on`, it does nothing."""
    if not on:
        yield lambda record: None
    elif config.wandb is None or (mode := wandb_mode(config)) == "disabled":
        yield run.log
    else:
        tracker = Tracker(_tracker(config, run, mode))

        def log(record: dict) -> None:
            run.log(record)
            tracker.attempt("log", record, step=record["step"])

        try:
            yield log
        finally:
            tracker.attempt("finish")


class Tracker:
    """A run of wandb, or none: whatever it raises, as where its service was killed, is said once and stops nothing."""

    def __init__(self, run: "WandbRun | None") -> None:
        self.run = run

    def attempt(self, what: str, *arguments: object, **options: object) -> None:
        """Have it do something, if it is still there."""
        if self.run is None:
            return
        try:
            getattr(self.run, what)(*arguments, **options)
        except Exception as error:
            self.run, reason = None, " ".join(str(error).split()) or type(error).__name__
            print(f"warning: wandb: {reason}; going on without it, metrics.jsonl has all", file=sys.stderr)


def refuse_silent_server(address: str) -> None:
    """TimeoutError unless wandb's server answers anything at all in `PATIENCE`: wandb itself would ask for 15 seconds.

    In a thread, for to look its name up may take longer than any limit that one can give.
    """
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(f"{address}/graphql", timeout=PATIENCE).close()
        except urllib.error.HTTPError as error:  # one does not ask like that, and it is there
            error.close()
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # wandb may know the certificate
                return
        except (OSError, http.client.HTTPException, ValueError):
            return
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if not answered.is_set():
        raise TimeoutError(f"{address} does not answer")


def _tracker(config: TrainConfig, run: Run, mode: str) -> "WandbRun | None":
    """A run of wandb; offline where it cannot be online, and none where that fails too: training goes on."""
    import wandb

    settings = wandb.Settings(init_timeout=5, finish_timeout=4)
    options = {"project": config.wandb.project, "name": run.name, "dir": run.folder, "settings": settings}
    options |= {"id": run.tracking_id(), "resume": "allow", "config": config.model_dump()}
    for way in dict.fromkeys((mode, "offline")):
        try:
            if way != "offline":
                refuse_silent_server(wandb.setup().settings.base_url)
            return wandb.init(mode=way, **options)
        except Exception as error:  # a key that is refused, no server, a full disk: nothing of it stops a run
            reason = " ".join(str(error).split()) or type(error).__name__
            then = "offline (`wandb sync` sends it later)" if way != "offline" else "without it"
            with contextlib.suppress(Exception):
                wandb.teardown()  # its service would hold on to the id
            print(f"warning: wandb {way}: {reason}; going on {then}", file=sys.stderr)
    return None

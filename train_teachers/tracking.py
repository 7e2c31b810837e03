"""What a person sees of a run while it goes on: a progress bar, metrics.jsonl, and wandb where asked."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm

from train_teachers.config import TrainConfig
from train_teachers.run import Run

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


@contextlib.contextmanager
def tracking(config: TrainConfig, run: Run, *, on: bool) -> Iterator[Callable[[dict], None]]:
    """A function that logs one record to metrics.jsonl and, where asked, to wandb; if not `on`, it does nothing."""
    if not on:
        yield lambda record: None
    elif config.wandb is None:
        yield run.log
    else:
        import wandb

        settings = wandb.Settings(init_timeout=5)
        options = {"project": config.wandb.project, "name": run.name, "dir": run.folder, "settings": settings}
        options |= {"id": run.tracking_id(), "resume": "allow", "config": config.model_dump()}
        try:
            tracker = wandb.init(mode=config.wandb.mode, **options)
        except (wandb.errors.CommError, wandb.errors.UsageError) as error:
            reason = " ".join(str(error).split())
            print(
                f"warning: wandb: {reason}; going on offline (`wandb sync` sends it later)", file=sys.stderr
            )
            tracker = wandb.init(mode="offline", **options)

        def log(record: dict) -> None:
            run.log(record)
            tracker.log(record, step=record["step"])

        with tracker:
            yield log

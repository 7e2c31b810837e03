"""A page about a run while it trains, written again and again; a browser that shows it loads it anew by itself."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import matplotlib

from babylm_data.errors import UserError
from babylm_data.files import json_lines, json_table, utf8_text
from babylm_data.sealed import LOCK, is_held, write_whole
from babylm_data.yaml_files import parse_table
from eval.report.curves import curve, draw_curve, layers_chart, name_axes, small_frames, thin
from eval.report.looks import Look, look_as
from eval.report.page import duration, templates
from eval.report.svg import INK, STYLE, svg

FIRST, LAST = "val/hard", ("lr", "grad_norm", "tokens_per_second")
"""What is drawn first, and what behind all losses."""


@dataclass(frozen=True)
class LiveRun:
    """A run folder at one moment, whatever state it is in."""

    folder: Path

    @property
    def name(self) -> str:
        """As the folder is called."""
        return self.folder.name

    @cached_property
    def metrics(self) -> list[dict]:
        """What it has logged."""
        return json_lines(self.folder / "metrics.jsonl", "step")

    @cached_property
    def summary(self) -> dict | None:
        """Of a finished one."""
        return json_table(self.folder / "summary.json")

    @cached_property
    def state(self) -> str:
        """How far it is, in a sentence."""
        if self.summary:
            return f"Finished: {self.summary['words_seen']:,} words in {duration(self.summary['seconds'])}."
        status = json_table(self.folder / "status.json") or {}
        at_work, steps = is_held(self.folder / LOCK), [line for line in self.metrics if "seconds" in line]
        share = status.get("done", 0) / max(1, status.get("of", 1))
        if at_work and steps:
            share = max(share, steps[-1]["step"] / max(1, status.get("of", 1)))
        told = f"{100 * share:.0f} % done"
        if steps:
            told += f", {steps[-1]['words_seen']:,} words read"
        if at_work and 0 < share < 1 and steps:
            left = steps[-1]["seconds"] * (1 - share) / share
            told += f", about {duration(left)} left"
        if not at_work:
            told += "; no program is at it now"
            if command := (json_table(self.folder / "environment.json") or {}).get("command"):
                told += f". To go on: {command}"
        return told + "."

    @property
    def losses(self) -> str:
        """Where its held-out loss is, and where it was first."""
        words, values = curve(self, FIRST)
        if not len(words):
            return "No held-out loss has been measured yet."
        last = f"{values[-1]:.4f} nats a token after {words[-1]:,.0f} words"
        return f"Held-out hard loss {last}, {values[0]:.4f} at first."


def watch(folder: Path, out: Path, every: float) -> None:
    """Write the page every so many seconds until the run is finished; UserError if there is none."""
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} is no run folder: name one that a training has begun")
    print(
        f"{out} is written every {every:g} s until {folder.name} is finished: open it in a browser",
        flush=True,
    )
    while True:
        run = LiveRun(folder)
        write_whole(out, live_page(run, every))
        if run.summary:
            return
        time.sleep(every)


def live_page(run: LiveRun, every: float) -> str:
    """The page as one HTML text that loads nothing but itself."""
    config = utf8_text(run.folder / "config.yaml", "train the run again")
    named = parse_table(config, run.folder / "config.yaml").get("control_name")
    control = LiveRun(run.folder.with_name(named or f"{run.name}-control"))
    audit = json_table(run.folder / "audit.json")
    return (
        templates()
        .get_template("live.html")
        .render(
            run=run,
            every=None if run.summary else every,
            curves_chart=curves_chart(run, control),
            layers_chart=layers_chart(run),
            control=control if control.metrics else None,
            audit=audit,
            config=config,
            last=json.dumps(run.metrics[-1], indent=1) if run.metrics else "",
            now=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )


def curves_chart(run: LiveRun, control: LiveRun) -> str | None:
    """All that is logged of the whole run: a frame each, the control's beside the student's own."""
    keys = {key for line in run.metrics for key in line}
    losses = sorted(key for key in keys if key.startswith(("loss/", "val/")) and key != FIRST)
    shown = [key for key in (FIRST, *losses, *LAST) if key in keys]
    if not shown:
        return None
    drawn: list[tuple[LiveRun, Look]] = [(control, look_as("control")), (run, look_as("student"))]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "live"}):
        figure, frames = small_frames(len(shown))
        for axes, key in zip(frames, shown, strict=True):
            points = [(thin(*curve(each, key)), look) for each, look in drawn if len(curve(each, key)[0])]
            for (words, values), look in points:
                draw_curve(axes, look, words, values)
            axes.set_title(key, color=INK)
            name_axes(axes, max(words[-1] for (words, _), _ in points), "")
        return svg(figure, f"{run.name}: all that is logged, against words of exposure")

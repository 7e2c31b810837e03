"""The pictures of a study's page: every cell against its control, and how each came to where it is."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.report.curves import curve, draw_curve, name_axes, small_frames, spread, thin
from eval.report.looks import CONTROL_LOOK, STUDENT_LOOK, Look, look_as
from eval.report.svg import INK, MUTED, STYLE, WIDTH, WORSE, svg
from eval.study.cells import Compared
from eval.study.finished import Finished

DISTINCT = 5  # cells, up to which each has a colour of its own
WORST = Look("v", "▼", WORSE)
QUIET = Look("o", "●", MUTED, width=0.8, order=2)
POINTS = 60  # of a curve that is a mean over seeds


def cell_looks(compared: Compared) -> dict[str, Look]:
    """How each cell is drawn: a few in colours of their own; of many the best and the worst stand out."""
    ranked = compared.measures[compared.plan.judge].best_first(compared.judged) if compared.judged else []
    if len(ranked) <= DISTINCT:
        return {
            label: look_as("teacher", place - 1) if place else STUDENT_LOOK
            for place, label in enumerate(ranked)
        }
    return dict.fromkeys(ranked, QUIET) | {ranked[0]: STUDENT_LOOK, ranked[-1]: WORST}


def mean_curve(runs: Sequence[Finished], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(words, mean over runs) of what they logged, at words that all have come to; empty where one logged nothing."""
    curves = [thin(*curve(run, key), POINTS) for run in runs if len(curve(run, key)[0])]
    if len(curves) < len(runs):
        return np.array([]), np.array([])
    common = min(each[-1] for each, _ in curves)  # its end is drawn, though the first may not stop there
    words = np.append(curves[0][0][curves[0][0] < common], common)
    return words, np.mean([np.interp(words, *each) for each in curves], axis=0)


def curves_chart(compared: Compared) -> str | None:
    """Held-out hard loss of each cell less that of its control, against words of exposure: means over seeds."""
    looks, drawn = cell_looks(compared), {}
    for label, cell in compared.judged.items():
        sides = [
            mean_curve([compared.runs[name] for name in cell[side]], "val/hard")
            for side in ("runs", "controls")
        ]
        (words, values), (there, control) = sides
        if len(words) and len(there):
            drawn[label] = words, values - np.interp(words, there, control)
    if not drawn:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "curves"}):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        longest = max(words[-1] for words, _ in drawn.values())
        draw_cells(axes, {label: (looks[label], *points) for label, points in drawn.items()}, longest)
        axes.axhline(0, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        name_axes(axes, longest, f"nats a token, less {compared.plan.rival}")
        return svg(
            figure,
            f"Held-out hard loss of each cell less that of {compared.plan.rival}, against words of exposure",
        )


def draw_cells(axes: Axes, drawn: dict[str, tuple[Look, np.ndarray, np.ndarray]], longest: float) -> None:
    """A line for each cell, beside 0; those that stand out are named at their ends. The first words may be cut off."""
    settled = np.concatenate([values[words >= 0.15 * longest] for _, words, values in drawn.values()])
    low, high = min(float(settled.min()), 0.0), max(float(settled.max()), 0.0)
    margin = 0.06 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
    named = {label: values[-1] for label, (look, _, values) in drawn.items() if look is not QUIET}
    heights = spread(axes, list(named.values()))
    for look, words, values in drawn.values():
        draw_curve(axes, look, words, values)
    for (label, _), height in zip(named.items(), heights, strict=True):
        style = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(label, (longest, height), (8, 0), color=drawn[label][0].colour, **style)


def controls_of(compared: Compared) -> dict[str, list[str]]:
    """The runs of each control that cells have: of students of other sizes there are several."""
    sets = dict.fromkeys(tuple(cell["controls"]) for cell in compared.judged.values())
    names = [names[0].rpartition("-s")[0] for names in sets]
    return dict(zip(names if names[1:] else [compared.plan.rival], map(list, sets), strict=False))


def terms_chart(compared: Compared) -> str | None:
    """Every loss term, unweighted: a frame for each, a line for each cell that has it, means over seeds."""
    looks = cell_looks(compared)
    sides = {label: [compared.runs[name] for name in cell["runs"]] for label, cell in compared.judged.items()}
    for label, names in controls_of(compared).items():
        sides[label], looks[label] = [compared.runs[name] for name in names], CONTROL_LOOK
    lines = [line for runs in sides.values() for run in runs[:1] for line in run.metrics]
    keys = sorted({key for line in lines for key in line if key.startswith("loss/")})
    frames_of = {
        key: {label: points for label, runs in sides.items() if len((points := mean_curve(runs, key))[0])}
        for key in keys
    }
    frames_of = {key: drawn for key, drawn in frames_of.items() if drawn}
    if not frames_of:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "study terms"}):
        figure, frames = small_frames(len(frames_of))
        for axes, (key, drawn) in zip(frames, frames_of.items(), strict=True):
            for label, points in drawn.items():
                draw_curve(axes, looks[label], *points)
            axes.set_title(key.removeprefix("loss/"), color=INK)
            name_axes(axes, max(words[-1] for words, _ in drawn.values()), "")
        return svg(figure, "Loss terms of each cell against words of exposure")

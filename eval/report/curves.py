"""The report's pictures of what went on in training: losses and scores against words of exposure."""

from collections.abc import Sequence
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from eval.report.looks import STUDENT_LOOK, Look, look_of
from eval.report.svg import INK, MUTED, STYLE, WIDTH, svg
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run
from eval.tasks import title


class Logged(Protocol):
    """A run, of which its curves alone are wanted."""

    name: str
    metrics: list[dict]


def held_out_chart(lineup: Lineup) -> str | None:
    """Hard loss on held-out text against words of exposure, every run in one frame, each named at its end."""
    targets = lineup.student.summary.get("targets")
    curves = {run.name: curve(run, "val/hard") for run in lineup.runs}
    # what is asked for otherwise has a loss that compares with none of these
    drawn = [run for run in lineup.runs if len(curves[run.name][0]) and run.summary.get("targets") == targets]
    if not drawn:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "held-out"}):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        longest = max(curves[run.name][0][-1] for run in drawn)
        ends, top = [], 0.0
        for run in drawn:
            words, loss = curves[run.name]
            draw_curve(axes, look_of(lineup, run), words, loss)
            ends.append(loss[-1])
            top = max(top, loss[words >= min(0.1 * longest, words[-1])][0])
        mark_revisions(axes, lineup.student, *curves[lineup.student.name])
        low = min(min(curves[run.name][1]) for run in drawn)
        margin = 0.06 * (top - low) or 0.1
        axes.set_ylim(low - margin, top + margin)  # the first, steep words would flatten all that follows
        heights = spread(axes, ends)
        for run, height in zip(drawn, heights, strict=True):
            axes.annotate(
                f"{run.name} {curves[run.name][1][-1]:.3f}",
                (longest, height),
                (8, 0),
                textcoords="offset points",
                color=look_of(lineup, run).colour,
                va="center",
                annotation_clip=False,
            )
        name_axes(axes, longest, "nats per token")
        return svg(figure, "Held-out loss of each run against words of exposure")


def mark_revisions(axes: Axes, student: Run, words: np.ndarray, loss: np.ndarray) -> None:
    """A dot on the student's curve for each revision that it wrote."""
    before = student.summary.get("words_before") or 0
    marks = [entry["words_seen"] - before for entry in student.summary.get("revisions", [])]
    if marks and len(words):
        axes.plot(
            marks, np.interp(marks, words, loss), ".", color=STUDENT_LOOK.colour, markersize=6, zorder=5
        )


def revisions_chart(task: str, points: list[tuple[int, dict]]) -> str:
    """A task's score over the student's revisions against words of exposure, whiskers two errors; chance dashed.

    `points`: (words of exposure, result) of each revision.
    """
    words, results = zip(*points, strict=True)
    heights = np.array([100 * result["score"] for result in results])
    reach = [200 * (result["standard_error"] or 0) for result in results]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"revisions {task}"}):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        look = STUDENT_LOOK
        draw_curve(axes, look, np.array(words), heights)
        style = {"markersize": 4.5, "elinewidth": 0.8, "zorder": 5}
        axes.errorbar(words, heights, yerr=reach, fmt=look.marker, color=look.colour, **style)
        axes.axhline(100 * results[0]["chance"], color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        name_axes(axes, words[-1], "score x 100")
        axes.set_xlim(0, 1.02 * words[-1])
        return svg(figure, f"{title(task)}: score of each revision against words of exposure")


def terms_chart(lineup: Lineup) -> str | None:
    """The student's loss terms, unweighted, a small frame each; the control's hard loss beside its own."""
    terms = sorted({key for line in lineup.student.metrics for key in line if key.startswith("loss/")})
    if not terms:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "terms"}):
        figure, frames = small_frames(len(terms))
        for axes, term in zip(frames, terms, strict=True):
            both = (lineup.control, lineup.student)
            drawn = [(run, *thin(*curve(run, term))) for run in both if len(curve(run, term)[0])]
            for run, words, loss in drawn:
                draw_curve(axes, look_of(lineup, run), words, loss)
            axes.set_title(term.removeprefix("loss/"), color=INK)
            name_axes(axes, max(words[-1] for _, words, _ in drawn), "")
        return svg(figure, "Loss terms of the student against words of exposure")


def layers_chart(run: Logged) -> str | None:
    """What a run logged layer by layer: a frame for each loss and teacher, a line for each pair of layers."""
    groups: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for line in run.metrics for key in line if key.startswith("layer/")):
        groups.setdefault(key.partition("@")[0], []).append(key)
    if not groups:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"layers {run.name}"}):
        figure, frames = small_frames(len(groups))
        for axes, (group, keys) in zip(frames, groups.items(), strict=True):
            draw_layers(axes, run, keys)
            axes.set_title(group.removeprefix("layer/"), color=INK)
        return svg(figure, f"{run.name}: what is compared layer by layer, against words of exposure")


def draw_layers(axes: Axes, run: Logged, keys: list[str]) -> None:
    """A line for each pair of layers, the later ones the stronger, each named at its end."""
    drawn = [thin(*curve(run, key)) for key in keys]
    longest = max(words[-1] for words, _ in drawn)
    settled = np.concatenate([values[words >= 0.05 * words[-1]] for words, values in drawn])
    low, high = settled.min(), settled.max()
    margin = 0.06 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)  # the first, steep words would flatten all that follows
    ends = [float(values[-1]) for _, values in drawn]
    heights = spread(axes, ends)
    for number, (key, (words, values), height) in enumerate(zip(keys, drawn, heights, strict=True)):
        darkness = 0.35 + 0.65 * (number + 1) / len(keys)
        draw_curve(axes, STUDENT_LOOK, words, values, linewidth=1.2, alpha=darkness)
        name = key.partition("@")[2].replace("-", "\N{EN DASH}") or key
        beside = {"textcoords": "offset points", "va": "center", "annotation_clip": False, "fontsize": 7.5}
        axes.annotate(name, (longest, height), (4, 0), color=MUTED, **beside)
    name_axes(axes, longest, "")


def small_frames(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of `count` frames, at most three in a row."""
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 0.3 + 2.0 * rows), layout="constrained")
    frames = figure.subplots(rows, columns, squeeze=False).ravel()
    for frame in frames[count:]:
        frame.set_visible(False)
    return figure, list(frames[:count])


def curve(run: Logged, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(words seen, value) of the metric lines that hold `key`."""
    pairs = [(line["words_seen"], line[key]) for line in run.metrics if line.get(key) is not None]
    return np.array([words for words, _ in pairs], float), np.array([value for _, value in pairs], float)


def thin(words: np.ndarray, values: np.ndarray, most: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points, each the mean of as many neighbouring lines: calmer, and a smaller page."""
    parts = min(most, len(words))
    return tuple(
        np.array([part.mean() for part in np.array_split(array, parts)]) for array in (words, values)
    )


def spread(axes: Axes, heights: Sequence[float]) -> np.ndarray:
    """Where the labels of these heights stand: each moved as little as keeps them apart and within the frame."""
    lowest, highest = axes.get_ylim()
    order, gap = np.argsort(heights, kind="stable"), 0.085 * (highest - lowest)
    steps, placed = gap * np.arange(len(heights)), np.empty(len(heights))
    free = isotonic_regression(np.asarray(heights)[order] - steps).x
    placed[order] = free.clip(lowest, highest - gap * (len(heights) - 1)) + steps
    return placed


def draw_curve(axes: Axes, look: Look, words: np.ndarray, values: np.ndarray, **changes: Any) -> None:
    """A line, or a mark where there is one point alone; `changes` are matplotlib's, for this line."""
    style = {"color": look.colour, "linewidth": look.width, "linestyle": look.dashes, "zorder": look.order}
    axes.plot(words, values, **style | changes)
    if len(words) == 1:
        axes.plot(words, values, look.marker, color=look.colour)


def name_axes(axes: Axes, longest: float, loss: str) -> None:
    """Words on the x axis in thousands or millions, loss on the y axis, light grid lines."""
    unit, word = (1e6, "M") if longest >= 2e6 else (1e3, "k")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / unit:g}{word}")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6))
    axes.set_xlim(0, longest)
    axes.set_xlabel("words of exposure" if loss else "")
    axes.set_ylabel(loss)
    axes.grid(axis="y")
    axes.tick_params(length=0)

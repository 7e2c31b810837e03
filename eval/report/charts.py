"""The report's pictures: scores as dots, losses as curves; a run keeps its mark and colour throughout."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.report.svg import CONTROL, INK, MUTED, PAPER, STAND_INS, STUDENT, STYLE, TEACHERS, svg
from eval.results.scores_table import unit
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run
from eval.runs.verdicts import groups
from eval.tasks import title

TEACHER_MARKS = {"^": "▲", "s": "■", "D": "◆", "v": "▼"}
WIDTH = 9.6  # inches; the page scales it to its own width
SERIES_WIDTH = {"student": 2.0, "control": 1.4, "teacher": 1.2}


def mark(lineup: Lineup, run: Run) -> tuple[str, str, str]:
    """(matplotlib marker, the same mark as a character, stand-in colour) of a run."""
    if run.role != "teacher":
        return ("o", "●", STUDENT) if run.role == "student" else ("o", "○", CONTROL)
    index = lineup.teachers.index(run) % len(TEACHERS)
    return (*list(TEACHER_MARKS.items())[index], TEACHERS[index])


def css_colour(lineup: Lineup, run: Run) -> str:
    return STAND_INS[mark(lineup, run)[2]]


def score_chart(lineup: Lineup, task: str) -> str:
    """The score by phenomenon (or subtask) of every run; student and control joined; chance dashed."""
    runs = [run for run in lineup.runs if task in run.tasks]
    results = {run.name: groups(run.tasks[task]) for run in runs}
    student = results[lineup.student.name]
    names = sorted(student, key=lambda name: student[name]["score"])
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": task}):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.31 * len(names)), layout="constrained")
        axes = figure.subplots()
        for row, name in enumerate(names):
            pair = [100 * results[run.name][name]["score"] for run in (lineup.control, lineup.student)]
            axes.plot(
                pair, [row, row], color=STUDENT, linewidth=5, alpha=0.22, solid_capstyle="butt", zorder=2
            )
        for run in runs:
            draw_scores(axes, lineup, run, [results[run.name][name] for name in names])
        chance = 100 * lineup.student.tasks[task]["chance"]
        axes.axvline(chance, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        axes.annotate(
            "chance",
            (chance, 1),
            (4, 2),
            ("data", "axes fraction"),
            textcoords="offset points",
            color=MUTED,
            fontsize=8,
        )
        axes.set_yticks(range(len(names)), [title(name) for name in names])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(names) - 0.4)
        metric = lineup.student.tasks[task]["metric"]
        axes.set_xlabel("items decided rightly, %" if metric == "accuracy" else unit(metric))
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        return svg(figure, f"{title(task)}: {metric.replace('_', ' ')} by phenomenon for each model")


def draw_scores(axes: Axes, lineup: Lineup, run: Run, results: list[dict]) -> None:
    """One run's marks, a row each; whiskers of two standard errors for the two runs that are compared."""
    marker, _, colour = mark(lineup, run)
    values = [100 * result["score"] for result in results]
    rows = range(len(values))
    if run.role == "teacher":
        axes.plot(values, rows, marker, color=colour, markersize=4.5, alpha=0.9, zorder=3)
        return
    errors = [200 * (result["standard_error"] or 0) for result in results]
    face = colour if run.role == "student" else PAPER
    axes.errorbar(
        values,
        rows,
        xerr=errors,
        fmt=marker,
        color=colour,
        markerfacecolor=face,
        markersize=7,
        markeredgewidth=1.4,
        elinewidth=0.9,
        zorder=5 if run.role == "student" else 4,
    )


def held_out_chart(lineup: Lineup) -> str | None:
    """Hard loss on held-out text against words of exposure, every run in one frame, each named at its end."""
    curves = {run.name: curve(run, "val/hard") for run in lineup.runs}
    drawn = [run for run in lineup.runs if len(curves[run.name][0])]
    if not drawn:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "held-out"}):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        longest = max(curves[run.name][0][-1] for run in drawn)
        ends, top = [], 0.0
        for run in drawn:
            words, loss = curves[run.name]
            draw_curve(axes, lineup, run, words, loss)
            ends.append(loss[-1])
            top = max(top, loss[words >= min(0.1 * longest, words[-1])][0])
        low = min(min(curves[run.name][1]) for run in drawn)
        margin = 0.06 * (top - low) or 0.1
        axes.set_ylim(low - margin, top + margin)  # the first, steep words would flatten all that follows
        heights = spread(ends, gap=0.085 * (top - low + 2 * margin), lowest=low)
        for run, height in zip(drawn, heights, strict=True):
            axes.annotate(
                f"{run.name} {curves[run.name][1][-1]:.3f}",
                (longest, height),
                (8, 0),
                textcoords="offset points",
                color=mark(lineup, run)[2],
                va="center",
                annotation_clip=False,
            )
        name_axes(axes, longest, "nats per token")
        return svg(figure, "Held-out loss of each run against words of exposure")


def revisions_chart(lineup: Lineup, task: str, points: list[tuple[int, dict]]) -> str:
    """A task's score over the student's revisions against words of exposure, whiskers two errors; chance dashed.

    `points`: (words of exposure, result) of each revision.
    """
    words, results = zip(*points, strict=True)
    heights = np.array([100 * result["score"] for result in results])
    reach = [200 * (result["standard_error"] or 0) for result in results]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"revisions {task}"}):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        draw_curve(axes, lineup, lineup.student, np.array(words), heights)
        marker, _, colour = mark(lineup, lineup.student)
        style = {"markersize": 4.5, "elinewidth": 0.8, "zorder": 5}
        axes.errorbar(words, heights, yerr=reach, fmt=marker, color=colour, **style)
        axes.axhline(100 * results[0]["chance"], color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        name_axes(axes, words[-1], "score x 100")
        axes.set_xlim(0, 1.02 * words[-1])
        return svg(figure, f"{title(task)}: score of each revision against words of exposure")


def terms_chart(lineup: Lineup) -> str | None:
    """The student's loss terms, unweighted, a small frame each; the control's hard loss beside its own."""
    terms = sorted({key for line in lineup.student.metrics for key in line if key.startswith("loss/")})
    if not terms:
        return None
    columns = 2 if len(terms) == 4 else min(3, len(terms))
    rows = -(-len(terms) // columns)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "terms"}):
        figure = Figure(figsize=(WIDTH, 0.3 + 2.0 * rows), layout="constrained")
        frames = figure.subplots(rows, columns, squeeze=False).ravel()
        for frame in frames[len(terms) :]:
            frame.set_visible(False)
        for axes, term in zip(frames, terms, strict=False):
            both = (lineup.control, lineup.student)
            drawn = [(run, *thin(*curve(run, term))) for run in both if len(curve(run, term)[0])]
            for run, words, loss in drawn:
                draw_curve(axes, lineup, run, words, loss)
            axes.set_title(term.removeprefix("loss/"), color=INK)
            name_axes(axes, max(words[-1] for _, words, _ in drawn), "")
        return svg(figure, "Loss terms of the student against words of exposure")


def curve(run: Run, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(words seen, value) of the metric lines that hold `key`."""
    pairs = [(line["words_seen"], line[key]) for line in run.metrics if line.get(key) is not None]
    return np.array([words for words, _ in pairs], float), np.array([value for _, value in pairs], float)


def thin(words: np.ndarray, values: np.ndarray, most: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points, each the mean of as many neighbouring lines: calmer, and a smaller page."""
    parts = min(most, len(words))
    return tuple(
        np.array([part.mean() for part in np.array_split(array, parts)]) for array in (words, values)
    )


def spread(heights: list[float], gap: float, lowest: float) -> list[float]:
    """The heights moved up, from `lowest`, as little as keeps `gap` between neighbouring labels."""
    placed = list(heights)
    floor = lowest
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        placed[index] = max(heights[index], floor)
        floor = placed[index] + gap
    return placed


def draw_curve(axes: Axes, lineup: Lineup, run: Run, words: np.ndarray, loss: np.ndarray) -> None:
    _, _, colour = mark(lineup, run)
    dashes = (0, (5, 2)) if run.role == "control" else "solid"
    axes.plot(
        words,
        loss,
        color=colour,
        linewidth=SERIES_WIDTH[run.role],
        linestyle=dashes,
        zorder=4 if run.role == "student" else 3,
    )
    if len(words) == 1:
        axes.plot(words, loss, mark(lineup, run)[0], color=colour)


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

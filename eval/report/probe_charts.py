"""The report's pictures of what `python -m eval.probe` found: layers that are alike, states in a plane, calibration."""

import textwrap

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eval.report.looks import Look, look_as
from eval.report.svg import INK, MUTED, PAPER, STUDENT, STYLE, WIDTH, svg

DARKEST = 0.5  # a square, so that ink stands out against it, on a light page and on a dark one
NAME_WIDTH = 22  # letters of a line beside a frame
MOST_NUMBERS = 8  # layers of a model, up to which each cell tells its number


def probe_looks(probe: dict) -> dict[str, Look]:
    """How each model is drawn, by its name; teachers in config order."""
    roles = {one["name"]: one["role"] for one in probe["models"]}
    teachers = [name for name, role in roles.items() if role == "teacher"]
    return {
        name: look_as(role, teachers.index(name) if role == "teacher" else 0) for name, role in roles.items()
    }


def cka_chart(probe: dict, teacher: str) -> str:
    """How alike each layer of the others is to each of a teacher: a frame a model, the stronger the more alike."""
    tables = probe["alikeness"][teacher]["cka"]
    rows, columns = (max(map(len, side)) for side in (tables.values(), [t[0] for t in tables.values()]))
    width = min(WIDTH / len(tables), 3.2)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"cka {teacher} {probe['models'][0]['name']}"}):
        height = 0.75 + min(0.3 * rows, 4.0)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        frames = figure.subplots(1, max(len(tables), round(WIDTH / width)), squeeze=False)[0]
        for axes in frames[len(tables) :]:
            axes.set_visible(False)
        for axes, (name, table) in zip(frames, tables.items(), strict=False):
            draw_table(axes, np.array(table), numbers=columns <= MOST_NUMBERS)
            axes.set_title(name, color=INK)
            axes.set_xlabel(f"layer of {teacher}")
        frames[0].set_ylabel("layer")
        return svg(figure, f"Linear CKA of the layers of each model with those of {teacher}")


def draw_table(axes: Axes, table: np.ndarray, *, numbers: bool) -> None:
    """A square for each cell, as dark as its value of 0 to 1."""
    for (row, column), value in np.ndenumerate(table):
        place = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, facecolor=STUDENT, alpha=DARKEST * float(value), linewidth=0))
        if numbers:
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=INK)
    axes.set_xlim(-0.5, table.shape[1] - 0.5)
    axes.set_ylim(-0.5, table.shape[0] - 0.5)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def planes_chart(probe: dict, teacher: str) -> str | None:
    """Hidden states of some layers beside the teacher's by t-SNE: a row a moment, a frame a layer."""
    planes, looks = probe["alikeness"][teacher]["planes"], probe_looks(probe)
    rows = list(dict.fromkeys(plane["model"] for plane in planes))[::-1]  # the early one first
    if not rows:
        return None
    columns = max(sum(plane["model"] == row for plane in planes) for row in rows)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"planes {teacher} {probe['models'][0]['name']}"}):
        figure = Figure(figsize=(WIDTH, 1.9 * len(rows)), layout="constrained")
        frames = figure.subplots(len(rows), max(columns, 3), squeeze=False)
        for axes in frames.flat:
            axes.set_visible(False)
        for row, name in enumerate(rows):
            drawn = [plane for plane in planes if plane["model"] == name]
            for axes, plane in zip(frames[row], drawn, strict=False):
                axes.set_visible(True)
                for side, who in (("teacher", teacher), ("points", name)):
                    style = {"s": 7, "color": looks[who].colour, "alpha": 0.75, "linewidths": 0}
                    axes.scatter(*np.array(plane[side]).T, marker=looks[who].marker, **style)
                axes.set_title(f"layer {plane['layer']}, teacher's {plane['teacher_layer']}", color=MUTED)
                axes.set_xticks([])
                axes.set_yticks([])
            frames[row, 0].set_ylabel(textwrap.fill(name, NAME_WIDTH), color=INK)
        return svg(figure, f"Hidden states beside those of {teacher}, by t-SNE")


def calibration_chart(probe: dict) -> str:
    """How often each model's likeliest token is right, against how sure it was; the diagonal would be perfect."""
    looks = probe_looks(probe)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"calibration {probe['models'][0]['name']}"}):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        for one in probe["models"]:
            if one["role"] == "early":
                continue
            look = looks[one["name"]]
            sure, right = ([100 * part[key] for part in one["bins"]] for key in ("confidence", "right"))
            face = PAPER if one["role"] == "control" else look.colour
            style = {"linewidth": look.width, "linestyle": look.dashes, "zorder": look.order}
            axes.plot(
                sure, right, look.marker, color=look.colour, markersize=4.5, markerfacecolor=face, **style
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("probability of the likeliest token, %")
        axes.set_ylabel("right, %")
        axes.grid(axis="y")
        axes.tick_params(length=0)
        return svg(figure, "How often each model is right against how sure it is")

"""The report's pictures of fine-tuning: losses and score by epoch, a line a model, in the marks of the other charts."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.finetune.overview import title
from eval.finetune.training import Curve, curve
from eval.finetune.tuning_folder import TITLES
from eval.report.charts import SERIES_WIDTH, WIDTH, mark
from eval.report.svg import INK, PAPER, STAND_INS, STYLE, svg
from eval.runs.lineup import Lineup
from eval.runs.tunings import TunedModel, Tunings

LOSSES = {"loss": "training loss, nats", "validation_loss": "validation loss, nats"}
DASHES = {"control": (0, (5, 2)), "random weights": (0, (1, 1.5))}
RANDOM = ("x", "×")
"""Mark of the model with random weights, for matplotlib and as a character; its colour is that of its run."""


def tuning_mark(lineup: Lineup, model: TunedModel) -> tuple[str, str, str]:
    """(matplotlib marker, the same mark as a character, stand-in colour) of a model."""
    marker, character, colour = mark(lineup, model.run)
    return (*RANDOM, colour) if model.random_weights else (marker, character, colour)


def tuning_marks(lineup: Lineup, tunings: Tunings) -> dict[str, tuple[str, str]]:
    """The name of each model -> its mark as a character, and the mark's colour on the page."""
    marks = {model.name: tuning_mark(lineup, model) for model in tunings.models}
    return {name: (character, STAND_INS[colour]) for name, (_, character, colour) in marks.items()}


def tuning_chart(lineup: Lineup, tunings: Tunings, task: str) -> str | None:
    """Training loss, validation loss and score by epoch, a frame each; None where no model has two epochs of any."""
    models = [model for model, _ in tunings.by_task[task]]
    metric = models[0].tuning.results[task]["metric"]
    score = TITLES.get(metric, metric)
    frames = []
    for key, label in (LOSSES | {metric: f"validation {score}, %"}).items():
        curves = [(model, curve(model.tuning.trainings[task], key)) for model in models]
        if any(len(drawn.epochs) > 1 for _, drawn in curves):
            frames.append((label, 1 if key in LOSSES else 100, curves))
    if not frames:
        return None
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"fine-tuning {task}"}):
        figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
        places = figure.subplots(1, len(LOSSES) + 1)  # each of one size, also where one is not known
        for axes in places[len(frames) :]:
            axes.set_visible(False)
        for axes, (label, times, curves) in zip(places, frames, strict=False):
            for model, drawn in curves:
                draw_epochs(axes, lineup, model, drawn, times)
            axes.set_title(label, color=INK)
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
            axes.tick_params(length=0)
        return svg(figure, f"{title(task)}: losses and {score} of each model by epoch of fine-tuning")


def draw_epochs(axes: Axes, lineup: Lineup, model: TunedModel, drawn: Curve, times: int) -> None:
    """One model's mean over seeds, times `times`, within a band of one standard deviation over seeds."""
    marker, _, colour = tuning_mark(lineup, model)
    mean = times * np.array(drawn.mean)
    axes.plot(
        drawn.epochs,
        mean,
        marker,
        color=colour,
        linestyle=DASHES.get(model.role, "solid"),
        linewidth=SERIES_WIDTH.get(model.role, 1.2),
        markersize=4,
        markerfacecolor=PAPER if model.role == "control" else colour,
        zorder=4 if model.role == "student" else 3,
    )
    if None not in drawn.spread:
        reach = times * np.array(drawn.spread)
        axes.fill_between(
            drawn.epochs, mean - reach, mean + reach, color=colour, alpha=0.14, linewidth=0, zorder=2
        )

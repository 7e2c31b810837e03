"""The report's pictures of fine-tuning: losses and score by epoch, a line a model, in the marks of the other charts."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.finetune.overview import title
from eval.finetune.training import Curve, curve
from eval.finetune.tuning_folder import TITLES
from eval.report.looks import Look, look_of
from eval.report.svg import INK, PAPER, STYLE, WIDTH, svg
from eval.runs.lineup import Lineup
from eval.runs.tunings import TunedModel, Tunings

LOSSES = {"loss": "training loss, nats", "validation_loss": "validation loss, nats"}


def tuning_look(lineup: Lineup, model: TunedModel) -> Look:
    """That of the model's run; of random weights a mark and a line of their own, in the colour of their run."""
    look = look_of(lineup, model.run)
    return Look("x", "×", look.colour, dashes=(0, (1, 1.5))) if model.random_weights else look


def tuning_looks(lineup: Lineup, tunings: Tunings) -> dict[str, Look]:
    """How each model is drawn, by its name."""
    return {model.name: tuning_look(lineup, model) for model in tunings.models}


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
    look = tuning_look(lineup, model)
    mean = times * np.array(drawn.mean)
    axes.plot(
        drawn.epochs,
        mean,
        look.marker,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=look.width,
        markersize=4,
        markerfacecolor=PAPER if model.role == "control" else look.colour,
        zorder=look.order,
    )
    if None not in drawn.spread:
        reach = times * np.array(drawn.spread)
        axes.fill_between(
            drawn.epochs, mean - reach, mean + reach, color=look.colour, alpha=0.14, linewidth=0, zorder=2
        )

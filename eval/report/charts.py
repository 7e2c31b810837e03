"""Pictures of scores, a row for each phenomenon and a mark for each run, and of differences over seeds."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.compare.measures import Measure
from eval.report.looks import look_of
from eval.report.svg import INK, MUTED, PAPER, STUDENT, STYLE, WIDTH, WORSE, svg
from eval.results.scores_table import unit
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run
from eval.runs.verdicts import groups
from eval.tasks import title


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
    look = look_of(lineup, run)
    values = [100 * result["score"] for result in results]
    rows = range(len(values))
    if run.role == "teacher":
        axes.plot(values, rows, look.marker, color=look.colour, markersize=4.5, alpha=0.9, zorder=look.order)
        return
    errors = [200 * (result["standard_error"] or 0) for result in results]
    axes.errorbar(
        values,
        rows,
        xerr=errors,
        fmt=look.marker,
        color=look.colour,
        markerfacecolor=look.colour if run.role == "student" else PAPER,
        markersize=7,
        markeredgewidth=1.4,
        elinewidth=0.9,
        zorder=5 if run.role == "student" else 4,
    )


def differences_chart(found: dict[str, dict], measure: Measure, what: str) -> str:
    """A row for each difference, the best first: its interval, its mean, and each seed as a small mark."""
    names = measure.best_first(found)[::-1]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"{what} {measure.name}"}):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.27 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        for row, name in enumerate(names):
            cell = found[name]
            colour = {"better": STUDENT, "worse": WORSE}.get(cell["verdict"], MUTED)
            if cell["interval"]:
                axes.plot(list(map(measure.times, cell["interval"])), [row, row], color=colour, linewidth=1.6)
            seeds = list(map(measure.times, cell["by_seed"]))
            axes.plot(seeds, [row] * len(seeds), "|", color=colour, markersize=7, markeredgewidth=0.9)
            axes.plot([measure.times(cell["difference"])], [row], "o", color=colour, markersize=5.5)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(names) - 0.4)
        better = "less is better" if measure.less_is_better else "more is better"
        axes.set_xlabel(f"{measure.in_a_sentence}: {what} ({better})")
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        return svg(figure, f"{measure.heading}: {what}")

"""The pictures of the benchmark: what a step takes by side, and how it grows."""

import statistics
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.figures import MEMORY_VOCABULARY

COLOURS = {"plain": "#8a8a8a", "online": "#2f6db5", "cached": "#1f9a6b", "muon": "#c7761f"}
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "svg.fonttype": "none",
}
UNITS = {"teachers": "number of teachers", "vocabulary": "vocabulary, tokens", "length": "tokens a sequence"}


def draw_comparison(report: dict, path: Path) -> None:
    """Seconds of every timed step by side, and peaks of memory; bars are medians."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.set_title("seconds a step")
        _bars(left, {s: [v for r in rs for v in r["seconds"]] for s, rs in report["turns"].items()})
        peaks, vocabulary = report["turns"], report["config"]["data"]["vocab_size"]
        if report["memory_turns"]:
            peaks, vocabulary = report["memory_turns"], MEMORY_VOCABULARY
        right.set_title(f"peak memory, GiB, at vocabulary {vocabulary:,}")
        right.set_xlabel("line: before the first step")
        _bars(right, {s: [r["peak_bytes"] / 2**30 for r in rs] for s, rs in peaks.items()})
        for place, results in enumerate(peaks.values()):
            loaded = max(result["loaded_bytes"] for result in results) / 2**30
            right.hlines(loaded, place - 0.3, place + 0.3, color="black", linewidth=1)
        _save(figure, report, path)


def draw_growth(report: dict, path: Path) -> None:
    """A panel for each factor: seconds a step, both axes logarithmic, bars from least to most."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 3.2), layout="constrained")
        panels = dict(zip(UNITS, figure.subplots(1, 3, sharey=True), strict=True))
        for factor, axes in panels.items():
            points = [point for point in report["points"] if point["factor"] == factor]
            for side in dict.fromkeys(point["side"] for point in points):
                mine = [point for point in points if point["side"] == side]
                values = [point["value"] for point in mine]
                middle, low, high = (
                    [point["seconds"][key] for point in mine] for key in ("median", "min", "max")
                )
                axes.plot(values, middle, "o-", color=COLOURS[side], markersize=4, label=side)
                axes.vlines(values, low, high, color=COLOURS[side])
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(values, [f"{value:,}" for value in values])
            axes.set_xlabel(UNITS[factor])
        first = panels["teachers"]
        first.set_ylabel("seconds a step")
        first.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        first.yaxis.set_major_formatter("{x:g}")
        first.yaxis.set_minor_formatter(NullFormatter())
        first.legend(frameon=False)
        _save(figure, report, path)


def _bars(axes, values: dict[str, list[float]]) -> None:
    """A bar at the median of each side, and a dot for each of its values."""
    for place, (side, mine) in enumerate(values.items()):
        axes.bar(place, statistics.median(mine), width=0.6, color=COLOURS[side], alpha=0.6)
        axes.plot([place] * len(mine), mine, "ko", markersize=2)
    axes.set_xticks(range(len(values)), values)


def _save(figure: Figure, report: dict, path: Path) -> None:
    machine, config = report["machine"], report["config"]
    device = "" if machine["device"] == "cpu" else f" and {machine['device']}"
    figure.suptitle(f"{config['name']} on {machine['processor']}{device}", x=0.01, ha="left", fontsize=9)
    figure.savefig(path, dpi=150)

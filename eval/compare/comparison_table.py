"""Comparisons of `python -m eval.compare` as text for a terminal.

Scores are in percent, correlations times 100, bits per byte as they are.
"""

from eval.compare.measures import Measure
from eval.tasks import extent_note
from eval.tasks.perplexity import LOSSY

ITEMS = (
    "A star in the columns of intervals: 0 lies outside. In the last column: p < 0.05, for phenomena and subtasks "
    "after Holm's correction; what is one subtask alone has the exact sign test, all else A - B over its error.\n"
    "These are two single runs, and the noise of training is in none of these numbers: another seed could give "
    "another difference. Compare several runs a side with --a … --b …"
)
RUNS = (
    "A star: p < 0.05 (Welch's t test over runs), for phenomena and subtasks after Holm's correction. The interval "
    "includes the noise of training, as far as the runs differ in nothing but their seeds."
)


def comparison_table(comparison: dict, results: dict[str, dict]) -> str:
    """One comparison: a line a task, then the phenomena and the subtasks that differ of each.

    `results` are the tasks of the first folder's scores.json: they say if a task was scored whole.
    """
    line = run_line if comparison["over_runs"] else item_line
    heads = [f"{side.upper()} = {', '.join(comparison[side])}" for side in ("a", "b")]
    tasks = comparison["tasks"]
    lines = [*heads, "", header(comparison["over_runs"], "task")]
    lines += [line(named(name, cell), cell, Measure(name)) for name, cell in tasks.items()]
    for name in tasks:
        marks = [results[name].get(mark, False) for mark in ("partial", "synthetic")]
        if note := extent_note(results[name].get("limit"), *marks):
            lines += [f"{name} is no score of the whole task: {note}"]
        if tasks[name].get("lossy"):
            lines += [f"{name}: of one or more of the models {LOSSY}"]
    for name, cell in tasks.items():
        if phenomena := cell.get("by_phenomenon"):
            lines += ["", header(comparison["over_runs"], f"{name} by phenomenon")]
            lines += [line(part, found, Measure(name)) for part, found in by_difference(phenomena)]
        if subtasks := cell.get("by_subtask"):
            lines += ["", *subtask_lines(name, subtasks, line, comparison["over_runs"])]
    return "\n".join([*lines, "", RUNS if comparison["over_runs"] else ITEMS])


def subtask_lines(task: str, subtasks: dict[str, dict], line, over_runs: bool, few: int = 10) -> list[str]:
    """All subtasks if they are few, else those that differ after the correction, or a line that says none does."""
    differ = {name: cell for name, cell in subtasks.items() if cell.get("p_holm", 1) < 0.05}
    if len(subtasks) <= few:
        shown, title = subtasks, f"{task} by subtask"
    elif differ:
        shown, title = differ, f"{task}: {len(differ)} of {len(subtasks)} differ"
    else:
        return [f"{task}: none of its {len(subtasks)} subtasks differs after the correction"]
    return [
        header(over_runs, title),
        *(line(name, cell, Measure(task)) for name, cell in by_difference(shown)),
    ]


def by_difference(cells: dict[str, dict]) -> list[tuple[str, dict]]:
    """The largest gain of A first."""
    return sorted(cells.items(), key=lambda entry: -entry[1]["difference"])


def named(task: str, cell: dict) -> str:
    """A task's name, and what its number is where that is no accuracy."""
    notes = {"accuracy": "", "bits per byte": " (bits per byte, less is better)"}
    return task + notes.get(cell["metric"], f" ({cell['metric'].replace('_', ' ')})")


def header(over_runs: bool, title: str) -> str:
    """The names of the columns of `item_line` or `run_line`."""
    start = f"{title[:46]:<46} {'A':>7} {'B':>7} {'A - B':>7}"
    if over_runs:
        return f"{start}  {'other seeds':<19} {'runs':>7} {'sd A':>6} {'sd B':>6} {'p':>8}"
    return f"{start}  {'other items':<19} {'other subtasks':<19} {'items better:worse':>18} {'p':>8}"


def item_line(name: str, cell: dict, measure: Measure) -> str:
    """One difference of two models, with what of its error is known."""
    intervals = (
        f"{interval(cell.get('interval_items'), measure)} {interval(cell.get('interval_subtasks'), measure)}"
    )
    if "interval_items" not in cell:
        return f"{start(name, cell, measure)}  no interval: the difference alone"
    if "p_value" not in cell:
        return f"{start(name, cell, measure)}  {intervals}".rstrip()
    counts = f"{cell['better']:,}:{cell['worse']:,}"
    return f"{start(name, cell, measure)}  {intervals} {counts:>18} {p_text(cell)}".rstrip()


def run_line(name: str, cell: dict, measure: Measure) -> str:
    """One difference of two sets of runs."""
    runs = ":".join(map(str, cell["runs"]))
    spread = " ".join(
        f"{'-' if value is None else measure.shown(value):>6}" for value in cell["standard_deviations"]
    )
    found = interval(cell["interval_runs"], measure, star=False)
    return f"{start(name, cell, measure)}  {found} {runs:>7} {spread} {p_text(cell)}".rstrip()


def start(name: str, cell: dict, measure: Measure) -> str:
    """The columns that both kinds of lines begin with."""
    scores = f"{measure.shown(cell['a']):>7} {measure.shown(cell['b']):>7}"
    return f"{name[:46]:<46} {scores} {measure.shown(cell['difference'], '+'):>7}"


def interval(ends: list[float] | None, measure: Measure, *, star: bool = True) -> str:
    """[low, high], with a star if 0 lies outside; blanks where there is none."""
    if ends is None:
        return f"{'-':<19}"
    outside = "*" if star and not ends[0] <= 0 <= ends[1] else ""
    low, high = (measure.shown(end, "+") for end in ends)
    return f"{f'[{low}, {high}]{outside}':<19}"


def p_text(cell: dict) -> str:
    """The p-value, after the correction if there is one, with a star below 0.05."""
    p = cell.get("p_holm", cell["p_value"])
    if p is None:
        return f"{'-':>8}"
    text = f"{p:.4f}" if p >= 0.0001 else "<.0001"
    return f"{text:>8}{'*' if p < 0.05 else ''}"

"""Records as Markdown: a heading, what was asked or trained on, a picture, tables, and what produced them."""

from collections.abc import Callable, Iterable

from eval.compare.measures import HARD, TEXT, Measure
from eval.results.scores_table import percent, unit
from eval.tasks import extent_note, title

CHANGED, MANY = " with uncommitted changes", "seeds would tell"


def render(records: list[dict]) -> str:
    """The records as Markdown, one after the other."""
    return "\n\n".join(render_study(found) if "answers" in found else render_one(found) for found in records)


def render_study(found: dict) -> str:
    """What came out of a study, and where its page is; by numbers too where it has a few cells and no axes."""
    told = "" if found["axes"] else study_tables(found)
    compared = len(found["measures"].get(found["judge"], {}))
    cells = sum(cell["label"] != found["rival"] for cell in found["cells"])
    so_far, seeds = f"{compared} of " * (compared < cells), ", ".join(map(str, found["seeds"]))
    parts = [
        f"### {found['name']}",
        f"{found['question']} {so_far}{cells} cells with seeds {seeds}, each against {found['rival']}: "
        f"[the page]({found['page']}).",
        f"**{found['said']}**",
        _image(found, f"Every cell of {found['name']} less {found['rival']}: mean, interval and each seed"),
        told,
        _origin(found, found["commits"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _image(found: dict, shows: str) -> str:
    return f"![{shows}]({found['picture']})" if "picture" in found else ""


def _origin(found: dict, commits: Iterable[str]) -> str:
    """When, from what and on what a record was made."""
    parts = [found["date"], f"commit {', '.join(f'`{each[:10]}`' for each in commits) or 'unknown'}"]
    parts[1] += CHANGED if found["dirty"] else ""
    return ", ".join([*parts, *found.get("machines", []), f"`{found['command']}`"])


def measure_of(found: dict, name: str) -> Measure:
    """By which a study's record compares its cells."""
    return Measure(name, found.get("metrics", {}).get(name, "accuracy"))


def study_tables(found: dict) -> str:
    """A row for each cell, and for each comparison of two, the best first; nothing where nothing was judged."""
    judge, sides = found["judge"], found["measures"]
    if not sides.get(judge):
        return ""
    names = [judge, *(name for name in sides if not (name == HARD and TEXT in sides))]
    measures = {name: measure_of(found, name) for name in names}
    headings = [measure.heading for measure in measures.values()]
    rival = [_alike(measure, sides[name].values()) for name, measure in measures.items()]
    rows = [[found["rival"].removeprefix("the "), *rival], *_rows(found, "measures", measures, _compared)]
    how = (
        f"Mean ± standard deviation over seeds; in brackets less {found['rival']}, with the 95 % interval of that "
        "over seeds and, in tasks, items too. Bold: p < 0.05 after Holm's correction for the number of rows."
    )
    parts = [_table(["model", *headings], rows), how]
    if rows := _rows(found, "contrasts", measures, _difference):
        parts.append(_table(["A − B", *headings], rows))
    if any(MANY in part for part in parts):
        parts.append(
            f"*N {MANY}*: with N seeds a true difference of that size would be found, four times in five."
        )
    return "\n\n".join(parts)


def _rows(
    found: dict, part: str, measures: dict[str, Measure], tell: Callable[[Measure, dict], str]
) -> list[list[str]]:
    """One for each label, the best first by what the study is judged by."""
    sides, rows = found[part], []
    judged = sides.get(found["judge"], {})
    for label in measures[found["judge"]].best_first(judged):
        seeds = judged[label]["seeds"]
        few = f" ({seeds} seed{'s' * (seeds > 1)})" * (seeds < len(found["seeds"]))
        told = (
            tell(measure, sides[name][label]) if label in sides.get(name, {}) else "–"
            for name, measure in measures.items()
        )
        rows.append([label.replace(", not ", " − ") + few, *told])
    return rows


def _table(header: list[str], rows: list[list[str]], words: int = 1) -> str:
    """In Markdown; all but the first columns, `words` of them, hold numbers."""
    lines = [header, [*["---"] * words, *["---:"] * (len(header) - words)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _difference(measure: Measure, cell: dict) -> str:
    """How one side differs from the other, and how many seeds would tell where these do not."""
    difference = measure.shown(cell["difference"], "+")
    known = cell["verdict"] in ("better", "worse")
    told = f"**{difference}**" if known else difference
    if cell["interval"]:
        told += ", " + " to ".join(measure.shown(end, "+") for end in cell["interval"])
        if not known:
            told += f"; {cell['settles']} {MANY}"
    return told


def _compared(measure: Measure, cell: dict) -> str:
    """A cell's mean, and how it differs from its control."""
    return f"{_spread(measure, cell['mean'], cell['standard_deviation'])} ({_difference(measure, cell)})"


def _alike(measure: Measure, cells: Iterable[dict]) -> str:
    """What all cells are compared with, where that is one."""
    told = {_spread(measure, cell["control_mean"], cell["noise"]) for cell in cells}
    return told.pop() if len(told) == 1 else "–"


def _spread(measure: Measure, mean: float, deviation: float | None) -> str:
    return measure.shown(mean) + ("" if deviation is None else f" ± {measure.shown(deviation)}")


def render_one(found: dict) -> str:
    tasks = list(found["items"])
    metrics = found.get("metrics", {})  # records from before there was another one have none
    columns = [f"{title(task)}, {unit(metrics.get(task, 'accuracy'))}" for task in tasks]
    bits = found["held_out"] is not None
    header = ["model", "role", "parameters", "words of exposure", *columns]
    header += [f"held-out text ({found['held_out']}), bits per byte"] if bits else []
    rows = []
    for line in found["rows"]:
        cells = [line["model"], line["role"], f"{line['parameters']:,}", f"{line['words_seen']:,}"]
        cells += [percent(*line["scores"][task]) if task in line["scores"] else "–" for task in tasks]
        cells += [f"{line['scores']['bits_per_byte']:.4f}"] if bits else []
        rows.append(cells)
    notes = [note for key in ("asked_how", "lossy") if (note := found.get(key))]
    notes += _same_model(found["rows"])
    counts = ", ".join(
        f"{title(task)} {items:,}" + (f" ({note})" if (note := _extent(found, task)) else "")
        for task, items in found["items"].items()
    )
    parts = [
        f"### {found['name']}",
        f"Trained on {found['corpus']}. Items: {counts}. One seed; ± is the standard error of drawing the items, "
        f"not the noise of training. {' '.join(notes)}".rstrip(),
        _image(found, f"Held-out hard loss of each model of {found['name']} while it was trained"),
        _table(header, rows, words=2),
        _origin(found, [found["commit"]] if found["commit"] else []),
    ]
    return "\n\n".join(part for part in parts if part)


def _same_model(rows: list[dict]) -> list[str]:
    """That the control is a teacher too, where all numbers of both are the same."""
    numbers = ("parameters", "words_seen", "scores")
    controls = [line for line in rows if line["role"] == "control"]
    return [
        f"{control['model']} has the config and the seed of {line['model']}: it is the same model."
        for control in controls
        for line in rows
        if line["role"] == "teacher" and all(line[name] == control[name] for name in numbers)
    ]


def _extent(found: dict, task: str) -> str:
    marks = [task in found.get(mark, []) for mark in ("partial", "synthetic")]
    return extent_note(found.get("limits", {}).get(task), *marks)

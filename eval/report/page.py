"""One self-contained HTML page about a student, its teachers and its control.

It reads finished run folders (those of teachers and control are named in the student's summary) and no model.
"""

from pathlib import Path

import jinja2

from eval.probe.probed import read_probe
from eval.report import charts, curves, probe_charts, tuning_charts
from eval.report.looks import look_of
from eval.results.json_files import read_json
from eval.results.scores_table import percent, tie_note, unit
from eval.runs.caveats import outside, trial
from eval.runs.commands import commands
from eval.runs.evaluations import read_evaluated
from eval.runs.ledger import READINGS, corpus_text, ledger, verdict
from eval.runs.lineup import Lineup
from eval.runs.revisions import learning_curves
from eval.runs.run_folder import Run
from eval.runs.verdicts import Difference, differences, verdicts
from eval.tasks import extent_note, title
from eval.tasks.perplexity import LOSSY, is_lossy

TEMPLATES = Path(__file__).with_name("templates")
BACKEND_NOTES = {
    "causal": "from left to right",
    "mlm": "by each token in turn hidden",
    "mntp": "by each token in turn hidden, all seeing each other, its prediction read one position to the left",
}
"""How a model is asked by each backend."""


def page(lineup: Lineup, known: dict | None = None) -> str:
    """The whole report as one HTML text that loads nothing; `known`: its `facts`, where somebody has found them."""
    known = known or facts(lineup)
    probe, probe_refused = read_probe(lineup.student.folder)
    learned, tunings = learning_curves(known["evaluated"].revisions), known["evaluated"].tunings
    return (
        templates()
        .get_template("report.html")
        .render(
            **known,
            subtasks={
                task: subtask_rows(lineup, task, delta) for task, delta in known["differences"].items()
            },
            score_charts={task: charts.score_chart(lineup, task) for task in lineup.student.tasks},
            held_out_chart=curves.held_out_chart(lineup),
            revision_charts=revision_charts(learned),
            stand_ins=stand_ins(lineup.student, learned),
            terms_chart=curves.terms_chart(lineup),
            probe=probe,
            probe_refused=probe_refused,
            **(probe_pictures(probe) if probe else {}),
            layers_chart=curves.layers_chart(lineup.student),
            looks={run.name: look_of(lineup, run) for run in lineup.runs}
            | tuning_charts.tuning_looks(lineup, tunings),
            tuning_charts={task: tuning_charts.tuning_chart(lineup, tunings, task) for task in tunings.tasks},
        )
    )


def probe_pictures(probe: dict) -> dict:
    """How the models of a probe are drawn, and its pictures, by teacher; none of a model that stands alone."""
    teachers = {
        name: {"cka": probe_charts.cka_chart(probe, name), "planes": probe_charts.planes_chart(probe, name)}
        for name in probe["alikeness"]
    }
    pictures = {"calibration": probe_charts.calibration_chart(probe), "teachers": teachers}
    return {"probe_looks": probe_charts.probe_looks(probe), "probe_charts": pictures if teachers else None}


def stand_ins(student: Run, learned: dict[str, list[tuple[int, dict]]]) -> set[str]:
    """The tasks of which the student or a revision was scored on stand-ins for the official data."""
    results = [(task, result) for task, points in learned.items() for _, result in points]
    return {task for task, result in [*student.tasks.items(), *results] if result.get("synthetic")}


def revision_charts(learned: dict[str, list[tuple[int, dict]]]) -> dict[str, str]:
    """task -> its picture, of each task that two or more of the student's revisions were scored on."""
    return {task: curves.revisions_chart(task, points) for task, points in learned.items() if len(points) > 1}


def facts(lineup: Lineup) -> dict:
    """What the page and the model card both say."""
    found, words, summary = differences(lineup), ledger(lineup), lineup.student.summary
    evaluated = read_evaluated(lineup)
    return {
        "lineup": lineup,
        "student": lineup.student,
        "control": lineup.control,
        "nursery": lineup.student.nursery,
        "corpus": corpus_text(lineup.student),
        "differences": found,
        "verdicts": verdicts(lineup, found),
        "text": text_figures(lineup),
        "audit": audit(lineup.student),
        "ledger": words,
        "trial": trial(summary),
        "outside": outside(summary, words),
        "asked_how": asked_how(lineup.runs),
        "unasked": {run.name: run.scores["refused"] for run in lineup.teachers if run.scores.get("refused")},
        "reading_names": READINGS,
        "evaluated": evaluated,
        "commands": commands(lineup, evaluated),
    }


def templates(*folders: Path):
    """The Jinja environment of pages and the model card: HTML is escaped, an unknown name is an error.

    `folders` hold templates beside those of this room.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, *folders], encoding="utf-8"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda fraction: f"{100 * fraction:.2f}",
        "unit": unit,
        "signed": lambda fraction: f"{100 * fraction:+.2f}".replace("-", "\N{MINUS SIGN}"),
        "count": lambda number: f"{number:,}",
        "duration": duration,
        "speed": speed,
        "hardware": hardware,
        "title": title,
        "verdict": verdict,
    }
    environment.globals |= {"extent_note": extent_note, "tie_note": tie_note}
    environment.globals |= {"with_error": percent}
    return environment


def hardware(run: Run) -> str:
    """What a run was trained on, one machine after the other: "NVIDIA H100, 8 threads; then AMD EPYC, 2 logical …"."""
    count = run.summary.get("processes", 1)
    times = f"{count} \N{MULTIPLICATION SIGN} " if count > 1 else ""
    machines = []
    for start in run.starts:
        name = start.get("processor") or "CPU" if start["device"] == "cpu" else start["device"]
        machines.append(f"{times}{name}" + (f", {start['threads']} threads" if start.get("threads") else ""))
    return "; then ".join(dict.fromkeys(machines))


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 12 min 05 s, 1 h 03 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def speed(value: float | None) -> str:
    """A number of things a second with two digits that count, or all before the point: 0.034, 7.2, 1,250."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def text_figures(lineup: Lineup) -> dict | None:
    """Held-out text: {"label", "totals": {run: figures}, "files": {file: {run: figures}}}, or None."""
    student = lineup.student
    if student.held_out is None:
        return None
    result = student.scores["tasks"]["perplexity"]
    files = {run.name: run.scores["tasks"]["perplexity"]["files"] for run in lineup.runs}
    return {
        "label": f"Held-out text ({student.held_out[0]})",
        "totals": {run.name: run.held_out[1] for run in lineup.runs},
        "files": {file: {name: files[name][file] for name in files} for file in result["files"]},
        "window": result["window"],
        "stride": result["stride"],
        "max_words": result["max_words"],
        "lossy": lossy_note(lineup.runs),
    }


def lossy_note(runs: list[Run]) -> str:
    """Whose bits per byte are of a part of the text alone, in a sentence; empty if nobody's are."""
    names = [run.name for run in runs if is_lossy(run.scores["tasks"].get("perplexity", {}))]
    return f"{', '.join(names)}: {LOSSY}." if names else ""


def asked_how(runs: list[Run]) -> str:
    """Who was scored by which backend, in sentences; empty where all were read from left to right."""
    by_backend: dict[str, list[str]] = {}
    for run in runs:
        by_backend.setdefault(run.backend, []).append(run.name)
    if set(by_backend) == {"causal"}:
        return ""
    parts = [
        f"{', '.join(names)} {BACKEND_NOTES[backend]} (`{backend}`)" for backend, names in by_backend.items()
    ]
    return f"Scored: {'; '.join(parts)}."


def subtask_rows(
    lineup: Lineup, task: str, found: Difference
) -> list[tuple[str, list[dict | None], Difference]]:
    """(subtask, one result a run, student less control), the largest gain over the control first.

    None for a teacher that could not be asked.
    """
    cells = [run.tasks[task]["by_subtask"] if task in run.tasks else {} for run in lineup.runs]
    rows = [
        (name, [run.get(name) for run in cells], delta) for name, delta in sorted(found.by_subtask.items())
    ]
    return sorted(rows, key=lambda row: -row[2].value)


def audit(student: Run) -> dict[str, dict]:
    """The gradient audit made when the student's training started."""
    return read_json(
        student.folder / "audit.json", "a distillation writes it at its start; train the student again"
    )

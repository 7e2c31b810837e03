"""Small committed records of scores, and the tables of the README that are rendered from them.

    python -m eval.report.readme --record distill/results/nursery.json runs/nursery --command "make submission"
    python -m eval.report.readme --record docs/combine.json runs/studies/combine --command "make study STUDY=…"
    python -m eval.report.readme README.md distill/results/*.json docs/*.json

No number in the README is typed: each comes from `scores.json` through a record, and a test compares the two.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.files import utf8_text
from babylm_data.sealed import write_whole
from eval.compare.measures import HARD, TEXT, Measure
from eval.report.curves import held_out_chart
from eval.report.page import TEMPLATES, asked_how, lossy_note
from eval.results.json_files import read_json, require
from eval.results.scores_table import percent, unit
from eval.runs.ledger import corpus_text
from eval.runs.lineup import Lineup, read_lineup
from eval.runs.run_folder import Run
from eval.tasks import extent_note, title

BEGIN, END = "<!-- scores:begin -->", "<!-- scores:end -->"
STUDY, STUDY_KEYS = "results.json", ("name", "question", "seeds", "cells", "said", "answers")
STUDY_KEYS += ("rival", "date", "commits", "dirty")
CHANGED = " with uncommitted changes"
SCORE_STUDY = "compare its cells with `python -m eval.study STUDY.yaml`"
KEYS = ("name", "date", "commit", "dirty", "command", "corpus", "items", "held_out", "rows")


def main(argv: list[str]) -> int:
    parser = parser_of("eval.report.readme", __doc__)
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="README RECORD… | RUN",
        help="the file to rewrite and its records, in order; with --record: a student's or a study's folder",
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write the record of RUN, and its picture beside it"
    )
    parser.add_argument("--command", help="with --record: the command that produced all of RUN")
    arguments = parser.parse_args(argv)
    if not arguments.record:
        readme, *records = arguments.paths
        rewrite_readme(readme, records)
        print(f"wrote the tables of {len(records)} records into {readme}")
        return 0
    if len(arguments.paths) != 1 or not arguments.command:
        raise UserError("--record FILE needs one RUN and --command TEXT, the command that produced all of it")
    if (arguments.paths[0] / STUDY).is_file():
        page = arguments.record.with_suffix(".html")
        found = study_record(arguments.paths[0], arguments.command) | {"page": page.as_posix()}
        write_whole(arguments.record, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(f"wrote {arguments.record}")
        write_whole(page, utf8_text(arguments.paths[0] / "report.html", SCORE_STUDY))
        print(f"wrote {page}")
        return 0
    lineup = read_lineup(arguments.paths[0])
    found = record(lineup, arguments.command)
    write_whole(arguments.record, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {arguments.record}")
    if drawn := picture(lineup):
        write_whole(arguments.record.with_suffix(".svg"), drawn)
        print(f"wrote {arguments.record.with_suffix('.svg')}")
    return 0


def picture(lineup: Lineup) -> str | None:
    """The report's chart of held-out loss as a file of its own, light or dark as its reader is; None without one."""
    if not (chart := held_out_chart(lineup)):
        return None
    colours = (TEMPLATES / "report.css").read_text(encoding="utf-8").partition("\n* {")[0]
    style = f"<style>{colours} svg {{ background: var(--paper); font-family: sans-serif }}</style>"
    head, rest = chart.removeprefix("<svg").split(">", 1)
    return f'<svg xmlns="http://www.w3.org/2000/svg"{head}>{style}{rest}\n'


def record(lineup: Lineup, command: str) -> dict:
    """What the README says about one lineup: fractions of 1, words, bits; `command` produced all of it."""
    student = lineup.student
    return {
        "name": student.name,
        "date": student.scoring[-1][0][:10],
        "commit": student.environment.get("commit"),
        "dirty": bool(student.environment.get("dirty")),
        "command": command,
        "corpus": corpus_text(student),
        "items": {task: result["items"] for task, result in student.tasks.items()},
        "metrics": {task: result["metric"] for task, result in student.tasks.items()},
        "limits": {task: result["limit"] for task, result in student.tasks.items() if result["limit"]},
        "partial": [task for task, result in student.tasks.items() if result["partial"]],
        "synthetic": [task for task, result in student.tasks.items() if result.get("synthetic")],
        "held_out": student.held_out[0] if student.held_out else None,
        "lossy": lossy_note(lineup.runs),
        "asked_how": asked_how(lineup.runs),
        "rows": [row(run) for run in lineup.runs],
    }


def study_record(folder: Path, command: str) -> dict:
    """What `python -m eval.study` found of a study, and `command`, which produced all of it."""
    return read_json(folder / STUDY, SCORE_STUDY, STUDY_KEYS) | {"command": command}


def row(run: Run) -> dict:
    scores = {task: [result["score"], result["standard_error"]] for task, result in run.tasks.items()}
    if run.held_out:
        scores["bits_per_byte"] = run.held_out[1]["bits_per_byte"]
    return {
        "model": run.name,
        "role": run.role,
        "parameters": run.summary["parameters"],
        "words_seen": run.summary["words_seen"],
        "scores": scores,
    }


def render(records: list[dict]) -> str:
    """The records as Markdown: a heading, the corpus, one table, and what produced it."""
    return "\n\n".join(render_study(found) if "answers" in found else render_one(found) for found in records)


def render_study(found: dict) -> str:
    """What came out of a study, and where its page is: by its axes, or by its cells where it has none."""
    answers = "\n".join(f"- {line}" for line in found["answers"])
    table = "" if found["axes"] else study_table(found)
    cells, seeds = len(found["cells"]), ", ".join(map(str, found["seeds"]))
    parts = [
        f"### {found['name']}",
        f"{found['question']} {cells} cells with seeds {seeds}, each against {found['rival']}: "
        f"[the page]({found['page']}).",
        f"**{found['said']}**",
        table,
        answers,
        f"{found['date']}, commit {', '.join(f'`{commit[:10]}`' for commit in found['commits']) or 'unknown'}"
        f"{CHANGED if found['dirty'] else ''}, `{found['command']}`",
    ]
    return "\n\n".join(part for part in parts if part)


def study_table(found: dict) -> str:
    """A row for each cell, the best first, and for what all are compared with; nothing where nothing was judged."""
    if not (judged := found["measures"].get(found["judge"])):
        return ""
    names = [name for name in found["measures"] if not (name == HARD and TEXT in found["measures"])]
    measures = {name: Measure(name, found.get("metrics", {}).get(name, "accuracy")) for name in names}
    lines = [["model", *(measure.heading for measure in measures.values())], ["---", *["---:"] * len(names)]]
    rival = [_alike(measure, found["measures"][name].values()) for name, measure in measures.items()]
    lines.append([found["rival"].removeprefix("the "), *rival])
    for label in Measure(found["judge"]).best_first(judged):
        cells = [(measure, found["measures"][name].get(label)) for name, measure in measures.items()]
        lines.append([label, *(_compared(measure, cell) if cell else "–" for measure, cell in cells)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    how = f"Mean ± standard deviation over seeds; in brackets less {found['rival']}, with its 95 % interval over seeds"
    return f"{table}\n\n{how} and items, bold where Holm's correction for the number of cells leaves it."


def _compared(measure: Measure, cell: dict) -> str:
    """A cell's mean, and how it differs from its control."""
    difference = measure.shown(cell["difference"], "+")
    told = f"**{difference}**" if cell["verdict"] in ("better", "worse") else difference
    if cell["interval"]:
        told += ", " + " to ".join(measure.shown(end, "+") for end in cell["interval"])
    return f"{_spread(measure, cell['mean'], cell['standard_deviation'])} ({told})"


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
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)]]
    for line in found["rows"]:
        cells = [line["model"], line["role"], f"{line['parameters']:,}", f"{line['words_seen']:,}"]
        cells += [percent(*line["scores"][task]) if task in line["scores"] else "–" for task in tasks]
        cells += [f"{line['scores']['bits_per_byte']:.4f}"] if bits else []
        lines.append([f"**{cell}**" for cell in cells] if line["role"] == "student" else cells)
    notes = [note for key in ("asked_how", "lossy") if (note := found.get(key))]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    counts = ", ".join(
        f"{title(task)} {items:,}" + (f" ({note})" if (note := _extent(found, task)) else "")
        for task, items in found["items"].items()
    )
    commit = f"`{found['commit'][:10]}`" if found["commit"] else "unknown"
    return "\n\n".join(
        [
            f"### {found['name']}",
            f"Trained on {found['corpus']}. Items: {counts}. "
            f"One seed; ± is the standard error of drawing the items. {' '.join(notes)}".rstrip(),
            table,
            f"{found['date']}, commit {commit}{CHANGED if found['dirty'] else ''}, `{found['command']}`",
        ]
    )


def _extent(found: dict, task: str) -> str:
    marks = [task in found.get(mark, []) for mark in ("partial", "synthetic")]
    return extent_note(found.get("limits", {}).get(task), *marks)


def rewrite_readme(readme: Path, records: list[Path]) -> None:
    """Put the rendered records between the two markers of `readme`; all other text stays as it is."""
    remedy = "write it with `python -m eval.report.readme --record FILE RUN --command TEXT`"
    found = [read_json(path, remedy, ("name", "command")) for path in records]
    for path, each in zip(records, found, strict=True):
        require(each, STUDY_KEYS if "answers" in each else KEYS, str(path), remedy)
    rendered = render(found)
    try:
        text = utf8_text(readme, "name README.md first")
    except OSError as error:
        raise UserError(f"{readme} cannot be read: {error.strerror}") from None
    if not re.search(f"{BEGIN}.*{END}", text, flags=re.DOTALL):
        raise UserError(f"{readme} has no lines {BEGIN} and {END}: put them where the tables belong")
    before, rest = text.split(BEGIN, 1)
    write_whole(readme, f"{before}{BEGIN}\n{rendered}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    run_stage(main)

"""Small committed records of scores, and the tables of the README that are rendered from them.

    python -m eval.report.readme --record distill/results/nursery.json runs/nursery --command "make submission"
    python -m eval.report.readme --record docs/combine.json runs/studies/combine --command "make study STUDY=…"
    python -m eval.report.readme README.md docs/nursery-seeds.json distill/results/*.json

No number in a README is typed: each comes from `scores.json` through a record, and a test compares the two.
"""

import json
import os
import re
from pathlib import Path

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.files import utf8_text
from babylm_data.sealed import write_whole
from eval.report.charts import differences_chart
from eval.report.curves import held_out_chart
from eval.report.page import TEMPLATES, asked_how, lossy_note
from eval.report.record_tables import measure_of, render
from eval.results.json_files import read_json, require
from eval.runs.ledger import corpus_text
from eval.runs.lineup import Lineup, read_lineup
from eval.runs.run_folder import Run, machines

BEGIN, END = "<!-- scores:begin -->", "<!-- scores:end -->"
STUDY, STUDY_KEYS = "results.json", ("name", "question", "seeds", "cells", "said", "answers")
STUDY_KEYS += ("rival", "date", "commits", "dirty", "axes", "judge", "measures", "contrasts")
SCORE_STUDY = "compare its cells with `python -m eval.study STUDY.yaml`"
SUFFIXES = {"page": ".html", "picture": ".svg"}
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
    write_record(arguments.paths[0], arguments.record, arguments.command)
    return 0


def write_record(run: Path, path: Path, command: str) -> None:
    """The record of a student or a study, its picture beside it, and the page of a study."""
    beside: dict[str, str] = {}
    if (run / STUDY).is_file():
        found = study_record(run, command)
        chart = study_picture(found)
        beside["page"] = utf8_text(run / "report.html", SCORE_STUDY)
    else:
        lineup = read_lineup(run)
        found, chart = record(lineup, command), held_out_chart(lineup)
    if chart:
        beside["picture"] = standing_alone(chart)
    for what, text in beside.items():
        file = path.with_suffix(SUFFIXES[what])
        found[what] = file.as_posix()
        write_whole(file, text)
        print(f"wrote {file}")
    write_whole(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {path}")


def study_picture(found: dict) -> str | None:
    """How each cell differs from its control by what the study is judged by; None where nothing was judged."""
    if not (cells := found["measures"].get(found["judge"])):
        return None
    return differences_chart(cells, measure_of(found, found["judge"]), f"less {found['rival']}")


def standing_alone(chart: str) -> str:
    """A chart of a page as a file of its own, light or dark as its reader is."""
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
        "machines": machines([student.environment]),
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


def rewrite_readme(readme: Path, records: list[Path]) -> None:
    """Put the rendered records between the two markers of `readme`; all other text stays as it is."""
    rendered = render([seen_from(readme, path) for path in records])
    try:
        text = utf8_text(readme, "name README.md first")
    except OSError as error:
        raise UserError(f"{readme} cannot be read: {error.strerror}") from None
    if not re.search(f"{BEGIN}.*{END}", text, flags=re.DOTALL):
        raise UserError(f"{readme} has no lines {BEGIN} and {END}: put them where the tables belong")
    before, rest = text.split(BEGIN, 1)
    write_whole(readme, f"{before}{BEGIN}\n{rendered}\n{END}{rest.split(END, 1)[1]}")


def seen_from(readme: Path, path: Path) -> dict:
    """A record, with links from a README to the page and the picture beside it."""
    remedy = "write it with `python -m eval.report.readme --record FILE RUN --command TEXT`"
    found = read_json(path, remedy, ("name", "command"))
    require(found, STUDY_KEYS if "answers" in found else KEYS, str(path), remedy)
    links = {what: path.with_suffix(suffix) for what, suffix in SUFFIXES.items() if what in found}
    return found | {
        what: Path(os.path.relpath(file, readme.parent)).as_posix() for what, file in links.items()
    }


if __name__ == "__main__":
    run_stage(main)

"""One self-contained HTML page about a student, its teachers and its control; score tables of the README.

    python -m eval.report runs/nursery                    # writes runs/nursery/report.html
    python -m eval.report runs/nursery --record distill/results/nursery.json
    python -m eval.report --readme README.md distill/results/*.json

It reads finished run folders (those of teachers and control are named in the student's summary) and no model.
"""

import argparse
import json
from pathlib import Path

from babylm_data.errors import UserError, run_stage
from eval.compare import bits_per_byte, difference, perplexity, title, verdicts
from eval.ledger import READINGS, ledger
from eval.records import corpus_text, is_nursery, record, rewrite_readme, write_whole
from eval.run_folders import Lineup, Run, held_out, read_json, read_lineup


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.readme:
        rewrite_readme(arguments.readme, arguments.paths)
        print(f"wrote the tables of {len(arguments.paths)} records into {arguments.readme}")
        return 0
    if len(arguments.paths) != 1:
        raise UserError(f"{len(arguments.paths)} run folders given: a report is about one student")
    folder = arguments.paths[0]
    lineup = read_lineup(folder)
    if arguments.record:
        text = json.dumps(record(lineup, arguments.command), indent=1, ensure_ascii=False) + "\n"
        write_whole(arguments.record, text)
        print(f"wrote {arguments.record}")
    if arguments.out or not arguments.record:
        out = arguments.out or folder / "report.html"
        write_whole(out, page(lineup))
        print(f"wrote {out}")
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN|RECORD",
        help="a student's run folder, finished and scored; with --readme: records",
    )
    parser.add_argument("--out", type=Path, help="the page to write (default: RUN/report.html)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write the small JSON record for the README"
    )
    parser.add_argument(
        "--command", help="with --record: the command that produced all of it (default: the student's)"
    )
    parser.add_argument(
        "--readme", type=Path, metavar="README", help="rewrite its score tables from the records"
    )
    return parser.parse_args(argv)


def page(lineup: Lineup) -> str:
    """The whole report as one HTML text that loads nothing."""
    from eval import charts

    template = templates().get_template("report.html")
    return template.render(
        lineup=lineup,
        student=lineup.student,
        control=lineup.control,
        nursery=is_nursery(lineup.student),
        corpus=corpus_text(lineup.student),
        verdicts=verdicts(lineup),
        text=text_figures(lineup),
        subtasks={task: subtask_rows(lineup, task) for task in lineup.student.tasks},
        accuracy_charts={task: charts.accuracy_chart(lineup, task) for task in lineup.student.tasks},
        held_out_chart=charts.held_out_chart(lineup),
        terms_chart=charts.terms_chart(lineup),
        audit=audit(lineup.student),
        ledger=ledger(lineup),
        reading_names=READINGS,
        commands=commands(lineup),
        marks={
            run.name: (charts.mark(lineup, run)[1], charts.css_colour(lineup, run)) for run in lineup.runs
        },
    )


def templates():
    """The Jinja environment of the page and the model card: HTML is escaped, an unknown name is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda fraction: f"{100 * fraction:.2f}",
        "signed": lambda fraction: f"{100 * fraction:+.2f}".replace("-", "\N{MINUS SIGN}"),
        "count": lambda number: f"{number:,}",
        "duration": duration,
        "title": title,
    }
    environment.globals |= {
        "difference": difference,
        "bits_per_byte": bits_per_byte,
        "perplexity": perplexity,
    }
    return environment


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 12 min 05 s, 1 h 03 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def text_figures(lineup: Lineup) -> dict | None:
    """Held-out text: {"label", "totals": {run: figures}, "files": {file: {run: figures}}}, or None."""
    if held_out(lineup.student) is None:
        return None
    files = {run.name: run.scores["tasks"]["perplexity"]["files"] for run in lineup.runs}
    return {
        "label": held_out(lineup.student)[0],
        "totals": {run.name: held_out(run)[1] for run in lineup.runs},
        "files": {file: {name: files[name][file] for name in files} for file in files[lineup.student.name]},
    }


def subtask_rows(lineup: Lineup, task: str) -> list[tuple[str, list[dict], object]]:
    """(subtask, one result a run, Difference or None), the largest gain over the control first."""
    rows = []
    for name in sorted(lineup.student.tasks[task]["by_subtask"]):
        results = [run.tasks[task]["by_subtask"][name] for run in lineup.runs]
        delta = difference(results[-2], results[-1]) if lineup.control else None
        rows.append((name, results, delta))
    return sorted(rows, key=lambda row: -row[2].value) if lineup.control else rows


def audit(student: Run) -> dict[str, dict]:
    """The gradient audit made when the student's training started."""
    return read_json(
        student.folder / "audit.json", "a distillation writes it at its start; train the student again"
    )


def commands(lineup: Lineup) -> list[tuple[str, str, str]]:
    """(time, what it did, command) of every training and scoring, in the order in which they started."""
    lines = [
        (run.environment["started"], f"train {run.name}", run.environment["command"]) for run in lineup.runs
    ]
    lines += [(run.scores["created"], f"score {run.name}", run.scores["command"]) for run in lineup.runs]
    return sorted(lines)


if __name__ == "__main__":
    run_stage(main)

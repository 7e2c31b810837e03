"""Small committed records of scores, and the tables of the README that are rendered from them.

No number in the README is typed: each comes from `scores.json` through a record, and a test compares the two.
"""

import os
import re
from pathlib import Path

from babylm_data.errors import UserError
from eval.compare import bits_per_byte, title
from eval.run_folders import Lineup, Run, held_out, read_json

BEGIN, END = "<!-- scores:begin -->", "<!-- scores:end -->"


def record(lineup: Lineup, command: str | None = None) -> dict:
    """What the README says about one lineup: fractions of 1, words, bits; `command` produced all of it."""
    student = lineup.student
    return {
        "name": student.name,
        "date": student.scores["created"][:10],
        "commit": student.environment.get("commit"),
        "dirty": bool(student.environment.get("dirty")),
        "command": command or student.environment["command"],
        "corpus": corpus_text(student),
        "items": {task: result["items"] for task, result in student.tasks.items()},
        "held_out": held_out(student)[0] if held_out(student) else None,
        "rows": [row(run) for run in lineup.runs],
    }


def row(run: Run) -> dict:
    scores = {task: [result["score"], result["standard_error"]] for task, result in run.tasks.items()}
    if figures := held_out(run):
        scores["bits_per_byte"] = bits_per_byte(figures[1])
    return {
        "model": run.name,
        "role": run.role,
        "parameters": run.summary["parameters"],
        "words_seen": run.summary["words_seen"],
        "scores": scores,
    }


def is_nursery(run: Run) -> bool:
    """Was the run trained on the kit's own synthetic corpus?"""
    return set(run.train["sources"]) == {"nursery"}


def corpus_text(run: Run) -> str:
    """The training text in one line: words, sources, and the track whose budgets it was prepared under."""
    if is_nursery(run):
        return (
            f"{run.train['words']:,} words of the kit's own synthetic nursery corpus; no claim about English"
        )
    track = run.manifest.get("track")
    sources = ", ".join(sorted(run.train["sources"]))
    return f"{run.train['words']:,} words ({sources})" + (f", budgets of {track}" if track else "")


def render(records: list[dict]) -> str:
    """The records as Markdown: a heading, the corpus, one table, and what produced it."""
    return "\n\n".join(render_one(found) for found in records)


def render_one(found: dict) -> str:
    tasks = list(found["items"])
    bits = found["held_out"] is not None
    header = ["model", "role", "parameters", "words of exposure", *(f"{title(task)}, %" for task in tasks)]
    header += [f"{found['held_out']}, bits per byte"] if bits else []
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)]]
    for line in found["rows"]:
        cells = [line["model"], line["role"], f"{line['parameters']:,}", f"{line['words_seen']:,}"]
        cells += [
            "{:.2f} ± {:.2f}".format(*(100 * number for number in line["scores"][task])) for task in tasks
        ]
        cells += [f"{line['scores']['bits_per_byte']:.4f}"] if bits else []
        lines.append([f"**{cell}**" for cell in cells] if line["role"] == "student" else cells)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    counts = ", ".join(f"{title(task)} {items:,}" for task, items in found["items"].items())
    commit = f"`{found['commit'][:10]}`" if found["commit"] else "unknown"
    changed = " with uncommitted changes" if found["dirty"] else ""
    return "\n\n".join(
        [
            f"### {found['name']}",
            f"Trained on {found['corpus']}. Items: {counts}. "
            "One seed; ± is the standard error of drawing the items.",
            table,
            f"{found['date']}, commit {commit}{changed}, `{found['command']}`",
        ]
    )


def rewrite_readme(readme: Path, records: list[Path]) -> None:
    """Put the rendered records between the two markers of `readme`; all other text stays as it is."""
    remedy = "write it with `python -m eval.report RUN --record FILE.json`"
    rendered = render([read_json(path, remedy) for path in records])
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{readme} cannot be read: {error.strerror}") from None
    if not re.search(f"{BEGIN}.*{END}", text, flags=re.DOTALL):
        raise UserError(f"{readme} has no lines {BEGIN} and {END}: put them where the tables belong")
    before, rest = text.split(BEGIN, 1)
    write_whole(readme, f"{before}{BEGIN}\n{rendered}\n{END}{rest.split(END, 1)[1]}")


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader finds the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)

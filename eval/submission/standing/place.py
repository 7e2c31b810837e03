"""Where a model of ours stands beside published ones: group by group, column by column, and what not to make of it.

The published scores are in published.yaml beside this, each with its source. All numbers here are in percent.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import write_whole
from eval.results.json_files import damage_named
from eval.results.scores import as_json, check_writable
from eval.results.scores_table import percent
from eval.submission.standing.ours import WHAT, Own, read_own
from eval.submission.standing.published import Column, Group, Published, load_published
from eval.tasks import title

DEFAULT_TRACK = "strict-small"
OURS = {
    "accuracy": "ours counts a tie of k choices as 1/k; by the official rule of 2025, the first wins",
    "spearman": "ours ranks shares by all their digits; in float32, as in the official program of 2025",
}
"""By metric: what the official program of 2025 does otherwise."""
HELP = """\
Place a model's scores beside published ones. Ranks are counted inside a group of one year and one scorer.

reads   FILE              a run folder, a scores.json, or the submission file
        --data DIR        gold data (DIR/full_eval/…), with which a submission file's predictions are scored
writes  --json OUT        what is printed, as JSON

A score that is not of a whole official task (--limit, other rows, synthetic stand-ins) is not placed; a line says why.
MRPC and QQP are counted by F1, the other glue tasks of a submission by accuracy, as the leaderboard of 2026 counts
them: those of a run folder by what the seed has that is submitted, the first of --seeds. The overall score is the plain
mean of the nine of 2026, and stands beside what guessing gives (for glue, always the commonest label)."""


def stand(own: Own, published: Published, track: str) -> dict:
    """What is printed: groups with ranks, what was not placed, what nobody published, caveats."""
    groups = [group for group in published.groups if group.track == track]
    if not groups:
        known = ", ".join(dict.fromkeys(group.track for group in published.groups))
        raise UserError(
            f"there are no published scores of the track {track}: name one of {known} with --track"
        )
    ours = published.ours(own.results)
    shown = [place(group, ours) for group in groups]
    ranked = {name for group in shown for name in group["ranks"]}
    compared = set().union(*map(published.tasks, ranked))
    unpublished = {
        task: {"metric": result["metric"], **in_percent(result)}
        for task, result in own.results.items()
        if task not in compared
    }
    for name, cell in ours.items():
        if (parts := published.columns[name].mean) and name not in ranked:
            unpublished[name] = {"metric": f"mean of {len(parts)}", **in_percent(cell)}
    return {
        "model": own.name,
        "track": track,
        "ours": {name: in_percent(cell) for name, cell in ours.items()},
        "groups": shown,
        "not_placed": own.refused,
        "unpublished": unpublished,
        "caveats": published.caveats + own.caveats + tie_caveats(own.results),
    }


def place(group: Group, ours: dict[str, dict]) -> dict:
    """A group as JSON; "ranks": column -> {"rank", "of"}, ours among the rows that have the column."""
    ranks = {}
    for name, cell in ours.items():
        others = [row.scores[name] for row in group.rows if name in row.scores]
        if others:
            above = sum(score > round(100 * cell["score"], 2) for score in others)
            ranks[name] = {"rank": above + 1, "of": len(others) + 1}
    return vars(group) | {"rows": [vars(row) for row in group.rows], "ranks": ranks}


def in_percent(cell: dict) -> dict:
    """A score, its standard error and its chance (None: not known), times 100."""
    known = {"score": cell["score"]} | {key: cell.get(key) for key in ("standard_error", "chance")}
    return {key: None if value is None else 100 * value for key, value in known.items()}


def tie_caveats(results: dict[str, dict]) -> list[str]:
    """A line for each score that the official rule of ties would change."""
    return [
        f"{title(task)}: {OURS[result['metric']]}, it has {100 * result['official_score']:.2f}"
        for task, result in results.items()
        if "tie_rule" in result and f"{result['official_score']:.4f}" != f"{result['score']:.4f}"
    ]


def standing_table(standing: dict, columns: dict[str, Column]) -> str:
    """The standing as text for a terminal."""
    lines = []
    for group in standing["groups"]:
        lines += [*group_lines(group, standing, columns), ""]
    if standing["not_placed"]:
        lines += [
            "not placed",
            *(f"  {title(task)}: {why}" for task, why in standing["not_placed"].items()),
            "",
        ]
    if standing["unpublished"]:
        lines += ["ours, with no published number to stand beside"]
        for name, cell in standing["unpublished"].items():
            named = columns[name].title if name in columns else title(name)
            chance = "" if cell["chance"] is None else f"; chance {cell['chance']:.2f}"
            lines += [f"  {named}: {shown(cell)} ({cell['metric']}{chance})"]
        lines += [""]
    return "\n".join([*lines, *(f"- {caveat}" for caveat in standing["caveats"])])


def group_lines(group: dict, standing: dict, columns: dict[str, Column]) -> list[str]:
    """One group, best first by the first column that we have; ours stands where it belongs in that column."""
    head = f"{group['name']} (year {group['year']}, {group['track']}; scored by {group['scorer']})"
    if not group["ranks"]:
        return [head, "  ours has none of its columns"]
    named = [name for name in columns if any(name in row["scores"] for row in group["rows"])]
    first = next(name for name in named if name in group["ranks"])
    ours, cells = standing["ours"], {name: shown(cell) for name, cell in standing["ours"].items()}
    rows = [(f"  {row['model']}", row["scores"]) for row in group["rows"]]
    rows += [(f"> {standing['model']}", {name: round(ours[name]["score"], 2) for name in group["ranks"]})]
    rows.sort(key=lambda row: -row[1].get(first, float("-inf")))
    lines = [head, line("  model", [columns[name].title for name in named])]
    for model, scores in rows:
        texts = cells if model.startswith(">") else {name: f"{score:.2f}" for name, score in scores.items()}
        lines += [line(model, [texts.get(name, "-") for name in named])]
    ranks = {name: f"{rank['rank']} of {rank['of']}" for name, rank in group["ranks"].items()}
    lines += [line("  rank of ours", [ranks.get(name, "-") for name in named])]
    notes = [f"{row['model']}: {row['note']}" for row in group["rows"] if row["note"]]
    return lines + [f"  {note}" for note in [group["note"], *notes] if note]


def line(first: str, cells: list[str]) -> str:
    """The columns of the table."""
    return " ".join([f"{first[:44]:<44}", *(f"{cell:>13}" for cell in cells)])


def shown(cell: dict) -> str:
    """A score in percent with its standard error, if that is known."""
    error = cell["standard_error"]
    return percent(cell["score"] / 100, None if error is None else error / 100)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m eval.submission standing`."""
    parser.description, parser.formatter_class = HELP, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a run folder, a scores.json, or the submission file")
    add("--data", type=Path, metavar="DIR", help="gold data, for a submission file")
    add("--track", metavar="NAME", help=f"published scores of which track [the run's, else {DEFAULT_TRACK}]")
    add("--json", type=Path, metavar="OUT", help="write the standing as JSON, too")


@dataclass(frozen=True)
class StandingRequest:
    """What is placed, and where the standing is written."""

    file: Path
    data: Path | None = None
    track: str | None = None
    json: Path | None = None


def print_standing(request: StandingRequest) -> None:
    """Read, place, print."""
    if request.json:
        check_writable(request.json.parent, "--json")
    published, own = load_published(), read_own(request.file, request.data)
    with damage_named(request.file, WHAT):
        standing = stand(own, published, request.track or own.track or DEFAULT_TRACK)
        shown_table = standing_table(standing, published.columns)
    if request.json:
        write_whole(request.json, as_json(standing))
    print(shown_table)

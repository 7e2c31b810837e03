"""python -m eval.compare runs/babyllama-58m/eval runs/babyllama-58m-control/eval
    python -m eval.compare --a runs/student-s*/eval --b runs/control-s*/eval --json difference.json

Which differences between models are real: paired, item by item, or over several runs a side.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.sealed import write_whole
from eval.results.json_files import damage_named

if TYPE_CHECKING:
    from eval.compare.paired import Weights
    from eval.compare.scored import Scored

DESCRIPTION = """\
Say which differences between two models are more than chance.

reads   A B …             folders that `python -m eval --out` wrote; the first is compared with each other one
        --a A … --b B …   several runs of each side, the same but for their seeds
writes  a table, and --json FILE with every number, fractions of 1

Two folders: the same items decide both scores, so the difference is taken item by item. Choice tasks: an interval as
if other items of the same subtasks had been drawn, one as if other subtasks had been drawn, and a p-value: of tasks
and phenomena that of the difference of the scores over its error (normal), of a single subtask the exact sign test
(McNemar's) on the items that differ. Those of phenomena and subtasks are corrected for their number (Holm).
Wug tasks: a bootstrap of the difference of the two correlations. Reading: an interval from leaving out each sentence.
Held-out text: the difference alone. None of this has the noise of training in it: another seed gives another model.
Several runs a side: the difference of the mean scores and Welch's t interval. That one includes the noise of training.

All intervals are of 95 %; a * marks what lies outside of chance by them, or by p < 0.05 after the correction."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval.compare", DESCRIPTION)
    parse.add_argument("folders", nargs="*", type=Path, metavar="A B", help="two or more folders with scores")
    parse.add_argument("--a", nargs="+", type=Path, default=[], metavar="A", help="the runs of one side")
    parse.add_argument(
        "--b", nargs="+", type=Path, default=[], metavar="B", help="the runs of the other side"
    )
    parse.add_argument(
        "--tasks", nargs="+", default=[], metavar="TASK", help="only these [all that both have]"
    )
    parse.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    return parse


def read_sides(args: argparse.Namespace) -> list[list[Path]]:
    """The folders of each side, [A] and [B] … or the runs of --a and those of --b."""
    if args.folders and not (args.a or args.b):
        if len(args.folders) < 2:
            raise UserError("one folder has nothing to be compared with: name two, or --a … and --b …")
        return [[folder] for folder in args.folders]
    if args.folders or not (args.a and args.b):
        raise UserError("name two folders or more, or give --a FOLDER … and --b FOLDER …, not both")
    return [args.a, args.b]


def paired(a: "Scored", b: "Scored", task: str) -> dict:
    """One task of two models: {"metric", "a", "b", "difference", …} and, of a choice task, its parts."""
    from eval.compare.paired import Z, columns_of, item_difference, weights_of
    from eval.compare.scored import headline
    from eval.tasks.perplexity import is_lossy

    result = a.tasks[task]
    scores = {"a": headline(result), "b": headline(b.tasks[task])}
    found = {"metric": result.get("metric", "bits per byte"), **scores}
    found["difference"] = scores["a"] - scores["b"]
    if "score" not in result:
        return found | {"lossy": is_lossy(result) or is_lossy(b.tasks[task])}
    ours, theirs = a.items(task), b.items(task)
    check_alike(ours, theirs, f"{a.folder} and {b.folder} have other items of {task}")
    weights = weights_of(result)
    found |= item_difference(ours, theirs, weights)
    if "interval_items" not in found and (error := found.get("standard_error")) is not None:
        reach, value = Z * error, found["difference"]
        found["interval_items"] = [value - reach, value + reach]
    if "credit" not in columns_of(ours):
        return found
    return found | {
        "by_phenomenon": parts(ours, theirs, phenomena(result), weights),
        "by_subtask": parts(ours, theirs, {name: [name] for name in sorted(ours)}, weights),
    }


def phenomena(result: dict) -> dict[str, list[str]]:
    """The subtasks of each phenomenon, by name; {} if the benchmark has none."""
    groups: dict[str, list[str]] = {name: [] for name in sorted(result["by_phenomenon"])}
    for subtask, cell in result["by_subtask"].items():
        if cell.get("phenomenon") is not None:
            groups[cell["phenomenon"]].append(subtask)
    return {name: members for name, members in groups.items() if members}


def check_alike(ours: dict, theirs: dict, fault: str) -> None:
    """Raise UserError unless both have the same subtasks, with as many items."""
    from eval.compare.scored import AGAIN

    shapes = [
        {name: {column: len(values) for column, values in columns.items()} for name, columns in items.items()}
        for items in (ours, theirs)
    ]
    if shapes[0] != shapes[1]:
        raise UserError(f"{fault}: {AGAIN}")


def parts(ours: dict, theirs: dict, groups: dict[str, list[str]], weights: "Weights") -> dict[str, dict]:
    """The difference over each group of subtasks, and its p-value after Holm's correction over all groups."""
    from eval.compare.paired import holm, item_difference

    found = {
        group: item_difference(*({name: side[name] for name in names} for side in (ours, theirs)), weights)
        for group, names in groups.items()
    }
    corrected = holm([cell["p_value"] for cell in found.values()])
    return {group: found[group] | {"p_holm": p} for group, p in zip(found, corrected, strict=True)}


def over_runs(a: "list[Scored]", b: "list[Scored]", task: str) -> dict:
    """One task of two sets of runs: the difference of their means, as a whole and by its parts."""
    from eval.compare.paired import holm, run_difference
    from eval.compare.scored import headline
    from eval.tasks.perplexity import is_lossy

    sides = [[run.tasks[task] for run in side] for side in (a, b)]
    found = {"metric": sides[0][0].get("metric", "bits per byte")}
    found |= run_difference(*([headline(result) for result in side] for side in sides))
    found["lossy"] = any(is_lossy(result) for side in sides for result in side)
    for kind in ("by_phenomenon", "by_subtask"):
        names = sorted(sides[0][0].get(kind, {}))
        cells = [
            run_difference(*([result[kind][name]["score"] for result in side] for side in sides))
            for name in names
        ]
        tested = [number for number, cell in enumerate(cells) if cell["p_value"] is not None]
        for number, p in zip(tested, holm([cells[n]["p_value"] for n in tested]), strict=True):
            cells[number]["p_holm"] = p
        found[kind] = dict(zip(names, cells, strict=True))
    return found


def compare(a: "list[Scored]", b: "list[Scored]", tasks: list[str]) -> dict:
    """Every task of two sides: {"a": [folder], "b": [folder], "over_runs", "tasks": {task: …}}."""
    runs = len(a) > 1 or len(b) > 1
    return {
        "a": [str(run.folder) for run in a],
        "b": [str(run.folder) for run in b],
        "over_runs": runs,
        "tasks": {task: over_runs(a, b, task) if runs else paired(a[0], b[0], task) for task in tasks},
    }


def main(argv: list[str]) -> None:
    """Read all folders, refuse what cannot be compared, then print a table for each pair of sides."""
    args = parser().parse_args(argv)
    sides = read_sides(args)

    from eval.compare.comparison_table import comparison_table
    from eval.compare.scored import AGAIN, check_models, read_scored, shared_tasks
    from eval.results.scores import as_json

    with damage_named(" or ".join(str(folder) for side in sides for folder in side), AGAIN):
        scored = [[read_scored(folder) for folder in side] for side in sides]
        check_models([run for side in scored for run in side])
        tasks, missing = shared_tasks(scored, args.tasks)
        found = [compare(scored[0], other, tasks) for other in scored[1:]]
        notes = {task: scored[0][0].tasks[task] for task in tasks}
        tables = [comparison_table(comparison, notes) for comparison in found]
    print("\n\n".join(tables))
    print("\n".join(missing), end="\n" if missing else "")
    if args.json:
        write_whole(args.json, as_json({"comparisons": found, "left_out": missing}))


if __name__ == "__main__":
    run_stage(main)

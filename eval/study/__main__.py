"""python -m eval.study distill/studies/temperature-tiny.yaml --data DIR

Score the finished runs of a study and compare every cell with its control, over seeds and items.

reads   STUDY             its YAML file, or its name: what `python -m distill.study` has trained
        --data DIR        the official evaluation data, for --tasks
        --text PATH …     held-out text [the test split of the data that the runs were trained on]
writes  a table, runs/studies/NAME/results.json with every number, report.html beside it, and each run's scores into
        RUN/eval, where what was scored before stays; with --limit into RUN/trial/eval, and nothing but the table.
        What `python -m eval.probe RUN` has found of the first run of a cell stands on the page too.

A run that is not finished is named and left out."""

import argparse
import json
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.provenance import command_line
from babylm_data.sealed import write_whole

TASKS = ("blimp_fast", "supplement_fast")
FOR_DEVELOPMENT = ("_fast", "nursery")
"""How the names of tasks end by which a cell may be chosen."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval.study", __doc__)
    add = parse.add_argument
    add("study", metavar="STUDY", help="YAML file or name of a study")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="evaluation data; without it, text and losses alone are compared",
    )
    add("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help=f"with --data [{' '.join(TASKS)}]")
    add("--text", nargs="+", metavar="PATH", help="held-out text [DATA/text/test of the runs]")
    add(
        "--max-words",
        type=positive,
        metavar="N",
        help="of each file of held-out text, its first N words [all]",
    )
    add("--backend", choices=("causal", "mlm", "mntp"), help="how the runs are scored [as they were trained]")
    add("--limit", type=positive, metavar="N", help="first N items of each subtask, for a trial [all]")
    add("--processes", type=positive, default=1, metavar="N", help="how many models at a time [1]")
    return parse


def main(argv: list[str]) -> None:
    """Score what is finished, compare, print and write."""
    args = parser().parse_args(argv)

    from eval.study.plan import read_plan

    if args.data and not args.data.is_dir():
        raise UserError(f"--data {args.data} is no folder")
    plan = read_plan(args.study)
    finished = [name for name in plan.runs if name not in plan.unfinished]
    if not finished:
        raise UserError(
            f"no run of {plan.name} is finished: train it with `python -m distill.study {args.study}`"
        )

    from eval.compare.measures import HARD
    from eval.results.request import requested
    from eval.results.workers import score_all
    from eval.study.cells import compare_cells
    from eval.study.cells_table import cells_table
    from eval.study.page import study_page
    from eval.study.scope import Scope

    scope = requested(Scope, vars(args))
    if plan.judge != HARD and not plan.judge.endswith(FOR_DEVELOPMENT):
        raise UserError(
            f"{plan.name} is judged by {plan.judge}, in which final scores are told: write judge: {HARD}, or a task "
            "for development, such as blimp_fast"
        )
    if plan.judge not in (HARD, *(scope.tasks if scope.data else ())):
        raise UserError(f"{plan.name} is judged by {plan.judge}: add it to --tasks, with --data DIR")
    requests = {name: scope.request(name) for name in finished}
    failed = ""
    try:
        score_all({name: each for name, each in requests.items() if each.tasks.names}, args.processes)
    except UserError as error:  # the table says what is lacking
        failed = str(error)
    compared = compare_cells(plan, lambda name: requests[name].out)
    print(cells_table(compared))
    if failed:
        raise UserError(f"{failed}; {plan.folder / 'results.json'} is not written")
    if args.limit is None and compared.runs:
        page = study_page(compared, command_line())
        record = json.dumps(compared.record, indent=1, ensure_ascii=False)
        write_whole(plan.folder / "results.json", record + "\n")
        write_whole(plan.folder / "report.html", page)
        print(f"wrote {plan.folder / 'report.html'}")


if __name__ == "__main__":
    run_stage(main)

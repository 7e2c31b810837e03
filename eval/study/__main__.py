"""python -m eval.study distill/studies/temperature-tiny.yaml --data DIR

Score the finished runs of a study and compare every cell with its control, over seeds and items.

reads   STUDY             its YAML file, or its name: what `python -m distill.study` has trained
        --data DIR        the official evaluation data, for --tasks
        --text PATH …     held-out text [the test split of the data that the runs were trained on]
writes  a table, runs/studies/NAME/results.json with every number, and each run's scores into RUN/eval, where what was
        scored before stays; with --limit into RUN/trial/eval, and nothing but the table.

A run that is not finished is named and left out."""

import argparse
import json
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.sealed import write_whole

TASKS = ("blimp_fast", "supplement_fast")


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
    add("--backend", choices=("causal", "mlm", "mntp"), help="how the runs are scored [as they were trained]")
    add("--limit", type=positive, metavar="N", help="first N items of each subtask, for a trial [all]")
    add("--processes", type=positive, default=1, metavar="N", help="how many models at a time [1]")
    return parse


def main(argv: list[str]) -> None:
    """Score what is finished, compare, print and write."""
    args = parser().parse_args(argv)

    from eval.study.plan import read_plan

    plan = read_plan(args.study)
    finished = [name for name in plan.runs if name not in plan.unfinished]
    if not finished:
        raise UserError(
            f"no run of {plan.name} is finished: train it with `python -m distill.study {args.study}`"
        )

    from eval.results.workers import score_all
    from eval.study.cells import compare_cells
    from eval.study.cells_table import cells_table

    requests = {name: request(args, name) for name in finished}
    score_all({name: each for name, each in requests.items() if each.tasks.names}, args.processes)
    compared = compare_cells(plan, lambda name: requests[name].out)
    print(cells_table(compared))
    if args.limit is None:
        record = json.dumps(compared.record, indent=1, ensure_ascii=False)
        write_whole(plan.folder / "results.json", record + "\n")


def request(args: argparse.Namespace, name: str):
    """What is asked of a run."""
    from eval.results.jobs import task_names
    from eval.results.request import ScoreRequest, TaskSet
    from eval.runs.run_folder import backend_of, read_summary
    from eval.study.plan import RUNS

    folder = RUNS / name
    summary = read_summary(folder)
    usual = Path(summary["data"], "text/test")
    text = tuple(args.text or ([str(usual)] if usual.is_dir() else []))
    names = task_names(args.tasks, args.data, partial=False) if args.data else ()
    names += ("perplexity",) if text and backend_of(summary, args.backend) == "causal" else ()
    tasks = TaskSet(names, args.data, text, limit=args.limit, backend=backend_of(summary, args.backend))
    return ScoreRequest(str(folder / "export"), tasks, folder / ("trial/eval" if args.limit else "eval"))


if __name__ == "__main__":
    run_stage(main)

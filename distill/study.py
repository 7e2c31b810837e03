"""Train every cell of a study, with its controls, and the teachers that are not there yet.

    python -m distill.study distill/studies/temperature-tiny.yaml --dry-run      what would be trained, hours and memory
    python -m distill.study distill/studies/temperature-tiny.yaml                one run after another
    python -m distill.study STUDY.yaml --at-once 4                               or several
    python -m distill.study STUDY.yaml --only CELL CELL                          some cells first
    slurm/study.sh STUDY.yaml -- --gres=gpu:1                                    or each as a task of a Slurm array

Writes the runs into runs/, and what belongs together into runs/studies/<name>/study.json, which `python -m eval.study`
reads. A run that is finished is passed over, one that was stopped goes on, one that failed is named at the end and
tried again by the same command.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.sealed import sha256, write_whole
from babylm_data.tokens import read_manifest
from distill.cells import Cell, Study, cells_of, files_of, load_study, references

STUDIES = Path("runs/studies")


def write_plan(study: Study, cells: list[Cell], files: Sequence[Path] = ()) -> Path:
    """runs/studies/<name>/study.json: which run is which cell."""
    folder = STUDIES / study.name
    first = references(cells)
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "name": study.name,
        "question": study.question,
        "base": study.base,
        "judge": study.judge,
        "distilled": study.distilled,
        "against": study.against,
        "files": {str(file): sha256(file) for file in files},
        "axes": {axis: list(dict.fromkeys(c.values[axis] for c in cells if c.values)) for axis in study.vary},
        "seeds": study.seeds,
        "cells": [
            {
                "label": cell.label,
                "values": cell.values,
                "seed": cell.config.seed,
                "run": cell.run,
                "control": cell.config.control_name if study.distilled else first[cell.config.seed].run,
                "command": [
                    "python",
                    "-m",
                    "distill",
                    *cell.words,
                    *([] if study.distilled else ["--control"]),
                ],
            }
            for cell in cells
        ],
    }
    write_whole(folder / "study.json", json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
    return folder


def main(argv: list[str]) -> int:
    """Load the study, say what it comes to, or train what is left of it; 1 if a run failed."""
    parser = parser_of("distill.study", __doc__)
    parser.add_argument("study", metavar="STUDY", help="YAML file, such as those in distill/studies/")
    parser.add_argument("--at-once", type=positive, default=1, metavar="N", help="train so many at once [1]")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CELL", help="train these, and what they need [all]"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="print a line for each run, and train nothing"
    )
    instead.add_argument("--commands", action="store_true", help="print the commands, for slurm/study.sh")
    args = parser.parse_args(argv)
    study = load_study(args.study)
    cells = cells_of(study)

    from distill.course import finish
    from distill.jobs import foretell, jobs_of, made_otherwise, queue

    jobs = jobs_of(study, cells, args.only)
    if args.dry_run:
        print(foretell(jobs, args.at_once))
        return 0
    for path in {job.config.data.path for job in jobs.values()}:
        read_manifest(path)
    if others := made_otherwise(jobs):
        raise UserError(f"study {study.name}: {others}")
    folder = write_plan(study, cells, files_of(args.study))
    if args.commands:
        print(queue(jobs))
        return 0
    return finish(jobs, folder, args.at_once)


if __name__ == "__main__":
    run_stage(main)

"""python -m bench.stand_in_data --out DIR --data OFFICIAL_DIR [--copy] [--seed N] [--most N]

A folder of evaluation data with which every official task can be run. What OFFICIAL_DIR has is linked (or with --copy
copied); for EWoK, COMPS, entity tracking, Global PIQA and the training rows of BoolQ and MultiRC, where they are not
there, rows of the official form are written, as many as the official files have. Each such row says
`"synthetic": true`, and so does every result of `python -m eval` and `python -m eval.finetune` on it.

How many rows the official training files of BoolQ and MultiRC have was not seen: each gets 1,000.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from babylm_data.errors import UserError, parser_of, positive, run_stage
from babylm_data.files import files_below
from babylm_data.nursery import stand_in_rows
from babylm_data.nursery.stand_in_rows import Rows
from eval.tasks import TASKS
from eval.tasks.comps import SUBTASKS as COMPS
from eval.tasks.official import official_rows

SIDES = ("full_eval", "fast_eval")
GLUE = "full_eval/glue_filtered"
TRAINING = {"boolq": stand_in_rows.boolq, "multirc": stand_in_rows.multirc}
TRAINING_ROWS = 1_000
IN_BETWEEN = "comps_wugs_dist-in-between"


@dataclass(frozen=True)
class Part:
    """A run of rows: a subtask of a task, or training rows."""

    task: str
    subtask: str
    path: str
    """Of its file, below the data folder."""
    make: Callable[[Random], Rows]
    rows: int


def parts() -> list[Part]:
    """All that there are stand-ins for, in the order in which it is written."""
    return [*_ewok(), *_comps(), *_entity_tracking(), *_global_piqa(), *_training()]


def _ewok() -> list[Part]:
    return [
        Part(task, domain, f"{TASKS[task].folder}/{domain}.jsonl", partial(stand_in_rows.ewok, domain), rows)
        for task in ("ewok_filtered", "ewok_fast")
        for domain, rows in official_rows(task).items()
    ]


def _comps() -> list[Part]:
    stems = {subtask: stem for stem, subtask in COMPS.items()}
    found = []
    for subtask, rows in official_rows("comps").items():
        path = f"{TASKS['comps'].folder}/{stems.get(subtask, IN_BETWEEN)}.jsonl"
        found.append(Part("comps", subtask, path, partial(stand_in_rows.comps, subtask), rows))
    return found


def _entity_tracking() -> list[Part]:
    found = []
    for task, later in (
        ("entity_tracking", "entity_tracking_filtered"),
        ("entity_tracking_fast", "entity_tracking_filtered_fast"),
    ):
        kept = official_rows(later)
        for subtask, rows in official_rows(task).items():
            stem, operations, _ = subtask.rsplit("_", 2)
            make = partial(stand_in_rows.entity_tracking, stem, int(operations), kept[subtask])
            found.append(Part(task, subtask, f"{TASKS[task].folder}/{stem}.jsonl", make, rows))
    return found


def _global_piqa() -> list[Part]:
    """The same file on both sides, as the official download has it."""
    return [
        Part(task, task, f"{side}/{task}/eng_latn.jsonl", partial(stand_in_rows.global_piqa, solutions), rows)
        for task, solutions in (("global_piqa_parallel", 4), ("global_piqa_nonparallel", 2))
        for rows in official_rows(task).values()
        for side in SIDES
    ]


def _training() -> list[Part]:
    return [
        Part(task, task, f"{GLUE}/{task}.train.jsonl", make, TRAINING_ROWS) for task, make in TRAINING.items()
    ]


def is_there(part: Part, data: Path) -> bool:
    """Whether `data` has the task (of the training rows: the file), so that nothing is to stand in for it."""
    return (data / part.path).is_file() if part.task in TRAINING else bool(TASKS[part.task].find(data))


def write_parts(wanted: list[Part], out: Path, *, seed: int, most: int | None) -> dict[str, int]:
    """Append each part's rows (at most `most`) to its file; task -> rows. The fast rows of a subtask are its first."""
    written: dict[str, int] = defaultdict(int)
    for part in wanted:
        rows = list(islice(part.make(Random(f"{seed} {part.subtask}")), min(part.rows, most or part.rows)))
        (out / part.path).parent.mkdir(parents=True, exist_ok=True)
        with open(out / part.path, "a", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        written[part.task] += len(rows)
    return dict(written)


def bring(data: Path, out: Path, *, copy: bool) -> int:
    """Links in `out` to every file below `data`'s two folders, or copies of them; how many."""
    files = [path for side in SIDES for path in files_below(data / side)]
    for path in files:
        place = out / path.relative_to(data)
        place.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(path, place)
        else:
            place.symlink_to(path.resolve())
    return len(files)


def make_folder(
    out: Path, data: Path, *, copy: bool = False, seed: int = 0, most: int | None = None
) -> dict[str, int]:
    """Write `out`, whole or not at all; task -> rows of the stand-ins. A UserError if `out` holds anything."""
    if not any((data / side).is_dir() for side in SIDES):
        raise UserError(
            f"{data} holds neither full_eval/ nor fast_eval/: name the official folder with --data"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already, and nothing is written over: name another with --out")
    building = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        building.mkdir(parents=True)
        print(f"{'copied' if copy else 'linked'} {bring(data, building, copy=copy):,} files of {data}")
        written = write_parts(
            [part for part in parts() if not is_there(part, data)], building, seed=seed, most=most
        )
        os.replace(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return written


def main(argv: list[str]) -> None:
    """Write the folder, say what is a stand-in, and what is still lacking."""
    parser = parser_of("bench.stand_in_data", __doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="OFFICIAL_DIR", help="official data, as far as there"
    )
    parser.add_argument("--copy", action="store_true", help="copy the official files rather than link them")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the stand-ins [0]")
    parser.add_argument(
        "--most", type=positive, metavar="N", help="rows a subtask, for trying [the official number]"
    )
    args = parser.parse_args(argv)
    for task, rows in make_folder(
        args.out, args.data, copy=args.copy, seed=args.seed, most=args.most
    ).items():
        what = "training rows" if task in TRAINING else "rows"
        print(f"{task}: {rows:,} synthetic {what}")
    lacking = [task for task, known in TASKS.items() if task != "nursery" and not known.find(args.out)]
    if lacking:
        print(f"not there, and nothing stands in for it: {', '.join(lacking)}")


if __name__ == "__main__":
    run_stage(main)

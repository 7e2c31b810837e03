"""The kit's tasks as task files of lm_eval: one a subtask, and a group for each dataset that lies in --data.

What a task asks stands in tasks/*.yaml; a file written here includes one of those and says where the rows are.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import write_whole

TEMPLATES = Path(__file__).with_name("tasks")
FIELDS = {  # by template: the texts, or lists of texts, that a row must have
    "minimal_pairs": ("sentence_good", "sentence_bad"),
    "ewok": ("Context1", "Target1", "Target2"),
    "entity_tracking": ("input_prefix", "options"),
    "comps": ("prefix_acceptable", "prefix_unacceptable", "property_phrase"),
}
DATASETS = {  # name of the group: its template; the folder is full_eval/ or fast_eval/ and the name after babylm_
    "babylm_blimp_filtered": "minimal_pairs",
    "babylm_supplement_filtered": "minimal_pairs",
    "babylm_ewok_filtered": "ewok",
    "babylm_entity_tracking": "entity_tracking",
    "babylm_comps": "comps",
    "babylm_blimp_fast": "minimal_pairs",
    "babylm_supplement_fast": "minimal_pairs",
    "babylm_ewok_fast": "ewok",
    "babylm_nursery": "minimal_pairs",
}
COMPS = {"comps_base": "base", "comps_wugs": "wugs", "comps_wugs_dist-before": "wugs_dist_before"}


def dataset_of(name: str) -> str | None:
    """The dataset that a task or group of the kit belongs to; None for a name of lm_eval."""
    owners = [dataset for dataset in DATASETS if name == dataset or name.startswith(f"{dataset}_")]
    return max(owners, key=len, default=None)


def subtask_of(template: str, path: Path, row: dict) -> tuple[str, dict]:
    """A row's subtask as the official program names it, and the values that its rows in this file share."""
    if template == "minimal_pairs":
        uid = row.get("UID")
        return (path.stem, {}) if uid is None else (uid, {"UID": uid})
    if template == "ewok":
        return row.get("Domain"), {"Domain": row.get("Domain")}
    if template == "entity_tracking":
        return f"{path.stem}_{row.get('numops')}_ops", {"numops": row.get("numops")}
    return COMPS.get(path.stem, "wugs_dist_in_between"), {}


def read_rows(path: Path) -> Iterator[tuple[str, dict]]:
    """("file, line n", row) of a JSON-lines file, as `tasks/rows.py` will read it; a UserError if it cannot."""
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                place = f"{path}, line {number}"
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise UserError(f"{place} is not a JSON object: fetch the file again")
                    yield place, row
        except UnicodeDecodeError:
            raise UserError(f"{path} is not UTF-8 text: fetch the file again") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{place} is not JSON ({error.msg}): fetch the file again") from None


def check_row(row: dict, fields: tuple[str, ...], place: str) -> None:
    """Raise UserError unless every field holds a text, or a list of texts: lm_eval would score "None"."""
    for field in fields:
        values = row.get(field)
        values = values if isinstance(values, list) and values else [values]
        if not all(isinstance(value, str) and value for value in values):
            raise UserError(f"{place} has no text in {field!r}: is this a file of that task?")


def find_subtasks(data: Path, dataset: str) -> dict[str, dict]:
    """What `tasks/rows.py` is asked for, by subtask, in the order of the files."""
    name = dataset.removeprefix("babylm_")
    folder = data / ("fast_eval" if name.endswith("_fast") else "full_eval") / name
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise UserError(
            f"there are no *.jsonl files in {folder}: put the evaluation data there, or correct --data"
        )
    template = DATASETS[dataset]
    found: dict[str, dict] = {}
    for path in files:
        for place, row in read_rows(path):
            check_row(row, FIELDS[template], place)
            subtask, where = subtask_of(template, path, row)
            request = {"paths": [str(path.resolve())], "fields": FIELDS[template], "where": where}
            if found.setdefault(subtask, request) != request:
                raise UserError(
                    f"{place} is of {subtask}, which has rows in another file also: put them together"
                )
    if not found:
        raise UserError(f"the files in {folder} have no rows: fetch them again")
    return found


def write_task_files(data: Path | None, datasets: list[str], folder: Path) -> Path:
    """Write the task files of `datasets` into `folder`, in place of those that lie there, and return it."""
    if data is None:
        raise UserError(f"{datasets[0]} needs --data DIR, the folder that holds full_eval/ and fast_eval/")
    subtasks = {dataset: find_subtasks(data, dataset) for dataset in datasets}
    for old in folder.glob("*.yaml"):
        old.unlink()
    for dataset, found in subtasks.items():
        template = str(TEMPLATES / f"{DATASETS[dataset]}.yaml")
        for subtask, request in found.items():
            task = f"{dataset}_{subtask}"
            write_yaml(folder, task, {"include": template, "task": task, "dataset_kwargs": request})
        means = [{"metric": "acc", "weight_by_size": False}]
        members = [f"{dataset}_{subtask}" for subtask in found]
        write_yaml(folder, dataset, {"group": dataset, "task": members, "aggregate_metric_list": means})
    return folder


def write_yaml(folder: Path, name: str, config: dict) -> None:
    """A task file. JSON is YAML, and spares a question about quotes."""
    write_whole(folder / f"{name}.yaml", json.dumps(config, indent=1, ensure_ascii=False) + "\n")

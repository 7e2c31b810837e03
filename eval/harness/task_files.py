"""The kit's tasks as task files of lm_eval: one a subtask, and a group for each dataset that lies in --data.

What a task asks stands in tasks/*.yaml; a file written here includes one of those and says where the rows are.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import write_whole
from eval.tasks import SPELLINGS, TASKS
from eval.tasks.json_rows import read_rows
from eval.tasks.official import deviation_note, deviations

TEMPLATES = Path(__file__).with_name("tasks")
OURS = "babylm_"  # what the names of the kit's own tasks begin with
FIELDS = {  # by template: what it asks of a row
    "minimal_pairs": ("sentence_good", "sentence_bad"),
    "ewok": ("Context1", "Target1", "Target2"),
    "ewok_contexts": ("Context1", "Context2", "Target1"),
    "entity_tracking": ("input_prefix", "options"),
    "comps": ("prefix_acceptable", "prefix_unacceptable", "property_phrase"),
}
DATASETS = {  # name of the group, which is that of a task of `python -m eval` after babylm_: its template
    "babylm_blimp_filtered": "minimal_pairs",
    "babylm_supplement_filtered": "minimal_pairs",
    "babylm_ewok_filtered": "ewok",
    "babylm_entity_tracking": "entity_tracking",
    "babylm_comps": "comps",
    "babylm_blimp_fast": "minimal_pairs",
    "babylm_supplement_fast": "minimal_pairs",
    "babylm_ewok_fast": "ewok",
    "babylm_entity_tracking_fast": "entity_tracking",
    "babylm_ewok_contexts": "ewok_contexts",
    "babylm_ewok_contexts_fast": "ewok_contexts",
    "babylm_nursery": "minimal_pairs",
}
SPLIT_BY = {
    "minimal_pairs": "UID",
    "ewok": "Domain",
    "ewok_contexts": "Domain",
    "entity_tracking": "numops",
}
"""By template: the field that tells the subtasks of one file apart, where its rows have it."""


def own_name(name: str, data: Path | None) -> str:
    """`name`, or with --data what it is of the kit: "blimp" and "blimp_filtered" are babylm_blimp_filtered then.

    lm_eval has groups of some of these names, of other rows, whose data are on the hub. A UserError for a task of the
    kit that lm_eval has no form for: values that are no choices, means per token, rows that are left out.
    """
    short = name.removeprefix(OURS)
    task = SPELLINGS.get(short, short)
    if task not in TASKS or (short == name and data is None):
        return name
    if OURS + task not in DATASETS:
        raise UserError(f"lm_eval has no form for {name}: use `python -m eval --tasks {task}`")
    if short == name:
        print(f"{name} is taken as {OURS + task}, from {data}; without --data it is lm_eval's own")
    return OURS + task


def dataset_of(name: str) -> str | None:
    """The dataset that a task or group of the kit belongs to; None for a name of lm_eval."""
    owners = [dataset for dataset in DATASETS if name == dataset or name.startswith(f"{dataset}_")]
    return max(owners, key=len, default=None)


@dataclass(frozen=True)
class Subtask:
    """What `tasks/rows.py` is asked for, and the group inside the dataset's that it belongs to; "" for none."""

    request: dict
    group: str


def find_subtasks(data: Path, dataset: str) -> dict[str, Subtask]:
    """The dataset's subtasks by their names, in the order of the files.

    The reader of `python -m eval` says which rows there are and refuses a damaged one: lm_eval would score "None".
    """
    name, template = dataset.removeprefix(OURS), DATASETS[dataset]
    files = TASKS[name].files(data)
    questions = TASKS[name].load(files)
    items, grouped = questions.items, questions.mean_over == "phenomena"
    if unlike := deviations(name, (item.subtask for item in items)):
        print(f"{dataset} is scored as it is, which is no score of the whole task: {deviation_note(unlike)}")
    found: dict[str, Subtask] = {}
    rows = [(str(path.resolve()), row) for path in files for row in read_rows(path)]
    for (path, row), item in zip(rows, items, strict=True):
        field = SPLIT_BY.get(template)
        where = {} if row.values.get(field) is None else {field: row.values[field]}
        request = {"paths": [], "fields": FIELDS[template], "where": where}
        group = f"{dataset}_{item.phenomenon}" if grouped else ""
        request = found.setdefault(item.subtask, Subtask(request, group)).request
        if request["where"] != where:
            raise UserError(
                f"{row.place} is of {item.subtask}, as is another file: give one of them a new name"
            )
        if path not in request["paths"]:
            request["paths"].append(path)
    return found


def write_task_files(data: Path | None, datasets: list[str], folder: Path) -> Path:
    """Write the task files of `datasets` into `folder`, and return it."""
    if data is None:
        raise UserError(f"{datasets[0]} needs --data DIR, the folder that holds full_eval/ and fast_eval/")
    subtasks = {dataset: find_subtasks(data, dataset) for dataset in datasets}
    for dataset, found in subtasks.items():
        template = str(TEMPLATES / f"{DATASETS[dataset]}.yaml")
        members: dict[str, list[str]] = {}
        for name, subtask in found.items():
            task = f"{dataset}_{name}"
            write_yaml(folder, task, {"include": template, "task": task, "dataset_kwargs": subtask.request})
            members.setdefault(subtask.group or dataset, []).append(task)
        if dataset not in members:
            members[dataset] = list(members)
        means = [{"metric": "acc", "weight_by_size": False}]
        for group, tasks in members.items():
            write_yaml(folder, group, {"group": group, "task": tasks, "aggregate_metric_list": means})
    return folder


def write_yaml(folder: Path, name: str, config: dict) -> None:
    """A task file. JSON is YAML, and spares a question about quotes."""
    write_whole(folder / f"{name}.yaml", json.dumps(config, indent=1, ensure_ascii=False) + "\n")

"""Scores of a submission file: its predictions, compared with the gold data as the leaderboard compares them.

A prediction is right if its text is the answer's, spaces at the ends apart. A file has no word for a tie, so none is
counted. Scores are fractions of 1 or correlations, in the form in which `scores.json` has them.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mode

from babylm_data.errors import UserError
from eval.finetune import glue
from eval.finetune.classify import metrics
from eval.finetune.standard_errors import standard_error
from eval.results.json_files import require
from eval.scorer.items import Item
from eval.submission.check.values import checker, shown
from eval.submission.rules import Rules, Section, load_rules
from eval.tasks import TASKS
from eval.tasks.json_rows import is_synthetic
from eval.tasks.official import deviations

REMEDY = "`python -m eval.submission check` names every fault of it"
YEARS = ("2026", "2025")
AS_WRITTEN = {
    "metric": "pearson",
    "standard_error": None,
    "chance": 0.0,
    "by_subtask": {},
    "limit": None,
    "partial": False,
}
"""A score that the leaderboard takes from the file as it stands."""


def rules_of(content: dict) -> Rules | None:
    """The rules of the year that a submission is of: those of 2026 where it has a key that 2025 has not.

    None for a JSON file without a key of either.
    """
    later, earlier = map(load_rules, YEARS)
    fast, aoa = content.get(later.fast_key), content.get("aoa")
    own = [
        later.keys.keys() - earlier.keys.keys() & content.keys(),
        later.fast.keys() - earlier.fast.keys() & (fast.keys() if isinstance(fast, dict) else set()),
        later.keys["aoa"].row.keys() & (aoa.keys() if isinstance(aoa, dict) else set()),
    ]
    return later if any(own) else earlier if earlier.keys.keys() & content.keys() else None


def score_submission(content: dict, name: str, data: Path) -> tuple[dict[str, dict], dict[str, str]]:
    """(task -> its result, task -> why it has none); a UserError for predictions that do not fit the gold data."""
    results, refused = {}, {}
    for key, section in rules_of(content).keys.items():
        task, place = section.task, f"{name}, {key}"
        if key not in content or section.tasks:
            continue
        if section.form == "score":
            results[key] = AS_WRITTEN | {"score": as_written(content[key], key, section, place)}
        elif section.form == "surprisals":
            refused[key] = (
                "its fit needs the model's tokenizer: score its surprisals with `python -m eval.aoa`"
            )
        elif not TASKS[task].find(data):
            refused[task] = f"{data} has no gold data of it"
        else:
            results[task] = score_task(task, content[key], place, data)
    require(tuned := content.get("glue", {}), [], f"{name}, glue,", REMEDY)
    for task, told in tuned.items():
        path = gold_file(task, data)
        if path is None:
            refused[f"glue {task}"] = f"{data} has no gold data of it"
        else:
            results[f"glue {task}"] = score_labels(task, told, f"{name}, glue, {task}", path)
    return results, refused


def as_written(told: object, key: str, section: Section, place: str) -> float:
    """The number under a key that holds one, if it can be one."""
    require(told, section.row, place, REMEDY)
    if problem := checker(section.row[key])(told[key]):
        raise UserError(f"{place}: {shown(told[key])} {problem}: {REMEDY}")
    return float(told[key])


def score_task(task: str, told: object, place: str, data: Path) -> dict:
    """The result of one zero-shot task."""
    files = TASKS[task].files(data)
    questions = TASKS[task].load(files)
    unlike = deviations(task, (item.subtask for item in questions.items))
    rows = rows_of(told, questions.items, place)
    result = questions.graded(rows, place, REMEDY)
    marks = {"limit": None, "partial": bool(unlike)} | ({"synthetic": True} if is_synthetic(files) else {})
    return marks | result


def rows_of(told: object, items: Sequence[Item], place: str) -> list[dict]:
    """The prediction of each item, in the items' order; a UserError unless there is one for each, by its id."""
    parts = list(dict.fromkeys(item.key for item in items))
    require(told, parts, place, REMEDY)
    found, count = {}, 0
    for part in parts:
        require(told[part], ["predictions"], f"{place}, {part},", REMEDY)
        rows = told[part]["predictions"]
        for row in rows if isinstance(rows, list) else [rows]:
            require(row, ["id", "pred"], f"a row of {place}, {part},", REMEDY)
            found[f"{part}_{row['id']}" if type(row["id"]) is int else str(row["id"])] = row
            count += 1
    if set(told) != set(parts) or count != len(items) or set(found) != {item.uid for item in items}:
        raise UserError(
            f"{place} has {count:,} rows, and not those of the {len(items):,} in --data: {REMEDY}"
        )
    return [found[item.uid] for item in items]


def gold_file(task: str, data: Path) -> Path | None:
    """The validation file of a fine-tuning task, if it is there."""
    if task not in glue.OFFICIAL:
        return None
    places = [data / folder / f"{task}.valid.jsonl" for folder in glue.FOLDERS]
    return next((path for path in places if path.is_file()), None)


def score_labels(task: str, told: object, place: str, path: Path) -> dict:
    """A fine-tuning task by the metric that the leaderboard counts. Chance is what always the commonest label gives."""
    asked = glue.TASKS[task]
    labels = [example.label for example in glue.read_examples(path, asked)]
    items = [Item(f"{task}_{row}", task, ()) for row in range(len(labels))]
    said = [row["pred"] for row in rows_of({task: told}, items, place)]
    for pred in said:
        if problem := checker("label", asked.labels)(pred):
            raise UserError(f"{place}: {shown(pred)} {problem}: {REMEDY}")
    found = metrics(labels, said, asked.labels)
    commonest = metrics(labels, [mode(labels)] * len(labels), asked.labels)
    return {
        "metric": asked.metric,
        "score": found[asked.metric],
        "standard_error": standard_error(
            asked.metric, found[asked.metric], accuracy=found["accuracy"], examples=len(labels)
        ),
        "chance": commonest[asked.metric],
        "by_subtask": {},
        "limit": None,
        "partial": len(labels) != glue.TASKS[task].official_rows,
        **({"synthetic": True} if is_synthetic([path]) else {}),
    }

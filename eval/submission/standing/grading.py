"""Scores of a submission file: its predictions, compared with the gold data as the leaderboard compares them.

A prediction is right if its text is the answer's, spaces at the ends apart. A file has no word for a tie, so none is
counted. Scores are fractions of 1 or correlations, in the form in which `scores.json` has them.
"""

from collections.abc import Sequence
from pathlib import Path

from babylm_data.errors import UserError
from eval.finetune import glue
from eval.results.json_files import require
from eval.scorer.items import Item
from eval.tasks import SPELLINGS, TASKS
from eval.tasks.json_rows import is_synthetic
from eval.tasks.official import deviations, official_rows

REMEDY = "`python -m eval.submission check` names every fault of it"
APART = ("glue", "aoa", "aoa_surprisals", "fast_eval_results")
"""Keys of a submission that hold no predictions of a zero-shot task."""


def is_submission(content: dict) -> bool:
    """Has a JSON file keys of a submission?"""
    return "glue" in content or any(task_of(key, content[key]) for key in content)


def task_of(key: str, told: object) -> str | None:
    """The task of a submission's key, or None. Of 2025 and 2026 entity tracking, the one that has as many rows."""
    task = SPELLINGS.get(key, key)
    if task == "entity_tracking" and isinstance(told, dict):
        parts = {name: part.get("predictions") for name, part in told.items() if isinstance(part, dict)}
        counts = {name: len(rows) for name, rows in parts.items() if isinstance(rows, list)}
        if counts == official_rows("entity_tracking_filtered"):
            return "entity_tracking_filtered"
    return task if task in TASKS else None


def score_submission(content: dict, name: str, data: Path) -> tuple[dict[str, dict], dict[str, str]]:
    """(task -> its result, task -> why it has none); a UserError for predictions that do not fit the gold data."""
    results, refused = {}, {}
    for key, told in content.items():
        task = None if key in APART else task_of(key, told)
        if task and not TASKS[task].find(data):
            refused[task] = f"{data} has no gold data of it"
        elif task:
            results[task] = score_task(task, told, f"{name}, {key}", data)
    require(tuned := content.get("glue", {}), [], f"{name}, glue,", REMEDY)
    for task, told in tuned.items():
        path = gold_file(task, data)
        if path is None:
            refused[f"glue {task}"] = f"{data} has no gold data of it"
        else:
            results[f"glue {task}"] = score_labels(task, told, f"{name}, glue, {task}", path)
    if "aoa" in content or "aoa_surprisals" in content:
        refused["aoa"] = "its fit needs the model's tokenizer: score its surprisals with `python -m eval.aoa`"
    return results, refused


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
    parts = list(dict.fromkeys(item.subtask for item in items))
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
    """The accuracy of a fine-tuning task, which is what the leaderboard counts for all of them."""
    labels = [example.label for example in glue.read_examples(path, glue.TASKS[task])]
    items = [Item(f"{task}_{row}", task, ()) for row in range(len(labels))]
    said = [row["pred"] for row in rows_of({task: told}, items, place)]
    return {
        "metric": "accuracy",
        "score": sum(label == pred for label, pred in zip(labels, said, strict=True)) / len(labels),
        "standard_error": None,
        "limit": None,
        "partial": len(labels) != glue.TASKS[task].official_rows,
        **({"synthetic": True} if is_synthetic([path]) else {}),
    }

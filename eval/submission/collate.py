"""What a run's evaluation has, as the one file of the leaderboard; and what it lacks, a line for each part.

Nothing is scored here: predictions are those of RUN/eval and RUN/finetune, fast scores and surprisals those of
RUN/eval_revisions. A result counts only where it is whole, and of the very weights that the run has now.
"""

from dataclasses import dataclass, field
from pathlib import Path

from babylm_data.errors import UserError
from eval.aoa.checkpoints import FEWEST, read_scored
from eval.finetune.tuning_folder import cut_short, read_tuned
from eval.results.json_files import read_json, require
from eval.results.scores import intact
from eval.runs.revisions import SCORES, Revision, damaged, not_written, revisions, scored
from eval.runs.run_folder import Run
from eval.scorer.model import model_sha256
from eval.submission.rules import FastList, Rules, Section
from eval.tasks import extent_note
from eval.tasks.aoa import with_step

AGAIN = "score it with `python -m eval.submission evaluate`"


@dataclass
class Collected:
    """The submission file as far as it goes."""

    content: dict = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """What it lacks, a line for each part."""
    synthetic: list[str] = field(default_factory=list)
    """Its parts that were scored on stand-ins for the official data."""
    revisions: dict[Revision, dict[str, dict]] = field(default_factory=dict)
    """The results by task of each revision that was due."""


def collate(run: Run, rules: Rules) -> Collected:
    """All that the rules ask of a finished and scored run, in their order, from the files of its evaluation."""
    due = revisions(run)
    lost = damaged(due)
    found = Collected(missing=list(lost.values()))
    found.missing += [f"revisions: {line}" for line in not_written(run)]
    there, unusable = scored([revision for revision in due if revision not in lost])
    found.missing += [f"{revision.name}: {line}" for revision, line in unusable.items()]
    found.revisions = {revision: there.get(revision, {}) for revision in due}
    for key, section in rules.keys.items():
        parts: dict = {}
        if section.form == "score":
            parts = _age_score(run.folder / "aoa", key, found)
        elif section.form == "surprisals":
            parts = _surprisals(found.revisions, key, found)
        elif section.tasks:
            parts = _finetuned(run, section, found)
        else:
            parts = _predictions(run, section.task, key, found)
        if parts:
            found.content[key] = parts
    found.content[rules.fast_key] = {
        key: _fast(key, entry, found) for key, entry in rules.fast.items() if due
    }
    return found


def _age_score(folder: Path, key: str, found: Collected) -> dict:
    """What `eval.aoa` has found; {} if it is missing, or was found of other surprisals than the revisions have now."""
    path = folder / "surprisal.json"
    count = len(found.revisions)
    try:
        score, told = read_json(folder / "aoa_score.json", AGAIN), read_json(path, AGAIN, ["results"])
    except UserError as error:
        few = f"ages are fitted of {FEWEST} revisions or more, and the run has {count}"
        found.missing.append(f"{key}: {few if count < FEWEST else error}")
        return {}
    # a report of its own, for whatever they lack is said of the surprisals themselves
    now = _surprisals(found.revisions, key, Collected())
    if told["results"] != now.get("results"):
        found.missing.append(f"{key}: {path} has other surprisals than the revisions in {SCORES}, {AGAIN}")
        return {}
    return score


def _usable(result: dict | None, place: Path, key: str, found: Collected, revision: str = "") -> bool:
    """Whether a result is there, whole, and beside the predictions that it sums up; else why not, in `found`."""
    named = f"{key} {revision}".rstrip()
    if result is None:
        found.missing.append(f"{named}: not scored, {AGAIN}")
    elif note := extent_note(result["limit"], result["partial"]):
        found.missing.append(
            f"{named}: scored on {result['items']:,} items, {note}: {AGAIN} on the whole data"
        )
    elif not intact(place / "predictions.json", result["predictions_sha256"]):
        found.missing.append(f"{named}: {place / 'predictions.json'} is not that of scores.json, {AGAIN}")
    else:
        _note_stand_in(result, key, found)
        return True
    return False


def _note_stand_in(result: dict, key: str, found: Collected) -> None:
    if result.get("synthetic") and key not in found.synthetic:
        found.synthetic.append(key)


def _predictions(run: Run, task: str, key: str, found: Collected) -> dict:
    """key -> {"predictions": rows} of a task of the final model; {} if it is missing."""
    place = run.folder / "eval" / task
    if not _usable(run.scores["tasks"].get(task), place, key, found):
        return {}
    return read_json(place / "predictions.json", AGAIN)


def _finetuned(run: Run, section: Section, found: Collected) -> dict:
    """{task: {"predictions": rows}} of every task that was fine-tuned and is whole."""
    folder = run.folder / "finetune"
    try:
        results = read_tuned(folder, model_sha256(run.folder / "export"))
    except UserError as error:
        found.missing += [f"glue {task}: {error}" for task in section.tasks]
        return {}
    parts: dict = {}
    for task in section.tasks:
        parts |= _submitted(folder, task, results.get(task), section.rows[task], found)
    return parts


def _submitted(folder: Path, task: str, result: dict | None, rows: int, found: Collected) -> dict:
    """{task: {"predictions": rows}} of the seed of fine-tuning that is submitted; {} if it is missing."""
    key = f"glue {task}"
    if result is None:
        found.missing.append(f"{key}: not fine-tuned, {AGAIN}")
        return {}
    path = folder / task / f"seed-{result['submitted']}" / "predictions.json"
    if cut := cut_short(result, rows):
        found.missing.append(f"{key}: {cut}, {AGAIN}")
    elif not intact(path, result["predictions_sha256"]):
        found.missing.append(f"{key}: {path} is not that of finetune.json, {AGAIN}")
    else:
        _note_stand_in(result, key, found)
        return read_json(path, AGAIN, [task])
    return {}


def _scored_on(task: str, results: dict[Revision, dict], key: str, found: Collected) -> dict[Revision, dict]:
    """The revisions that have a result of a task, each with it; a line for those that have none."""
    there = {revision: tasks[task] for revision, tasks in results.items() if task in tasks}
    if lacking := [revision.name for revision in results if revision not in there]:
        named = ", ".join(lacking) if there else f"any of the {len(lacking)} revisions"
        found.missing.append(f"{key}: not scored on {named}: {AGAIN}")
    return there


def _surprisals(results: dict[Revision, dict], key: str, found: Collected) -> dict:
    """{"results": the rows of each revision, one after the other}."""
    rows = []
    for revision, result in _scored_on("aoa", results, key, found).items():
        if _usable(result, revision.out / "aoa", key, found, revision.name):
            checkpoint = read_scored(revision.out)
            rows += with_step(checkpoint.rows, checkpoint.name, checkpoint.exposure)
    return {"results": rows} if rows else {}


def _fast(key: str, entry: FastList, found: Collected) -> list[dict]:
    """{name: score} of each revision that was scored, in order."""
    key = f"fast {key}"
    rows = []
    for revision, result in _scored_on(entry.task, found.revisions, key, found).items():
        if _usable(result, revision.out / entry.task, key, found, revision.name):
            rows.append(fast_values(result["by_subtask"], entry))
    return rows


def fast_values(cells: dict[str, dict], entry: FastList) -> dict[str, float]:
    """The scores as the official collator finds them in the predictions, which know no half for a tie."""
    kind = "predicted" if entry.value == "fraction" else "score"
    for name, cell in cells.items():
        require(cell, [kind], f"the scores of {name}", AGAIN)
    return {name: cells[name][kind] for name in entry.scores or cells}

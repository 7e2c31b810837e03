"""Our scores: of a run folder, of a scores.json, or still to be made of the predictions in a submission file."""

from dataclasses import dataclass, field
from pathlib import Path

from babylm_data.errors import UserError
from eval.aoa.overview import FILE as AGES
from eval.aoa.overview import REMEDY as AGES_REMEDY
from eval.finetune.glue import OFFICIAL
from eval.finetune.standard_errors import standard_error
from eval.finetune.tuning_folder import read_tuned
from eval.results.json_files import damage_named, read_json
from eval.results.request import names_of
from eval.results.scores import intact
from eval.results.scores_table import is_scored
from eval.runs.caveats import caveats
from eval.runs.revisions import SCORES
from eval.scorer.model import model_sha256
from eval.submission.leaderboard import MARKS, files_in
from eval.submission.standing.grading import rules_of, score_submission
from eval.tasks import extent_note

WHAT = "give a run folder, a scores.json, or a submission file"


@dataclass
class Own:
    """A model of ours."""

    name: str
    results: dict[str, dict]
    """Task -> its result as scores.json holds it: whole official tasks alone."""
    refused: dict[str, str] = field(default_factory=dict)
    """Task -> why its score cannot be placed."""
    track: str | None = None
    """strict-small, …; None where nothing says so."""
    caveats: list[str] = field(default_factory=list)


def read_own(path: Path, data: Path | None) -> Own:
    """The scores in `path`; `data` is the gold data, which only a submission needs."""
    with damage_named(path, WHAT):
        return _read_own(path, data)


def _read_own(path: Path, data: Path | None) -> Own:
    if path.is_dir():
        own = of_folder(path)
    else:
        content = read_json(path, WHAT)
        if isinstance(content.get("tasks"), dict):
            refuse_other_model(content, path)
            own = Own(name_of(content, path), scored(content["tasks"]))
        elif rules_of(content) is None:
            raise UserError(f"{path} holds neither scores nor predictions: {WHAT}")
        elif data is None:
            raise UserError(f"{path} holds predictions: name the gold data to score them by with --data DIR")
        else:
            own = Own(submitted_name(path), *score_submission(content, path.name, data))
            own.caveats += marked(path.name)
    for task, result in list(own.results.items()):
        if why := fault(result):
            own.refused[task] = why
            del own.results[task]
    if not own.results:
        reasons = "; ".join(f"{task}: {why}" for task, why in own.refused.items())
        raise UserError(
            f"{path} has no score that can be placed ({reasons or 'it has none'}): score whole tasks"
        )
    return own


def submitted_name(path: Path) -> str:
    """What the model of a submission file is called, by the scores in the bundle that it lies in; else the file's."""
    scores = path.with_name("scores.json")
    return name_of(read_json(scores, WHAT), scores) if scores.is_file() else path.stem


def marked(name: str) -> list[str]:
    """What the name of a submission file says against it, as a caveat."""
    marks = [mark.strip("_") for mark in MARKS if mark in name]
    return [f"Ours is no entry: {name} is marked {', '.join(marks)}."] if marks else []


def of_folder(folder: Path) -> Own:
    """A run folder, or the folder of a scores.json."""
    found = [path for path in (folder / "eval/scores.json", folder / "scores.json") if path.is_file()]
    if not found:
        raise UserError(f"{folder} has no eval/scores.json: score it with `python -m eval`, or {WHAT}")
    content = read_json(found[0], "score again", ["tasks", "model_sha256"])
    refuse_other_model(content, found[0])
    own = Own(name_of(content, folder), scored(content["tasks"]))
    if (path := folder / "summary.json").is_file():
        summary = read_json(path, "train again")
        own.track = str(summary["track"]).rpartition("/")[2] if summary.get("track") else None
        ledger = folder / "submission" / "ledger.json"
        words = read_json(ledger, "build the bundle again", ["readings"]) if ledger.is_file() else None
        own.caveats = [f"Ours is no entry, {line}." for line in caveats(summary, words)]
    for name in files_in(folder):  # of a bundle
        own.caveats += marked(name)
    tuned = read_tuned(folder / "finetune", content["model_sha256"])
    own.results |= {f"glue {task}": as_submitted(task, result) for task, result in tuned.items()}
    if (path := folder / "aoa" / AGES).is_file():
        own.results["aoa"] = age_result(folder, read_json(path, AGES_REMEDY))
    if several := [task for task, result in tuned.items() if task in OFFICIAL and result["n"] > 1]:
        own.caveats.append(
            f"Ours on glue {', '.join(several)} is of the one seed that is submitted; "
            "the mean over all seeds is in finetune/finetune.json."
        )
    return own


def refuse_other_model(scores: dict, path: Path) -> None:
    """UserError for a scores.json that is not of the export beside it, if there is one."""
    folder = path.resolve().parent
    export = (folder.parent if folder.name == "eval" else folder) / "export"
    if export.is_dir() and scores.get("model_sha256") != model_sha256(export):
        raise UserError(f"{path} is of another model than {export}: score it again with `python -m eval`")


def as_submitted(task: str, result: dict) -> dict:
    """A fine-tuning result as the leaderboard counts it: by the submitted seed. Its chance is the commonest label's.

    That of a task that no submission holds stays as it is, a mean over seeds.
    """
    metric, whole = result["metric"], {"standard_error": None, "by_subtask": {}}
    whole["chance"] = (result["majority"] or {}).get(metric)
    if task in OFFICIAL:
        found = result["by_seed"][str(result["submitted"])]
        examples = result["examples"]["valid"]
        whole["score"] = found[metric]
        whole["standard_error"] = standard_error(
            metric, found[metric], accuracy=found["accuracy"], examples=examples
        )
    return result | whole


def age_result(folder: Path, found: dict) -> dict:
    """The run's ages of acquisition as a result; with a note if they are not of the surprisals of its revisions now."""
    digests = found.get("surprisals") or {}  # none: an older one, or of rows that came from elsewhere
    places = {name: folder / SCORES / name / "aoa" / "predictions.json" for name in digests}
    own = bool(digests) and all(intact(places[name], digest) for name, digest in digests.items())
    notes = [] if own else [f"of other surprisals than the revisions have now; {AGES_REMEDY}"]
    return found | {"score": found.get("official_score"), "limit": None, "by_subtask": {}, "notes": notes}


def name_of(scores: dict, path: Path) -> str:
    """What the model is called that a scores.json is of: its run's or folder's name."""
    model = scores.get("model")
    return names_of([model])[model] if isinstance(model, str) else path.resolve().stem


def scored(tasks: dict[str, dict]) -> dict[str, dict]:
    """The results that are scores; held-out text and surprisals are none."""
    return {task: result for task, result in tasks.items() if is_scored(result) and "score" in result}


def fault(result: dict) -> str:
    """What keeps a result from being one of a whole official task; empty if nothing does."""
    notes = "; ".join(result.get("notes", []))  # of fine-tuning, which says there all that it has to say
    return notes or extent_note(
        result.get("limit"), result.get("partial", False), result.get("synthetic", False)
    )

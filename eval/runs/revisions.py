"""The revisions that a run wrote on its way, and what they scored.

RUN/revisions/chck_1M/          a Hugging Face folder, and exposure.json
RUN/eval_revisions/chck_1M/     what `python -m eval` wrote of it
"""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import damage
from babylm_data.words import load_track, revision_marks
from eval.results.json_files import read_json
from eval.results.scores_table import is_scored, unit
from eval.runs.run_folder import Run
from eval.scorer.model import model_sha256
from eval.tasks import extent_note, title

FOLDER, SCORES = "revisions", "eval_revisions"


@dataclass(frozen=True)
class Revision:
    """One revision of a run: its weights, and where its scores stand."""

    name: str
    words_seen: int
    """Its true words of exposure."""
    export: Path
    out: Path

    def scores(self) -> dict[str, dict]:
        """The results of its tasks by name; {} where it was not scored, a UserError for scores of another model."""
        path = self.out / "scores.json"
        if not path.exists():
            return {}
        remedy = "score the revisions again with `python -m eval.submission evaluate`"
        scores = read_json(path, remedy, ("model_sha256", "tasks"))
        if scores["model_sha256"] != model_sha256(self.export):
            raise UserError(f"{path} is of another model than {self.export}: {remedy}")
        return scores["tasks"]


def revisions(run: Run) -> list[Revision]:
    """The revisions that a finished run was due to write, in order; [] if it wrote none."""
    return [
        Revision(
            entry["name"],
            entry["words_seen"],
            run.folder / FOLDER / entry["name"],
            run.folder / SCORES / entry["name"],
        )
        for entry in run.summary.get("revisions", [])
    ]


def not_written(run: Run) -> list[str]:
    """Why revisions that are due by the run's words of exposure are not there, a line each; [] if all are."""
    track, before = run.summary.get("track"), run.summary.get("words_before") or 0
    scale, words = run.summary.get("words_scale") or 1, before + run.summary["words_seen"]
    marks = revision_marks(load_track(track), words, scale) if track else []
    written = {revision.name for revision in revisions(run)}
    if not (marks or written):
        return ["the run came to none that its track asks for: train it longer, or on data of another track"]
    lacking = [(name, mark) for name, mark in marks if name not in written]
    passed = [name for name, mark in lacking if mark <= before]
    own = [name for name, mark in lacking if mark > before]
    lines = [f"{', '.join(own)}: train the run again, with `revisions: true`"] if own else []
    if passed:
        lines.append(
            f"{', '.join(passed)}: the first weights had passed them before, so this run cannot write them"
        )
    return lines


def damaged(found: list[Revision]) -> dict[Revision, str]:
    """The revisions that are not there as they were written, each with a line that says so."""
    remedy = "train the run again, for a revision cannot be made afterwards"
    return {each: f"{what}: {remedy}" for each in found if (what := damage(each.export))}


def scored(found: list[Revision]) -> tuple[dict[Revision, dict[str, dict]], dict[Revision, str]]:
    """The results by task of each revision, and why those of a revision cannot be used: then it has none."""
    results, unusable = {}, {}
    for revision in found:
        try:
            results[revision] = revision.scores()
        except UserError as error:  # of another model, or damaged: the other revisions are told of too
            results[revision], unusable[revision] = {}, str(error)
    return results, unusable


def learning_curves(results: dict[Revision, dict[str, dict]]) -> dict[str, list[tuple[int, dict]]]:
    """task -> (words of exposure, result) of each revision that was scored on it, in order."""
    curves: dict[str, list] = {}
    for revision, tasks in results.items():
        for task, result in tasks.items():
            if is_scored(result):
                curves.setdefault(task, []).append((revision.words_seen, result))
    return curves


@dataclass(frozen=True)
class Table:
    """What revisions scored, as columns of one table."""

    columns: list[tuple[str, str]]
    """(task, heading) of each."""
    left_out: list[str]
    """Titles of the tasks for which there was no room."""
    caveats: list[tuple[str, str]]
    """(What keeps the scores of a column from being of a task, "whole" or "official": which task they are not of)."""


def revisions_table(results: dict[Revision, dict[str, dict]], most: int = 6) -> Table:
    """The first `most` of the tasks that any of the revisions was scored on."""
    curves = learning_curves(results)
    shown = list(curves)[:most]
    caveats: dict[tuple[str, str], None] = {}
    for task in shown:
        for _, found in curves[task]:
            synthetic = found.get("synthetic", False)
            if note := extent_note(found["limit"], found["partial"], synthetic):
                caveats[f"{title(task)}: {note}", "official" if synthetic else "whole"] = None
    return Table(
        [(task, f"{title(task)}, {unit(curves[task][0][1]['metric'])}") for task in shown],
        [title(task) for task in curves if task not in shown],
        list(caveats),
    )

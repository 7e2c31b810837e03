"""The models that are looked at beside each other: a student, an early revision of it, its control, its teachers."""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from eval.runs.origins import inside_a_run
from eval.runs.revisions import revisions
from eval.runs.run_folder import backend_of, locate, read_run, read_summary
from eval.scorer.model import find_model

EARLY = 0.1
"""The early revision is the one nearest to this share of the student's words."""


@dataclass(frozen=True)
class Subject:
    """One model."""

    name: str
    role: str
    """student, early, control or teacher."""
    folder: Path
    backend: str
    """causal or mlm: what its outputs mean."""
    words: int | None = None
    """Of exposure; None: not known."""


def subjects_of(folder: Path) -> tuple[list[Subject], list[str], Path]:
    """The student in a run folder with all that stands beside it; who is left out and why; the data's folder.

    Any run will do: a teacher stands alone. UserError if the run is not finished.
    """
    summary = read_summary(folder)
    run = read_run(folder, summary["kind"], scored=False)
    role = "teacher" if summary["kind"] == "teacher" else "student"
    found, left_out = [_subject(run.folder, summary, role)], []
    if due := revisions(run):
        early = min(due, key=lambda each: abs(each.words_seen - EARLY * summary["words_seen"]))
        if early.export.is_dir() and early is not due[-1]:
            found.append(Subject(early.name, "early", early.export, found[0].backend, early.words_seen))
    control = locate(str(summary["control"]), folder) if summary.get("control") else None
    teachers = [inside_a_run(each["path"]) for each in summary.get("teachers") or []]
    taught_by_it = control and control.resolve() in {
        locate(str(found[0]), folder).resolve() for found in teachers if found
    }
    if taught_by_it:
        left_out.append(f"{control.name} as the control: it is the teacher")
    elif control and (control / "summary.json").is_file():
        found.append(_subject(control, read_summary(control), "control"))
    elif control:
        left_out.append(f"{control.name} is not finished")
    for teacher in summary.get("teachers") or []:
        try:
            found.append(_teacher(teacher, folder))
        except UserError as error:
            left_out.append(f"{teacher['name']}: {error}")
    return found, left_out, locate(summary["data"], folder)


def _subject(folder: Path, summary: dict, role: str) -> Subject:
    model, backend = find_model(str(folder / "export")), backend_of(summary)
    return Subject(summary["name"], role, model, backend, summary["words_seen"])


def _teacher(teacher: dict, folder: Path) -> Subject:
    """A teacher that is a run of the kit, or a model from elsewhere."""
    if not (found := inside_a_run(teacher["path"])):
        return Subject(teacher["name"], "teacher", find_model(teacher["path"]), "causal")
    place = locate(str(found[0]), folder)
    one = _subject(place, read_summary(place), "teacher")
    return Subject(one.name, one.role, find_model(str(place / found[1])), one.backend, one.words)

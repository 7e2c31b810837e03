"""The bundle: a student's export with its predictions, scores, ledger, model card and report.

    python -m eval.submission build runs/x                  # writes runs/x/submission/
    python -m eval.submission build runs/x --rules 2025     # with the leaderboard's file and the official results tree

Everything is read from run folders; whatever is missing is named before anything is written. A file that lacks parts
(INCOMPLETE_), was scored on stand-ins for the official data (SYNTHETIC_), is of a trial with `words_scale` (TRIAL_) or
of a run outside the competition (OUTSIDE_) is written with --partial alone, and its name begins so."""

import argparse
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import sealed_folder
from babylm_data.status import in_one
from eval.report.page import facts, page
from eval.results.scores import intact
from eval.runs.caveats import caveats
from eval.runs.ledger import ledger, said
from eval.runs.lineup import Lineup, read_lineup
from eval.submission.card import PARTS, model_card
from eval.submission.check.file import add_allow_constant
from eval.submission.collate import Collected
from eval.submission.leaderboard import files_in, gather, lacking, marked_name, write_leaderboard
from eval.submission.rules import Rules, add_rules, load_rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `build`."""
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="the student's run folder; its summary names teachers and control",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="also where parts are missing, or scored with --limit or on partial data, or of a run that is no entry; "
        "names and card say so",
    )
    add_rules(parser.add_argument, default=None)
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the evaluation data: predictions are checked by them"
    )
    add_allow_constant(parser.add_argument)
    parser.add_argument(
        "--license",
        type=license_name,
        metavar="NAME",
        help="for the model card, as the hub calls it: mit, apache-2.0, cc-by-4.0 …",
    )


def license_name(text: str) -> str:
    """A word that can be the hub's for a license, as a type for argparse; which there are the hub says at a push."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no license as the hub calls them: mit, apache-2.0 …")
    return text


@dataclass(frozen=True)
class BuildRequest:
    """A student's run, and what its bundle is checked by."""

    run: Path
    partial: bool = False
    rules: str | None = None
    """Of the leaderboard's file; None: the bundle has none."""
    data: Path | None = None
    allow_constant: tuple[str, ...] = ()
    license: str | None = None


def write_bundle(request: BuildRequest) -> None:
    """Write the bundle, say where."""
    rules = load_rules(request.rules) if request.rules else None
    checked = {"data": request.data, "allow_constant": request.allow_constant}
    told = {"partial": request.partial, "licensed": request.license}
    with in_one("build", request.run.name):
        bundle = build(request.run, rules=rules, **told, **checked)
    print(f"wrote {bundle}")


def build(
    folder: Path, *, partial: bool = False, rules: Rules | None = None, licensed: str | None = None, **checked
) -> Path:
    """Write `folder`/submission, sealed; one that stood there is replaced when the new one is complete.

    `rules`: of the leaderboard's file, None for none; `licensed`: what the model card says; `checked`: what else
    `write_leaderboard` takes.
    """
    lineup = read_lineup(folder)
    words = ledger(lineup)
    collected = gather(lineup.student, rules) if rules else Collected()
    if rules and rules.license and not licensed:
        collected.missing.append("model card: the leaderboard asks for a license: name one with --license")
    if rules and rules.note:
        print(rules.noted)
    lines = [f"missing: {line}" for line in lacking(lineup.student, collected, rules)]
    refuse_unfit(lines + (caveats(lineup.student.summary, words) if rules else []), rules, partial=partial)
    refuse_loss(folder / "submission", rules)
    predictions = prediction_files(lineup)
    known = facts(lineup)
    html, card = page(lineup, known), model_card(lineup, collected, rules, known, licensed)
    print("\n".join(said(words)))
    with sealed_folder(folder / "submission") as bundle:
        shutil.copytree(folder / "export", bundle / "export")
        for task, path in predictions.items():
            (bundle / "predictions" / task).mkdir(parents=True)
            shutil.copyfile(path, bundle / "predictions" / task / "predictions.json")
        shutil.copyfile(folder / "eval" / "scores.json", bundle / "scores.json")
        (bundle / "ledger.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
        (bundle / "README.md").write_text(card.of_bundle, encoding="utf-8")
        (bundle / PARTS).write_text(card.as_json(), encoding="utf-8")
        (bundle / "report.html").write_text(html, encoding="utf-8")
        if rules:
            file = rules.file.format(backend=lineup.student.backend)
            path = bundle / marked_name(file, lineup.student, collected, words)
            write_leaderboard(path, lineup.student, collected, rules, **checked)
    return folder / "submission"


def refuse_unfit(lines: list[str], rules: Rules | None, *, partial: bool) -> None:
    """Print why this is no submission, if there is any reason, and raise a UserError unless it may be `partial`."""
    if lines:
        print("\n".join(lines))
    if lines and not partial:
        by = f" by the rules of {rules.name}, under a name that says so" if rules else ""
        raise UserError(
            f"no submission, for the {len(lines)} reasons above: --partial writes what there is{by}"
        )


def refuse_loss(bundle: Path, rules: Rules | None) -> None:
    """A bundle with the leaderboard's file is not replaced by one without."""
    if (there := files_in(bundle)) and rules is None:
        raise UserError(
            f"{bundle} has {there[0]}, which a bundle without --rules would lose: add --rules, or delete that file"
        )


def prediction_files(lineup: Lineup) -> dict[str, Path]:
    """The student's predictions.json of each task that has items."""
    student = lineup.student
    found = {task: student.folder / "eval" / task / "predictions.json" for task in student.tasks}
    for task, path in found.items():
        if not intact(path, student.tasks[task]["predictions_sha256"]):
            what = "does not belong to the score in scores.json" if path.exists() else "is missing"
            raise UserError(f"{path} {what}: score again with `{student.tasks[task]['command']}`")
    return found

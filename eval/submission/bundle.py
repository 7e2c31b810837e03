"""The bundle: a student's export with its predictions, scores, ledger, model card and report.

Everything is read from run folders; whatever is missing is named before anything is written.
"""

import argparse
import json
import shutil
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import sealed_folder
from eval.ledger import ledger
from eval.lineup import Lineup, read_lineup
from eval.report import page
from eval.scores import intact
from eval.submission.card import model_card


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
        help="also where tasks were scored with --limit or on partial data; the card says so",
    )


def main(arguments: argparse.Namespace) -> None:
    """Write the bundle, say where."""
    print(f"wrote {build(arguments.run, partial=arguments.partial)}")


def build(folder: Path, *, partial: bool = False) -> Path:
    """Write `folder`/submission, sealed; one that stood there is replaced when the new one is complete."""
    lineup = read_lineup(folder)
    if not partial:
        refuse_partial(lineup)
    predictions = prediction_files(lineup)
    html, card, words = page(lineup), model_card(lineup), ledger(lineup)
    with sealed_folder(folder / "submission") as bundle:
        shutil.copytree(folder / "export", bundle / "export")
        for task, path in predictions.items():
            (bundle / "predictions" / task).mkdir(parents=True)
            shutil.copyfile(path, bundle / "predictions" / task / "predictions.json")
        shutil.copyfile(folder / "eval" / "scores.json", bundle / "scores.json")
        (bundle / "ledger.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
        (bundle / "README.md").write_text(card, encoding="utf-8")
        (bundle / "report.html").write_text(html, encoding="utf-8")
    return folder / "submission"


def refuse_partial(lineup: Lineup) -> None:
    """A score on the first few items, or on other files than the official ones, is no submission."""
    for task, result in lineup.student.tasks.items():
        limited = f"with --limit {result['limit']}" if result["limit"] is not None else None
        if how := limited or ("with other rows than the official ones" if result["partial"] else None):
            raise UserError(
                f"{task} was scored {how}, on {result['items']:,} items: "
                "score all runs on the whole official data, or pass --partial"
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

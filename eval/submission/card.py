"""The model card: the bundle's README.md in the Hub's format, made of the runs' files."""

import json

from babylm_data.sealed import sha256
from eval.finetune.glue import TASKS
from eval.finetune.results import cut_short, read_tuned
from eval.lineup import Lineup
from eval.model import model_sha256
from eval.report import facts, templates
from eval.run_folders import Run
from eval.submission.collate import Collected
from eval.submission.rules import Rules
from eval.tasks import extent_note, title


def model_card(lineup: Lineup, collected: Collected, rules: Rules | None = None) -> str:
    """The bundle's README.md in the Hub's format; every fact in it is read from the runs' files.

    `collected`: what the leaderboard's file holds; `rules`: which it is by, None where there is none.
    """
    from huggingface_hub import ModelCard, ModelCardData

    student, export = lineup.student, lineup.student.folder / "export"
    tuned = fine_tuned(lineup)
    data = ModelCardData(
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["babylm", "knowledge-distillation", *(["synthetic-try-out"] if student.nursery else [])],
        model_name=student.name,
        eval_results=whole_results(student, tuned) or None,
    )
    files = [*sorted(export.glob("*.safetensors")), export / "tokenizer.json"]
    template = templates().get_template("model_card.md")
    body = template.render(
        **facts(lineup),
        collected=collected,
        rules=rules,
        repo=None,
        revision=None,
        revisions=student.summary.get("revisions", []),
        tuned=tuned,
        shape=json.loads((export / "config.json").read_text(encoding="utf-8")),
        hashes={path.name: sha256(path) for path in files},
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def whole_results(student: Run, tuned: dict[str, dict]) -> list:
    """What the card tells machines, an EvalResult each: scores on the whole official data alone.

    There is no room for "of the first 10 items" there; the tables in the text say it. `tuned`: see `fine_tuned`.
    """
    from huggingface_hub import EvalResult

    results = [
        EvalResult("text-generation", task, title(task), result["metric"], round(result["score"], 6))
        for task, result in student.tasks.items()
        if not extent_note(result["limit"], result["partial"], result.get("synthetic"))
    ]
    for task, result in tuned.items():
        official = TASKS[task].official_rows if task in TASKS else None  # None: nobody says what the whole is
        if official and not (cut_short(result, official) or result.get("synthetic")):
            name, score = f"{TASKS[task].title}, fine-tuned", round(result["score"], 6)
            results.append(EvalResult("text-classification", task, name, result["metric"], score))
    return results


def fine_tuned(lineup: Lineup) -> dict[str, dict]:
    """task -> its summary over seeds, of the student; {} where it was not fine-tuned.

    UserError for results of other weights than its export has.
    """
    folder = lineup.student.folder
    return read_tuned(folder / "finetune", model_sha256(folder / "export"))

"""The model card: the bundle's README.md in the Hub's format, made of the runs' files."""

import json

from babylm_data.sealed import sha256
from eval.finetune.results import read_tuned
from eval.lineup import Lineup
from eval.model import model_sha256
from eval.report import facts, templates
from eval.submission.collate import Collected
from eval.tasks import title


def model_card(lineup: Lineup, collected: Collected | None = None) -> str:
    """The bundle's README.md in the Hub's format; every fact in it is read from the runs' files.

    `collected`: what the leaderboard's file holds, None where there is none.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    student, export = lineup.student, lineup.student.folder / "export"
    results = [
        EvalResult("text-generation", task, title(task), result["metric"], round(result["score"], 6))
        for task, result in student.tasks.items()
    ]
    data = ModelCardData(
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["babylm", "knowledge-distillation", *(["synthetic-try-out"] if student.nursery else [])],
        model_name=student.name,
        eval_results=results,
    )
    files = [*sorted(export.glob("*.safetensors")), export / "tokenizer.json"]
    template = templates().get_template("model_card.md")
    body = template.render(
        **facts(lineup),
        collected=collected,
        revisions=student.summary.get("revisions", []),
        tuned=fine_tuned(lineup),
        shape=json.loads((export / "config.json").read_text(encoding="utf-8")),
        hashes={path.name: sha256(path) for path in files},
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def fine_tuned(lineup: Lineup) -> dict[str, dict]:
    """task -> its summary over seeds, of the student; {} where it was not fine-tuned.

    UserError for results of other weights than its export has.
    """
    folder = lineup.student.folder
    return read_tuned(folder / "finetune", model_sha256(folder / "export"))

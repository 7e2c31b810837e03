"""The model card: the bundle's README.md in the Hub's format, made of the runs' files."""

import json

from babylm_data.sealed import sha256
from eval.lineup import Lineup
from eval.report import facts, templates
from eval.tasks import title


def model_card(lineup: Lineup) -> str:
    """The bundle's README.md in the Hub's format; every fact in it is read from the runs' files."""
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
        shape=json.loads((export / "config.json").read_text(encoding="utf-8")),
        hashes={path.name: sha256(path) for path in files},
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))

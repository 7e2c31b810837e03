"""The model card: the bundle's README.md in the Hub's format, made of the runs' files."""

import json
from pathlib import Path

from babylm_data.hub import weight_files
from babylm_data.sealed import SEAL, sha256
from eval.finetune.glue import TASKS
from eval.finetune.tuning_folder import cut_short
from eval.report.page import facts, templates
from eval.runs.lineup import Lineup
from eval.runs.origins import begun_from
from eval.runs.revisions import table
from eval.runs.run_folder import Run
from eval.submission.collate import Collected
from eval.submission.rules import Rules
from eval.tasks import extent_note, title


def model_card(
    lineup: Lineup, collected: Collected, rules: Rules | None = None, known: dict | None = None
) -> str:
    """The bundle's README.md in the Hub's format; every fact in it is read from the runs' files.

    `collected`: what the leaderboard's file holds; `rules`: which it is by, None where there is none; `known`: the
    `facts` of the lineup, where somebody has found them.
    """
    from huggingface_hub import ModelCard, ModelCardData

    student, export = lineup.student, lineup.student.folder / "export"
    known = known or facts(lineup)
    evaluated = known["evaluated"]
    data = ModelCardData(
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["babylm", "knowledge-distillation", *(["synthetic-try-out"] if student.nursery else [])],
        model_name=student.name,
        eval_results=whole_results(student, evaluated.tuning.results) or None,
    )
    template = templates().get_template("model_card.md")
    body = template.render(
        **known,
        collected=collected,
        rules=rules,
        words_before=student.summary.get("words_before", 0),
        repo=None,
        revision=None,
        revisions=student.summary.get("revisions", []),
        table=table(evaluated.revisions),
        shape=json.loads((export / "config.json").read_text(encoding="utf-8")),
        hashes=hashes(lineup),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def whole_results(student: Run, tuned: dict[str, dict]) -> list:
    """What the card tells machines, an EvalResult each: scores on the whole official data alone.

    There is no room for "of the first 10 items" there; the tables in the text say it. `tuned`: task -> its summary.
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


def hashes(lineup: Lineup) -> list[tuple[str, str, str]]:
    """(file, what it is, hex SHA-256) of the student's own files and of what it was made from."""
    student = lineup.student
    export, data = student.folder / "export", Path(student.summary["data"]).name
    lines = [(f"export/{path.name}", "the model's weights", sha256(path)) for path in weight_files(export)]
    lines += [
        ("export/tokenizer.json", "its tokenizer", sha256(export / "tokenizer.json")),
        ("scores.json", "its scores", sha256(student.folder / "eval" / "scores.json")),
        (f"{data}/{SEAL}", "the list of the hashes of its training data", student.inputs["data"]),
    ]
    origins = [
        (
            run.folder,
            "export",
            f"weights of the teacher {told['name']}",
            student.inputs[f"teacher {told['name']}"],
        )
        for run, told in zip(lineup.teachers, student.summary["teachers"], strict=True)
    ]
    if first := begun_from(student):
        origins.append((*first, "weights that it began from", student.inputs["init"]))
    # one digest a shard, which are those of the files: a lineup is checked
    for folder, inside, what, digests in origins:
        pairs = zip(weight_files(folder / inside), digests.split(","), strict=True)
        lines += [(f"{folder.name}/{inside}/{path.name}", what, digest) for path, digest in pairs]
    return lines

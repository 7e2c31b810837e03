"""The model card in the Hub's format, made of the runs' files: the bundle's, and of it those of the hub's branches."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from babylm_data.hub import weight_files
from babylm_data.sealed import SEAL, sha256
from eval.finetune.glue import TASKS
from eval.finetune.tuning_folder import cut_short
from eval.report.page import facts, templates
from eval.results.json_files import read_json
from eval.runs.lineup import Lineup
from eval.runs.origins import begun_from
from eval.runs.revisions import revisions_table
from eval.runs.run_folder import Run, reads_of
from eval.submission.collate import Collected
from eval.submission.rules import Rules
from eval.tasks import extent_note, title

PARTS = "card.json"
"""The file of a bundle that holds a `Card`."""


@dataclass(frozen=True)
class Card:
    """What all cards of a model are put together from. How to load it, said in the middle, depends on the place."""

    name: str
    metadata: str
    """YAML, for machines."""
    caveats: list[str]
    """Why it is no claim, or no entry."""
    top: str
    rest: str
    reads: str = "causal"
    """What it has learned: causal, masked or both."""

    @property
    def of_bundle(self) -> str:
        """Where the model is in export/, beside the card."""
        return self._text(render("use.md", reads=self.reads, repo=None, revision=None, revisions=[]))

    def of_main(self, repo: str, revisions: Sequence[dict]) -> str:
        """Of branch main of `repo`, where the files of export/ lie at the root."""
        return self._text(render("use.md", reads=self.reads, repo=repo, revision=None, revisions=revisions))

    def of_revision(self, repo: str, revision: dict) -> str:
        """Of a revision's branch: a short one, which claims nothing of the final model."""
        from huggingface_hub import ModelCard

        data = ModelCard(f"---\n{self.metadata}\n---\n").data
        data.eval_results = data.model_name = None
        told = {"revision": revision["name"], "words_seen": revision["words_seen"], "reads": self.reads}
        body = render("revision_card.md", name=self.name, repo=repo, caveats=self.caveats, **told)
        return f"---\n{data.to_yaml()}\n---\n\n{body}\n"

    def _text(self, use: str) -> str:
        return f"---\n{self.metadata}\n---\n\n{self.top}\n\n{use}\n\n{self.rest}\n"

    def as_json(self) -> str:
        """What `read_card` reads."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_card(bundle: Path, remedy: str) -> Card:
    """The card of a bundle; a UserError that ends with `remedy` if there is none."""
    told = read_json(bundle / PARTS, remedy, list(Card.__dataclass_fields__))
    return Card(*(told[name] for name in Card.__dataclass_fields__))


def render(template: str, **told: object) -> str:
    """A template of the cards, filled in."""
    return templates().get_template(template).render(**told).strip()


def model_card(
    lineup: Lineup,
    collected: Collected,
    rules: Rules | None = None,
    known: dict | None = None,
    licensed: str | None = None,
) -> Card:
    """The student's card; every fact in it is read from the runs' files.

    `collected`: what the leaderboard's file holds; `rules`: which it is by, None where there is none; `known`: the
    `facts` of the lineup, where somebody has found them; `licensed`: the hub's word for a license, if there is one.
    """
    from huggingface_hub import ModelCardData

    student, export = lineup.student, lineup.student.folder / "export"
    known = known or facts(lineup)
    evaluated = known["evaluated"]
    data = ModelCardData(
        language="en",
        license=licensed,
        library_name="transformers",
        pipeline_tag=pipeline_of(student),
        tags=["babylm", "knowledge-distillation", *(["synthetic-try-out"] if student.nursery else [])],
        model_name=student.name,
        eval_results=whole_results(student, evaluated.tuning.results) or None,
    )
    caveats = list(card_caveats(known))
    told = known | {
        "caveats": caveats,
        "collected": collected,
        "rules": rules,
        "words_before": student.summary.get("words_before", 0),
        "table": revisions_table(evaluated.revisions),
        "shape": json.loads((export / "config.json").read_text(encoding="utf-8")),
        "hashes": hashes(lineup),
    }
    parts = [render(template, **told) for template in ("card_top.md", "card_rest.md")]
    return Card(student.name, str(data.to_yaml()), caveats, *parts, reads_of(student.summary))


def pipeline_of(run: Run) -> str:
    """The hub's word for what a model does."""
    return "fill-mask" if reads_of(run.summary) == "masked" else "text-generation"


def card_caveats(known: dict) -> Iterator[str]:
    """What keeps the model from being an entry, or its scores from being a claim."""
    if known["nursery"]:
        corpus = "The training text is a synthetic try-out corpus that the kit writes itself"
        yield f"**{corpus}. No claim about English rests on this model.**"
    if known["trial"]:
        yield f"**A trial, no submission: {'; '.join(known['trial'])}.**"
    if known["outside"]:
        yield f"**Outside the competition: {'; '.join(known['outside'])}.**"


def whole_results(student: Run, tuned: dict[str, dict]) -> list:
    """What the card tells machines, an EvalResult each: scores on the whole official data alone.

    There is no room for "of the first 10 items" there; the tables in the text say it. `tuned`: task -> its summary.
    """
    from huggingface_hub import EvalResult

    results = [
        EvalResult(pipeline_of(student), task, title(task), result["metric"], round(result["score"], 6))
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
    lines = [(path.name, "the model's weights", sha256(path)) for path in weight_files(export)]
    lines += [
        ("tokenizer.json", "its tokenizer", sha256(export / "tokenizer.json")),
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

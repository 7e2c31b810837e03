"""The cards of a model repository: on main the bundle's, saying how to load from there; on a revision's branch a short
one that claims nothing of the final model. The same bundle and repository always give the same text."""

import re

from babylm_data.errors import UserError
from eval.report.page import templates

USE = re.compile(r"^## Use\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^\| export/", re.MULTILINE)  # a row of the table of files
CAVEAT = re.compile(r"^\*\*.+\*\*$", re.MULTILINE)


def main_card(card: str, repo: str, revisions: list[dict]) -> str:
    """The bundle's card for branch main of `repo`, where the files of export/ lie at the root."""
    place = _use_in(card)
    use = _render("use.md", repo=repo, revision=None, revisions=revisions)
    return EXPORT.sub("| ", f"{card[: place.start()]}{use}\n\n{card[place.end() :]}")


def revision_card(card: str, repo: str, name: str, revision: dict) -> str:
    """The card of a revision's branch: of the bundle's `card` the caveats and what it tells machines, but no scores."""
    from huggingface_hub import ModelCard

    data = ModelCard(card).data
    data.eval_results = data.model_name = None
    caveats = CAVEAT.findall(card[: _use_in(card).start()])
    facts = {"name": name, "revision": revision["name"], "words_seen": revision["words_seen"]}
    body = _render("revision_card.md", repo=repo, caveats=caveats, **facts)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


def _use_in(card: str) -> re.Match:
    """Where the bundle's card says how to load the model."""
    if found := USE.search(card):
        return found
    raise UserError("the bundle's README.md does not say how to load the model: build the bundle again")


def _render(template: str, **facts: object) -> str:
    return templates().get_template(template).render(**facts).strip()

"""The ages of acquisition of a run as the model card and the report show them."""

from dataclasses import dataclass
from pathlib import Path

from eval.results.json_files import read_json, require
from eval.tasks import extent_note

FILE = "aoa.json"
REMEDY = "find the ages again with `python -m eval.aoa`"
RULE = ("score", "standard_error", "p_value", "official_score", "words_fitted")


@dataclass(frozen=True)
class Ages:
    """A correlation with the ages of children, of the surprisals that the run's revisions have."""

    text: str
    """What was found, one line."""
    caveat: str
    """What keeps it from being a score of the official task; empty if nothing does."""
    call: tuple[str, str] | None
    """(time, command) of the call that found it; None where no file tells it."""


def read_ages(folder: Path, surprisals: dict[str, str]) -> Ages | None:
    """What `python -m eval.aoa` wrote into `folder`; None where nothing was fitted.

    `surprisals`: revision -> SHA-256 of the predictions.json with its surprisals now. For ages found of others, and for
    a file that does not say which it is of, a line that says so stands in place of the correlation.
    """
    path = folder / FILE
    if not path.exists():
        return None
    found = read_json(path, REMEDY)
    if not found.get("surprisals"):  # an older one, or of a surprisal.json that came from elsewhere
        return Ages(f"Not shown: {path} does not say which revisions it is of; {REMEDY}.", "", None)
    keys = ("created", "command", "synthetic", "partial", "words", "checkpoints", "rules")
    require(found, keys, str(path), REMEDY)
    for rule in ("2026", "2025"):
        require(found["rules"], [rule], f"the rules of {path}", REMEDY)
        require(found["rules"][rule], RULE, f"{path}, rule {rule},", REMEDY)
    if found["surprisals"] != surprisals:
        return Ages(
            f"Not shown: {path} is of other surprisals than the revisions have now; {REMEDY}.", "", None
        )
    note = extent_note(None, found["partial"], found["synthetic"])
    return Ages(text(found), note, (found["created"], found["command"]))


def text(found: dict) -> str:
    """The correlation by the rule of 2026, beside it the official scores by both."""
    cell, older = found["rules"]["2026"], found["rules"]["2025"]
    words = f"{cell['words_fitted']:,} of {found['words']:,} words"
    where = f"{words} over {len(found['checkpoints'])} revisions"
    if cell["score"] is None:
        start = f"No correlation is defined: of {where} both ages are known"
    else:
        figures = f"{cell['score']:.4f} ± {cell['standard_error']:.4f} (p {cell['p_value']:.3g})"
        start = f"Pearson's r {figures} between the ages at which children and the model learn {where}"
    scores = f"{cell['official_score']:.4f} by the rule of 2026, which counts p > 0.1 as 0"
    return f"{start}. Official score: {scores}, and {older['official_score']:.4f} by that of 2025."

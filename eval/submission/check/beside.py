"""What the file itself cannot show: that the revisions are different models, and how many answers were ties."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from babylm_data.errors import UserError
from eval.json_files import read_json, require
from eval.model import weights_sha256
from eval.submission.check.faults import Faults

TIES_ODD, TIES_BROKEN = 0.01, 0.10


def check_weights(folder: Path, due: Sequence[str], faults: Faults) -> None:
    """Each revision that is due has a folder in `folder`, with weights that are no other's."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name the one that holds {due[0]} … with --revisions")
    told: dict[str, str] = {}
    for name in due:
        if not any((folder / name).glob("*.safetensors")):
            faults.add(
                str(folder / name), "has no *.safetensors", "export the revision, or leave out --revisions"
            )
            continue
        twin = told.setdefault(weights_sha256(folder / name), name)
        if twin != name:
            faults.add(
                str(folder / name), f"has the same weights as {twin}", "export each revision's own weights"
            )


def check_ties(path: Path, tasks: Iterable[str], faults: Faults) -> None:
    """Of the `tasks` in a scores.json, the share of items in which choices tied that are not the same text."""
    remedy = "name the scores.json that `python -m eval` wrote with --scores"
    scores = read_json(path, remedy, ["tasks"])["tasks"]
    for task in tasks:
        if task not in scores:
            continue
        require(scores[task], ["items", "ties"], f"{task} in {path}", remedy)
        items, ties = scores[task]["items"], scores[task]["ties"] - len(scores[task].get("identical", ()))
        if items and (share := ties / items) > TIES_ODD:
            what = f"{ties:,} of {items:,} items ({100 * share:.1f} %) are ties, which no prediction shows"
            remedy_of_ties = "score in float32, and see that the model is not nearly constant"
            faults.add(f"{task} in {path}", what, remedy_of_ties, warning=share <= TIES_BROKEN)

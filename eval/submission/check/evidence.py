"""What the file itself cannot show: that the revisions are different models, which revision a fast score is of, and how
many answers were ties."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from babylm_data.errors import UserError
from eval.results.json_files import read_json, require
from eval.scorer.model import weights_sha256
from eval.submission.check.faults import Faults
from eval.submission.check.values import shown
from eval.submission.collate import fast_values
from eval.submission.rules import Rules

TIES_ODD, TIES_BROKEN = 0.01, 0.10
SAME = 1e-6  # between a score and itself, written by another program
REMEDY = "name the scores.json that `python -m eval` wrote with --scores"


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


def check_fast_scores(path: Path, rules: Rules, content: object, due: Sequence[str], faults: Faults) -> None:
    """The fast lists of a file's `content` have, in its place, the scores of the revision whose scores.json this is:
    `path` lies in a folder with the name of one that is due.
    """
    name, lists = path.parent.name, content.get(rules.fast_key) if isinstance(content, dict) else None
    if not isinstance(lists, dict):
        return
    tasks = read_json(path, REMEDY, ["tasks"])["tasks"]
    for key, entry in rules.fast.items():
        found = lists.get(key)
        own = found[due.index(name)] if isinstance(found, list) and len(found) == len(due) else None
        if entry.task not in tasks or not isinstance(own, dict):
            continue
        require(tasks[entry.task], ["by_subtask"], f"{entry.task} in {path}", REMEDY)
        for part, score in fast_values(tasks[entry.task]["by_subtask"], entry).items():
            if type(own.get(part)) in (int, float) and not abs(own[part] - score) <= SAME:
                what = f"{shown(own[part])} for {part}, and {path} has {score:.6f}"
                remedy = "write each revision's own scores, in the order of words of exposure"
                faults.add_row(f"{rules.fast_key}/{key}", name, "scores", what, remedy)


def check_ties(path: Path, tasks: Iterable[str], faults: Faults) -> None:
    """Of the `tasks` in a scores.json, the share of items in which choices tied that are not the same text."""
    scores = read_json(path, REMEDY, ["tasks"])["tasks"]
    for task in tasks:
        if task not in scores:
            continue
        require(scores[task], ["items", "ties"], f"{task} in {path}", REMEDY)
        items, ties = scores[task]["items"], scores[task]["ties"] - len(scores[task].get("identical", ()))
        if items and (share := ties / items) > TIES_ODD:
            what = f"{ties:,} of {items:,} items ({100 * share:.1f} %) are ties, which no prediction shows"
            remedy_of_ties = "score in float32, and see that the model is not nearly constant"
            faults.add(f"{task} in {path}", what, remedy_of_ties, warning=share <= TIES_BROKEN)

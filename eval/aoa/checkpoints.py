"""The surprisals of a model's checkpoints, from results of `python -m eval --tasks aoa` or from an official file."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.words import revision_words
from eval.results.json_files import read_json, require
from eval.results.scores import intact
from eval.scorer.model import BACKENDS

if TYPE_CHECKING:
    import numpy as np

FEWEST = 5  # a sigmoid has four parameters: it passes through any four points
ROW = ("target_word", "context_id", "context", "surprisal")
KINDS = {"step": str, "target_word": str, "context_id": int, "context": str}
REMEDY = "score it again with `python -m eval … --tasks aoa`"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint's surprisals: "chck_1M", 1,000,000 words of exposure, rows with the keys of `ROW`."""

    name: str
    exposure: int
    rows: list[dict]
    model: str = ""
    """What was scored: a folder or a hub name, where that is known."""
    backend: str = "causal"
    digest: str | None = None
    """SHA-256 of the predictions.json that the rows are from; None for rows of an official file."""
    synthetic: bool = False
    """Do the rows stand in for official ones?"""


def find_checkpoints(paths: Iterable[Path]) -> list[Checkpoint]:
    """The checkpoints of all `paths`, by exposure; a UserError for what is missing, double, broken or unlike."""
    found: list[Checkpoint] = []
    for path in paths:
        if path.is_file():
            found += read_official(path)
            continue
        inside = [path, *sorted(path.glob("*")), *sorted(path.glob("*/eval"))]
        folders = [folder for folder in inside if (folder / "aoa" / "predictions.json").is_file()]
        if not folders:
            raise UserError(f"{path} holds no aoa/predictions.json of a checkpoint: {REMEDY}")
        found += [read_scored(folder) for folder in folders]
    found.sort(key=lambda checkpoint: checkpoint.exposure)
    for before, after in zip(found, found[1:], strict=False):
        if before.exposure == after.exposure:
            raise UserError(f"{after.name} is there twice: name each checkpoint once")
        if before.backend != after.backend:
            raise UserError(
                f"{before.name} was scored with --backend {before.backend} and {after.name} with {after.backend}: "
                "score all with one"
            )
    if len(found) < FEWEST:
        raise UserError(
            f"{len(found)} checkpoints are too few for a sigmoid, whose four parameters would fit anything: "
            f"score {FEWEST} or more"
        )
    return found


def read_scored(folder: Path) -> Checkpoint:
    """The result folder of one checkpoint; its name is the last part of its path, or of its model's, that is one."""
    scores = read_json(folder / "scores.json", REMEDY, ("model", "tasks"))
    require(scores["tasks"], ["aoa"], f"the tasks of {folder / 'scores.json'}", REMEDY)
    path = folder / "aoa" / "predictions.json"
    result = scores["tasks"]["aoa"]
    digest = result.get("predictions_sha256")
    if not intact(path, digest):
        raise UserError(f"{path} does not belong to the score in scores.json: {REMEDY}")
    parts = [*Path(scores["model"]).parts, *folder.resolve().parts]
    names = [part for part in parts if revision_words(part) is not None]
    if not names:
        raise UserError(f"{folder} and its model have no checkpoint's name (chck_1M, …): rename the folder")
    rows = checked(read_json(path, REMEDY, ["results"])["results"], path, ROW)
    kind = {"backend": result.get("backend", "causal"), "synthetic": result.get("synthetic", False)}
    return Checkpoint(names[-1], exposure(names[-1], path), rows, scores["model"], digest=digest, **kind)


def read_official(path: Path) -> list[Checkpoint]:
    """The checkpoints of an official surprisal.json, which does not say by which backend: see `backend_of`."""
    backend = backend_of(path.resolve())
    rows = checked(read_json(path, REMEDY, ["results"])["results"], path, ("step", *ROW))
    by_step: dict[str, list[dict]] = {}
    for row in rows:
        by_step.setdefault(str(row["step"]), []).append({key: row[key] for key in ROW})
    return [Checkpoint(step, exposure(step, path), rows, backend=backend) for step, rows in by_step.items()]


def backend_of(path: Path) -> str:
    """The backend of a surprisal.json: of its place in a results tree, or of the aoa.json beside it, else causal."""
    place, above, tree = (path.parents[number].name for number in range(3))
    if (place, tree) == ("AoA_word", "zero_shot") and above in BACKENDS:
        return above
    beside = path.with_name("aoa.json")
    return read_json(beside, REMEDY).get("backend", "causal") if beside.exists() else "causal"


def checked(rows: object, path: Path, keys: Sequence[str]) -> list[dict]:
    """`rows` if they are a list of objects with `keys` of the right kinds and a finite surprisal each."""
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} has no list of results: {REMEDY}")
    for index, row in enumerate(rows):
        place = f"{path}, result {index},"
        require(row, keys, place, REMEDY)
        for key in keys:
            if not isinstance(row[key], KINDS.get(key, object)):
                raise UserError(f"{place} has {row[key]!r} in {key!r}: {REMEDY}")
        value = row["surprisal"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(
                f"{place} has {value!r} for a surprisal: the model is broken, its words have no age"
            )
    return rows


def exposure(name: str, path: Path) -> int:
    """Words of exposure that a checkpoint's name tells."""
    words = revision_words(name)
    if words is None:
        raise UserError(f"{path}: {name!r} is no checkpoint's name (chck_1M, …): {REMEDY}")
    return words


def about(checkpoints: Sequence[Checkpoint]) -> dict:
    """What the result says of the checkpoints; "surprisals": the SHA-256 of each one's, null where not all have one."""
    digests = {checkpoint.name: checkpoint.digest for checkpoint in checkpoints}
    return {
        "checkpoints": list(digests),
        "surprisals": digests if all(digests.values()) else None,
        "synthetic": any(checkpoint.synthetic for checkpoint in checkpoints),
        "backend": checkpoints[0].backend,
        "contexts": len(checkpoints[0].rows),
    }


def surprisals_by_word(checkpoints: Sequence[Checkpoint]) -> dict[str, "np.ndarray"]:
    """word -> (checkpoints, contexts), nats. UserError unless each is another model, asked for the same rows."""
    import numpy as np

    asked = [_identity(row) for row in checkpoints[0].rows]
    told: dict[tuple[float, ...], str] = {}
    for checkpoint in checkpoints:
        values = {_identity(row): row["surprisal"] for row in checkpoint.rows}
        if len(values) < len(checkpoint.rows):
            raise UserError(f"{checkpoint.name} has a word in one context twice: {REMEDY}")
        if values.keys() != set(asked):
            raise UserError(
                f"{checkpoint.name} was scored on other words or contexts than {checkpoints[0].name}: "
                "score all with the same options"
            )
        twin = told.setdefault(tuple(values[row] for row in asked), checkpoint.name)
        if twin != checkpoint.name:
            raise UserError(
                f"{twin} and {checkpoint.name} have equal surprisals throughout: one model was scored twice"
            )
    table = np.array(list(told), dtype=float)
    places: dict[str, list[int]] = {}
    for place, (word, _, _) in enumerate(asked):
        places.setdefault(word, []).append(place)
    return {word: table[:, columns] for word, columns in places.items()}


def _identity(row: dict) -> tuple[str, int, str]:
    return row["target_word"], row["context_id"], row["context"]

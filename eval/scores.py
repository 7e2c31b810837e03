"""`scores.json`: written whole or not at all, reused only where nothing that decides a score has changed."""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import sha256, write_whole
from eval.tasks import extent_note

RULE = 3  # raise it when the code says other things of the same model and files: old results are redone


def digest(parts: list) -> str:
    """Hex SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def measured_on(files: list[Path], settings: dict) -> str:
    """Hex SHA-256 of a task's files and settings: two models were asked the same if theirs are equal."""
    return digest([[[path.resolve().parent.name, path.name, sha256(path)] for path in files], settings])


def task_key(model_sha256: str, asked: str) -> str:
    """Hex SHA-256 of all that decides a result: the model, what it was asked, the rule, who tokenises and runs."""
    libraries = {name: version(name) for name in ("transformers", "tokenizers")}
    return digest([RULE, model_sha256, asked, libraries])


def as_json(value: dict) -> str:
    """JSON text as every file of the scores holds it; a number that is not finite is an error."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


class ScoreFile:
    """The folder with one model's results. Each finished task is on the disk before the next begins."""

    def __init__(self, folder: Path, header: dict) -> None:
        """Open `folder`, which need not exist; results of another model that lie there are dropped.

        `header` is what stands beside the tasks; its "model_sha256" says whose results they are.
        """
        self.folder = folder
        _check_writable(folder)
        old = self._read()
        same_model = old.get("model_sha256") == header["model_sha256"]
        self._stale = [] if same_model else sorted(old.get("tasks", {}))
        self.scores = header | {"tasks": dict(old["tasks"]) if same_model else {}}
        if same_model and "parameters" in old:
            self.scores["parameters"] = old["parameters"]

    def _read(self) -> dict:
        path = self.folder / "scores.json"
        if not path.exists():
            return {}
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(scores, dict) or not isinstance(scores.get("tasks"), dict):
                raise ValueError("no tasks in it")
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from error
        return scores

    def has(self, task: str, key: str) -> bool:
        """Whether this very result is already here, with the very predictions that it sums up, if any."""
        entry = self.scores["tasks"].get(task)
        if not isinstance(entry, dict) or entry.get("key") != key:
            return False
        return "predictions_sha256" not in entry or intact(
            self._predictions(task), entry["predictions_sha256"]
        )

    def add(self, task: str, key: str, result: dict, predictions: dict | None = None) -> None:
        """Store a finished task: its predictions first, and their hash beside the score that they belong to."""
        for name in self._stale:
            self._predictions(name).unlink(missing_ok=True)
        self._stale = []
        entry = result | {"key": key}
        if predictions is not None:
            write_whole(self._predictions(task), as_json(predictions))
            entry["predictions_sha256"] = sha256(self._predictions(task))
        self.scores["tasks"][task] = entry
        write_whole(self.folder / "scores.json", as_json(self.scores))

    def _predictions(self, task: str) -> Path:
        return self.folder / task / "predictions.json"


def intact(path: Path, digest: str) -> bool:
    """Whether `path` is a file with this hex SHA-256."""
    return path.is_file() and sha256(path) == digest


def _check_writable(folder: Path) -> None:
    """Find out before an hour of scoring, not after it; nothing is made yet."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is not a folder: name another one with --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"nothing may be written in {nearest}: name another folder with --out")


def table(tasks: dict[str, dict], ends: int = 5) -> str:
    """The results as text for a terminal, in percent; of the subtasks only the worst and the best `ends`."""
    pairs = {name: result for name, result in tasks.items() if "accuracy" in result}
    lines = []
    if pairs:
        lines += [
            f"{'task':<40} {'accuracy %':>15} {'items':>8} {'ties':>6} {'chance':>7} {'official rule':>14}"
        ]
        for name, result in pairs.items():
            percent = _percent(result["accuracy"], result["standard_error"])
            official = result["official_accuracy"]  # of interest only where ties make it another number
            unlike = f"{100 * official:.2f}" if official != result["accuracy"] else "the same"
            lines += [
                f"{name:<40} {percent} {result['items']:>8,} {result['ties']:>6,} "
                f"{result['chance']:>7.1%} {unlike:>14}"
            ]
    for name, result in pairs.items():
        if note := extent_note(result["limit"], result["partial"]):
            lines += [f"{name} is no score of the whole task: {note}"]
    for name, result in pairs.items():
        subtasks = sorted(result["by_subtask"].items(), key=lambda entry: entry[1]["accuracy"])
        if result["by_phenomenon"]:
            lines += ["", f"{name} by phenomenon", *_cells(sorted(result["by_phenomenon"].items()))]
        if len(subtasks) > 2 * ends:
            lines += ["", f"{name}, the {ends} worst and the {ends} best of {len(subtasks)} subtasks"]
            lines += [*_cells(subtasks[:ends]), "  …", *_cells(subtasks[-ends:])]
        else:
            lines += ["", f"{name} by subtask", *_cells(subtasks)]
    if text := tasks.get("perplexity"):
        lines += [
            "",
            f"{'held-out text':<40} {'words':>9} {'nats/token':>11} {'perplexity':>11} {'bits/byte':>10}",
        ]
        for name, row in (*text["files"].items(), *text["splits"].items(), ("all", text["all"])):
            perplexity = "-" if row["perplexity"] is None else f"{row['perplexity']:,.2f}"
            numbers = f"{row['nats_per_token']:>11.4f} {perplexity:>11} {row['bits_per_byte']:>10.4f}"
            lines += [f"{name:<40} {row['words']:>9,} {numbers}"]
    return "\n".join(lines).strip()


def _percent(value: float, error: float) -> str:
    return f"{100 * value:>8.2f} ± {100 * error:>4.2f}"


def _cells(cells: list[tuple[str, dict]]) -> list[str]:
    return [
        f"  {name[:52]:<52} {_percent(cell['accuracy'], cell['standard_error'])} {cell['items']:>8,}"
        for name, cell in cells
    ]

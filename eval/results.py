"""`scores.json`: written whole or not at all, reused only where nothing that decides a score has changed."""

import hashlib
import json
import os
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import sha256

RULE = 1  # raise it when the code gives other numbers for the same model and files: old results are redone


def task_key(model_sha256: str, files: list[Path], settings: dict) -> str:
    """Hex SHA-256 of all that decides a result: the files of model and task, the settings, the rule."""
    parts = [
        RULE,
        model_sha256,
        [[path.resolve().parent.name, path.name, sha256(path)] for path in files],
        settings,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def write_json(path: Path, value: dict) -> None:
    """Write under a temporary name, flush, rename: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class ScoreRecord:
    """The folder with one model's results. Each finished task is on the disk before the next begins."""

    def __init__(self, folder: Path, header: dict) -> None:
        """Open `folder`; results of other weights or another tokenizer that lie there are dropped.

        `header` is what stands beside the tasks; its "model_sha256" says whose results they are.
        """
        self.folder = folder
        old = self._read()
        self.same_model = old.get("model_sha256") == header["model_sha256"]
        self._stale = [] if self.same_model else sorted(old.get("tasks", {}))
        self.scores = (old if self.same_model else {}) | header
        self.scores["tasks"] = dict(self.scores.get("tasks", {}))

    def _read(self) -> dict:
        path = self.folder / "scores.json"
        if not path.is_file():
            return {}
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(scores, dict) or not isinstance(scores.get("tasks"), dict):
                raise ValueError("no tasks in it")
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from error
        return scores

    def has(self, task: str, key: str) -> bool:
        """Whether this very result is already here, with its predictions if it has any."""
        done = self.scores["tasks"].get(task, {}).get("key") == key
        return done and (task == "perplexity" or self._predictions(task).is_file())

    def add(self, task: str, key: str, result: dict, predictions: dict | None = None) -> None:
        """Store a finished task: its predictions first, so that a score never stands without them."""
        for name in self._stale:
            self._predictions(name).unlink(missing_ok=True)
        self._stale = []
        if predictions is not None:
            write_json(self._predictions(task), predictions)
        self.scores["tasks"][task] = result | {"key": key}
        write_json(self.folder / "scores.json", self.scores)

    def _predictions(self, task: str) -> Path:
        return self.folder / task / "predictions.json"


def table(tasks: dict[str, dict], ends: int = 5) -> str:
    """The results as text for a terminal, in percent; of the subtasks only the worst and the best `ends`."""
    pairs = {name: result for name, result in tasks.items() if "score" in result}
    lines = []
    if pairs:
        lines += [f"{'task':<40} {'score %':>15} {'items':>8} {'ties':>6} {'chance':>7}"]
        for name, result in pairs.items():
            percent = _percent(result["score"], result["standard_error"])
            lines += [
                f"{name:<40} {percent} {result['items']:>8,} {result['ties']:>6,} {result['chance']:>7.1%}"
            ]
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

"""`scores.json`: written whole or not at all, reused only where nothing that decides a score has changed."""

import hashlib
import json
import os
import shlex
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON, utf8_text
from babylm_data.sealed import sha256, write_whole

RULE = 9  # raise it when the code says other things of the same model and files: old results are redone
DETAILS = ("predictions", "items")  # files of a task: the official predictions, and what each item earned


def digest(parts: list) -> str:
    """Hex SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def measured_on(files: list[Path], settings: dict) -> str:
    """Hex SHA-256 of a task's files and settings: two models were asked the same if theirs are equal.

    What an answer is worth (the tie rule) is not in it.
    """
    return digest([[[path.resolve().parent.name, path.name, sha256(path)] for path in files], settings])


def task_key(model_sha256: str, asked: str) -> str:
    """Hex SHA-256 of all that decides a result: the model, what it was asked, the rule, who tokenises and runs."""
    libraries = {name: version(name) for name in ("transformers", "tokenizers")}
    return digest([RULE, model_sha256, asked, libraries])


def as_json(value: dict, *, nan: bool = False) -> str:
    """JSON text as every file of the scores holds it; a number that is not finite is an error, unless `nan`.

    The official predictions of reading have NaN where there is no word before.
    """
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=nan) + "\n"


class ScoreFile:
    """The folder with one model's results. Each finished task is on the disk before the next begins."""

    def __init__(self, folder: Path, header: dict) -> None:
        """Open `folder`, which need not exist; results of another model that lie there are dropped.

        `header` is what stands beside the tasks; its "model_sha256" says whose results they are.
        """
        self.folder = folder
        check_writable(folder)
        old = self._read()
        same_model = old.get("model_sha256") == header["model_sha256"]
        self._stale = [] if same_model else sorted(old.get("tasks", {}))
        self.scores = header | {"tasks": dict(old["tasks"]) if same_model else {}}
        self.scores |= {key: old[key] for key in ("parameters", "refused") if same_model and key in old}

    def _read(self) -> dict:
        path = self.folder / "scores.json"
        if not path.exists():
            return {}
        try:
            scores = json.loads(utf8_text(path, "delete it and run again"))
            if not isinstance(scores, dict) or not isinstance(scores.get("tasks"), dict):
                raise ValueError("no tasks in it")
        except (OSError, *BAD_JSON) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and run again") from error
        return scores

    def has(self, task: str, key: str) -> bool:
        """Whether this very result is already here, with the very files that it sums up, if any."""
        entry = self.scores["tasks"].get(task)
        if not isinstance(entry, dict) or entry.get("key") != key:
            return False
        return all(
            intact(self.path(task, name), entry[f"{name}_sha256"])
            for name in DETAILS
            if f"{name}_sha256" in entry
        )

    def add(self, task: str, key: str, result: dict, details: dict[str, dict] | None = None) -> None:
        """Store a finished task: its `details` first (of DETAILS), and their hashes beside the score of them."""
        for stale in self._stale:
            for name in DETAILS:
                self.path(stale, name).unlink(missing_ok=True)
        self._stale = []
        entry = result | {"key": key}
        for name, content in (details or {}).items():
            write_whole(self.path(task, name), as_json(content, nan=name == "predictions"))
            entry[f"{name}_sha256"] = sha256(self.path(task, name))
        latest = self._read()  # another call may have added tasks meanwhile
        others = latest["tasks"] if latest.get("model_sha256") == self.scores["model_sha256"] else {}
        self.scores["tasks"] = self.scores["tasks"] | others | {task: entry}
        self.scores.get("refused", {}).pop(task, None)
        write_whole(self.folder / "scores.json", as_json(self.scores))

    def refuse(self, task: str, reason: str) -> None:
        """Store that this model has no result of a task, and why: what it once had is of other data or settings."""
        self.scores["tasks"].pop(task, None)
        self.scores.setdefault("refused", {})[task] = reason
        write_whole(self.folder / "scores.json", as_json(self.scores))

    def path(self, task: str, name: str) -> Path:
        """The file of one of a task's DETAILS."""
        return self.folder / task / f"{name}.json"


def called(program: str, argv: list[str]) -> dict[str, str]:
    """When, and by which command of `program` ("eval", "eval.aoa", …), a result was made."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"created": created, "command": f"python -m {program} {shlex.join(argv)}"}


def intact(path: Path, digest: str) -> bool:
    """Whether `path` is a file with this hex SHA-256."""
    return path.is_file() and sha256(path) == digest


def check_writable(folder: Path, option: str = "--out") -> None:
    """Find out before an hour of work, not after it, that `option` names no good folder; nothing is made yet."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is not a folder: name another one with {option}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"nothing may be written in {nearest}: name another folder with {option}")

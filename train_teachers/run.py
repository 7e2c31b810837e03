"""The run folder: the record of one config and one seed.

config.yaml (resolved), inputs.json (hashes of what it was made from), environment.json, metrics.jsonl,
state/ (resumable), export/ (Hugging Face), summary.json (written last: its presence means finished).
"""

import fcntl
import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers

from babylm_data.errors import UserError
from train_teachers.config import TrainConfig, dump_config

ROOT = Path("runs")


class Run:
    """A run folder, held by this process alone until `close` (or the end of the process)."""

    def __init__(self, config: TrainConfig, inputs: dict[str, str], *, kind: str) -> None:
        self.name, self.kind, self.folder = config.name, kind, ROOT / config.name
        self.metrics = self.folder / "metrics.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock()
        self._same("config.yaml", f"# {kind}\n" + dump_config(config), "was made with another config")
        self._same("inputs.json", json.dumps(inputs, indent=1), "was made from other data or teachers")
        if not self.summary:
            self.write_json("environment.json", environment())

    def _lock(self) -> None:
        self._held = open(self.folder / ".lock", "a+", encoding="utf-8")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._held.seek(0)
            holder = self._held.read().strip()
            self._held.close()
            raise UserError(f"{self.folder} is in use by {holder}: wait for it, or pass name=…") from None
        self._held.truncate(0)
        self._held.write(f"process {os.getpid()} on {platform.node()}")
        self._held.flush()

    def _same(self, name: str, text: str, fault: str) -> None:
        file = self.folder / name
        if not file.exists():
            _write(file, text)
        elif (before := file.read_text(encoding="utf-8")) != text:
            pairs = zip(before.splitlines() + [""], text.splitlines() + [""], strict=False)
            old, new = next((a.strip(), b.strip()) for a, b in pairs if a != b)
            raise UserError(
                f"{self.folder} {fault} ('{old}', now '{new}'): pass name=… for a new run, or delete the folder"
            )

    def close(self) -> None:
        """Let go of the folder."""
        self._held.close()

    @property
    def summary(self) -> dict | None:
        """The summary of a finished run, else None."""
        file = self.folder / "summary.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def log(self, record: dict) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what a run resumed at `step` will log again: later steps, and the validation at `step`."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the line that a kill tore
                continue
            if record["step"] < step or (record["step"] == step and "val/hard" not in record):
                kept.append(line + "\n")
        _write(self.metrics, "".join(kept))

    def last(self, key: str) -> float:
        """The newest value of `key` in metrics.jsonl."""
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        return next(record[key] for record in map(json.loads, reversed(lines)) if key in record)

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        _write(self.folder / name, json.dumps(content, indent=1) + "\n")


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)


def command_line() -> str:
    """The command as the user typed it, `python -m stage …`."""
    main = Path(sys.argv[0])
    module = main.parent.name if main.name == "__main__.py" else main.stem
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def environment() -> dict:
    """What a reader needs to run this again."""

    def git(*arguments: str) -> str | None:
        try:
            here = Path(__file__).parent
            done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    return {
        "command": command_line(),
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain")),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }

"""The run folder: the record of one config and one seed.

config.yaml (resolved), inputs.json (hashes of what it was made from), environment.json, metrics.jsonl,
state/ (resumable), status.json (how far its newest checkpoint is), export/ (Hugging Face), summary.json (its presence
means finished).
"""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from pydantic import ValidationError

from babylm_data.disk import room_advice
from babylm_data.errors import UserError
from babylm_data.files import json_lines, json_table
from babylm_data.provenance import command_line, processor
from babylm_data.sealed import LOCK, lock, write_whole
from babylm_data.status import STATUS_FILE, tell
from babylm_data.yaml_files import read_table
from train_teachers.config import TrainConfig, dump_config

ROOT = Path("runs")
MACHINE = ("device", "processor", "threads")
# What decides a run; pages and records do not.
CODE = (":(top)*.py", ":(top)*.yaml", ":(top)requirements.txt")


def begun(config: TrainConfig) -> dict[str, str]:
    """The inputs of a run of this config that has a checkpoint: what was decided when it began; empty for any other."""
    folder = ROOT / config.name
    if not (_has_state(folder) and _is_of(folder, config)):
        return {}
    found = json_table(folder / "inputs.json") or {}  # whoever opens the run tells of a damaged one
    return {key: value for key, value in found.items() if isinstance(value, str)}


def finished(config: TrainConfig) -> bool:
    """Whether a run of this config has come to its end."""
    folder = ROOT / config.name
    return (folder / "summary.json").exists() and _is_of(folder, config)


def begun_otherwise(config: TrainConfig) -> bool:
    """Whether there is a run of this name by another config."""
    folder = ROOT / config.name
    return (folder / "config.yaml").is_file() and not _is_of(folder, config)


def _is_of(folder: Path, config: TrainConfig) -> bool:
    """Whether a run folder is that of a config, but for what may change."""
    try:
        return not _changed_config(folder, config)
    except OSError:
        return False


def _changed_config(folder: Path, config: TrainConfig) -> dict[str, tuple]:
    """As `changed`, from the config of a run folder to this one; where things lie is no part of it.

    What they are stands among the inputs of a run, by its hash.
    """
    before, now = read_config(folder), config.model_dump(mode="json")
    with contextlib.suppress(ValidationError):  # of a run begun by an older version, which had fewer fields
        before = type(config).model_validate_json(json.dumps(before)).model_dump(mode="json")
    found = changed(before, now, config.may_change)
    return {key: values for key, values in found.items() if not key.endswith(".path")}


def _has_state(folder: Path) -> bool:
    """Whether a run folder has a checkpoint."""
    return any((folder / "state").glob("step-*"))


def read_config(folder: Path) -> dict:
    """The config of a run folder."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(read_table(folder / "config.yaml"))


def changed(before: dict, now: dict, allowed: frozenset[str] = frozenset()) -> dict[str, tuple]:
    """Entries that are not what they were, but for those that may change: name -> (before, now)."""
    before, now = _flat(before), _flat(now)
    keys = (key for key in sorted(before.keys() | now.keys()) if key.split(".")[0] not in allowed)
    return {key: (before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)}


class Run:
    """A run folder, held by this process alone until `close` (or the end of the process)."""

    def __init__(self, config: TrainConfig, inputs: dict[str, str], *, kind: str, owner: bool = True) -> None:
        self.name, self.kind, self.folder = config.name, kind, ROOT / config.name
        self.metrics = self.folder / "metrics.jsonl"
        self._held = None
        if not owner:  # another process of the same run: it reads, and the owner writes
            return
        if (self.folder / "manifest.json").exists():
            raise UserError(f"{self.folder} holds data, or a cache, and no run: pass another name=…")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = lock(self.folder / LOCK)
        try:
            self._claim(config, {"kind": kind, **inputs})
        except UserError:
            self.close()
            raise

    def _claim(self, config: TrainConfig, inputs: dict[str, str]) -> None:
        """Write down what this run is; UserError if a run that has begun here is another one."""
        if self.summary or _has_state(self.folder):
            self._refuse("config", _changed_config(self.folder, config))
            before = self.read_json("inputs.json")
            # an older version of the kit may have written down less
            known = {key: value for key, value in inputs.items() if key in before}
            self._refuse("inputs", changed(before, known, config.may_change))
        else:  # it may have been another run that wrote them, before its first checkpoint
            shutil.rmtree(self.folder / "revisions", ignore_errors=True)
            (self.folder / STATUS_FILE).unlink(missing_ok=True)
        if not self.summary:
            write_whole(self.folder / "config.yaml", f"# {self.kind}\n" + dump_config(config))
            self.write_json("inputs.json", inputs)
            self._note_start()

    def _refuse(self, what: str, changes: dict[str, tuple]) -> None:
        """UserError that names the first entry in which this run is not the one begun in the folder."""
        for key, (was, is_now) in changes.items():
            raise UserError(
                f"{self.folder} was begun with another {what}: {key} was {was}, now {is_now}; "
                "pass name=… for a new run, or delete the folder"
            )

    def _note_start(self) -> None:
        """environment.json: the start that the first checkpoint came from, and `starts`, one entry each since then."""
        now = environment()
        first = self.read_json("environment.json") if _has_state(self.folder) else {**now, "starts": []}
        start = {key: now[key] for key in ("started", "command", "commit", "dirty", *MACHINE)}
        self.write_json("environment.json", first | {"starts": [*first["starts"], start]})

    def close(self) -> None:
        """Let go of the folder."""
        if self._held:
            self._held.close()

    @property
    def summary(self) -> dict | None:
        """The summary of a finished run, else None."""
        return self.read_json("summary.json") if (self.folder / "summary.json").exists() else None

    def read_json(self, name: str) -> dict:
        """A JSON file of the folder; UserError if it is missing or damaged."""
        if (content := json_table(self.folder / name)) is None:
            raise UserError(f"{self.folder / name} is missing or damaged: delete the folder to train again")
        return content

    def log(self, record: dict) -> None:
        """Append one line to metrics.jsonl."""
        with room_advice(self.metrics), open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what a run resumed at `step` will log again: later steps, and the validation at `step`."""
        kept = [
            json.dumps(record) + "\n"
            for record in json_lines(self.metrics, "step")
            if record["step"] < step or (record["step"] == step and "val/hard" not in record)
        ]
        write_whole(self.metrics, "".join(kept))

    def tell(self, done: int, total: int, *, goes_on: bool = True) -> None:
        """status.json: how far the run has come by its newest checkpoint, and whether anything is left to do."""
        tell(self.folder, self.kind, self.name, done, total, goes_on=goes_on)

    def last(self, key: str) -> float:
        """The newest value of `key` in metrics.jsonl."""
        return next(record[key] for record in reversed(json_lines(self.metrics, "step")) if key in record)

    def tracking_id(self) -> str:
        """An id of this run folder alone, for wandb: a run made anew under an old name must not be appended to it."""
        path = self.folder / "tracking_id.txt"
        if not path.exists():
            write_whole(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8")

    def write_json(self, name: str, content: dict) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        write_whole(self.folder / name, json.dumps(content, indent=1) + "\n")


def _flat(values: object, prefix: str = "") -> dict[str, object]:
    """Nested tables as one: `{"optim": {"lr": 1}}` becomes `{"optim.lr": 1}`."""
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        k: v for key, inner in values.items() for k, v in _flat(inner, f"{prefix}.{key}".strip(".")).items()
    }


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
        "dirty": None if (changes := git("status", "--porcelain", "--", *CODE)) is None else bool(changes),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }

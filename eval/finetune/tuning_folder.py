"""The files of fine-tuning: one folder per task and seed, and finetune.json, which sums the seeds up.

A result is reused only where nothing that decides it has changed: model, data, settings, seed, this code's rule
and the libraries that tokenise and run. Each is on the disk before the next begins.
"""

import math
from importlib.metadata import version
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import sha256, write_whole
from eval.results.json_files import read_json, require
from eval.results.scores import as_json, check_writable, digest

RULE = 1  # raise it when the code finds other results for the same model and files
FILE = "finetune.json"
REMEDY = "delete it and run again"


def asked(files: tuple[Path, Path], settings: dict) -> str:
    """Hex SHA-256 of a task's files and settings: two results with one of it can be averaged or compared."""
    return digest([[sha256(path) for path in files], settings])


def read_tuned(folder: Path, model_sha256: str, *, random_weights: bool = False) -> dict[str, dict]:
    """task -> its summary over seeds; {} where nothing was fine-tuned.

    UserError for results that are not of the model with this hash, as it was trained or, if asked, from random weights.
    """
    path, remedy = folder / FILE, "delete it and fine-tune again"
    if not path.exists():
        return {}
    content = read_json(path, remedy, ("model_sha256", "random_weights", "tasks"))
    if content["random_weights"] != random_weights:
        found = ("export/", "random weights") if random_weights else ("random weights", "export/")
        raise UserError(f"{path} is of {found[0]}, not of {found[1]}: {remedy}")
    if content["model_sha256"] != model_sha256:
        raise UserError(f"{path} is of another model than export/: {remedy}")
    for task, result in content["tasks"].items():
        require(result, ("submitted", "predictions_sha256"), f"{path}, {task},", remedy)
    return content["tasks"]


def cut_short(result: dict, rows: int) -> str | None:
    """How a result of `read_tuned` falls short of its whole task, or None; `rows`: of the official validation file."""
    limits = [
        f"--{name.replace('_', '-')} {result['settings'][name]}"
        for name in ("limit", "train_limit")
        if result["settings"].get(name)
    ]
    if limits:
        return f"fine-tuned with {' and '.join(limits)}"
    count = result["examples"]["valid"]
    return None if count == rows else f"predicted {count:,} of {rows:,} rows"


class TuningFolder:
    """The folder with one model's fine-tuning results."""

    def __init__(self, folder: Path, header: dict, *, submitted: int) -> None:
        """Open `folder`, which need not exist; UserError if it holds the results of another model.

        `submitted`: the seed whose predictions a submission holds; it has to be the first that is added.
        """
        self.folder, self.submitted = folder, submitted
        check_writable(folder)
        path = folder / FILE
        old = read_json(path, REMEDY, ("model_sha256", "random_weights", "tasks")) if path.exists() else {}
        for key in ("model_sha256", "random_weights") if old else ():
            if old[key] != header[key]:
                raise UserError(f"{path} holds results of another model: name another folder with --out")
        self.content = header | {"tasks": old.get("tasks", {})}
        libraries = {name: version(name) for name in ("transformers", "tokenizers")}
        self._identity = [RULE, header["model_sha256"], header["random_weights"], libraries]

    def key(self, asked_for: str, seed: int) -> str:
        """Hex SHA-256 of all that decides a result."""
        return digest([*self._identity, asked_for, seed])

    def place(self, task: str, seed: int) -> Path:
        """The folder of one result."""
        return self.folder / task / f"seed-{seed}"

    def finished(self, task: str, seed: int, asked_for: str) -> dict | None:
        """This very result, if it is here with the predictions that it sums up."""
        path = self.place(task, seed) / "result.json"
        if not path.exists():
            return None
        result = read_json(path, REMEDY, ("key", "predictions_sha256"))
        predictions = path.with_name("predictions.json")
        intact = predictions.is_file() and sha256(predictions) == result["predictions_sha256"]
        return result if intact and result["key"] == self.key(asked_for, seed) else None

    def add(self, task: str, seed: int, asked_for: str, result: dict, predictions: dict) -> None:
        """Store one result: its predictions first, then what they are worth, then the summary."""
        place = self.place(task, seed)
        write_whole(place / "predictions.json", as_json(predictions))
        own = {"key": self.key(asked_for, seed), "predictions_sha256": sha256(place / "predictions.json")}
        write_whole(place / "result.json", as_json(result | own))
        self.gather(task, asked_for)

    def gather(self, task: str, asked_for: str) -> None:
        """Write finetune.json with all seeds of `task` that were asked the same."""
        names = (path.name.removeprefix("seed-") for path in (self.folder / task).glob("seed-*"))
        seeds = sorted(int(name) for name in names if name.isdecimal())
        results = {seed: found for seed in seeds if (found := self.finished(task, seed, asked_for))}
        self.content["tasks"][task] = {
            "asked": asked_for,
            "submitted": self.submitted,
            "predictions_sha256": results[self.submitted]["predictions_sha256"],
            **summarise(results),
        }
        write_whole(self.folder / FILE, as_json(self.content))


SHARED = ("metric", "majority", "notes", "examples", "truncated", "settings", "data")


def mean_and_spread(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation over seeds; None of one seed."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1)) if values[1:] else None


def summarise(results: dict[int, dict]) -> dict:
    """Mean and sample standard deviation over seeds (None of one seed) of every metric of a task."""
    first = next(iter(results.values()))
    names = list(first["metrics"])
    mean, spread = {}, {}
    for name in names:
        values = [result["metrics"][name] for result in results.values()]
        mean[name], spread[name] = mean_and_spread(values)
    return {
        "score": mean[first["metric"]],
        "spread": spread[first["metric"]],
        "n": len(results),
        **{key: first[key] for key in SHARED},
        **({"synthetic": True} if first.get("synthetic") else {}),
        "mean": mean,
        "standard_deviation": spread,
        "by_seed": {
            str(seed): result["metrics"] | {"kept_epoch": result["kept_epoch"]}
            for seed, result in results.items()
        },
        "versions": [
            *{as_json(result["versions"]): result["versions"] for result in results.values()}.values()
        ],
        "commands": list(dict.fromkeys(result["command"] for result in results.values())),
    }


TITLES = {"accuracy": "accuracy", "f1": "F1", "mcc": "MCC", "exact_match": "exact match"}


def tuning_table(tasks: dict[str, dict]) -> str:
    """The summaries as text for a terminal, in percent: mean and spread over seeds; * marks the headline."""
    lines = [
        f"{'task':<10} {'metric':<13} {'mean %':>7} {'spread':>7} {'seeds':>6} {'majority':>9} {'rows':>7}"
    ]
    for name, task in tasks.items():
        for metric, value in task["mean"].items():
            spread = task["standard_deviation"][metric]
            mark = "*" if metric == task["metric"] else " "
            guess = f"{100 * task['majority'][metric]:.2f}" if task["majority"] else "-"
            lines += [
                f"{name:<10} {TITLES[metric] + mark:<13} {100 * value:>7.2f} "
                f"{'-' if spread is None else f'{100 * spread:.2f}':>7} {task['n']:>6} {guess:>9} "
                f"{task['examples']['valid']:>7,}"
            ]
            name = ""
    for name, task in tasks.items():
        lines += [f"{name}: {note}" for note in task["notes"]]
        lines += task["truncated"]  # each names its task
    return "\n".join(lines)

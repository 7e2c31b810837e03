"""Read one finished run folder.

The submission bundle and the report are made of nothing but these files. Whatever would leave a hole in a table
(an unfinished run, a missing or outdated score) is refused here, before anything is written.
"""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import json_lines, utf8_text
from babylm_data.hub import weight_files
from babylm_data.sealed import SEAL, sha256, verify
from eval.results.json_files import read_json, require, require_weights
from eval.results.scores_table import is_scored
from eval.scorer.model import model_sha256

SUMMARY = ("name", "kind", "family", "parameters", "parameters_without_embeddings", "steps", "words_seen")
SUMMARY += ("tokens_seen", "epochs", "seconds", "flops", "seed", "data")
ENVIRONMENT = (
    "command",
    "commit",
    "dirty",
    "python",
    "torch",
    "transformers",
    "device",
    "threads",
    "started",
)
START = ("command", "commit", "device", "started")
RESULT = ("measured_on", "created", "command", "versions")
SCORE = ("metric", "score", "standard_error", "chance", "items", "ties", "by_subtask", "by_phenomenon")
SCORE += ("official_score", "limit", "partial", "predictions_sha256")
HELD_OUT = ("window", "stride", "files", "splits", "all", "max_words")


BACKENDS_OF = {"causal": ("causal",), "masked": ("mlm",), "both": ("causal", "mntp")}
"""The backends by which a model can be scored, by what it reads; the usual one first."""


def reads_of(summary: dict) -> str:
    """What a run has learned to read; older versions knew one way."""
    return summary.get("reads", "causal")


def backend_of(summary: dict, asked: str | None = None) -> str:
    """The way in which a run is scored: the one asked for, or the usual one; a UserError for one that is none."""
    fitting = BACKENDS_OF[reads_of(summary)]
    if asked and asked not in fitting:
        raise UserError(
            f"{summary['name']} was trained on {summary.get('targets', 'next_token')}: score it with "
            f"--backend {' or '.join(fitting)}"
        )
    return asked or fitting[0]


@dataclass(frozen=True)
class Run:
    """One finished run folder."""

    folder: Path
    role: str
    summary: dict
    environment: dict
    inputs: dict
    """SHA-256 of what the run was made from: "data", and "teacher <name in the config>" for each teacher."""
    manifest: dict
    """The manifest of the data folder that the run was trained on."""
    prepared: str | None
    """The command that made the data folder; None where it is not recorded."""
    scores: dict

    @property
    def name(self) -> str:
        return self.summary["name"]

    @property
    def backend(self) -> str:
        """How it was scored, or would be."""
        told = {result["backend"] for result in self.scores["tasks"].values() if "backend" in result}
        if len(told) > 1:
            raise UserError(
                f"{self.folder / 'eval'} has scores by {' and by '.join(sorted(told))}: evaluate all by one --backend"
            )
        return next(iter(told), backend_of(self.summary))

    @property
    def starts(self) -> list[dict]:
        """The start that environment.json describes, then each later one; older files name only the first."""
        first = self.environment
        return [first, *(again for again in first.get("starts", []) if again["started"] > first["started"])]

    @property
    def tasks(self) -> dict[str, dict]:
        """The tasks that end in one score, by name; perplexity does not, and is told apart."""
        return {name: result for name, result in self.scores["tasks"].items() if is_scored(result)}

    @property
    def scoring(self) -> list[tuple[str, str]]:
        """(time, command) of each call of `python -m eval` that a score came from, in order."""
        return sorted({(result["created"], result["command"]) for result in self.scores["tasks"].values()})

    @property
    def held_out(self) -> tuple[str, dict] | None:
        """Which held-out text ("test" if it was scored, else "all text") and its figures; None if none was."""
        found = self.scores["tasks"].get("perplexity")
        if not found:
            return None
        return ("test", found["splits"]["test"]) if "test" in found["splits"] else ("all text", found["all"])

    @property
    def train(self) -> dict:
        """The train split as the data folder's manifest tells it: words, tokens, documents, sources."""
        return self.manifest["splits"]["train"]

    @property
    def nursery(self) -> bool:
        """Was the run trained, if only in part, on the kit's own synthetic corpus?"""
        return "nursery" in self.train["sources"]

    @cached_property
    def config(self) -> str:
        """The resolved configuration as the YAML text that stands in the run folder."""
        return utf8_text(self.folder / "config.yaml", "train the run again")

    @cached_property
    def metrics(self) -> list[dict]:
        return json_lines(self.folder / "metrics.jsonl", "step")


def weights(export: Path) -> str:
    """The SHA-256 of each of an export's *.safetensors, as inputs.json holds them."""
    return ",".join(map(sha256, weight_files(export)))


def locate(path: str, run_folder: Path, matches: Callable[[Path], bool] = Path.exists) -> Path:
    """The folder that a run's summary names: the one beside the run (in a copied `runs/`) if it is that one."""
    named = Path(path)
    named = named.parent if named.name == "export" else named
    candidates = [run_folder.resolve().parent / named.name, named]
    if candidates[0] == named.resolve():
        return named
    good = [place for place in candidates if place.exists() and matches(place)]
    return (good or [place for place in candidates if place.exists()] or [named])[0]


def read_summary(folder: Path) -> dict:
    remedy = how_to_finish(folder)
    summary = read_json(folder / "summary.json", f"the run is not finished; {remedy}", SUMMARY)
    if summary.get("status") != "finished":
        raise UserError(f"{folder} is not finished: {remedy}")
    return summary


def how_to_finish(folder: Path) -> str:
    """The command that ends a run: the one it was started with, where that is known."""
    try:
        return f"run `{read_json(folder / 'environment.json', '', ['command'])['command']}`"
    except UserError:
        return "train it with `python -m train_teachers CONFIG.yaml` (the student: `python -m distill …`)"


def read_run(folder: Path, role: str, like: Run | None = None, *, scored: bool = True) -> Run:
    """One run folder, checked: finished, export and data as they were, scored as it stands on what `like` was."""
    remedy = how_to_finish(folder)
    summary = read_summary(folder)
    environment = read_json(folder / "environment.json", remedy, ENVIRONMENT)
    for start in environment.get("starts", []):
        require(start, START, f"a start in {folder / 'environment.json'}", remedy)
    inputs = read_json(folder / "inputs.json", remedy, ["data"])
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder / 'config.yaml'} is missing: {remedy}")
    verify(folder / "export", remedy)
    data = locate(summary["data"], folder, lambda found: seal_of(found) == inputs["data"])
    back = f"put back the data that {summary['name']} was trained on, or delete {folder} and train again"
    manifest = read_json(data / "manifest.json", back, ["splits"])
    if seal_of(data) != inputs["data"]:
        raise UserError(f"{data} was prepared anew since: {back}")
    prepared = how_prepared(data)
    run = Run(folder, role, summary, environment, inputs, manifest, prepared, {"tasks": {}})
    if scored:
        run.scores.update(read_scores(run, data, like))
    return run


def machines(environments: Iterable[dict]) -> list[str]:
    """On what some runs were trained: a GPU by its name, else the processor; each once."""
    devices = [(each.get("device"), each.get("processor")) for each in environments]
    named = (processor if device == "cpu" else device for device, processor in devices)
    return list(dict.fromkeys(filter(None, named)))


def how_prepared(data: Path) -> str | None:
    """The command that made a data folder, from the command.txt beside its seal; None if it is not there."""
    path = data / "command.txt"
    return utf8_text(path, "delete it").strip() if path.is_file() else None


def seal_of(data: Path) -> str | None:
    """What inputs.json holds of a data folder: the hash of its list of hashes."""
    return sha256(data / SEAL) if (data / SEAL).is_file() else None


def read_scores(run: Run, data: Path, like: Run | None) -> dict:
    """A run's scores.json, whole, of the model in export/, on every task of `like` that a teacher could be asked."""
    path, remedy = run.folder / "eval" / "scores.json", how_to_score(run, data, like)
    scores = read_json(path, remedy, ("model_sha256", "tasks"))
    asked = set(like.scores["tasks"]) if like else set()
    if run.role == "teacher":  # one with fewer positions than the student cannot be asked everything
        asked -= set(scores.get("refused", {}))
    require(scores["tasks"], sorted(asked), f"the scores of {run.folder}", remedy)
    for task, result in scores["tasks"].items():
        keys = RESULT + (HELD_OUT if task == "perplexity" else SCORE)
        require(result, keys, f"{path}, {task},", remedy)
        require_weights(result, f"{path}, {task}", remedy)
    if model_sha256(run.folder / "export") != scores["model_sha256"]:
        raise UserError(f"{path} is of another model than export/: {remedy}")
    return scores


def how_to_score(run: Run, data: Path, like: Run | None) -> str:
    """The command that scores a run on the tasks of `like`, or on the usual ones."""
    pairs = ["nursery"] if run.nursery else ["blimp_filtered", "supplement_filtered"]
    tasks = sorted(like.scores["tasks"]) if like else [*pairs, "perplexity"]
    words = ["python", "-m", "eval", str(run.folder / "export"), "--tasks", *tasks]
    words += ["--data", str(data / "evaluation_data") if run.nursery else "EVALUATION_DATA"]
    words += ["--text", str(data / "text")] if "perplexity" in tasks else []
    return f"score it with `{shlex.join([*words, '--out', str(run.folder / 'eval')])}`"

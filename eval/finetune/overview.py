"""What model card and report show of a model's fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.finetune import squad
from eval.finetune.glue import TASKS
from eval.finetune.standard_errors import mean_standard_error
from eval.finetune.training import Training, mean_of, read_training
from eval.finetune.tuning_folder import FILE, TITLES, read_tuned
from eval.results.json_files import require
from eval.scorer.model import model_sha256

FOLDER, FROM_RANDOM = "finetune", "finetune-random"
"""Where a run folder has the results of its export, and those of the same config with random weights."""
REMEDY = "delete it and fine-tune again"
RESULT = ("metric", "score", "spread", "mean", "by_seed", "majority", "settings", "notes", "truncated")
RESULT += ("examples",)
SETTINGS = {
    "lr": "learning rate",
    "batch_size": "batch size",
    "max_length": "tokens at most",
    "limit": "first examples only",
    "train_limit": "training examples drawn",
}
"""Names of settings that are not their own."""


@dataclass(frozen=True)
class TunedTask:
    """One task: scores as fractions of 1."""

    title: str
    metric: str
    score: float
    """Mean over seeds."""
    standard_error: float | None
    """Of drawing the examples; None where it is not known."""
    spread: float | None
    """Standard deviation over seeds; None of one seed."""
    majority: float | None
    """What always giving the commonest training label scores; None where there are no labels."""
    seeds: int
    examples: int
    """Of the validation file."""
    exact_match: float | None = None
    """Of SQuAD alone: mean over seeds."""
    parameters: int | None = None
    """Of the whole network, the new head among them; None, like what follows, where an older version did not tell."""
    seconds: float | None = None
    """From the texts to the predictions, mean over seeds."""
    trained_a_second: float | None = None
    """Examples, while training alone; mean over seeds."""
    validated_a_second: float | None = None
    """Examples, while validating alone; mean over seeds."""


@dataclass(frozen=True)
class Tuning:
    """A model's fine-tuning, of the weights in its export or from random ones."""

    results: dict[str, dict] = field(default_factory=dict)
    """task -> its summary over seeds; {} where nothing was fine-tuned."""
    trainings: dict[str, list[Training]] = field(default_factory=dict)
    """task -> how each of its seeds was trained."""

    @property
    def calls(self) -> list[tuple[str, str]]:
        """(time, command) of each call that a result came from, in order."""
        return sorted({(seed.created, seed.command) for seeds in self.trainings.values() for seed in seeds})

    @property
    def rows(self) -> list[TunedTask]:
        """A row a task."""
        return [row(task, result, self.trainings.get(task, ())) for task, result in self.results.items()]

    @property
    def settings(self) -> list[str]:
        """How the tasks were trained, one line for all that were trained alike."""
        alike: dict[str, list[str]] = {}
        for task, result in self.results.items():
            alike.setdefault(settings_text(result), []).append(title(task))
        return [f"{', '.join(tasks)}: {text}" for text, tasks in alike.items()]

    @property
    def caveats(self) -> list[tuple[str, str]]:
        """(What keeps a score from being of a task, "whole" or "official": which task it is not of)."""
        return [
            (f"{title(task)}: {note}", "official" if found.get("synthetic") else "whole")
            for task, found in self.results.items()
            for note in found["notes"]
        ]

    @property
    def cut(self) -> list[str]:
        """Which inputs were too long, a line a task."""
        return [
            f"{title(task)}: {note.removeprefix(f'{task}: ')}"
            for task, found in self.results.items()
            for note in found["truncated"]
        ]


def read_tuning(run_folder: Path, *, random_weights: bool = False) -> Tuning:
    """What a run has in finetune/ or finetune-random/; a UserError for results of other weights than its export."""
    folder = run_folder / (FROM_RANDOM if random_weights else FOLDER)
    if not (folder / FILE).exists():
        return Tuning()
    results = read_tuned(folder, model_sha256(run_folder / "export"), random_weights=random_weights)
    trainings = {}
    for task, result in results.items():
        require(result, RESULT, f"{folder / FILE}, {task},", REMEDY)
        places = (folder / task / f"seed-{seed}" / "result.json" for seed in result["by_seed"])
        trainings[task] = [read_training(place, REMEDY) for place in places]
    return Tuning(results, trainings)


def title(task: str) -> str:
    """A task's name as people write it."""
    return squad.EVERY[task].title if task in squad.EVERY else task


def row(task: str, result: dict, seeds_trained: Sequence[Training] = ()) -> TunedTask:
    """The summary over seeds as a row of the table."""
    metric, seeds = result["metric"], list(result["by_seed"].values())
    # F1 of SQuAD is a mean over questions, that of three labels one over labels: neither is of one share
    known = metric == "accuracy" or (task in TASKS and TASKS[task].labels == 2)
    examples = result["examples"]["valid"]
    return TunedTask(
        title(task),
        TITLES.get(metric, metric),
        result["score"],
        mean_standard_error(metric, seeds, examples) if known else None,
        result["spread"],
        (result["majority"] or {}).get(metric),
        len(seeds),
        examples,
        result["mean"].get("exact_match"),
        seeds_trained[0].parameters if seeds_trained else None,
        mean_of(seeds_trained, "seconds"),
        mean_of(seeds_trained, "trained_a_second"),
        mean_of(seeds_trained, "validated_a_second"),
    )


def settings_text(result: dict) -> str:
    """Settings and seeds in words: "learning rate 3e-05, epochs 10, batch size 32, …, seed 42"."""
    parts = [
        f"{SETTINGS.get(name, name)} {value}"
        for name, value in result["settings"].items()
        if value is not None
    ]
    seeds = list(result["by_seed"])
    return ", ".join([*parts, f"{'seeds' if seeds[1:] else 'seed'} {', '.join(seeds)}"])

"""Fine-tuning side by side: the student's, that of its teachers and control, and of its shape with random weights.

Only what was fine-tuned on the student's files with the student's settings stands beside it; of the rest a line says
why it does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from babylm_data.errors import UserError
from eval.finetune.overview import SETTINGS, TunedTask, Tuning, read_tuning, title
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run, reads_of


@dataclass(frozen=True)
class TunedModel:
    """One model and its fine-tuning on tasks of the student."""

    run: Run
    tuning: Tuning
    random_weights: bool = False
    """Is it the run's shape with random weights, not its export?"""

    @property
    def name(self) -> str:
        return f"{self.run.name} from random weights" if self.random_weights else self.run.name

    @property
    def role(self) -> str:
        return "random weights" if self.random_weights else self.run.role


@dataclass(frozen=True)
class Tunings:
    """The models in the order of the lineup, the one with random weights last; none where the student was not tuned."""

    tasks: list[str] = field(default_factory=list)
    """Those of the student."""
    models: list[TunedModel] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Why results of a model do not stand beside the student's, a line each."""

    @property
    def by_task(self) -> dict[str, list[tuple[TunedModel, TunedTask]]]:
        """task -> each model that was fine-tuned on it, with its row."""
        rows = [
            (model, dict(zip(model.tuning.results, model.tuning.rows, strict=True))) for model in self.models
        ]
        return {task: [(model, of[task]) for model, of in rows if task in of] for task in self.tasks}

    @property
    def devices(self) -> str:
        """What the times were taken on: "cpu", or "cpu (nursery); NVIDIA H200 (nursery-llama)"; "" if not known."""
        return "; ".join(
            self._told(
                (seed.device, model)
                for model in self.models
                for seeds in model.tuning.trainings.values()
                for seed in seeds
            )
        )

    @property
    def readings(self) -> str:
        """At which tokens texts are read, "first (nursery-bert); last (nursery)"; "" where all models do the same."""
        lines = self._told(
            (result["settings"].get("pool"), model)
            for model in self.models
            for result in model.tuning.results.values()
        )
        return "; ".join(lines) if lines[1:] else ""

    @property
    def cut(self) -> list[str]:
        """Which inputs were too long, a line each."""
        return self._told((line, model) for model in self.models for line in model.tuning.cut)

    def _told(self, pairs: Iterable[tuple[str | None, TunedModel]]) -> list[str]:
        """Each value that is known, with the names of the models that have it unless all have."""
        names: dict[str, dict[str, None]] = {}
        for value, model in pairs:
            if value is not None:
                names.setdefault(value, {})[model.name] = None
        return [
            value if len(having) == len(self.models) else f"{value} ({', '.join(having)})"
            for value, having in names.items()
        ]


def read_tunings(lineup: Lineup, tuning: Tuning) -> Tunings:
    """What was fine-tuned like the student, whose fine-tuning is `tuning`."""
    if not tuning.results:
        return Tunings()
    models, left_out = [], []
    for run, random_weights in [*((run, False) for run in lineup.runs), (lineup.student, True)]:
        model = TunedModel(run, tuning, random_weights)
        if model.role != "student":
            model, lines = comparable(model, lineup.student)
            left_out += lines
        models += [model] if model.tuning.results else []
    return Tunings(list(tuning.results), models, left_out)


def comparable(model: TunedModel, student: Run) -> tuple[TunedModel, list[str]]:
    """The model with what it has of the tasks of `model.tuning`, the student's, and why anything is left out."""
    ours = model.tuning.results
    try:
        found = read_tuning(model.run.folder, random_weights=model.random_weights)
    except UserError as error:  # of other weights, or damaged: the others are told of all the same
        return TunedModel(model.run, Tuning(), model.random_weights), [f"{model.name}: {error}"]
    same_kind = reads_of(model.run.summary) == reads_of(student.summary)
    faults = {
        task: unlike(found.results[task], result, same_kind=same_kind)
        for task, result in ours.items()
        if task in found.results
    }
    shown = [task for task, fault in faults.items() if not fault]
    alike = Tuning(
        {task: found.results[task] for task in shown}, {task: found.trainings[task] for task in shown}
    )
    lines = [f"{model.name}, {title(task)}: {fault}" for task, fault in faults.items() if fault]
    return TunedModel(model.run, alike, model.random_weights), lines


def unlike(theirs: dict, ours: dict, *, same_kind: bool) -> str | None:
    """Why the results of two models on a task cannot stand beside each other; None if they can."""
    if theirs.get("data") != ours.get("data"):
        return "other files than the student's"
    for name in dict.fromkeys([*ours["settings"], *theirs["settings"]]):
        value, other = theirs["settings"].get(name), ours["settings"].get(name)
        # an encoder is read at its first token, a causal model at its last: the same request, told beside the table
        by_nature = name == "pool" and not same_kind
        # how many positions a model has means nothing to texts that were not cut; windows are made by it
        idle = name == "max_length" and not (
            ours["settings"].get("stride") or theirs["truncated"] or ours["truncated"]
        )
        if value != other and not by_nature and not idle:
            return f"{SETTINGS.get(name, name)} {stated(value)}, of the student {stated(other)}"
    return None


def stated(value: object) -> str:
    return "none" if value is None else str(value)

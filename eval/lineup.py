"""A student with its teachers and its no-distillation control, each the one that it is said to be.

A control with another budget, a teacher trained again since, scores on other items: each would make a table that
looks right and is not. All are refused here, before anything is written.
"""

from dataclasses import dataclass, field
from pathlib import Path

from babylm_data.errors import UserError
from eval.run_folders import Run, locate, read_run, read_summary, weights

OPERATIONAL = frozenset({"micro_batch_size", "log_every", "checkpoint_seconds", "wandb"})
"""Fields of a training config that say how a run is done, not what comes out; those of TrainConfig.OPERATIONAL,
which cannot be imported here (eval judges folders and knows no training code)."""


@dataclass(frozen=True)
class Lineup:
    """The runs that stand beside each other in every table."""

    student: Run
    teachers: list[Run]
    control: Run
    forebears: list[Run] = field(default_factory=list)
    """Teachers of the teachers, and theirs: not scored, but what they read counts."""

    @property
    def runs(self) -> list[Run]:
        """Teachers in config order, then the student, then its control."""
        return [*self.teachers, self.student, self.control]


def read_lineup(folder: Path) -> Lineup:
    """Read the student's run folder and the runs that its summary names; refuse what is incomplete."""
    kind = read_summary(folder)["kind"]
    if kind != "student":
        raise UserError(f"{folder} is a {kind}'s run: give the run folder of its student")
    student = read_run(folder, "student")
    named = student.summary.get("control")
    control = locate(str(named), folder)
    if not named or not (control / "summary.json").is_file():
        command = student.environment["command"]
        raise UserError(f"{control} is no finished control of {folder}: train it with `{command} --control`")
    teachers = [read_run(path, "teacher", like=student) for path in taught_by(student)]
    lineup = Lineup(student, teachers, read_run(control, "control", like=student), forebears_of(teachers))
    names = [run.name for run in [*lineup.runs, *lineup.forebears]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two runs are called {twice[0]}, and no table could tell them apart: rename one")
    check_provenance(lineup)
    return lineup


def taught_by(run: Run) -> list[Path]:
    """The run folders of a run's teachers; refused if one's weights are not those that taught it."""
    found = []
    for teacher in run.summary.get("teachers") or []:
        name, path = teacher["name"], Path(teacher["path"])
        if path.name != "export":
            raise UserError(
                f"teacher {name} of {run.name} ({path}) is no run of this kit, so nobody can count the words "
                "that it read: train one with `python -m train_teachers CONFIG.yaml`"
            )
        digest = run.inputs.get(f"teacher {name}")
        folder = locate(teacher["path"], run.folder, lambda found, digest=digest: weights(found) == digest)
        if (folder / "export").is_dir() and weights(folder) != digest:
            raise UserError(
                f"{folder / 'export'} is not the teacher {name} that taught {run.name}: "
                f"put that one back, or delete {run.folder} and train it again"
            )
        found.append(folder)
    return found


def forebears_of(teachers: list[Run]) -> list[Run]:
    """The teachers of teachers that are themselves students, to any depth, each once."""
    known = {run.folder.resolve() for run in teachers}
    found, waiting = [], [path for run in teachers for path in taught_by(run)]
    while waiting:
        path = waiting.pop(0)
        if path.resolve() not in known:
            known.add(path.resolve())
            found.append(read_run(path, "teacher's teacher", scored=False))
            waiting += taught_by(found[-1])
    return found


def check_provenance(lineup: Lineup) -> None:
    """The control must be the student without teachers and nothing else, and all must have had the same items."""
    student, control = lineup.student, lineup.control
    remedy = f"delete {control.folder} and run `{student.environment['command']} --control`"
    if control.summary["kind"] != "control":
        raise UserError(f"{control.folder} is a {control.summary['kind']}'s run, no control: {remedy}")
    ours, theirs = settings(student), settings(control)
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"{control.name} is no control of {student.name}, {key} in their configs differs: {remedy}"
            )
    ours, theirs = circumstances(student), circumstances(control)
    for key in ours:
        if ours[key] != theirs[key]:
            raise UserError(
                f"{control.name} is no control of {student.name}, its {key} is {theirs[key]}, "
                f"not {ours[key]}: {remedy}"
            )
    if student.inputs["data"] != control.inputs["data"]:
        raise UserError(f"{control.name} was trained on other data than {student.name}: {remedy}")
    for key in ("words_seen", "parameters", "seed"):
        if student.summary[key] != control.summary[key]:
            raise UserError(
                f"{control.name} is no control of {student.name}, its {key} is {control.summary[key]:,}, "
                f"not {student.summary[key]:,}: {remedy}"
            )
    for run in lineup.runs:
        refuse_other_items(run, student)


def settings(run: Run) -> dict:
    """What a run's config decides about the result, apart from its name and its distillation."""
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(OmegaConf.create(run.config))
    apart = OPERATIONAL | {"name", "comment", "teachers", "losses"}
    return {key: value for key, value in config.items() if key not in apart}


def circumstances(run: Run) -> dict[str, str]:
    """What the machine decided where the config says "auto"; it changes the numbers of a run."""
    found = {"precision": run.inputs.get("precision"), "compiled": run.summary.get("compiled")}
    devices = {"CPU" if start["device"] == "cpu" else "GPU" for start in run.starts}
    said = {key: "not recorded" if value is None else str(value) for key, value in found.items()}
    return said | {"device": " and ".join(sorted(devices))}


def refuse_other_items(run: Run, student: Run) -> None:
    """Two scores are comparable only on the same items; `--limit` or another text would make them unlike."""
    for task, result in student.scores["tasks"].items():
        other = run.scores["tasks"][task]
        if any(result.get(key) != other.get(key) for key in ("measured_on", "window", "items")):
            ours, theirs = extent(result), extent(other)
            unlike = f"{theirs} of {task}, {student.name} on {ours}"
            unlike = unlike if ours != theirs else f"other files of {task} than {student.name}, or otherwise"
            raise UserError(
                f"{run.name} was scored on {unlike}: score both with the same options of `python -m eval`"
            )


def extent(result: dict) -> str:
    """How much a task's score was measured on, in words."""
    if "items" in result:
        return f"{result['items']:,} items"
    return f"{result['all']['words']:,} words (window {result['window']}, stride {result['stride']})"

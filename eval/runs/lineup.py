"""A student with its teachers and its no-distillation control, each the one that it is said to be.

A control with another budget, a teacher trained again since, scores on other items: each would make a table that
looks right and is not. All are refused here, before anything is written.
"""

from dataclasses import dataclass, field
from pathlib import Path

from babylm_data.errors import UserError
from eval.runs.origins import begun_from, forebears_of, plain_config, taught_by
from eval.runs.run_folder import Run, locate, read_run, read_summary

CONTROLLED = {
    "data": "was trained on other data than",
    "init": "began from other weights than",
    "label_smoothing": "was trained with another label smoothing than",
    "z_loss": "was trained with another z-loss than",
}
"""Inputs that a control shares with its student, and what is said where it does not."""
NOTHING = ("0.0", "None")
"""What inputs.json says where there is none; older versions were silent then."""
NEXT_TOKEN = {
    "kind": "next_token",
    "share": 0.15,
    "random": 0.1,
    "keep": 0.1,
    "whole_words": False,
    "causal": 0.5,
}
NEXT_TOKEN |= {"masked_weight": None}
"""What the config of a run says of its targets that asks for nothing else."""
ALIKE = ("measured_on", "tie_rule", "window", "items")
"""What two results must have alike to be compared."""
UNLIKE = {
    "measured_on": "on other files",
    "tie_rule": "by an earlier version",
    "backend": "by another --backend",
}
ON_THE_WAY = {"revisions", "words_scale"}
"""Fields that decide what a run exports before its end, and no weight of what it exports then."""


@dataclass(frozen=True)
class Lineup:
    """The runs that stand beside each other in every table."""

    student: Run
    teachers: list[Run]
    control: Run
    forebears: list[Run] = field(default_factory=list)
    """Teachers of the teachers, and what first weights are from: not scored, but what they read counts."""

    @property
    def line(self) -> list[Run]:
        """The student, the run that its first weights are from, and so on: what it was exposed to itself."""
        by_folder = {run.folder.resolve(): run for run in [*self.teachers, *self.forebears]}
        line = [self.student]
        while first := begun_from(line[-1]):
            line.append(by_folder[first[0].resolve()])
        return line

    @property
    def runs(self) -> list[Run]:
        """Teachers in config order, then the student, then its control; one that is the teacher as well stands last."""
        there = self.control.folder.resolve()
        others = [run for run in self.teachers if run.folder.resolve() != there]
        return [*others, self.student, self.control]


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
    forebears = forebears_of(student, teachers)
    lineup = Lineup(student, teachers, read_run(control, "control", like=student), forebears)
    names = [run.name for run in [*lineup.runs, *lineup.forebears]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two runs are called {twice[0]}, and no table could tell them apart: rename one")
    check_provenance(lineup)
    return lineup


def check_provenance(lineup: Lineup) -> None:
    """The control must be the student without teachers and nothing else, and all must have had the same items."""
    check_control(lineup.student, lineup.control)
    for run in lineup.runs:
        refuse_other_items(run, lineup.student)


def check_control(student: Run, control: Run) -> None:
    """UserError unless the control is the student without teachers and nothing else."""
    remedy = f"delete {control.folder} and run `{student.environment['command']} --control`"
    if control.summary["kind"] != "control":
        raise UserError(f"{control.folder} is a {control.summary['kind']}'s run, no control: {remedy}")
    ours, theirs = settings(student, control), settings(control, control)
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
    for key, what in CONTROLLED.items():
        told = (run.inputs.get(key) for run in (student, control))
        if len({None if value in NOTHING else value for value in told}) > 1:
            raise UserError(f"{control.name} {what} {student.name}: {remedy}")
    for key in ("words_seen", "parameters", "seed"):
        if student.summary[key] != control.summary[key]:
            raise UserError(
                f"{control.name} is no control of {student.name}, its {key} is {control.summary[key]:,}, "
                f"not {student.summary[key]:,}: {remedy}"
            )


def settings(run: Run, control: Run) -> dict:
    """What a run's config decides about the result, apart from its name and its distillation.

    Which fields only say how a run is done stands in the control's summary; in an older one nothing does, and then
    the two configs have to agree in those too.
    """
    apart = {"name", "control_name", "comment", "teachers", "losses", *ON_THE_WAY}
    apart |= set(control.summary.get("operational", []))
    config = _said({"targets": NEXT_TOKEN} | plain_config(run))  # which older versions had no word for
    return {key: value for key, value in config.items() if key not in apart}


def _said(config: object) -> object:
    """A config without null and false: what a newer version has a word for is that, where it is as it was before."""
    if not isinstance(config, dict):
        return config
    return {key: _said(value) for key, value in config.items() if value is not None and value is not False}


def circumstances(run: Run) -> dict[str, str]:
    """What the machine decided where the config says "auto"; it changes the numbers of a run."""
    found = {key: run.inputs.get(key) for key in ("precision", "muon")}
    found["compiled"] = run.summary.get("compiled")
    devices = {"CPU" if start["device"] == "cpu" else "GPU" for start in run.starts}
    said = {key: "not recorded" if value is None else str(value) for key, value in found.items()}
    return said | {"device": " and ".join(sorted(devices))}


def refuse_other_items(run: Run, student: Run) -> None:
    """Two scores are comparable only on the same items; `--limit` or another text would make them unlike."""
    # a teacher may have learned something else; a difference is taken from the control alone
    keys = (*ALIKE, "backend") if run.role == "control" else ALIKE
    for task, result in student.scores["tasks"].items():
        other = run.scores["tasks"].get(task)
        if other and any(result.get(key) != other.get(key) for key in keys):
            raise UserError(
                f"{run.name} was scored {unlike(other, result, task, student.name)}: "
                "score both with the same options of `python -m eval`"
            )


def unlike(result: dict, other: dict, task: str, name: str) -> str:
    """In what a task's result is not like another one, of the run `name`."""
    ours, theirs = extent(result), extent(other)
    if ours != theirs:
        return f"on {ours} of {task}, {name} on {theirs}"
    rules = result.get("tie_rule"), other.get("tie_rule")
    if None not in rules and len(set(rules)) > 1:
        return f"on {task} with --ties {rules[0]}, {name} with --ties {rules[1]}"
    key = next(key for key in (*ALIKE, "backend") if result.get(key) != other.get(key))
    return f"{UNLIKE.get(key, f'with another {key}')} of {task} than {name}"


def extent(result: dict) -> str:
    """How much a task's score was measured on, in words."""
    if "items" in result:
        return f"{result['items']:,} items"
    return f"{result['all']['words']:,} words (window {result['window']}, stride {result['stride']})"

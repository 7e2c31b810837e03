"""Read finished run folders: a student with its teachers and its no-distillation control.

The submission bundle and the report are made of nothing but these files. Whatever would leave a hole in a
table (an unfinished run, a missing or outdated score, another set of items) is refused here, before anything
is written.
"""

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import verify
from eval.model import weights_sha256


@dataclass(frozen=True)
class Run:
    """One finished and scored run folder."""

    folder: Path
    role: str
    summary: dict
    environment: dict
    scores: dict
    manifest: dict
    """The manifest of the data folder that the run was trained on."""

    @property
    def name(self) -> str:
        return self.summary["name"]

    @property
    def tasks(self) -> dict[str, dict]:
        """The tasks that end in an accuracy, by name; perplexity does not, and is told apart."""
        return {name: result for name, result in self.scores["tasks"].items() if "score" in result}

    @property
    def train(self) -> dict:
        """The train split as the data folder's manifest tells it: words, tokens, documents, sources."""
        return self.manifest["splits"]["train"]

    @cached_property
    def config(self) -> str:
        """The resolved configuration as the YAML text that stands in the run folder."""
        return (self.folder / "config.yaml").read_text(encoding="utf-8")

    @cached_property
    def metrics(self) -> list[dict]:
        return read_metrics(self.folder / "metrics.jsonl")


@dataclass(frozen=True)
class Lineup:
    """The runs that stand beside each other in every table."""

    student: Run
    teachers: list[Run]
    control: Run | None

    @property
    def runs(self) -> list[Run]:
        """Teachers in config order, then the student, then its control."""
        return [*self.teachers, self.student, *([self.control] if self.control else [])]


def read_json(path: Path, remedy: str) -> dict:
    """The JSON object in `path`; a missing or damaged file is a UserError that ends with `remedy`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): {remedy}") from None


def read_metrics(path: Path) -> list[dict]:
    """The lines of a metrics.jsonl in the order of steps; one torn last line (a killed writer) is left out.

    A run that was resumed repeats the steps after its last checkpoint: the later line counts.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    by_step = {}
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
        except ValueError:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}, is not valid JSON: repair or delete that line") from None
        by_step[line["step"], "val/hard" in line] = line
    return [by_step[key] for key in sorted(by_step)]


def read_lineup(folder: Path) -> Lineup:
    """Read the student's run folder and the runs that its summary names; refuse what is incomplete."""
    summary = read_summary(folder)
    if summary["kind"] != "student":
        raise UserError(f"{folder} is a {summary['kind']}'s run: give the run folder of its student")
    teachers = [locate(teacher["path"], folder) for teacher in summary.get("teachers") or []]
    control = locate(summary["control"], folder) if summary.get("control") else None
    student = read_run(folder, "student")
    lineup = Lineup(
        student,
        [read_run(path, "teacher", like=student) for path in teachers],
        read_run(control, "control", like=student) if control else None,
    )
    for run in lineup.runs:
        refuse_other_items(run, student)
    return lineup


def locate(path: str, student_folder: Path) -> Path:
    """The run folder that a student's summary names; in a moved `runs/` it is found beside the student."""
    named = Path(path)
    named = named.parent if named.name == "export" else named
    beside = student_folder.parent / named.name
    return beside if beside.exists() and not named.exists() else named


def read_summary(folder: Path) -> dict:
    summary = read_json(folder / "summary.json", f"the run is not finished; {how_to_finish(folder)}")
    if summary.get("status") != "finished":
        raise UserError(f"{folder} is not finished: {how_to_finish(folder)}")
    return summary


def how_to_finish(folder: Path) -> str:
    """The command that ends a run: the one it was started with, where that is known."""
    try:
        return f"run `{json.loads((folder / 'environment.json').read_text(encoding='utf-8'))['command']}`"
    except (OSError, ValueError, KeyError):
        return "train it with `python -m train_teachers CONFIG.yaml` (the student: `python -m distill …`)"


def read_run(folder: Path, role: str, like: Run | None = None) -> Run:
    """One run folder, checked: finished, export intact, scored from these weights on the tasks of `like`."""
    summary = read_summary(folder)
    tasks = " ".join(sorted(like.scores["tasks"])) if like else "TASK…"
    export, out = (shlex.quote(str(folder / name)) for name in ("export", "eval"))
    score = f"score it with `python -m eval {export} --tasks {tasks} --data DIR --out {out}`"
    scores = read_json(folder / "eval" / "scores.json", score)
    verify(folder / "export", how_to_finish(folder))
    if weights_sha256(folder / "export") != scores["weights_sha256"]:
        raise UserError(f"{folder / 'eval' / 'scores.json'} is of other weights than export/: {score}")
    if missing := sorted(set(like.scores["tasks"] if like else ()) - set(scores["tasks"])):
        raise UserError(f"{folder} has no score for {', '.join(missing)}: {score}")
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder / 'config.yaml'} is missing: {how_to_finish(folder)}")
    environment = read_json(folder / "environment.json", how_to_finish(folder))
    data = locate(summary["data"], folder)
    manifest = read_json(
        data / "manifest.json", "the run's data folder is needed for the ledger; put it back"
    )
    return Run(folder, role, summary, environment, scores, manifest)


def refuse_other_items(run: Run, student: Run) -> None:
    """Two scores are comparable only on the same items; `--limit` or another text would make them unlike."""
    for task, result in student.scores["tasks"].items():
        ours, theirs = measured_on(result), measured_on(run.scores["tasks"][task])
        if ours != theirs:
            raise UserError(
                f"{run.name} was scored on {theirs} of {task}, {student.name} on {ours}: "
                f"score both with the same options of `python -m eval`"
            )


def measured_on(result: dict) -> str:
    """What a task's score was measured on, in words that can be compared and printed."""
    if "items" in result:
        return f"{result['items']:,} items"
    return f"{result['all']['words']:,} words (window {result['window']}, stride {result['stride']})"


def held_out(run: Run) -> tuple[str, dict] | None:
    """The held-out text figures of a run: ("test", …) if test files were scored, else ("all text", …).

    The figures are sums over files, {"nats", "bytes", "words", "tokens"}; None if no text was scored.
    """
    perplexity = run.scores["tasks"].get("perplexity")
    if not perplexity:
        return None
    test = [figures for file, figures in perplexity["files"].items() if Path(file).parent.name == "test"]
    chosen = test or list(perplexity["files"].values())
    totals = {key: sum(figures[key] for figures in chosen) for key in ("nats", "bytes", "words", "tokens")}
    return ("test" if test else "all text"), totals

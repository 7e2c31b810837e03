"""How data, runs and scores were made: the commands, as far as files tell them, in the order in which they ran."""

import re
from dataclasses import dataclass
from pathlib import Path

from eval.runs.evaluations import Evaluated
from eval.runs.lineup import Lineup
from eval.runs.revisions import Revision
from eval.runs.run_folder import Run

ANY = "REVISION"
"""What stands for a revision's name in a command that was given for several."""


@dataclass(frozen=True)
class Command:
    """One line of the list of commands; `time` and `text` are None where no file tells them."""

    time: str | None
    purpose: str
    text: str | None


def commands(lineup: Lineup, evaluated: Evaluated) -> list[Command]:
    """What made the data, then every training and scoring, in the order in which they started."""
    runs = [*lineup.forebears, *lineup.runs]
    data = {run.inputs["data"]: run for run in runs}
    first = [Command(None, f"prepare {place(run)}", run.prepared) for run in data.values()]
    lines = [line for run in runs for line in training(run)]
    lines += [
        Command(made["started"], f"write the cache {made['path']}", made["command"])
        for run in runs
        for made in run.summary.get("caches", [])
    ]
    lines += [
        Command(time, f"score {run.name}", command) for run in lineup.runs for time, command in run.scoring
    ]
    lines += scoring_of_revisions(evaluated.revisions)
    name = lineup.student.name
    lines += [
        Command(time, f"fine-tune {model.name}", command)
        for model in evaluated.tunings.models
        for time, command in model.tuning.calls
    ]
    if evaluated.ages and evaluated.ages.call:
        time, command = evaluated.ages.call
        lines.append(Command(time, f"find the ages of acquisition of {name}", command))
    return first + sorted(lines, key=lambda line: (line.time, line.purpose))


def place(run: Run) -> str:
    """The name of the data folder that a run was trained on."""
    return Path(run.summary["data"]).name


def training(run: Run) -> list[Command]:
    """How a run was started, and each time that it went on with another command or other code."""
    first, *later = run.starts
    lines = [Command(first["started"], f"train {run.name}", first["command"])]
    for start in later:
        if any(start.get(key) != first.get(key) for key in ("command", "commit", "dirty")):
            commit = start["commit"][:10] if start["commit"] else "unknown"
            changed = " with uncommitted changes" if start.get("dirty") else ""
            purpose = f"go on with {run.name}, commit {commit}{changed}"
            lines.append(Command(start["started"], purpose, start["command"]))
    return lines


def scoring_of_revisions(results: dict[Revision, dict[str, dict]]) -> list[Command]:
    """One line for all calls that differ in the revision's name alone, at the time of the first of them."""
    alike: dict[str, list[tuple[str, str, str]]] = {}
    for revision, tasks in results.items():
        name = rf"(?<!\w){re.escape(revision.name)}(?!\w)"
        for result in tasks.values():
            call = (result["created"], revision.name, result["command"])
            alike.setdefault(re.sub(name, ANY, result["command"]), []).append(call)
    lines = []
    for text, calls in alike.items():
        names = list(dict.fromkeys(name for _, name, _ in calls))
        purpose = f"score the revision {names[0]}"
        if names[1:]:
            every = len(names) == len(results)
            which = f"all {len(names)} revisions" if every else f"the revisions {', '.join(names)}"
            purpose = f"score {which}, one call each with its name for {ANY}"
        lines.append(Command(min(calls)[0], purpose, text if names[1:] else calls[0][2]))
    return lines

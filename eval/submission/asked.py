"""What one call of `evaluate` scores, and every mistake that can be known before hours of scoring."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import verify
from eval.aoa.__main__ import read_human
from eval.aoa.checkpoints import FEWEST
from eval.finetune import glue, squad
from eval.finetune.__main__ import check_names
from eval.results.jobs import known_task
from eval.runs.origins import taught_by
from eval.runs.revisions import damaged, revisions
from eval.runs.run_folders import Run, how_to_finish, locate
from eval.submission.rules import Rules
from eval.tasks import TASKS, on_list
from eval.tasks.texts import find_texts, read_text

HUMAN = "full_eval/aoa/cdi_human.csv"


@dataclass(frozen=True)
class Asked:
    """Which tasks one call scores, all of which have data."""

    full: list[str]
    fast: list[str]
    glue: list[str]
    human: Path | None
    """When children say which word; None where no ages are to be fitted."""


def read_asked(run: Run | None, rules: Rules, args: argparse.Namespace) -> Asked:
    """What is asked for; a UserError that names all tasks without data, unless they may be left out.

    `run`: None where it is still to be trained.
    """
    sections = rules.keys.values()
    official = [section.task for section in sections if section.task and section.form == "predictions"]
    full = known(args.full or official)
    fast = known(args.fast or [*(entry.task for entry in rules.fast.values()), "aoa"])
    tuned = [task for section in sections for task in section.tasks] if args.glue is None else args.glue
    tuned = check_names(tuned)
    lacking = [
        task for task in dict.fromkeys([*full, *fast]) if task in TASKS and not TASKS[task].find(args.data)
    ]
    lacking += [task for task in tuned if not can_be_tuned(task, args.data)]
    human = args.data / HUMAN if ages_are_due(run, fast, args) and "aoa" not in lacking else None
    if human and not human.is_file():
        lacking.append(f"ages of acquisition ({HUMAN})")
        human = None
    if lacking and not args.partial:
        raise UserError(
            f"{args.data} lacks the data of {', '.join(lacking)}: put them there, or --partial leaves them out "
            "of a submission that then is incomplete"
        )
    if lacking:
        print(f"without data in {args.data}: {', '.join(lacking)}")
    there = [[task for task in names if task not in lacking] for names in (full, fast, tuned)]
    return Asked(*there, human)


def known(words: list[str]) -> list[str]:
    """The tasks that are meant, each once; a UserError with the nearest name for one that does not exist."""
    return list(dict.fromkeys(task for word in words for task in on_list(word) or [known_task(word)]))


def can_be_tuned(task: str, data: Path) -> bool:
    """Whether the files of a fine-tuning task are there."""
    try:
        glue.find_files(task, [data], squad.EVERY[task].names)
    except UserError:
        return False
    return True


def ages_are_due(run: Run | None, fast: list[str], args: argparse.Namespace) -> bool:
    """Whether the surprisals come to curves: of whole tasks, and of as many revisions as a fit takes."""
    return "aoa" in fast and not args.limit and (run is None or len(revisions(run)) >= FEWEST)


def refuse_known_faults(run: Run, asked: Asked, args: argparse.Namespace) -> None:
    """A UserError for what would otherwise come out only when its turn has come."""
    if "perplexity" in [*asked.full, *asked.fast] and not args.text:
        raise UserError("perplexity needs --text PATH …: files or folders of held-out text")
    for path in find_texts(args.text):
        read_text(path)
    if asked.human:
        read_human(asked.human)
    for line in damaged(revisions(run)).values():
        raise UserError(line)
    for folder, remedy in beside_it(run).items():
        verify(folder / "export", remedy)


def beside_it(run: Run) -> dict[Path, str]:
    """The run folders of teachers and control, which every table has beside the student, each with how to make it."""
    found = {folder: how_to_finish(folder) for folder in taught_by(run)}
    if control := run.summary.get("control"):
        found[locate(str(control), run.folder)] = f"train it with `{run.environment['command']} --control`"
    return found

"""What one call of `evaluate` scores, and every mistake that can be known before hours of scoring."""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import verify
from eval.aoa.checkpoints import FEWEST
from eval.aoa.fit import read_human
from eval.finetune import glue, squad
from eval.finetune.finetuning import check_names
from eval.results.jobs import known_task
from eval.results.official_tree import refuse_one_place
from eval.runs.origins import taught_by
from eval.runs.revisions import damaged, revisions
from eval.runs.run_folder import Run, how_to_finish, locate
from eval.submission.rules import Rules
from eval.tasks import TASKS, on_list
from eval.tasks.texts import find_texts, read_text

HUMAN = "full_eval/aoa/cdi_human.csv"


@dataclass(frozen=True)
class EvaluateRequest:
    """A student's run, the data, and which parts of its evaluation; None: those that the rules ask for."""

    run: Path
    data: Path
    text: tuple[str, ...] = ()
    rules: str = "2025"
    backend: str | None = None
    """How choices are scored; None: as is usual for what the student was asked in training."""
    full: tuple[str, ...] | None = None
    """Of the final model and those beside it."""
    fast: tuple[str, ...] | None = None
    """Of every revision."""
    glue: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (42,)
    """Of fine-tuning; the first is submitted."""
    epochs: int | None = None
    """Of fine-tuning; None: the task's."""
    partial: bool = False
    limit: int | None = None
    processes: int | None = None
    """Models at a time; None: as many as fit."""
    list: bool = False
    check: bool = False


@dataclass(frozen=True)
class Scope:
    """Which tasks one call scores, all of which have data."""

    full: list[str]
    fast: list[str]
    glue: list[str]
    human: Path | None
    """When children say which word; None where no ages are to be fitted."""


def read_scope(run: Run | None, rules: Rules, request: EvaluateRequest) -> Scope:
    """What is asked for; a UserError that names all tasks without data, unless they may be left out.

    `run`: None where it is still to be trained.
    """
    sections = rules.keys.values()
    official = [section.task for section in sections if section.task and section.form == "predictions"]
    full = known(request.full or official)
    fast = known(request.fast or [*(entry.task for entry in rules.fast.values()), "aoa"])
    tuned = [task for section in sections for task in section.tasks] if request.glue is None else request.glue
    tuned = check_names(tuned)
    lacking = [
        task for task in dict.fromkeys([*full, *fast]) if task in TASKS and not TASKS[task].find(request.data)
    ]
    lacking += [task for task in tuned if not can_be_tuned(task, request.data)]
    human = request.data / HUMAN if ages_are_due(run, fast, request) and "aoa" not in lacking else None
    if human and not human.is_file():
        lacking.append(f"ages of acquisition ({HUMAN})")
        human = None
    if lacking and not request.partial:
        raise UserError(
            f"{request.data} lacks the data of {', '.join(lacking)}: put them there, or --partial leaves them out "
            "of a submission that then is incomplete"
        )
    if lacking:
        print(f"without data in {request.data}: {', '.join(lacking)}")
    there = [[task for task in names if task not in lacking] for names in (full, fast, tuned)]
    return Scope(*there, human)


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


def ages_are_due(run: Run | None, fast: list[str], request: EvaluateRequest) -> bool:
    """Whether the surprisals come to curves: of whole tasks, and of as many revisions as a fit takes."""
    return "aoa" in fast and not request.limit and (run is None or len(revisions(run)) >= FEWEST)


def refuse_known_faults(run: Run, scope: Scope, request: EvaluateRequest) -> None:
    """A UserError for what would otherwise come out only when its turn has come."""
    if "perplexity" in [*scope.full, *scope.fast] and not request.text:
        raise UserError("perplexity needs --text PATH …: files or folders of held-out text")
    if not request.limit:  # a trial goes into no tree
        refuse_shared_places(scope)
    for path in find_texts(request.text):
        read_text(path)
    if scope.human:
        read_human(scope.human)
    for line in damaged(revisions(run)).values():
        raise UserError(line)
    for folder, remedy in beside_it(run).items():
        verify(folder / "export", remedy)


def refuse_shared_places(scope: Scope) -> None:
    """A UserError for two years of one task, which have one place in the results tree."""
    for tasks in (scope.full, scope.fast):
        refuse_one_place(tasks, "evaluate once with the --rules of each year")


def beside_it(run: Run) -> dict[Path, str]:
    """The run folders of teachers and control, which every table has beside the student, each with how to make it."""
    found = {folder: how_to_finish(folder) for folder in taught_by(run)}
    if control := run.summary.get("control"):
        found[locate(str(control), run.folder)] = f"train it with `{run.environment['command']} --control`"
    return found

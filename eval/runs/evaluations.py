"""What a student was evaluated on besides RUN/eval: its revisions, fine-tuning beside others', ages of acquisition."""

from dataclasses import dataclass

from eval.aoa.overview import Ages, read_ages
from eval.finetune.overview import Tuning, read_tuning
from eval.runs.lineup import Lineup
from eval.runs.revisions import Revision, revisions, scored
from eval.runs.tunings import Tunings, read_tunings


@dataclass(frozen=True)
class Evaluated:
    """All of it, each part of the very weights that the run has now."""

    revisions: dict[Revision, dict[str, dict]]
    """The results by task of each revision that was due, {} where it has none."""
    unusable: list[str]
    """Why the results of a revision cannot be used, a line each."""
    tuning: Tuning
    """The student's."""
    tunings: Tunings
    """The student's beside that of its teachers and control, and of its random weights."""
    ages: Ages | None


def read_evaluated(lineup: Lineup) -> Evaluated:
    """Read what there is; a UserError for the student's fine-tuning or ages if they are of other weights."""
    run = lineup.student
    results, unusable = scored(revisions(run))
    surprisals = {
        revision.name: tasks["aoa"].get("predictions_sha256")
        for revision, tasks in results.items()
        if "aoa" in tasks
    }
    tuning = read_tuning(run.folder)
    return Evaluated(
        results,
        list(unusable.values()),
        tuning,
        read_tunings(lineup, tuning),
        read_ages(run.folder / "aoa", surprisals),
    )

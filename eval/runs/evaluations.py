"""What a student was evaluated on besides RUN/eval: its revisions, fine-tuning, ages of acquisition."""

from dataclasses import dataclass

from eval.aoa.overview import Ages, read_ages
from eval.finetune.overview import Tuning, read_tuning
from eval.runs.revisions import Revision, revisions, scored
from eval.runs.run_folder import Run


@dataclass(frozen=True)
class Evaluated:
    """All of it, each part of the very weights that the run has now."""

    revisions: dict[Revision, dict[str, dict]]
    """The results by task of each revision that was due, {} where it has none."""
    unusable: list[str]
    """Why the results of a revision cannot be used, a line each."""
    tuning: Tuning
    ages: Ages | None


def read_evaluated(run: Run) -> Evaluated:
    """Read what there is; a UserError for fine-tuning or ages that are of other weights."""
    results, unusable = scored(revisions(run))
    surprisals = {
        revision.name: tasks["aoa"].get("predictions_sha256")
        for revision, tasks in results.items()
        if "aoa" in tasks
    }
    return Evaluated(
        results,
        list(unusable.values()),
        read_tuning(run.folder),
        read_ages(run.folder / "aoa", surprisals),
    )

"""What the runs of a study are asked, as one frozen value."""

from dataclasses import dataclass
from pathlib import Path

from eval.results.jobs import task_names
from eval.results.request import ScoreRequest, TaskSet
from eval.runs.run_folder import backend_of, read_summary
from eval.study.plan import RUNS


@dataclass(frozen=True)
class Scope:
    """Tasks, held-out text, and how many items of each."""

    tasks: tuple[str, ...]
    data: Path | None = None
    """Evaluation data; None: of tasks none is asked."""
    text: tuple[str, ...] | None = None
    """Files and folders of held-out text; None: the test split of the data that a run was trained on."""
    backend: str | None = None
    """None: the usual one of what a run has learned."""
    limit: int | None = None
    max_words: int | None = None
    """Of each file of held-out text; None: all."""

    def request(self, name: str) -> ScoreRequest:
        """What is asked of a run, by its name."""
        folder = RUNS / name
        summary = read_summary(folder)
        backend, usual = backend_of(summary, self.backend), Path(summary["data"], "text/test")
        text = self.text or ((str(usual),) if usual.is_dir() else ())
        names = task_names(self.tasks, self.data, partial=False) if self.data else ()
        names += ("perplexity",) if text and backend == "causal" else ()
        tasks = TaskSet(names, self.data, text, limit=self.limit, max_words=self.max_words, backend=backend)
        return ScoreRequest(str(folder / "export"), tasks, folder / ("trial/eval" if self.limit else "eval"))

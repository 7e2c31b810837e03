"""A study's finished runs, and what of them is compared under one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

from babylm_data.errors import UserError
from babylm_data.files import json_lines, json_table
from eval.compare.measures import HARD
from eval.compare.paired import Columns, columns_of
from eval.compare.scored import AGAIN, Scored, headline, is_surprisal, read_scored
from eval.runs.run_folder import Run, read_run, read_summary
from eval.scorer.model import model_sha256
from eval.study.plan import RUNS


@dataclass(frozen=True)
class Finished:
    """One finished run, with what it was scored on."""

    name: str
    out: Path

    @cached_property
    def scored(self) -> Scored | None:
        """Its scores; None if it has none, a UserError if they are of other weights than it has."""
        if not (self.out / "scores.json").is_file():
            return None
        found = read_scored(self.out)
        if found.model_sha256 != model_sha256(RUNS / self.name / "export"):
            raise UserError(
                f"{self.out / 'scores.json'} is of another model than {self.name} has now: {AGAIN}"
            )
        return found

    @cached_property
    def summary(self) -> dict:
        """Of its training."""
        return read_summary(RUNS / self.name)

    @cached_property
    def environment(self) -> dict:
        """Of its first start; {} if that is gone."""
        return json_table(RUNS / self.name / "environment.json") or {}

    @cached_property
    def metrics(self) -> list[dict]:
        """What it logged; nothing if that is gone."""
        return json_lines(RUNS / self.name / "metrics.jsonl", "step")

    @cached_property
    def run(self) -> Run:
        """Its folder, checked."""
        return read_run(RUNS / self.name, self.summary["kind"], scored=False)

    def value(self, measure: str) -> float | None:
        """The one number of a measure; None if it was not taken."""
        if measure == HARD:
            return self.summary["val/hard"]
        result = self.scored.tasks.get(measure) if self.scored else None
        return None if result is None or is_surprisal(result) else headline(result)


@dataclass(frozen=True)
class Side:
    """The mean of some runs of one seed, less that of as many others."""

    runs: tuple[Finished, ...]
    less: tuple[Finished, ...] = ()
    """Their controls, where gains over these are compared; else none."""

    @property
    def all_runs(self) -> tuple[Finished, ...]:
        """Whoever has a part in it."""
        return self.runs + self.less

    def value(self, measure: str) -> float:
        """The one number of a measure."""
        mean, *less = (fmean(run.value(measure) for run in runs) for runs in (self.runs, self.less) if runs)
        return mean - sum(less)

    def items(self, measure: str) -> Columns:
        """What each item earned; {} of a task that has no such thing."""
        found = {run: run.scored.items(measure) for run in self.all_runs}
        if not all("credit" in columns_of(each) for each in found.values()):
            return {}

        def mean(runs: Sequence[Finished], name: str) -> np.ndarray:
            return np.mean([found[run][name]["credit"] for run in runs], axis=0)

        parts = found[self.runs[0]]
        less = {name: mean(self.less, name) if self.less else 0.0 for name in parts}
        return {name: {"credit": mean(self.runs, name) - less[name]} for name in parts}

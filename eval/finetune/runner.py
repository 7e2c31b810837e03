"""One fine-tuning run: a task that was read, a model folder, settings and a seed -> a result and its predictions."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.memory import memory_advice
from babylm_data.sealed import sha256
from eval.finetune import glue, squad
from eval.finetune.request import FinetuneRequest
from eval.tasks.json_rows import is_synthetic

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from eval.finetune.loop import Problem, Settings


@dataclass(frozen=True)
class Job:
    """One task, read and found good: all that is needed but the model."""

    task: str
    files: tuple[Path, Path]
    train: list
    valid: list
    notes: list[str]
    """What keeps a score from being one of the whole task."""
    synthetic: bool = False
    """Do its files, or one of them, say that their rows only stand in for official ones?"""

    def subset(self, count: int | None, seed: int) -> list:
        """The training examples, or `count` of them drawn by `seed`, in file order."""
        if count is None or count >= len(self.train):
            return self.train
        return [self.train[row] for row in sorted(Random(seed).sample(range(len(self.train)), count))]


def read_job(task: str, data: Sequence[Path], limit: int | None) -> Job:
    """Read the files of a task; a UserError for whatever is wrong with them."""
    for folder in data:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}: correct --data")
    known = squad.EVERY[task]
    files = glue.find_files(task, data, known.names)
    if task == "squad":
        train, valid = map(squad.read_questions, files)
    else:
        train, valid = (glue.read_examples(path, known) for path in files)
    official = known.official_rows
    notes = [f"only the first {limit:,} training and validation examples"] if limit else []
    if official not in (None, len(valid)):
        notes.append(f"{files[1].name} has {len(valid):,} rows, the official file {official:,}")
    if synthetic := [path.name for path in files if is_synthetic([path])]:
        notes.append(f"the rows of {' and '.join(synthetic)} are synthetic stand-ins, not the official data")
    return Job(task, files, train[:limit], valid[:limit], notes, bool(synthetic))


@dataclass
class Runner:
    """A model folder and what was asked of it; everything is loaded when it is first needed."""

    folder: Path
    request: FinetuneRequest
    _said: set[str] = field(default_factory=set)

    def _warn(self, line: str) -> None:
        """Each warning once, and not again with every seed."""
        if line not in self._said:
            print(f"warning: {line}", file=sys.stderr)
        self._said.add(line)

    @cached_property
    def config(self) -> "PreTrainedConfig":
        """The model's config."""
        from eval.finetune.backbone import read_config

        return read_config(self.folder)

    @cached_property
    def positions(self) -> int | None:
        """Most tokens that the model reads."""
        from eval.finetune.backbone import longest_input

        return longest_input(self.config)

    @cached_property
    def sees_later(self) -> bool:
        """Whether tokens see what comes later, as in an encoder: then the first one knows the whole text."""
        from babylm_data.models import looks_ahead
        from eval.finetune.backbone import load_backbone

        device = self.device  # one that is not there is told before anything is loaded
        body = load_backbone(self.folder, self.config, random_weights=self.request.random_weights)
        return looks_ahead(self.folder, body.to(device))

    @cached_property
    def device(self) -> "torch.device":
        """Where the runs take place."""
        from eval.scorer.model import pick_device

        return pick_device(self.request.device)

    def settings(self, job: Job) -> "Settings":
        """What was asked, or the task's defaults, and no more tokens than the model has positions for."""
        from eval.finetune.loop import Settings

        request, spans = self.request, job.task == "squad"
        default = squad.EVERY[job.task]
        asked = request.max_length or default.max_length
        length = min(asked, self.positions or asked)
        if length < asked and request.max_length:
            self._warn(
                f"the model has {self.positions:,} positions: inputs end there, not at {asked:,} tokens"
            )
        return Settings(
            lr=request.lr or default.lr,
            epochs=request.epochs or default.epochs,
            batch_size=request.batch_size or default.batch_size,
            max_length=length,
            precision=request.precision,
            head="span" if spans else request.head,
            pool=None if spans else request.pool or ("first" if self.sees_later else "last"),
            stride=request.stride if spans else None,
            limit=request.limit,
            train_limit=request.train_limit,
        )

    def problem(self, job: Job, settings: "Settings", seed: int) -> "Problem":
        """The task as token sequences; the tokenizer is a fresh one, since a task may change how it joins pairs."""
        from babylm_data.tokenizer_files import load_tokenizer
        from eval.finetune import classify, spans

        tokenizer, train = load_tokenizer(self.folder), job.subset(settings.train_limit, seed)
        if job.task == "squad":
            return spans.prepare(train, job.valid, tokenizer, self.config, settings)
        return classify.prepare(job.task, train, job.valid, tokenizer, self.config, settings)

    def run(self, job: Job, settings: "Settings", seed: int) -> tuple[dict, dict]:
        """Fine-tune once; the result as result.json holds it, and the predictions."""
        import torch

        from babylm_data.tokenizer_files import load_tokenizer
        from eval.finetune.backbone import load_backbone
        from eval.finetune.loop import tune
        from eval.scorer.model import check_vocabulary

        started, label, device = time.monotonic(), f"{job.task}, seed {seed}", self.device
        problem = self.problem(job, settings, seed)
        for note in problem.notes:
            self._warn(note)
        torch.manual_seed(seed)  # of the random weights, the new head and dropout
        backbone = load_backbone(self.folder, self.config, random_weights=self.request.random_weights)
        check_vocabulary(self.folder, backbone, load_tokenizer(self.folder))
        with memory_advice(f"with {settings.batch_size} sequences a step: lower --batch-size"):
            network = problem.network(backbone, settings).to(device)
            outcome = tune(network, problem, settings, seed=seed, label=label)
        predictions = outcome.pop("predictions")
        facts = {
            "task": job.task,
            "seed": seed,
            "metric": problem.metric,
            "score": outcome["metrics"][problem.metric],
            "majority": problem.majority,
            "notes": job.notes + self._subset_note(job, settings),
            **({"synthetic": True} if job.synthetic else {}),
            "truncated": problem.notes,
            "examples": {"train": len(job.subset(settings.train_limit, seed)), "valid": len(job.valid)},
            "sequences": {"train": len(problem.train)},
            "settings": asdict(settings),
            "data": {path.name: sha256(path) for path in job.files},
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "device": _device_name(device),
            "seconds": round(time.monotonic() - started, 1),
        }
        return facts | outcome, predictions

    @staticmethod
    def _subset_note(job: Job, settings: "Settings") -> list[str]:
        count = settings.train_limit
        if count is None or count >= len(job.train):
            return []
        return [f"trained on {count:,} of {len(job.train):,} examples, drawn by the seed"]


def _device_name(device: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

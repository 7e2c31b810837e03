"""What one call fine-tunes, as one frozen value: parsed from a command line, or made from a run."""

from dataclasses import dataclass
from pathlib import Path

from eval.finetune import glue, squad
from eval.results.official_tree import ResultsTree
from eval.results.request import Request, changed

SETTINGS = ("epochs", "limit", "train_limit", "lr", "batch_size", "max_length", "stride", "head", "pool")
SETTINGS += ("device", "precision")


@dataclass(frozen=True)
class FinetuneRequest(Request):
    """A model, the tasks and seeds, settings (None: the task's own), and where the results go."""

    PROGRAM = "eval.finetune"
    model: str
    tasks: tuple[str, ...]
    data: tuple[Path, ...]
    out: Path
    seeds: tuple[int, ...]
    """The predictions of the first are those that are submitted."""
    limit: int | None = None
    """First training and validation examples."""
    train_limit: int | None = None
    """Training examples, drawn by the seed."""
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    """Most tokens of an input."""
    stride: int = squad.TASK.stride
    head: str = glue.HEADS[0]
    pool: str | None = None
    """None: the last token of a causal model, the first of an encoder."""
    random_weights: bool = False
    device: str = "auto"
    precision: str = "fp32"
    tree: ResultsTree | None = None

    def _words(self) -> list[str]:
        words = [self.model, "--tasks", *self.tasks, "--data", *map(str, self.data)]
        words += ["--seeds", *map(str, self.seeds), *changed(self, SETTINGS)]
        words += ["--random-weights"] if self.random_weights else []
        return [*words, "--out", str(self.out), *(self.tree.words if self.tree else [])]

"""What one call scores, as one frozen value: parsed from a command line, made from a run, handed to another process."""

import shlex
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, TypeVar

from babylm_data.errors import UserError
from eval.results.official_tree import ResultsTree
from eval.tasks.choices import TIE_RULES
from eval.tasks.perplexity import WINDOW

T = TypeVar("T")


@dataclass(frozen=True)
class TaskSet:
    """Tasks with their data, and all that decides what a model is asked and what its answers are worth."""

    names: tuple[str, ...]
    data: Path | None = None
    """Holds full_eval/ and fast_eval/; None where perplexity alone is asked for."""
    text: tuple[str, ...] = ()
    """Files and folders of held-out text."""
    max_words: int | None = None
    """Of each text; None: all."""
    window: int = WINDOW
    """Most tokens that a prediction in held-out text may look at."""
    limit: int | None = None
    """Items of each subtask; None: all."""
    ties: str = TIE_RULES[0]
    backend: str = "causal"
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Request(ABC):
    """What one call of a program asks for."""

    PROGRAM: ClassVar[str]
    typed: tuple[str, ...] | None = None
    """The words of the command line that asked for this; None: it was asked for by another program."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words behind `python -m PROGRAM` that ask for this: what was typed, or what could have been."""
        return self.typed or tuple(self._words())

    @property
    def command(self) -> str:
        """The command line that asks for this."""
        return f"python -m {self.PROGRAM} {shlex.join(self.words)}"

    @abstractmethod
    def _words(self) -> list[str]:
        """Those that could have been typed."""


@dataclass(frozen=True)
class ScoreRequest(Request):
    """One model, what it is asked, and where its results go."""

    PROGRAM = "eval"
    model: str
    """A folder, or a name on the hub."""
    tasks: TaskSet
    out: Path
    tree: ResultsTree | None = None
    """The official results tree that the predictions go into as well."""
    device: str = "auto"
    batch_tokens: int | None = None
    """Tokens a batch; None: as many as the device is fast with."""

    def _words(self) -> list[str]:
        words = [self.model, "--tasks", *self.tasks.names]
        words += ["--data", str(self.tasks.data)] if self.tasks.data else []
        words += ["--text", *self.tasks.text] if self.tasks.text else []
        words += changed(self.tasks, ("limit", "max_words", "window", "ties", "backend", "dtype"))
        words += changed(self, ("device", "batch_tokens"))
        return [*words, "--out", str(self.out), *(self.tree.words if self.tree else [])]


def requested(kind: type[T], arguments: dict, **others: object) -> T:
    """A request of this kind: each field from `others`, or the parsed argument of its name; lists become tuples."""
    found = {field.name: arguments[field.name] for field in fields(kind) if field.name in arguments} | others
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in found.items()})


def changed(asked: object, names: Sequence[str]) -> list[str]:
    """The options for those fields of a dataclass that are not as they are by themselves."""
    usual = {field.name: field.default for field in fields(asked)}
    words = []
    for name in names:
        if (value := getattr(asked, name)) != usual[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def names_of(models: list[str]) -> dict[str, str]:
    """What each model is called below --out: the last part of its path that is not "export"."""
    names = {}
    for model in models:
        parts = [part for part in Path(model).parts if part != "export"]
        names[model] = parts[-1] if parts else model
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise UserError(
            f"two of the models are called {twice[0]}: score them one at a time, each with its --out"
        )
    return names

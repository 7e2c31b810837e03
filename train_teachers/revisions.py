"""Revisions: exports of the model at the words of exposure that the track names, chck_1M, chck_2M, …

Which step writes which revision is a function of the data, the seed and the track alone: the first step after which
at least so many words were seen. Writing goes on beside training: the step pays for a copy of the weights, and the
disk is waited for only before the next checkpoint, which is never ahead of a revision that is due. So a run that is
resumed skips none, and what it comes to again it writes anew in the same place, the same bits.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from transformers import PreTrainedModel

from babylm_data.tokens import Batches
from babylm_data.words import Track, revision_marks
from train_teachers.checkpoint import export
from train_teachers.sharding import whole_weights


@dataclass(frozen=True)
class Revision:
    """One of them, as exposure.json beside its weights says it."""

    name: str
    mark: int
    """Words of exposure at which it is due."""
    words_seen: int
    """Words of exposure that it has: those of whole steps."""
    step: int
    words_before: int | None = 0
    """How many of them are of the first weights; None where nobody can count those, and none is counted."""


def due_revisions(
    track: Track, batches: Batches, steps: int, scale: float = 1.0, before: int | None = 0
) -> list[Revision]:
    """The revisions of a run of so many steps, in order; `scale` multiplies every mark (and leaves its name).

    `before`: words of exposure of the first weights, which count, and whose marks are not this run's to write;
    None where nobody can count them, and then only this run's words count.
    """
    known, before = before, before or 0
    marks = revision_marks(track, before + batches.words_seen(steps), scale)
    found = []
    for name, mark in marks:
        if mark > before:
            step = batches.steps_for(mark - before)
            found.append(Revision(name, mark, before + batches.words_seen(step), step, known))
    return found


def told(revisions: list[Revision], track: Track, words: int, scale: float = 1.0) -> str:
    """Which revisions a run that ends at `words` of exposure writes, in a line; a second one warns of equal ones."""
    if not revisions:
        return f"no revision is due: {_why_none(track, words, scale)}"
    names = [revision.name for revision in revisions]
    line = (
        f"{len(names)} revision{'s' * (len(names) > 1)}, {' … '.join(dict.fromkeys((names[0], names[-1])))}"
    )
    pairs = [(one, other) for one, other in pairwise(revisions) if one.step == other.step]
    if not pairs:
        return line
    one, other = pairs[0]
    more = f", and {len(pairs) - 1} more pairs" if pairs[1:] else ""
    return (
        f"{line}\nwarning: {one.name} and {other.name} are due at one step ({one.step:,}){more}: they will be the same "
        "model, and a submission with them is refused; raise words_scale or lower batch_size"
    )


def _why_none(track: Track, words: int, scale: float) -> str:
    if not track.revisions:
        return f"{track.name} asks for none"
    first = min(marks.every for marks in track.revisions) * scale
    if words >= first:
        return "init has passed every mark that this run comes to"
    return f"the run ends at {words:,} words of exposure, and the first mark is at {max(1, round(first)):,}"


class RevisionWriter:
    """Writes each revision into `folder`/<name>; a context that waits for the last one.

    One that is not the `owner` of the run writes nothing, and gives what its process has of parameters in shards.
    """

    def __init__(
        self, folder: Path, revisions: list[Revision], tokenizer: Path, *, owner: bool = True
    ) -> None:
        self.folder, self.revisions, self.tokenizer, self.owner = folder, revisions, tokenizer, owner
        self._pool, self._pending = ThreadPoolExecutor(1, "revisions"), []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=error[0] is not None)

    def write(
        self,
        model: PreTrainedModel,
        step: int,
        exported: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        """Begin to write what is due after `step` steps, with the weights that the model has within `exported`."""
        due = [revision for revision in self.revisions if revision.step == step]
        if due:
            self.wait()  # one copy of the weights at a time
            with exported():
                weights = whole_weights(model, keep=self.owner)
                copy = copy_of(weights) if self.owner else {}
            if self.owner:
                self._pending = [self._pool.submit(self._export, model, copy, revision) for revision in due]

    def wait(self) -> None:
        """Return when all that was begun is on the disk; what went wrong there is raised here."""
        pending: list[Future] = self._pending
        self._pending = []
        for future in pending:
            future.result()

    def _export(self, model: PreTrainedModel, weights: Mapping, revision: Revision) -> None:
        export(model, self.tokenizer, self.folder / revision.name, weights=weights, exposure=asdict(revision))


def copy_of(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors in memory of their own on the CPU; those that are one stay one."""
    copies = {tensor.data_ptr(): tensor.detach().to("cpu", copy=True) for tensor in weights.values()}
    return {name: copies[tensor.data_ptr()] for name, tensor in weights.items()}

"""Frozen teachers: one forward pass gives a signal each."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.hub import find_folder
from distill.config import Attention, DistillConfig, Layered
from distill.soft_targets import Kept, SoftTargets, identity_of, read_cache
from train_teachers import pretrained
from train_teachers.objective import wide
from train_teachers.outputs import Logits, Output, has_plain_output, output_of
from train_teachers.targets import Batch

# Shape suffixes: B sequences, T positions, N = B * T, V vocabulary, D width.


class Signal(NamedTuple):
    """What a model gives for a batch of N positions; a frozen teacher's is the teacher signal."""

    output: Output | Logits | Kept
    """Of a teacher that is read from a cache, what that has of it."""
    hidden_ND: tuple[Tensor, ...]
    """HF `hidden_states` (0 = embeddings, L = last block and final norm), where asked for."""
    attention_NT: tuple[Tensor | None, ...]
    """Attention maps averaged over heads, index 1 … L like the blocks, where asked for."""

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        body: Callable | None,
        inputs_BT: Tensor,
        *,
        hidden: bool,
        attention: bool,
    ) -> "Signal":
        """One forward pass through `body`, that of a model with a plain output matrix; None: it makes logits itself."""
        forward = model if body is None else body
        out = forward(
            input_ids=inputs_BT, use_cache=False, output_hidden_states=hidden, output_attentions=attention
        )
        states = tuple(state.flatten(0, 1) for state in out.hidden_states) if hidden else ()
        maps = (None, *(wide(part).mean(1).flatten(0, 1) for part in out.attentions)) if attention else ()
        if body is None:
            return cls(Logits(out.logits.flatten(0, 1)), states, maps)
        return cls(output_of(model, out.last_hidden_state.flatten(0, 1)), states, maps)

    # a teacher may have more entries than the tokenizer: padding, which no tokenizer writes
    def of_entries(self, vocab_size: int) -> "Signal":
        """With the outputs of the first `vocab_size` tokens."""
        return self._replace(output=self.output.of_entries(vocab_size))


class Signals(NamedTuple):
    """What student and teachers make of a batch."""

    student: Signal
    teachers: dict[str, Signal]
    targets_N: Tensor
    places_N: Tensor | None
    """Positions with a target; None: all."""
    is_target_N: Tensor

    def total(self, values_N: Tensor) -> Tensor:
        """Sum over the target positions."""
        return torch.where(self.is_target_N, values_N, 0.0).sum()


class Teachers:
    """The teachers of a run by name, in config order.

    A plain class with a plain dict on purpose: no nn.Module, so its models are never optimised, never saved with
    the student, and never switched to training mode.
    """

    def __init__(
        self, config: DistillConfig, student_fingerprint: str, vocab_size: int, device: torch.device
    ) -> None:
        self.vocab_size = vocab_size
        self.models: dict[str, PreTrainedModel] = {}
        self.plain: dict[str, bool] = {}
        """Whether a teacher's logits are the product of its final states with its output matrix, and no more."""
        self.sources: dict[str, str] = {}
        self.with_hidden = teachers_of(config, lambda loss: not isinstance(loss, Attention))
        self.with_attention = teachers_of(config, lambda loss: isinstance(loss, Attention))
        self.cached: dict[str, SoftTargets] = {}
        """Caches that are read in the place of teachers: by the teacher's name, of several by the first one's."""
        self.device = device
        for folder, names in config.caches.items():
            self._open_cache(config, Path(folder), names, student_fingerprint)
        for name, teacher in config.teachers.items():
            if teacher.cache:
                continue
            folder = folder_of(config, name, student_fingerprint)
            # only the plain form of attention keeps its maps
            attention = "eager" if name in self.with_attention else None
            model = pretrained.load_pretrained(folder, precision=teacher.precision, attention=attention)
            _check_shape(name, model, config, vocab_size)
            self.plain[name] = has_plain_output(model)
            self.models[name] = model.to(device).requires_grad_(False)
            self.sources[f"teacher {name}"] = pretrained.weights_hash(folder)

    def _open_cache(
        self, config: DistillConfig, folder: Path, names: list[str], student_fingerprint: str
    ) -> None:
        """Read a cache; its teachers are compared with those that the config names, where these are there."""
        identity, made = read_cache(folder)
        known = dict(zip(made["paths"], identity.teachers, strict=True))
        models = {}
        for name in names:
            path = config.teachers[name].path
            if Path(path).is_dir():
                models[name] = pretrained.model_hash(folder_of(config, name, student_fingerprint))
            elif path in known:
                models[name] = known[path]
            else:
                raise UserError(
                    f"teacher '{name}': {path} is not there, and the cache {folder} is of {', '.join(known)}"
                )
            self.sources[f"teacher {name}"] = pretrained.weights_of(models[name])
        self.cached[names[0]] = SoftTargets(folder, identity_of(config, names, models))
        self.sources[f"cache {names[0]}"] = self.cached[names[0]].content

    @torch.no_grad()
    def __call__(
        self, batch: Batch, among: Container[str], body: Callable[[PreTrainedModel], Callable]
    ) -> dict[str, Signal]:
        """One forward pass of each teacher that is in `among`, through what `body` gives for it, or its cache."""
        signals = {
            name: Signal(cache.of(batch, self.device), (), ())
            for name, cache in self.cached.items()
            if name in among
        }
        for name, model in self.models.items():
            if name in among:
                signal = Signal.of(
                    model,
                    body(model) if self.plain[name] else None,
                    batch.inputs_BT,
                    hidden=name in self.with_hidden,
                    attention=name in self.with_attention,
                )
                signals[name] = signal.of_entries(self.vocab_size)
        return signals


def folder_of(config: DistillConfig, name: str, student_fingerprint: str) -> Path:
    """Where a teacher is; UserError if it is not there, or reads other tokens."""
    path, what = config.teachers[name].path, f"teacher '{name}'"
    folder = find_folder(path, absent=f"{what}: {path} does not exist: train it first")
    pretrained.refuse_other_tokenizer(folder, student_fingerprint, f"{what} ({path})")
    return folder


def teachers_of(config: DistillConfig, which: Callable[[Layered], bool]) -> frozenset[str]:
    """The teachers named by some layered loss for which `which` holds."""
    return frozenset(
        teacher for loss in config.losses.layered.values() if which(loss) for teacher in loss.weight
    )


def _check_shape(name: str, model: PreTrainedModel, config: DistillConfig, vocab_size: int) -> None:
    shape = model.config.get_text_config()
    if shape.vocab_size < vocab_size:  # more are padding, which no tokenizer writes
        raise UserError(
            f"teacher '{name}' has {shape.vocab_size} outputs, the student {vocab_size}: take another of the two"
        )
    longest = getattr(shape, "max_position_embeddings", None)
    if longest and longest < config.data.seq_len:
        raise UserError(
            f"teacher '{name}' reads {longest} positions: lower data.seq_len from {config.data.seq_len}"
        )

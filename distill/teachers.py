"""Frozen teachers: one forward pass gives a signal each."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from babylm_data.causality import reads_by_mask
from babylm_data.errors import UserError
from babylm_data.files import json_table
from babylm_data.hub import find_folder
from babylm_data.models import Kind, longest_input, looks_ahead, read_config
from distill.config import Attention, DistillConfig, Layered
from distill.soft_targets import Kept, SoftTargets, identity_of, read_cache
from train_teachers import pretrained
from train_teachers.language_model import reading
from train_teachers.objective import wide
from train_teachers.outputs import Flags, Logits, Output, has_plain_output, output_of
from train_teachers.targets import IGNORE, Batch

# Shape suffixes: B sequences, T positions, N = B * T, V vocabulary, D width.


class Signal(NamedTuple):
    """What a model gives for a batch of N positions; a frozen teacher's is the teacher signal."""

    output: Output | Logits | Kept | None
    """Of a teacher that is read from a cache, what that has of it; None: of one without an output matrix."""
    hidden_ND: tuple[Tensor, ...]
    """HF `hidden_states` (0 = embeddings, L = last block and final norm), where asked for."""
    attention_NT: tuple[Tensor | None, ...]
    """Attention maps averaged over heads, index 1 … L like the blocks, where asked for."""

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        body: Callable | None,
        inputs: dict[str, Tensor],
        *,
        hidden: bool,
        attention: bool,
        to_the_left: bool = False,
    ) -> "Signal":
        """One forward pass through `body`, that of a model with a plain output matrix or none; None: the model makes
        its logits itself.

        `to_the_left`: what is said of a position stands at the one before it.
        """
        forward = model if body is None else body

        def flat(part_BTX: Tensor) -> Tensor:
            return (part_BTX.roll(-1, dims=1) if to_the_left else part_BTX).flatten(0, 1)

        more = {"output_hidden_states": hidden, "output_attentions": attention}
        out = forward(**inputs, use_cache=False, **{key: True for key, on in more.items() if on})
        states = tuple(map(flat, out.hidden_states)) if hidden else ()
        maps = (None, *(flat(wide(part).mean(1)) for part in out.attentions)) if attention else ()
        if body is None:
            return cls(Logits(flat(out.logits)), states, maps)
        has_head = model.get_output_embeddings() is not None
        return cls(output_of(model, flat(out.last_hidden_state)) if has_head else None, states, maps)

    # a teacher may have more entries than the tokenizer: padding, which no tokenizer writes
    def of_entries(self, vocab_size: int) -> "Signal":
        """With the outputs of the first `vocab_size` tokens."""
        return self._replace(output=self.output.of_entries(vocab_size)) if self.output else self


class Signals(NamedTuple):
    """What student and teachers make of a batch."""

    student: Signal
    teachers: dict[str, Signal]
    targets_N: Tensor
    places_N: Tensor | None
    """Positions with a target; None: all."""

    asked: dict[str, Flags]
    """By how a teacher reads ("@causal", "@masked") the positions at which it is asked; {}: all are at all."""

    def counting_N(self, reads: str, *, everywhere: bool = False) -> Tensor:
        """Whether a position counts for a teacher who reads that: those with a target, or all."""
        is_target_N = self.targets_N != IGNORE
        counts_N = torch.ones_like(is_target_N) if everywhere else is_target_N
        asked = self.asked.get(f"@{reads}")
        return counts_N & asked.flags_N if asked else counts_N

    def counting(self, states_ND: Tensor, reads: str, *, everywhere: bool) -> Tensor:
        """The states of the positions that count."""
        if f"@{reads}" in self.asked:
            return states_ND[self.counting_N(reads, everywhere=everywhere)]
        # known before: a GPU need not be waited for
        return states_ND if everywhere or self.places_N is None else states_ND[self.places_N]


class Teachers:
    """The teachers of a run by name, in config order.

    A plain class with a plain dict on purpose: no nn.Module, so its models are never optimised, never saved with
    the student, and never switched to training mode.
    """

    def __init__(
        self, config: DistillConfig, student_fingerprint: str, vocab_size: int, device: torch.device
    ) -> None:
        self.vocab_size, self.reads = vocab_size, config.reads
        self.models: dict[str, PreTrainedModel] = {}
        self.plain: dict[str, bool] = {}
        """Whether a teacher's logits are the product of its final states with its output matrix and no more, or no loss
        uses its logits."""
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
            _refuse_unlearned(name, folder, config)
            # only the plain form of attention keeps its maps
            attention = "eager" if name in self.with_attention else None
            kind, answers = pretrained.kind_of(config.reads[name]), name in config.answering
            model = pretrained.load_pretrained(
                folder,
                kind=kind if answers else "body",
                precision=teacher.precision,
                attention=attention,
            )
            _check_shape(name, model, config, vocab_size)
            if config.reads[name] == "both" and not reads_by_mask(model):
                family = model.config.model_type
                raise UserError(
                    f"teacher '{name}' ({family}) reads one way whatever it is told: write reads: causal"
                )
            if not answers:
                _check_direction(name, folder, model, kind)
            if attention and not getattr(model.config, "num_attention_heads", None):
                raise UserError(
                    f"losses.attention: teacher '{name}' ({model.config.model_type}) has no attention"
                )
            self.plain[name] = not answers or has_plain_output(model)
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
                both = self.reads[name] == "both"
                signal = Signal.of(
                    model,
                    body(model) if self.plain[name] else None,
                    reading(model, batch) if both else {"input_ids": batch.inputs_BT},
                    hidden=name in self.with_hidden,
                    attention=name in self.with_attention,
                    # a hybrid is asked for a hidden token one position to the left, a masked model where it was
                    to_the_left=batch.full_B is not None and self.reads[name] == "masked",
                )
                signals[name] = signal.of_entries(self.vocab_size)
        return signals


ANSWERS = {"causal": ("causal",), "masked": ("masked",), "both": ("both", "causal")}
"""What a teacher that has learned to be asked this can be asked."""


def folder_of(config: DistillConfig, name: str, student_fingerprint: str) -> Path:
    """Where a teacher is; UserError if it is not there, or reads other tokens."""
    path, what = config.teachers[name].path, f"teacher '{name}'"
    folder = find_folder(path, absent=f"{what}: {path} does not exist: train it first")
    pretrained.refuse_other_tokenizer(folder, student_fingerprint, f"{what} ({path})")
    if config.reads[name] != "causal":
        pretrained.refuse_other_mask(folder, Path(config.data.path) / "tokenizer", f"{what} ({path})")
    return folder


def _refuse_unlearned(name: str, folder: Path, config: DistillConfig) -> None:
    """UserError if a teacher is asked what it has not learned, as far as its run tells that, or its kind."""
    asked, learned = config.reads[name], (json_table(folder.parent / "summary.json") or {}).get("reads")
    if learned in ANSWERS and asked not in ANSWERS[learned]:
        told = f"teacher '{name}' has learned to be asked {learned}, and is asked {asked}"
        if config.targets.reads == "both":
            raise UserError(f"{told}: write reads: {' or '.join(ANSWERS[learned])}")
        raise UserError(f"{told}: name a {asked} one, or have the student learn both (targets: hybrid)")
    if not learned and config.targets.reads == "both" and config.teachers[name].reads is None:
        raise UserError(
            f"teacher '{name}': nobody knows what it has learned: write reads: causal, masked or both"
        )
    family = read_config(folder).model_type
    if asked == "masked" and name in config.answering and family not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise UserError(
            f"teacher '{name}' is a {family}, which cannot be asked for hidden tokens: name a masked one"
        )


def _check_direction(name: str, folder: Path, model: PreTrainedModel, kind: Kind) -> None:
    """UserError unless a body sees as far as models of this kind do: their classes, with a head, are not asked."""
    ahead = looks_ahead(folder, model)
    if kind == "causal" and ahead:
        raise UserError(
            f"teacher '{name}' ({folder}) sees the very tokens that the student is asked for: teach a masked student "
            "with it, or write reads: masked, if targets is hybrid"
        )
    if kind == "masked" and not ahead:
        raise UserError(
            f"teacher '{name}' ({folder}) reads from left to right, and is asked for hidden tokens: name a masked one"
        )


def teachers_of(config: DistillConfig, which: Callable[[Layered], bool]) -> frozenset[str]:
    """The teachers named by some layered loss for which `which` holds."""
    return frozenset(
        teacher for loss in config.losses.layered.values() if which(loss) for teacher in loss.weight
    )


def _check_shape(name: str, model: PreTrainedModel, config: DistillConfig, vocab_size: int) -> None:
    shape = model.config.get_text_config()
    if shape.vocab_size < vocab_size:  # more are padding, which no tokenizer writes
        raise UserError(
            f"teacher '{name}' knows {shape.vocab_size} tokens, the student {vocab_size}: take another of the two"
        )
    longest = longest_input(model)
    if longest and longest < config.data.seq_len:
        raise UserError(
            f"teacher '{name}' reads {longest} positions: lower data.seq_len from {config.data.seq_len}"
        )

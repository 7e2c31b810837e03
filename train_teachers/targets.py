"""What a model is asked: a pure function of (blocks of tokens, seed, step) gives the batch of a whole optimiser step.

An objective names its targets. Shape suffixes: B sequences, T positions, N = B * T positions in one row, V vocabulary.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from babylm_data.errors import UserError
from babylm_data.tokens import Blocks, generator
from train_teachers import config
from train_teachers.config import largest, value

IGNORE = -100  # target of a position that carries no loss
MASKS, ITEMS, KINDS = 1, 2, 3  # what is drawn: masks of a step, masks of a held-out item, kinds of sequences
NEVER = 2.0  # is drawn for what must not be asked for: a share is below 1
DEVIATIONS = 6  # beyond which no batch is from the mean number of its targets, as good as ever


class Batch(NamedTuple):
    """Inputs and their targets; what is to be predicted at a position stands at that position."""

    inputs_BT: Tensor
    targets_BT: Tensor
    starts: np.ndarray
    """(B,) where in the token stream of its split each sequence begins; an array, so that no device takes it along."""
    stream: str
    """The split whose tokens these are."""
    full_B: Tensor | None
    """Which sequences are read in both directions, their tokens hidden; None: all as the model reads by itself."""
    places_N: Tensor | None
    """Positions that have a target, in order, counted through the rows; None where all have."""

    @classmethod
    def of(
        cls,
        inputs_BT: Tensor,
        targets_BT: Tensor,
        starts: np.ndarray,
        stream: str,
        full_B: Tensor | None = None,
    ) -> "Batch":
        """A batch on the CPU, where looking for targets makes nobody wait."""
        has_target_N = targets_BT.flatten() != IGNORE
        places_N = None if has_target_N.all() else has_target_N.nonzero().squeeze(1)
        return cls(inputs_BT, targets_BT, starts, stream, full_B, places_N)

    def asked_N(self, reads: str) -> Tensor:
        """The positions at which a model is asked that reads "causal" or "masked", where sequences are of two kinds.

        What a masked model says of the first token would stand before it, so the last position has nothing.
        """
        there_BT = (self.full_B == (reads == "masked"))[:, None].repeat(1, self.inputs_BT.shape[1])
        there_BT[:, -1] &= reads == "causal"
        return there_BT.flatten()

    @property
    def num_targets(self) -> int:
        """Positions that carry loss: what a sum over the batch is divided by."""
        return self.inputs_BT.numel() if self.places_N is None else len(self.places_N)

    def rows(self, start: int, stop: int) -> "Batch":
        """The sequences from number `start` up to `stop`."""
        parts = (part[start:stop] for part in (self.inputs_BT, self.targets_BT, self.starts))
        return Batch.of(*parts, self.stream, None if self.full_B is None else self.full_B[start:stop])

    def split(self, size: int) -> list["Batch"]:
        """All of it, `size` sequences at a time."""
        return [self.rows(start, start + size) for start in range(0, len(self.inputs_BT), size)]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, which is not waited for."""
        there = {
            name: tensor.to(device, non_blocking=True)
            for name in ("inputs_BT", "targets_BT", "full_B", "places_N")
            if (tensor := getattr(self, name)) is not None
        }
        return self._replace(**there)


class Targets(Protocol):
    """Makes batches, on the CPU, from blocks of T + 1 tokens."""

    def of_step(self, blocks: Blocks, seed: int, step: int, progress: float) -> Batch:
        """The batch of a step, of a run with this seed of which the share `progress` (0-1) is done."""

    def of_items(self, blocks: Blocks) -> Batch:
        """Each block asked as it always is, as at the end of a run: held-out losses can then be compared."""

    def most(self, sequences: int, length: int) -> int:
        """How many positions of so many sequences have a target, at most."""

    @property
    def parts(self) -> dict[str, float]:
        """The terms of the hard loss, and what each counts in it."""


class NextToken:
    """The first T tokens are inputs, the last T their targets; nothing is drawn."""

    parts: ClassVar = {"hard": 1.0}

    def of_step(self, blocks: Blocks, seed: int, step: int, progress: float) -> Batch:
        """As of items."""
        return self.of_items(blocks)

    def of_items(self, blocks: Blocks) -> Batch:
        """Every token after those before it."""
        tokens_BT1 = torch.from_numpy(blocks.tokens)
        return Batch.of(tokens_BT1[:, :-1], tokens_BT1[:, 1:], blocks.starts, blocks.split)

    def most(self, sequences: int, length: int) -> int:
        """All of them."""
        return sequences * length


NEXT_TOKEN = NextToken()


@dataclass(frozen=True)
class Masked:
    """Some of the first T tokens are hidden, and are the targets where they were (Devlin et al. 2019).

    A token is asked for if what is drawn for it, or for its word, is below the share; what is drawn depends on nothing
    but the seed and the step, or on where in the text the item is.
    """

    how: config.Targets
    mask: int
    """Id of the mask."""
    plain_V: np.ndarray
    """(V,) whether a token may be asked for, and stand in the place of another: special ones may not."""

    @property
    def parts(self) -> dict[str, float]:
        """As the config has them."""
        return self.how.parts

    @cached_property
    def _plain(self) -> np.ndarray:
        return np.flatnonzero(self.plain_V)

    def of_step(self, blocks: Blocks, seed: int, step: int, progress: float) -> Batch:
        """With masks of this step."""
        asked, inputs = self._hide(blocks, self._of_step(blocks, seed, step), progress)
        return self._batch(blocks, asked, inputs)

    def of_items(self, blocks: Blocks) -> Batch:
        """With the masks of each item, at the share of the end."""
        asked, inputs = self._hide(blocks, self._of_items(blocks), 1.0)
        return self._batch(blocks, asked, inputs)

    @staticmethod
    def _of_step(blocks: Blocks, seed: int, step: int) -> np.ndarray:
        shape = (len(blocks.starts), blocks.tokens.shape[1] - 1, 3)
        return generator((seed, step), MASKS).random(shape)

    @staticmethod
    def _of_items(blocks: Blocks) -> np.ndarray:
        shape = (blocks.tokens.shape[1] - 1, 3)
        return np.stack([generator((int(start),), ITEMS).random(shape) for start in blocks.starts])

    def _hide(
        self, blocks: Blocks, drawn_BT3: np.ndarray, progress: float, may_BT: np.ndarray | bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """(which tokens are asked for, what is shown), both (B, T); `may_BT`: which may be, beside special ones."""
        tokens_BT = blocks.tokens[:, :-1]
        draw_BT, fate_BT, other_BT = np.moveaxis(drawn_BT3, -1, 0)
        if self.how.whole_words:
            words_BT = (blocks.words[:, :-1] > 0).cumsum(axis=1)
            draw_BT = np.take_along_axis(draw_BT, words_BT - words_BT[:, :1], axis=1)
        draw_BT = np.where(self.plain_V[tokens_BT] & may_BT, draw_BT, NEVER)
        one_at_least = np.nextafter(draw_BT.min(), 1.0)  # a batch without a target has no mean
        asked_BT = draw_BT < max(value(self.how.share, progress), one_at_least)
        others_BT = self._plain[(other_BT * len(self._plain)).astype(np.int64)]
        keep, random = self.how.keep, self.how.keep + self.how.random
        shown_BT = np.where(fate_BT < keep, tokens_BT, np.where(fate_BT < random, others_BT, self.mask))
        return asked_BT, np.where(asked_BT, shown_BT, tokens_BT)

    def _batch(self, blocks: Blocks, asked_BT: np.ndarray, inputs_BT: np.ndarray) -> Batch:
        targets_BT = torch.from_numpy(np.where(asked_BT, blocks.tokens[:, :-1], IGNORE))
        return Batch.of(torch.from_numpy(inputs_BT), targets_BT, blocks.starts, blocks.split)

    def most(self, sequences: int, length: int) -> int:
        """The share of them, and what it may be off by."""
        positions = sequences * length
        mean = largest(self.how.share) * positions
        return min(positions, math.ceil(mean + DEVIATIONS * math.sqrt(mean)))


@dataclass(frozen=True)
class Hybrid(Masked):
    """Of each sequence either the next tokens are asked for, or hidden ones, one position to the left of where they
    were, so that one output matrix serves both (GPT-BERT, Charpentier and Samuel 2024).
    """

    def of_step(self, blocks: Blocks, seed: int, step: int, progress: float) -> Batch:
        """With kinds and masks of this step.

        Which sequences are causal is a draw at even distances: each is with the probability of its share, and of any
        number of neighbours as many are as that comes to, or one more.
        """
        first = generator((seed, step), KINDS).random()
        passed = np.floor(first + self.how.causal * np.arange(len(blocks.starts) + 1))
        return self._both(blocks, self._of_step(blocks, seed, step), progress, np.diff(passed) == 0)

    def of_items(self, blocks: Blocks) -> Batch:
        """Each block twice, the first half of the batch for its next tokens."""
        twice = Blocks(*(np.concatenate([part, part]) for part in blocks[:-1]), blocks.split)
        full_B = np.arange(len(twice.starts)) >= len(blocks.starts)
        return self._both(twice, self._of_items(twice), 1.0, full_B)

    def _both(self, blocks: Blocks, drawn_BT3: np.ndarray, progress: float, full_B: np.ndarray) -> Batch:
        """The first token has nothing to its left to be asked for at."""
        may_BT = full_B[:, None] & (np.arange(blocks.tokens.shape[1] - 1) > 0)
        asked_BT, inputs_BT = self._hide(blocks, drawn_BT3, progress, may_BT)
        hidden = self._batch(blocks, asked_BT, inputs_BT)
        full_B1 = torch.from_numpy(full_B)[:, None]
        targets_BT = torch.where(
            full_B1, hidden.targets_BT.roll(-1, dims=1), NEXT_TOKEN.of_items(blocks).targets_BT
        )
        return Batch.of(hidden.inputs_BT, targets_BT, blocks.starts, blocks.split, full_B1[:, 0])

    def most(self, sequences: int, length: int) -> int:
        """All of as many causal sequences as there can be among neighbours, and what the others come to."""
        causal = min(sequences, math.floor(self.how.causal * sequences) + 1)
        return causal * length + super().most(sequences - causal, length)


def targets_of(asked: config.Targets, tokenizer: PreTrainedTokenizerBase) -> Targets:
    """What a config asks for; UserError if the tokenizer has no mask and needs one."""
    if asked.kind == "next_token":
        return NEXT_TOKEN
    if tokenizer.mask_token_id is None:
        raise UserError(
            f"targets: {asked.kind} needs a tokenizer with a mask token, and that of the data has none: prepare the "
            "data without --tokenizer, or with one that has"
        )
    plain_V = np.ones(len(tokenizer), dtype=bool)
    added = tokenizer.added_tokens_decoder
    plain_V[[*tokenizer.all_special_ids, *(entry for entry, token in added.items() if token.special)]] = False
    make = {"masked": Masked, "hybrid": Hybrid}[asked.kind]
    return make(asked, tokenizer.mask_token_id, plain_V)

"""Token sequences for fine-tuning: pairs of texts as one sequence, right-padded batches of like length."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, device
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

EVAL_BATCH = 64
GROUP = (
    50  # batches that are sorted by length together: like lengths meet, and chance still picks who they are
)


@dataclass(frozen=True)
class Encoded:
    """Token ids of N sequences, what each is trained towards, and segment ids where the model reads them."""

    ids: list[list[int]]
    targets: list[tuple[int, ...]]
    types: list[list[int]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Sequence[int], on: "device") -> tuple[dict[str, "Tensor"], "Tensor"]:
        """The backbone's arguments, (B, T) each, and the targets (B, K). Padding stands on the right, unread."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        def pad(values: list[list[int]]) -> "Tensor":
            return pad_sequence([torch.tensor(value) for value in values], batch_first=True).to(on)

        chosen = [self.ids[row] for row in rows]
        # masked positions may hold any id: no tokenizer needs a pad token for this
        inputs = {"input_ids": pad(chosen), "attention_mask": pad([[1] * len(ids) for ids in chosen])}
        if self.types is not None:
            inputs["token_type_ids"] = pad([self.types[row] for row in rows])
        return inputs, torch.tensor([self.targets[row] for row in rows], device=on)

    def sorted_batches(self) -> list[list[int]]:
        """All rows once, longest first, for a pass without training."""
        order = sorted(range(len(self)), key=lambda row: -len(self.ids[row]))
        return [order[at : at + EVAL_BATCH] for at in range(0, len(order), EVAL_BATCH)]


def epoch_batches(
    lengths: Sequence[int], batch_size: int, rng: random.Random, *, grouped: bool
) -> list[list[int]]:
    """The rows of one epoch in random batches, `grouped` by like length; a last incomplete batch is left out.

    Leaving it out is the official program's way; fewer rows than a batch are one batch.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    if len(order) > batch_size:
        order = order[: len(order) - len(order) % batch_size]
    if grouped:
        size = GROUP * batch_size
        groups = (order[at : at + size] for at in range(0, len(order), size))
        order = [row for group in groups for row in sorted(group, key=lambda row: lengths[row])]
    found = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    if grouped:
        rng.shuffle(found)
    return found


def separate_pairs(tokenizer: "PreTrainedTokenizerBase") -> str:
    """What must be put before the second text of a pair so that it does not run into the first.

    Nothing where the tokenizer has a special token for it ([SEP]); a line break for those of causal models. If
    such a tokenizer leaves its special tokens out of pairs, it is told to put them around both texts.
    """
    single, pair = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    if pair > single:
        return ""
    if pair < single:
        from tokenizers.processors import TemplateProcessing

        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        at = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
        before, after = (
            [tokenizer.convert_ids_to_tokens(token) for token in part]
            for part in (whole[:at], whole[at + len(bare) :])
        )
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A:0", "$B:0", *after],
            special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in {*before, *after}],
        )
    return "\n"


def reads_segments(config: "PreTrainedConfig") -> bool:
    """Whether the model has embeddings for the first and the second text of a pair."""
    return getattr(config, "type_vocab_size", 0) > 1


def cut_note(task: str, train: int, valid: int, what: str) -> list[str]:
    """The one warning about inputs that were too long; [] if none was."""
    if not train + valid:
        return []
    return [f"{task}: {train:,} training and {valid:,} validation {what} and were cut"]

"""Passages of text that all models read: the same tokens, and what each position is asked."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from babylm_data.errors import UserError
from eval.tasks.perplexity import start_token
from eval.tasks.texts import find_texts, read_text

EVERY = 7
"""A masked model is asked for one token in so many."""
IGNORE = -100


@dataclass(frozen=True)
class Passages:
    """S passages of T tokens."""

    ids_ST: torch.Tensor
    """What is read."""
    targets_ST: torch.Tensor
    """What is asked at a position; IGNORE: nothing."""

    def batches(self, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """So many passages at a time."""
        return list(zip(self.ids_ST.split(size), self.targets_ST.split(size), strict=True))


def read_passages(
    paths: list[str], tokenizer: PreTrainedTokenizerBase, *, count: int, length: int, masked: bool
) -> Passages:
    """At most `count` passages of `length` tokens, spread evenly over the texts: each begins with the start token.

    Where `masked`, one token in EVERY is hidden and asked for; else each is asked for the next one.
    UserError if the texts have not one passage.
    """
    documents = [text for path in find_texts(paths) for text in read_text(path).documents]
    stream = [token for ids in tokenizer(documents, add_special_tokens=False)["input_ids"] for token in ids]
    room = length - 1  # behind the start token
    whole = len(stream) // room
    if not whole:
        raise UserError(f"{', '.join(paths)}: not {room} tokens of text: name more with --text")
    chosen = [number * whole // min(count, whole) for number in range(min(count, whole))]
    rows = [[start_token(tokenizer), *stream[place * room : (place + 1) * room]] for place in chosen]
    ids_ST = torch.tensor(rows)
    targets_ST = torch.full_like(ids_ST, IGNORE)
    if masked:
        if tokenizer.mask_token_id is None:
            raise UserError("the tokenizer has no mask token, so its model cannot be asked for hidden tokens")
        places_ST = torch.arange(length)[None, :] + torch.arange(len(rows))[:, None]
        hidden_ST = places_ST.remainder(EVERY).eq(0) & torch.arange(length).gt(0)
        targets_ST[hidden_ST] = ids_ST[hidden_ST]
        ids_ST = ids_ST.masked_fill(hidden_ST, tokenizer.mask_token_id)
    else:
        targets_ST[:, :-1] = ids_ST[:, 1:]
    return Passages(ids_ST, targets_ST)

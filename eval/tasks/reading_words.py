"""The words of the reading task as token sequences: what a model is asked for the surprisal of a word in its context.

The official program's way has peculiarities, which a sentence as a whole and its offsets would not give:
- The word is tokenised alone, without a space. A byte-level tokenizer that adds none by itself is asked for "Arthur
  placedthe": its models score near zero, whatever they know. The spaced way asks for " the" instead.
- What stands before a sub-word is tokenised anew, special tokens and all, so it may be cut otherwise than in the word.
- From the second sub-word on, what is asked for is the first token of the sub-word's own text. WordPiece writes
  "##ing" for one inside a word, so what it is asked for there is "#".
- A masked model is told that something follows: `MASKS` mask tokens stand behind what it reads, and the sub-word is
  read off the first of them (mlm) or off the token before it (mntp). That first one is looked for from the end, where
  one special token at most is reckoned with: of a tokenizer that puts two there, the second mask is asked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.scorer.items import Item

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from eval.scorer.prefix_rows import Encoded

MASKS = 3  # the default of the official program


def official_sequences(
    tokenizer: "PreTrainedTokenizerBase", items: Sequence[Item], backend: str = "causal"
) -> list[list[list["Encoded"]]]:
    """Item -> choice -> one token sequence a sub-word, of which one token is scored."""
    return [
        [word_sequences(tokenizer, choice.context, choice.completion, backend) for choice in item.choices]
        for item in items
    ]


def word_sequences(
    tokenizer: "PreTrainedTokenizerBase", context: str, word: str, backend: str = "causal"
) -> list["Encoded"]:
    """What the official program asks for the surprisal of `word` after `context`, sub-word by sub-word."""
    after = after_context if backend == "causal" else before_masks
    pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
    if not pieces:
        raise UserError(f"reading: the tokenizer has no token for {word!r}: use another one")
    sequences = []
    for place, piece in enumerate(pieces):
        piece_text = tokenizer.decode(piece)
        target = tokenizer(piece_text, add_special_tokens=False)["input_ids"][:1] if place else [piece]
        if not target:
            raise UserError(f"reading: a sub-word of {word!r} has no text of its own: use another tokenizer")
        sequences.append(after(tokenizer, context, *target))
        context += piece_text
    return sequences


def after_context(tokenizer: "PreTrainedTokenizerBase", context: str, target: int) -> "Encoded":
    """The context with all its special tokens, and then the token that is asked for."""
    ids = (*tokenizer(context)["input_ids"], target)
    return asked(ids, len(ids) - 1)


def before_masks(tokenizer: "PreTrainedTokenizerBase", context: str, target: int) -> "Encoded":
    """The context and `MASKS` masks, one of which is the token that is asked for."""
    mask = tokenizer.mask_token_id
    ids = tokenizer(context + MASKS * tokenizer.mask_token)["input_ids"]
    place = len(ids) - MASKS - (ids[-1] != mask)
    if ids[place] != mask:
        raise UserError(
            f"reading: no mask is {len(ids) - place} tokens before the end, where the official program asks: "
            "use a tokenizer that puts fewer special tokens behind a text"
        )
    return asked((*ids[:place], target, *ids[place + 1 :]), place)


def asked(ids: tuple[int, ...], place: int) -> "Encoded":
    """The sequence of which the token at `place` alone is scored."""
    from eval.scorer.prefix_rows import Encoded

    return Encoded(ids, tuple(number == place for number in range(len(ids))))


def spaced_sequences(
    tokenizer: "PreTrainedTokenizerBase", items: Sequence[Item], backend: str = "causal"
) -> list[list[list["Encoded"]]]:
    """Item -> choice -> its token sequences, with the tokens of the word scored: those that it has in the text.

    All in one sequence for a causal model; for a masked one a sequence each, with what follows hidden by masks.
    """
    from eval.scorer.log_probs import encode

    encoded = encode(tokenizer, [choice for item in items for choice in item.choices], backend)
    sequences = iter(
        [
            [entry] if backend == "causal" else hidden_ahead(entry, tokenizer.mask_token_id)
            for entry in encoded
        ]
    )
    return [[next(sequences) for _ in item.choices] for item in items]


def hidden_ahead(entry: "Encoded", mask: int) -> list["Encoded"]:
    """For each scored token a sequence that ends there, but for masks and the special tokens at the end."""
    ids = entry.ids
    places = [place for place, scored in enumerate(entry.scored) if scored]
    behind = (*[mask] * (MASKS - 1), *ids[max(places, default=0) + 1 :])
    return [asked((*ids[: place + 1], *behind), place) for place in places]

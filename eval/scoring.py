"""Log-probabilities of sentences: the only place that runs a model for zero-shot tasks.

The official rule: a choice is worth the sum of log p(token | everything before it) over the tokens of its
completion. The text is tokenised as the tokenizer does by default. A token belongs to the completion if its
character span ends after the completion's first character, so the special tokens of a post-processor, whose
span is empty, give context and are never scored. The very first token has nothing before it to be judged by.

Sentences are batched with others of exactly their own length, so there is no padding to argue away.
Batches are cut from the sorted set of distinct token sequences: the order of the items changes no bit of
a result, and sequences that are equal get equal scores, so a tie is a tie.
"""

# S = sentences of a batch, T = their tokens, N = predicted tokens, S * (T - 1) of whole sentences, V = vocabulary

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from babylm_data.errors import UserError
from eval.items import Choice, Item

ROWS = (
    256  # rows of logits normalised at a time: 8 MB at a vocabulary of 8,192 stays in the processor's cache
)


class Encoded(NamedTuple):
    """A tokenised choice: token ids, and which of them are summed. Comparable, so that equals meet."""

    ids: tuple[int, ...]
    scored: tuple[bool, ...]


def token_logprobs(model: PreTrainedModel, ids_ST: torch.Tensor, first: int = 1) -> torch.Tensor:
    """log p(token | before), nats, float64, of the tokens from number `first` on: (S, T) ids -> (S, T - first).

    The logits are taken as the model returns them and normalised in float32 or better. The last token
    predicts nothing, so the model does not read it; the output matrix, half of a small model's work, is
    asked for the judged positions alone where the model lets one ask.
    """
    judged = ids_ST.shape[1] - first
    asks = "logits_to_keep" in inspect.signature(model.forward).parameters
    keep = {"logits_to_keep": judged} if asks else {}
    logits_STV = model(input_ids=ids_ST[:, :-1], use_cache=False, **keep).logits
    logits_NV, targets_N = logits_STV[:, -judged:].flatten(0, 1), ids_ST[:, first:].flatten()
    wide = torch.promote_types(logits_NV.dtype, torch.float32)
    losses = [
        F.cross_entropy(rows_RV.to(wide), targets_R, reduction="none")
        for rows_RV, targets_R in zip(logits_NV.split(ROWS), targets_N.split(ROWS), strict=True)
    ]
    return -torch.cat(losses).double().view(len(ids_ST), -1)


def longest_input(model: PreTrainedModel) -> int | None:
    """Most tokens the model was made for, or None if its config does not say."""
    return getattr(model.config, "max_position_embeddings", None)


def encode(tokenizer: PreTrainedTokenizerBase, choices: Sequence[Choice]) -> list[Encoded]:
    """Tokenise each choice as a whole and mark the tokens of its completion."""
    if not choices:
        return []
    output = tokenizer([choice.text for choice in choices], return_offsets_mapping=True)
    encoded = []
    for choice, ids, spans in zip(choices, output["input_ids"], output["offset_mapping"], strict=True):
        start = len(choice.context)
        scored = tuple(position > 0 and span[1] > start for position, span in enumerate(spans))
        encoded.append(Encoded(tuple(ids), scored))
    return encoded


def batches(sequences: Sequence[Sequence[int]], batch_tokens: int) -> list[range]:
    """Cut sequences, sorted by length, into runs of one length and at most `batch_tokens` tokens."""
    runs, start = [], 0
    for stop in range(1, len(sequences) + 1):
        length = len(sequences[start])
        full = (stop - start + 1) * length > batch_tokens
        if stop == len(sequences) or len(sequences[stop]) != length or full:
            runs.append(range(start, stop))
            start = stop
    return runs


@torch.inference_mode()
def _sums(model: PreTrainedModel, encoded: list[Encoded], batch_tokens: int, label: str) -> np.ndarray:
    """Sum of the scored tokens' log-probabilities for each of `encoded`, which are sorted by length."""
    sums = np.zeros(len(encoded))
    progress = tqdm(total=len(encoded), desc=label, unit=" sentences", disable=None, leave=False)
    for rows in batches([entry.ids for entry in encoded], batch_tokens):
        batch = encoded[rows.start : rows.stop]
        if len(batch[0].ids) > 1:  # one token alone has nothing before it: an empty sum
            ids_ST = torch.tensor([entry.ids for entry in batch], device=model.device)
            scored_ST = torch.tensor([entry.scored for entry in batch], device=model.device)
            # `where`, not a product: an infinity among the unscored tokens must not become NaN
            kept = torch.where(scored_ST[:, 1:], token_logprobs(model, ids_ST), 0.0)
            sums[rows.start : rows.stop] = kept.sum(dim=1).cpu().numpy()
        progress.update(len(batch))
    progress.close()
    return sums


def choice_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    choices: Sequence[Choice],
    *,
    batch_tokens: int = 4096,
    names: Sequence[str] | None = None,
    label: str = "scoring",
) -> np.ndarray:
    """Log-probability of each choice's completion given its context, nats: (len(choices),) float64.

    `names` say whose choice is too long for the model; without them the text itself does.
    """
    encoded = encode(tokenizer, choices)
    limit = longest_input(model)
    for index, entry in enumerate(encoded):
        if limit is not None and len(entry.ids) > limit:
            name = names[index] if names else repr(choices[index].text[:60])
            raise UserError(
                f"{name} has {len(entry.ids)} tokens, the model reads at most {limit}: "
                "score it with a model that has more positions, or leave this task out"
            )
    distinct = sorted(set(encoded), key=lambda entry: (len(entry.ids), entry))
    sums = _sums(model, distinct, batch_tokens, label)
    place = {entry: index for index, entry in enumerate(distinct)}
    return sums[[place[entry] for entry in encoded]] if encoded else sums


def sentence_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    batch_tokens: int = 4096,
) -> np.ndarray:
    """Log-probability of whole sentences in nats: (len(texts),) float64."""
    return choice_logprobs(model, tokenizer, [Choice("", text) for text in texts], batch_tokens=batch_tokens)


def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    *,
    batch_tokens: int = 4096,
    label: str = "scoring",
) -> list[list[float]]:
    """Log-probabilities in nats of each item's choices, in the order of the items."""
    choices = [choice for item in items for choice in item.choices]
    names = [item.uid for item in items for _ in item.choices]
    flat = choice_logprobs(model, tokenizer, choices, batch_tokens=batch_tokens, names=names, label=label)
    values = iter(flat.tolist())
    return [[next(values) for _ in item.choices] for item in items]

"""How well a model predicts running text: nats per token, bits per byte and per word.

Nats per token and perplexity depend on the tokenizer; bits per byte and per word do not, so only those
compare models with different vocabularies. A tokenizer that loses a part of the text (a WordPiece: case, accents, what
it has no entry for) asks its model for less, and its bits are not comparable: wherever they stand, `LOSSY` does.

A document is a run of lines between blank lines and is taken as it stands. It begins with the tokenizer's
start token (what its post-processor puts first, else its BOS, else its EOS as for GPT-2), which is not
scored; no end token is added. A window of `window` tokens moves on by `stride`: each token is scored
exactly once, with at least `stride` tokens before it unless the document's start is nearer.

The window should be no longer than the sequences that the model was trained on: positions that it has but
was never trained on are noise where they are learned (GPT-2), and would be charged to the model.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.tasks.texts import Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WINDOW = 128  # tokens; fewer if the model has fewer positions
LOSSY = (
    "the tokenizer may lose a part of the text (case, accents, words that it has no entry for): these bits per byte "
    "are of what it writes, and compare with those of no other"
)


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens `ids` of text number `text`; those from `first` on are scored."""

    text: int
    ids: tuple[int, ...]
    first: int


def start_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Id of the token that a document begins with."""
    default = tokenizer("a")["input_ids"]
    if default and default[0] in tokenizer.all_special_ids:
        return default[0]
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    raise UserError("the tokenizer has no BOS and no EOS token, so a document has no beginning: give it one")


def is_lossy(result: dict) -> bool:
    """Whether a result of this task is of a part of the text alone."""
    return not result.get("whole_text", True)  # results of before do not say


def windows(ids: list[int], window: int, stride: int, text: int = 0) -> list[Window]:
    """Cut one document, start token included, so that every token but the first is scored once."""
    cut = [Window(text, tuple(ids[:window]), 1)]
    scored = window
    while scored < len(ids):
        stop = min(scored + stride, len(ids))
        # the last window reaches back to be as long as the others: more context, and one batch for all
        cut.append(Window(text, tuple(ids[stop - window : stop]), window - (stop - scored)))
        scored = stop
    return [entry for entry in cut if len(entry.ids) > 1]


def measure(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: list[Text],
    *,
    batch_tokens: int = 4096,
    window: int = WINDOW,
) -> dict:
    """Cross-entropy of each text, of each split and of all together, as `scores.json` holds it."""
    from babylm_data.models import longest_input
    from babylm_data.tokenizer import is_byte_level

    window = min(window, longest_input(model) or window)
    stride = window // 2
    start = start_token(tokenizer)
    cut: list[Window] = []
    tokens = []
    for number, text in enumerate(texts):
        encoded = tokenizer(text.documents, add_special_tokens=False)["input_ids"]
        tokens.append(sum(map(len, encoded)))
        for ids in encoded:
            cut += windows([start, *ids], window, stride, number)
    nats = _nats(model, cut, len(texts), batch_tokens)
    if broken := [text.name for text, value in zip(texts, nats, strict=True) if not math.isfinite(value)]:
        raise UserError(
            f"the loss on {broken[0]} is not finite: the model is broken, this task has no result"
        )
    counts = [
        {
            "tokens": count,
            "words": text.words,
            "bytes": text.bytes,
            "documents": len(text.documents),
            "nats": value,
        }
        for text, count, value in zip(texts, tokens, nats, strict=True)
    ]
    splits = sorted({text.split for text in texts if text.split})
    return {
        "window": window,
        "stride": stride,
        "document_start": tokenizer.convert_ids_to_tokens(start),
        "whole_text": is_byte_level(tokenizer.backend_tokenizer),
        "files": {text.name: rates(count) for text, count in zip(texts, counts, strict=True)},
        "splits": {
            split: rates(
                _total([count for text, count in zip(texts, counts, strict=True) if text.split == split])
            )
            for split in splits
        },
        "all": rates(_total(counts)),
    }


def _nats(model: "PreTrainedModel", cut: list[Window], texts: int, batch_tokens: int) -> list[float]:
    """Total negative log-likelihood of each text, nats. Windows of one length share batches."""
    import torch
    from tqdm import tqdm

    from eval.scorer.logits import token_logprobs

    cut = sorted(cut, key=lambda entry: (len(entry.ids), entry.first))
    nats = torch.zeros(texts, dtype=torch.float64)
    total = sum(len(entry.ids) - entry.first for entry in cut)
    progress = tqdm(total=total, desc="perplexity", unit=" tokens", disable=None, leave=False)
    with torch.inference_mode():
        for rows in runs([len(entry.ids) for entry in cut], batch_tokens):
            batch = cut[rows.start : rows.stop]
            ids_ST, first = torch.tensor([w.ids for w in batch], device=model.device), batch[0].first
            logprobs = token_logprobs(model, ids_ST, first).cpu()
            position = torch.arange(first, len(batch[0].ids))
            scored = position[None, :] >= torch.tensor([w.first for w in batch])[:, None]
            sums = torch.where(scored, logprobs, 0.0).sum(dim=1)
            nats.index_add_(0, torch.tensor([w.text for w in batch]), -sums)
            progress.update(int(scored.sum()))
    progress.close()
    return nats.tolist()


def runs(lengths: list[int], batch_tokens: int) -> list[range]:
    """Cut ascending `lengths` into runs of one length and at most `batch_tokens` tokens (or one sequence)."""
    cut, start = [], 0
    for stop in range(1, len(lengths) + 1):
        full = (stop - start + 1) * lengths[start] > batch_tokens
        if stop == len(lengths) or lengths[stop] != lengths[start] or full:
            cut.append(range(start, stop))
            start = stop
    return cut


def _total(counts: list[dict]) -> dict:
    return {key: sum(count[key] for count in counts) for key in counts[0]}


def rates(count: dict) -> dict:
    """`count` (tokens, words, bytes, nats) with nats per token, perplexities, bits per byte and word."""
    nats = count["nats"]
    return count | {
        "nats_per_token": nats / count["tokens"],
        "perplexity": _exp(nats / count["tokens"]),
        "bits_per_byte": nats / math.log(2) / count["bytes"],
        "bits_per_word": nats / math.log(2) / count["words"],
        "perplexity_per_word": _exp(nats / count["words"]),
    }


def _exp(nats: float) -> float | None:
    """e**nats, or None where that is beyond floating point (a model that is certain of the wrong thing)."""
    return math.exp(nats) if nats < 700 else None

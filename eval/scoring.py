"""Log-probabilities of sentences: the only place that runs a model for zero-shot tasks.

The official rule: a choice is worth the sum of log p(token | what the model may see) over the tokens of its
completion. The text is tokenised as the tokenizer does by default. A token belongs to the completion if its
character span ends after the completion's first character, so the special tokens of a post-processor, whose
span is empty, give context and are never scored. Backends: `causal` sees everything before the token, and
the very first token has nothing before it to be judged by; `mlm` sees all of the text with the token masked;
`mntp` the same, but the prediction is read one position to the left.

Equal sequences are scored once, and what sequences begin with in common is computed once (eval/rows.py).
Everything is cut from the sorted set of distinct sequences: the order of the items changes no bit of a result,
and sequences that are equal get equal scores, so a tie is a tie.
"""

# B = rows of a batch, R = cells of a row, S = sentences, T = their tokens, N = predictions, V = vocabulary

import inspect
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from babylm_data.errors import UserError
from babylm_data.memory import keep_freed_memory
from eval.items import Choice, Item
from eval.rows import Batch, Encoded, Row, batches, masked_rows, plain_rows, tree_rows

NORMALISED = 256  # rows of logits at a time: 8 MB at a vocabulary of 8,192 stays in the processor's cache
CELLS = {"cpu": 1024, "cuda": 16384}  # of a batch
CAPACITY = 64  # cells of a row, at least: more share more prefixes, and attend to more that is not theirs
AGREE = 1e-3  # nats, between a sequence in a tree and the same alone


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
        for rows_RV, targets_R in zip(logits_NV.split(NORMALISED), targets_N.split(NORMALISED), strict=True)
    ]
    return -torch.cat(losses).double().view(len(ids_ST), -1)


def longest_input(model: PreTrainedModel) -> int | None:
    """Most tokens the model has positions for, or None if its config does not say.

    RoBERTa and its kin count positions from behind the one of the padding, so a table of 514 rows reads 512 tokens.
    """
    rows = getattr(model.config, "max_position_embeddings", None)
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    padding = next((getattr(table, "padding_idx", None) for table in tables), None)
    if rows is None or rows < 1:
        return None
    return rows if padding is None else rows - padding - 1


def turns_positions(model: PreTrainedModel) -> bool:
    """Are its positions angles (Llama's kind), which have no end, and not the rows of a table?"""
    return getattr(model.config, "rope_parameters", None) is not None


def encode(
    tokenizer: PreTrainedTokenizerBase, choices: Sequence[Choice], backend: str = "causal"
) -> list[Encoded]:
    """Tokenise each choice as a whole and mark the tokens of its completion."""
    if not choices:
        return []
    unseen = 0 if backend == "mlm" else 1  # tokens at the beginning with nothing to read their prediction off
    output = tokenizer([choice.text for choice in choices], return_offsets_mapping=True)
    encoded = []
    for choice, ids, spans in zip(choices, output["input_ids"], output["offset_mapping"], strict=True):
        start = len(choice.context)
        scored = tuple(position >= unseen and span[1] > start for position, span in enumerate(spans))
        encoded.append(Encoded(tuple(ids), scored))
    return encoded


def judged_logits(model: PreTrainedModel, batch: Batch, kept: np.ndarray) -> torch.Tensor:
    """The model's logits at the cells number `kept`, counted through the rows: (K, V).

    The output matrix is given those cells alone; what the model does to its logits afterwards, it does.
    """
    device = model.device
    kept_K = torch.from_numpy(kept).to(device)
    inputs = {"input_ids": torch.from_numpy(batch.tokens_BR).to(device)}
    if batch.ends_BR is not None:
        cells = torch.arange(batch.tokens_BR.shape[1], device=device)
        ends_BR = torch.from_numpy(batch.ends_BR).to(device)
        sees_BRR = (cells[None, :, None] >= cells) & (cells[:, None] < ends_BR[:, None, :])
        blocked = torch.zeros(sees_BRR.shape, dtype=model.dtype, device=device)
        blocked.masked_fill_(~sees_BRR, torch.finfo(model.dtype).min)
        inputs["attention_mask"] = blocked[:, None]
        inputs["position_ids"] = torch.from_numpy(batch.depths_BR).to(device)
    if "use_cache" in inspect.signature(model.forward).parameters:
        inputs["use_cache"] = False
    head, asked = model.get_output_embeddings(), []

    def keep_judged(module: torch.nn.Module, args: tuple) -> tuple:
        asked.append(module)
        return args[0].flatten(0, 1)[kept_K][None], *args[1:]

    hook = head.register_forward_pre_hook(keep_judged) if head is not None else None
    try:
        logits = model(**inputs).logits
    finally:
        if hook is not None:
            hook.remove()
    # some models take the matrix out of its module, and the hook sees nothing
    return logits[0] if asked else logits.flatten(0, 1)[kept_K]


def batch_logprobs(model: PreTrainedModel, batch: Batch) -> np.ndarray:
    """log p of each prediction of the batch, nats, normalised in float32 or better: (N,) float64."""
    kept, rows_N = np.unique(batch.sources_N, return_inverse=True)
    logits_KV = judged_logits(model, batch, kept)
    rows, targets = (torch.from_numpy(part).to(logits_KV.device) for part in (rows_N, batch.targets_N))
    wide = torch.promote_types(logits_KV.dtype, torch.float32)
    found = []
    for start in range(0, len(logits_KV), NORMALISED):
        low, high = np.searchsorted(rows_N, [start, start + NORMALISED])
        logprobs = logits_KV[start : start + NORMALISED].to(wide).log_softmax(dim=-1)
        found.append(logprobs[rows[low:high] - start, targets[low:high]])
    return torch.cat(found).cpu().double().numpy()


class Scorer:
    """One model, and how it is asked: (sorted, distinct) token sequences -> sums of log-probabilities."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        backend: str = "causal",
        batch_tokens: int | None = None,
    ) -> None:
        """`batch_tokens`: most cells of a batch; None takes what this kind of device is fast with."""
        if backend != "causal" and tokenizer.mask_token_id is None:
            raise UserError(f"--backend {backend} needs a tokenizer with a mask token, and this one has none")
        self.model, self.tokenizer, self.backend = model, tokenizer, backend
        self.cells = batch_tokens or CELLS.get(model.device.type, CELLS["cuda"])
        self.longest = None if turns_positions(model) else longest_input(model)
        keep_freed_memory()

    def encode(self, choices: Sequence[Choice], names: Sequence[str] | None = None) -> list[Encoded]:
        """Tokenise; a UserError for what the model is too short for, by its name or its text."""
        encoded = encode(self.tokenizer, choices, self.backend)
        for index, entry in enumerate(encoded):
            if self.longest is not None and len(entry.ids) > self.longest:
                name = names[index] if names else repr(choices[index].text[:60])
                raise UserError(
                    f"{name} has {len(entry.ids)} tokens, the model reads at most {self.longest}: "
                    "score it with a model that has more positions, or leave this task out"
                )
        return encoded

    def logprobs(
        self, choices: Sequence[Choice], names: Sequence[str] | None = None, label: str = "scoring"
    ) -> np.ndarray:
        """Log-probability of each choice's completion given its context, nats: (len(choices),) float64.

        `names` say whose choice is too long for the model; without them the text itself does.
        """
        return self.token_sums(self.encode(choices, names), label)

    def token_sums(self, encoded: Sequence[Encoded], label: str = "scoring") -> np.ndarray:
        """Sum of the scored tokens' log-probabilities of each sequence, in any order, equals scored once; nats."""
        distinct = sorted(set(encoded))
        sums = self.sums(distinct, label)
        place = {entry: index for index, entry in enumerate(distinct)}
        return sums[[place[entry] for entry in encoded]] if encoded else sums

    def score(self, items: Sequence[Item], label: str = "scoring") -> list[list[float]]:
        """Log-probabilities in nats of each item's choices, in the order of the items."""
        choices = [choice for item in items for choice in item.choices]
        names = [item.uid for item in items for _ in item.choices]
        values = iter(self.logprobs(choices, names, label).tolist())
        return [[next(values) for _ in item.choices] for item in items]

    @torch.no_grad()  # not inference_mode, under which autocast would cast the weights anew for every batch
    def sums(self, sequences: Sequence[Encoded], label: str = "scoring") -> np.ndarray:
        """The same of sequences that are distinct and sorted: (len(sequences),) float64."""
        return self._sums(self._rows(sequences), len(sequences), label)

    def _sums(self, rows: list[Row], count: int, label: str | None = None) -> np.ndarray:
        sums = np.zeros(count)
        todo = batches(rows, self.cells)
        total = sum(len(batch.targets_N) for batch in todo)
        with tqdm(
            total=total, desc=label, unit=" tokens", disable=None if label else True, leave=False
        ) as bar:
            for batch in todo:
                np.add.at(sums, batch.owners_N, batch_logprobs(self.model, batch))
                bar.update(len(batch.targets_N))
        return sums

    def _rows(self, sequences: Sequence[Encoded]) -> list[Row]:
        if self.backend != "causal":
            return masked_rows(sequences, self.tokenizer.mask_token_id, int(self.backend == "mntp"))
        longest = max((len(entry.ids) for entry in sequences), default=0)
        rows = tree_rows(sequences, max(CAPACITY, 3 * longest // 2))
        return rows if self._reads_trees(sequences, rows) else plain_rows(sequences)

    def _reads_trees(self, sequences: Sequence[Encoded], rows: list[Row]) -> bool:
        """Does this model see in a tree what it sees in a sequence alone? Tried on the fullest and the longest row.

        Some cannot be told which cell sees which: they have no attention, or a mask of their own making.
        """
        if not rows:
            return True
        fullest = max(rows, key=lambda row: len(set(row.owners)))
        longest = max(rows, key=lambda row: max(row.depths))
        with torch.autocast(self.model.device.type, enabled=False):
            for row in (fullest, longest):
                owners = sorted(set(row.owners))
                alone = [sequences[owner] for owner in owners]
                plain = self._sums(plain_rows(alone), len(alone))
                try:
                    tree = self._sums([row], len(sequences))[owners]
                except (
                    RuntimeError,
                    ValueError,
                    TypeError,
                ):  # as each model refuses a mask that it does not take
                    return False
                if not np.allclose(tree, plain, rtol=1e-5, atol=AGREE, equal_nan=True):
                    return False
        return True

"""What a model says of token ids: the logits that are judged, the log-probabilities, how long a text it reads."""

# B = rows of a batch, R = cells of a row, S = sentences, T = their tokens, N = predictions, V = vocabulary
# K = the cells among them that any prediction is read off

import inspect

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from eval.scorer.prefix_rows import Batch

NORMALISED = 256  # rows of logits at a time: 8 MB at a vocabulary of 8,192 stays in the processor's cache


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


def turns_positions(model: PreTrainedModel) -> bool:
    """Are its positions angles (Llama's kind), which have no end, and not the rows of a table?"""
    return getattr(model.config, "rope_parameters", None) is not None


def judged_logits(
    model: PreTrainedModel, batch: Batch, kept: np.ndarray, *, both_ways: bool = False
) -> torch.Tensor:
    """The model's logits at the cells number `kept`, counted through the rows: (K, V).

    `both_ways`: it is told that each cell sees all of its row, which it would not by itself.

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
    elif both_ways:
        rows, cells = batch.tokens_BR.shape
        inputs["attention_mask"] = torch.zeros(rows, 1, cells, cells, dtype=model.dtype, device=device)
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


def judge(
    model: PreTrainedModel, batch: Batch, *, greedy: bool = False, both_ways: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """log p of each prediction of the batch, nats, normalised in float32 or better: (N,) float64.

    With `greedy` also whether its token is the one that the model finds likeliest there, (N,) bool; else None.
    """
    kept, rows_N = np.unique(batch.sources_N, return_inverse=True)
    logits_KV = judged_logits(model, batch, kept, both_ways=both_ways)
    rows, targets = (torch.from_numpy(part).to(logits_KV.device) for part in (rows_N, batch.targets_N))
    wide = torch.promote_types(logits_KV.dtype, torch.float32)
    found = []
    for start in range(0, len(logits_KV), NORMALISED):
        low, high = np.searchsorted(rows_N, [start, start + NORMALISED])
        logprobs = logits_KV[start : start + NORMALISED].to(wide).log_softmax(dim=-1)
        found.append(logprobs[rows[low:high] - start, targets[low:high]])
    logprobs_N = torch.cat(found).cpu().double().numpy()
    return logprobs_N, (logits_KV.argmax(dim=-1)[rows] == targets).cpu().numpy() if greedy else None

"""Whether a language model sees what comes later: asked of the model itself, not of its name or its config.

A model that does has read the very token that it is asked for. As a teacher it would teach the answers, and its
scores would be a fraud that nobody meant.
"""

import copy

import torch
from torch import Tensor
from transformers import PreTrainedModel

LENGTH = 12
ROUNDING = 1e-5
"""Of what a change moves behind it; causal families stay below 2e-7 in float32, others above 1e-3 (bench.causality)."""


def reads_by_mask(model: PreTrainedModel, positions: int | None = None) -> bool:
    """Whether a model sees later tokens when a mask says that every token sees all."""
    try:
        return sees_later_tokens(model, positions, told=True)
    # as each model refuses a mask that it does not take
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False


@torch.no_grad()
def sees_later_tokens(model: PreTrainedModel, positions: int | None = None, *, told: bool = False) -> bool:
    """Whether what a model says at some place moves when only later tokens change.

    `told`: with a mask by which each token sees all.

    `model` is any that takes `input_ids` and gives logits or a last hidden state, in evaluation mode; `positions`
    is how many tokens it reads at most. Asked in float32 at least, where rounding cannot pass for sight.
    """
    if model.dtype.itemsize < 4:
        model = copy.deepcopy(model).float()
    base_T, other_T = _texts(model, min(LENGTH, positions or LENGTH))
    # row i differs from the base from token i + 1 on; the last row is the base
    rows_TT = torch.where(torch.ones(len(base_T), len(base_T)).tril().bool(), base_T, other_T)
    rows_TT = rows_TT.to(model.device)
    mask = torch.ones_like(rows_TT)
    if told:
        mask = torch.zeros(len(rows_TT), 1, *rows_TT.shape[1:] * 2, dtype=model.dtype, device=model.device)
    found_TTX = _answers(model, rows_TT, mask)
    moved_TT = (found_TTX - found_TTX[-1]).abs().amax(-1)
    seen = moved_TT.tril().max()
    return bool(seen > ROUNDING * moved_TT.max())


def _texts(model: PreTrainedModel, length: int) -> tuple[Tensor, Tensor]:
    """(T,) tokens, and others that differ from them everywhere; none that means something to the model's code."""
    config = model.config.get_text_config()
    special = {
        value
        for key, value in config.to_dict().items()
        if key.endswith("token_id") and isinstance(value, int)
    }
    entries = range(model.get_input_embeddings().weight.shape[0])
    plain = torch.tensor([i for i in entries if i not in special] or list(entries))
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(plain), (length,), generator=generator)
    shifts = torch.randint(1, max(2, len(plain)), (length,), generator=generator)
    return plain[places], plain[(places + shifts) % len(plain)]


def _answers(model: PreTrainedModel, ids_BT: Tensor, mask: Tensor) -> Tensor:
    """Logits, or last hidden states of a model without a head: (B, T, V or D)."""
    out = model(input_ids=ids_BT, attention_mask=mask, use_cache=False)
    found = out.logits if "logits" in out else out.last_hidden_state
    return found.float() if found.dtype.itemsize < 4 else found

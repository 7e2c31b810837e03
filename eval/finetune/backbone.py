"""A model folder -> the part of it that is fine-tuned: tokenizer, config and body, without the old output head."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.model import check_tokenizer, check_weights, load_error

if TYPE_CHECKING:  # seconds to import
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

CONSTANTS = (
    ".masked_bias",
    ".attn.bias",
    ".inv_freq",
    ".position_ids",
)  # older versions saved them with the weights


def read_config(folder: Path) -> "PreTrainedConfig":
    """The folder's config, with the cache of generation off; UserError for what has no single stack of layers."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers has no one kind of error for a folder that it cannot read
        raise load_error(folder, error) from error
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"{folder} is an encoder-decoder ({config.model_type}): fine-tune a causal model or an encoder"
        )
    config.use_cache = False  # keys and values of a causal model are of no use to one pass over a text
    return config


def longest_input(config: "PreTrainedConfig") -> int | None:
    """Most tokens that a model of this config has positions for, or None if the config does not say."""
    import torch
    from transformers import AutoModel

    from eval.logits import longest_input as longest_of

    with torch.device("meta"):  # shapes alone
        return longest_of(AutoModel.from_config(config))


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The folder's tokenizer, which must give character spans; lengths are for the caller to check."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise load_error(folder, error) from error
    check_tokenizer(folder, tokenizer)
    return tokenizer


def load_backbone(
    folder: Path, config: "PreTrainedConfig", *, random_weights: bool = False
) -> "PreTrainedModel":
    """The body in float32 on the CPU; with `random_weights` as drawn at the start of a training.

    Every weight must come from the file but a pooler's, which no head here reads.
    """
    import torch
    from transformers import AutoModel, logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its report of keys: what matters in it is checked below
    if random_weights:
        return AutoModel.from_config(config, dtype=torch.float32)
    try:
        model, info = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as error:
        raise load_error(folder, error) from error
    check_weights(folder, info, belongs=partial(_belongs, model))
    return model


def _belongs(model: "PreTrainedModel", key: str) -> bool:
    """Is this the name of a weight of the body, and not of the old head?"""
    parts = {name for name, _ in model.named_children()}
    part = key.removeprefix(f"{model.base_model_prefix}.").split(".")[0]
    return part in parts and not key.endswith(CONSTANTS)

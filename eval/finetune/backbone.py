"""A model folder -> the part of it that is fine-tuned: tokenizer, config and body, without the old output head."""

from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError

if TYPE_CHECKING:  # seconds to import
    from transformers import PreTrainedConfig, PreTrainedModel


def read_config(folder: Path) -> "PreTrainedConfig":
    """The folder's config, with the cache of generation off; UserError for what has no single stack of layers."""
    from babylm_data import models

    config = models.read_config(folder)
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

    from babylm_data import models

    with torch.device("meta"):  # shapes alone
        return models.longest_input(AutoModel.from_config(config))


def load_backbone(
    folder: Path, config: "PreTrainedConfig", *, random_weights: bool = False
) -> "PreTrainedModel":
    """The body in float32 on the CPU; with `random_weights` as drawn at the start of a training.

    Every weight must come from the file but a pooler's, which no head here reads.
    """
    import torch
    from transformers import AutoModel

    from babylm_data.models import load_model

    if random_weights:
        return AutoModel.from_config(config, dtype=torch.float32)
    return load_model(folder, "body", config=config)

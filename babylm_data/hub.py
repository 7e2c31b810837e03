"""A model or tokenizer by the folder it lies in or by its name on the Hugging Face hub."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError

if TYPE_CHECKING:  # seconds to import
    from transformers import PreTrainedConfig

# weights, config and tokenizer: what decides what a model computes
MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.txt")
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "config.json")


def find_folder(name: str, absent: str, files: tuple[str, ...] = MODEL_FILES) -> Path:
    """`name` itself if it is a folder, else the local copy of what the hub has by that name, fetched if need be.

    UserError `absent` where it can only be meant as a folder, and a reason where the hub does not give it.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    local = name.startswith("runs/") or ("/" in name and folder.parent.is_dir())
    if local or not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", name):
        raise UserError(absent)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # a dozen kinds: offline, no such name, gated, the connection broke
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{name} is neither a folder nor a hub name that can be fetched: {reason}") from error


def is_encoder(config: "PreTrainedConfig") -> bool:
    """Whether every token sees the whole text: a family with a masked-language-model head, not used as a decoder."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)

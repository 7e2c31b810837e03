"""A Hugging Face folder or hub name -> a language model and its tokenizer, or one line that says why not."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.hub import MODEL_FILES, find_folder
from babylm_data.sealed import SEAL, sha256, verify

if TYPE_CHECKING:  # seconds to import, and not needed to find fault with a folder
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
BACKENDS = ("causal", "mlm", "mntp")
OWN_CODE = (
    "needs code of its own to load, and such models are refused: eval runs no code that comes with a model"
)
DTYPES = ("float32", "float64", "bfloat16")


def find_model(name: str) -> Path:
    """The folder that holds the model: `name` itself, or the copy of a hub model. Loads no weights."""
    folder = find_folder(name, absent=f"there is no model folder {name}")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json (an export has one)")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no *.safetensors file: save the weights in that format")
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise UserError(f"{folder} has no tokenizer (tokenizer.json): save it beside the model")
    if (folder / SEAL).is_file():
        verify(folder, "export the model again")
    return folder


def _digest(folder: Path, patterns: tuple[str, ...]) -> str:
    files = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.name != SEAL)
    if len(files) == 1:
        return sha256(files[0])
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


def weights_sha256(folder: Path) -> str:
    """Hex SHA-256 of model.safetensors; of the list of names and digests where the weights are in shards."""
    return _digest(folder, ("*.safetensors",))


def model_sha256(folder: Path) -> str:
    """Hex SHA-256 over every file that can change a score: weights, config and tokenizer."""
    return _digest(folder, MODEL_FILES)


def load(
    folder: Path, *, device: str = "auto", dtype: str = "float32", backend: str = "causal"
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model in evaluation mode on `device`, and its tokenizer. Every weight must come from the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, logging

    logging.disable_progress_bar()  # of the loading: a blink, and noise in a log
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = AutoModelForCausalLM if backend == "causal" else AutoModelForMaskedLM
        model, info = kind.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,  # its default asks on a terminal, and runs the folder's code on "y"
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers has no one kind of error for a folder that it cannot read
        if "custom code" in str(error):
            raise UserError(f"{folder} {OWN_CODE}") from error
        reason = str(error).strip().split("\n")[0]
        what = "causal" if backend == "causal" else "masked"
        raise UserError(f"{folder} does not load as a {what} language model: {reason}") from error
    _check_kind(folder, model, backend)
    _check_weights(folder, info)
    check_tokenizer(folder, tokenizer)
    check_vocabulary(folder, model, tokenizer)
    try:
        return model.to(device).eval(), tokenizer
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # no such device, none of that kind, or its memory is full
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"the model cannot be put on --device {device}: {reason}") from error


def is_encoder(config: "PreTrainedConfig") -> bool:
    """Whether every token sees the whole text: a family with a masked-language-model head, not used as a decoder."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)


def _check_kind(folder: Path, model: "PreTrainedModel", backend: str) -> None:
    """An encoder loads as a causal model too, and then sees the very token that it is asked for."""
    if backend == "causal" and is_encoder(model.config):
        raise UserError(f"{folder} is a masked language model ({model.config.model_type}): use --backend mlm")


def _check_weights(folder: Path, info: dict) -> None:
    """A key that the file lacks would be filled with random numbers, and the score with them."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(str(key) for key in info.get(kind, ()))
        if kind == "unexpected_keys":  # the other heads of a masked model's training
            keys = [key for key in keys if not any(part in key for part in ("pooler.", "seq_relationship."))]
        if keys:
            what = f"{kind.replace('_', ' ')}: {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else "")
            raise UserError(
                f"the weights in {folder} do not fit its config.json ({what}): export the model again"
            )


def check_tokenizer(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer that gives no character spans; of those that do, lift the limit on lengths."""
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer in {folder} gives no character spans: save it as tokenizer.json")
    tokenizer.model_max_length = 10**12  # we check lengths ourselves; documents are cut into windows


def check_vocabulary(folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer with more entries than the model has embeddings."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UserError(
            f"the tokenizer in {folder} has {len(tokenizer)} entries, the model {rows} embeddings: "
            "they do not belong together"
        )

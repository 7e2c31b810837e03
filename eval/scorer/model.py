"""A Hugging Face folder or hub name -> a language model and its tokenizer, or one line that says why not."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.files import is_clutter
from babylm_data.hub import MODEL_FILES, find_folder, weight_files
from babylm_data.sealed import SEAL, sha256, verify
from babylm_data.tokenizer_files import has_tokenizer, load_tokenizer

if TYPE_CHECKING:  # seconds to import, and not needed to find fault with a folder
    from torch import device as Device
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BACKENDS = ("causal", "mlm", "mntp")
DTYPES = ("float32", "float64", "bfloat16")


def find_model(name: str) -> Path:
    """The folder that holds the model: `name` itself, or the copy of a hub model. Loads no weights."""
    folder = find_folder(name, absent=f"there is no model folder {name}")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json (an export has one)")
    if not weight_files(folder):
        raise UserError(f"{folder} has no *.safetensors file: save the weights in that format")
    if not has_tokenizer(folder):
        raise UserError(f"{folder} has no tokenizer (tokenizer.json): save it beside the model")
    if (folder / SEAL).is_file():
        verify(folder, "export the model again")
    return folder


def _digest(folder: Path, patterns: tuple[str, ...]) -> str:
    files = sorted(
        path
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.name != SEAL and not is_clutter(path)
    )
    if len(files) == 1:
        return sha256(files[0])
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


def weights_sha256(folder: Path) -> str:
    """Hex SHA-256 of model.safetensors; of the list of names and digests where the weights are in shards."""
    return _digest(folder, ("*.safetensors",))


def model_sha256(folder: Path) -> str:
    """Hex SHA-256 over every file that can change a score: weights, config and tokenizer."""
    return _digest(folder, MODEL_FILES)


def load_for_scoring(
    folder: Path, *, device: str = "auto", dtype: str = "float32", backend: str = "causal"
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model in evaluation mode on `device`, and its tokenizer. Every weight must come from the file."""
    import torch
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    from babylm_data.models import load_model, read_config

    where = pick_device(device)
    kind = "causal" if backend == "causal" else "masked"
    if backend == "mntp" and read_config(folder).model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        kind = "causal"  # the class of one that learned both
    model = load_model(folder, kind, dtype=getattr(torch, dtype))
    tokenizer = load_tokenizer(folder)
    check_vocabulary(folder, model, tokenizer, backend)
    try:
        return model.to(where), tokenizer
    except RuntimeError as error:  # its memory is full
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"the model cannot be put on --device {device}: {reason}") from error


def pick_device(name: str) -> "Device":
    """The device called `name`; "auto" is the GPU where there is one. UserError if it cannot be used."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        one = torch.ones(1, device=name)
        one.item()  # "meta" makes tensors, and has no numbers in them
        return one.device
    except (RuntimeError, AssertionError) as error:  # no such device, or none of that kind
        reason = str(error).strip().splitlines()[0].split(". ")[0]
        raise UserError(f"--device {name} cannot be used: {reason}") from error


def check_vocabulary(
    folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", backend: str = "causal"
) -> None:
    """Refuse a tokenizer with an entry that some text is written by and the model has no embedding for.

    A special token that is put around no text may be beyond them: a pad, or a mask where no masked model is asked.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    put = {*tokenizer("a", "a").input_ids, None if backend == "causal" else tokenizer.mask_token_id}
    special = {
        token for token in tokenizer.all_special_tokens if tokenizer.convert_tokens_to_ids(token) not in put
    }
    used = {token: index for token, index in tokenizer.get_vocab().items() if token not in special}
    token, last = max(used.items(), key=lambda entry: entry[1])
    if last >= rows:
        raise UserError(
            f"the tokenizer in {folder} has {len(tokenizer)} entries up to number {last} ({token!r}), the model {rows} "
            "embeddings: they do not belong together"
        )

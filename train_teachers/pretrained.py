"""Model folders (and hub names) that something else is made from: a frozen teacher, or a student's first weights."""

from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.hub import is_encoder
from babylm_data.sealed import SEAL, sha256, verify
from babylm_data.speed import FORMATS
from babylm_data.tokenizer import fingerprint


def refuse_other_tokenizer(folder: Path, expected: str, what: str) -> None:
    """UserError unless the tokenizer of `folder` has the fingerprint `expected`, that of the data."""
    if fingerprint(folder) != expected:
        raise UserError(
            f"{what} has another tokenizer than the data: train it on the same data folder, or prepare data "
            f"for it with `python -m babylm_data --tokenizer {folder} …`"
        )


def load(folder: Path, *, precision: str = "fp32", attention: str | None = None) -> PreTrainedModel:
    """A causal model from safetensors, complete, in evaluation mode, on the CPU.

    `attention` is an implementation by transformers' name; None: the best that the model has.
    """
    if (folder / SEAL).is_file():
        verify(folder, "train that model again")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=FORMATS[precision],
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # the default asks on a terminal
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} does not load as a causal language model: {' '.join(str(error).split())}"
        ) from None
    if is_encoder(model.config):
        raise UserError(
            f"{folder} is a masked language model ({model.config.model_type}): it sees the very token that it is asked "
            "for; name a causal model"
        )
    if wrong := sorted(map(str, [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]])):
        raise UserError(
            f"{folder}: weight '{wrong[0]}' is missing, unknown or of another shape: export it again"
        )
    return model.eval()


def model_hash(folder: Path) -> str:
    """The SHA-256 of all that decides what a model computes: its config, and behind it the `weights_hash`."""
    return f"{sha256(folder / 'config.json')},{weights_hash(folder)}"


def weights_of(hashed: str) -> str:
    """The `weights_hash` in a `model_hash`."""
    return hashed.partition(",")[2]


def weights_hash(folder: Path) -> str:
    """The SHA-256 of each of its *.safetensors."""
    return ",".join(sha256(file) for file in sorted(folder.glob("*.safetensors")))

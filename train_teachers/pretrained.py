"""Model folders (and hub names) that something else is made from: a frozen teacher, or a student's first weights."""

from pathlib import Path

from transformers import PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.hub import weight_files
from babylm_data.models import Kind, load_model
from babylm_data.sealed import SEAL, sha256, verify
from babylm_data.speed import FORMATS
from babylm_data.tokenizer_files import load_tokenizer
from train_teachers.config import Reads


def refuse_other_tokenizer(folder: Path, expected: str, what: str) -> None:
    """UserError unless the tokenizer of `folder` has the fingerprint `expected`, that of the data."""
    if fingerprint(folder) != expected:
        raise UserError(
            f"{what} has another tokenizer than the data: train it on the same data folder, or prepare data "
            f"for it with `python -m babylm_data --tokenizer {folder} …`"
        )


def refuse_other_mask(folder: Path, data_tokenizer: Path, what: str) -> None:
    """UserError if the model in `folder` names another token as the mask than the data's tokenizer does.

    No fingerprint has it: no text does.
    """
    theirs, ours = (load_tokenizer(place) for place in (folder, data_tokenizer))
    if theirs.mask_token_id not in (None, ours.mask_token_id):
        raise UserError(
            f"{what} has learned to see {theirs.mask_token} ({theirs.mask_token_id}) where a token is hidden, and the "
            f"data hides them behind {ours.mask_token} ({ours.mask_token_id}): train it "
            f"on the same data folder, or prepare data for it with `python -m babylm_data --tokenizer {folder} …`"
        )


def kind_of(reads: Reads) -> Kind:
    """As what a model is loaded that is asked this."""
    return "masked" if reads == "masked" else "causal"


def load_pretrained(
    folder: Path, *, kind: Kind = "causal", precision: str = "fp32", attention: str | None = None
) -> PreTrainedModel:
    """A model from safetensors, complete, in evaluation mode, on the CPU.

    `attention` is an implementation by transformers' name; None: the best that the model has.
    """
    if (folder / SEAL).is_file():
        verify(folder, "export the model again")
    return load_model(folder, kind, dtype=FORMATS[precision], attention=attention)


def model_hash(folder: Path) -> str:
    """The SHA-256 of all that decides what a model computes: its config, and behind it the `weights_hash`."""
    return f"{sha256(folder / 'config.json')},{weights_hash(folder)}"


def weights_of(hashed: str) -> str:
    """The `weights_hash` in a `model_hash`."""
    return hashed.partition(",")[2]


def weights_hash(folder: Path) -> str:
    """The SHA-256 of each of its *.safetensors."""
    return ",".join(sha256(file) for file in weight_files(folder))

"""A tokenizer from the files it lies in, as transformers makes it of them: what anyone has who loads the folder.

transformers does not take tokenizer.json as it is: by the class that tokenizer_config.json names it may cut text by
other rules, and what is named as a special token it makes one. Older files are vocab.json and merges.txt.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

FILE = "tokenizer.json"
OLDER = ("vocab.json", "vocab.txt", "tokenizer.model")
"""Without any of these transformers makes one with special tokens alone."""


def has_tokenizer(folder: Path) -> bool:
    """Is there a file with a vocabulary?"""
    return any((folder / name).is_file() for name in (FILE, *OLDER))


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerFast":
    """The tokenizer of a folder (data/tokenizer, a model), of unlimited length and without its training's dropout.

    UserError if there is none, or none that tells which characters a token is of.
    """
    from transformers import AutoTokenizer

    if not has_tokenizer(Path(folder)):
        raise UserError(f"{folder} holds no {FILE}: name the folder of a tokenizer or of a model")
    try:
        loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (
        BaseException
    ) as error:  # transformers has no one kind of error; that of the Rust library is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        from babylm_data.models import load_error

        raise load_error(Path(folder), error, " as a tokenizer") from None
    if not loaded.is_fast:
        raise UserError(f"the tokenizer in {folder} gives no character spans: save it as {FILE}")
    if getattr(loaded.backend_tokenizer.model, "dropout", None):  # it would cut the same text anew each time
        loaded.backend_tokenizer.model.dropout = None
    loaded.model_max_length = 10**12  # who asks cuts texts to what the model reads
    return loaded


def bare(loaded: "PreTrainedTokenizerFast") -> "Tokenizer":
    """A copy of its tokenizer without what a call left behind: padding and truncation."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer

"""A tokenizer from the files it lies in: tokenizer.json, or the older ones that transformers makes it of.

What a call or its training left in a file (padding, truncation, dropout) is not what it does to text, and is left out.
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
    """The tokenizer of a folder (data/tokenizer, a model) as `transformers` gives it to anyone, of unlimited length.

    UserError if there is none, or none that tells which characters a token is of.
    """
    from transformers import AutoTokenizer

    if not has_tokenizer(Path(folder)):
        raise UserError(f"{folder} holds no {FILE}: name the folder of a tokenizer or of a model")
    try:
        loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers has no one kind of error for a folder that it cannot read
        from babylm_data.models import load_error

        raise load_error(Path(folder), error, " as a tokenizer") from error
    if not loaded.is_fast:
        raise UserError(f"the tokenizer in {folder} gives no character spans: save it as {FILE}")
    _without_dropout(loaded.backend_tokenizer)
    loaded.model_max_length = 10**12  # who asks cuts texts to what the model reads
    return loaded


def tokenizer_json(folder: str | Path) -> str:
    """The content of tokenizer.json, or what it would be of older files."""
    path = Path(folder, FILE)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return load_tokenizer(folder).backend_tokenizer.to_str()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: make it again") from None


def read_tokenizer(folder: str | Path) -> "Tokenizer":
    """The tokenizer in `folder` alone, without what is put around a text; UserError if it is damaged."""
    return parse_tokenizer(tokenizer_json(folder), folder)


def parse_tokenizer(content: str, folder: str | Path) -> "Tokenizer":
    """The same of the `tokenizer_json` of `folder`."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library has no kind of its own
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}/{FILE} is damaged or not a tokenizer ({reason}): make it again") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    _without_dropout(tokenizer)
    return tokenizer


def _without_dropout(tokenizer: "Tokenizer") -> None:
    """Take out the dropout of a BPE's training: it would cut the same text anew each time."""
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None

"""A model or tokenizer by the folder it lies in or by its name on the Hugging Face hub."""

import hashlib
import re
from codecs import BOM_UTF8
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from babylm_data.errors import UserError
from babylm_data.files import is_clutter, refuse_hollow
from babylm_data.sealed import sha256

# weights, config and tokenizer: what decides what a model computes
MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.txt")
LONGEST = 300  # letters of what the hub's library says
TOKENIZER_FILES = ("*.json", "tokenizer*", "vocab.*", "merges.txt")


def find_folder(name: str, absent: str, files: tuple[str, ...] = MODEL_FILES) -> Path:
    """`name` itself if it is a folder, else the local copy of what the hub has by that name, fetched if need be.

    UserError `absent` where it can only be meant as a folder, and a reason where the hub does not give it, or where a
    file of the folder has no content.
    """
    folder = Path(name)
    if folder.is_dir():
        for path in chain.from_iterable(map(folder.glob, files)):
            if not (path.is_dir() or is_clutter(path)):
                refuse_hollow(path)
                _refuse_mark(path)
        return folder
    local = name.startswith("runs/") or ("/" in name and folder.parent.is_dir())
    if local or not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", name):
        raise UserError(absent)
    refuse_bad_endpoint()
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # a dozen kinds: offline, no such name, gated, the connection broke
        reason = " ".join(str(error).split())[:LONGEST]
        raise UserError(f"{name} is neither a folder nor a hub name that can be fetched: {reason}") from error
    _refuse_other_bytes(folder)
    return folder


def _refuse_other_bytes(snapshot: Path) -> None:
    """UserError for a file that is not what the hub says of it: its library looks at no more than the size.

    A file of a snapshot is a link to one that is called after its hash: SHA-256 of a large file, else that of Git.
    """
    for path in snapshot.rglob("*"):
        blob = path.resolve()
        if not path.is_file() or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
            continue
        if len(blob.name) == 64:
            digest = sha256(blob)
        else:
            content = blob.read_bytes()
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if digest != blob.name:
            raise UserError(f"{path} did not arrive as the hub has it: delete {blob}, and fetch it again")


def _refuse_mark(path: Path) -> None:
    """UserError for a byte-order mark, of which the libraries speak as of something else."""
    with open(path, "rb") as file:
        if path.suffix in (".json", ".txt") and file.read(3) == BOM_UTF8:
            raise UserError(f"{path} begins with a byte-order mark: save it as UTF-8 without one")


def weight_files(folder: Path) -> list[Path]:
    """The files with a model's weights, in order."""
    return sorted(path for path in folder.glob("*.safetensors") if not is_clutter(path))


def refuse_bad_endpoint() -> None:
    """UserError for an address of a hub that is none; the libraries would try it for a minute."""
    from huggingface_hub.constants import ENDPOINT

    try:
        right = re.match(r"https?://\w", ENDPOINT) and urlsplit(ENDPOINT).port != 0
    except ValueError:  # what stands for a port is no number
        right = False
    if not right:
        raise UserError(f"HF_ENDPOINT is {ENDPOINT!r}: begin it with https://, or unset it")

"""A full disk: one line that names what could not be written, what it needs, and what is free."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from babylm_data.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# what libraries say where they have no class for it: those in Rust (safetensors, tokenizers), and NumPy
SAID = (*map(os.strerror, FULL), r"\d+ requested and \d+ written", "Not enough free space to write")


def is_full_disk(error: Exception) -> bool:
    """Is this how a library says that there is no room for what it writes?"""
    known = isinstance(error, OSError) and error.errno in FULL
    return known or re.search("|".join(SAID), str(error)) is not None


@contextmanager
def room_advice(path: Path, needed: int | None = None, partial: Path | None = None) -> Iterator[None]:
    """Turn a disk that is full before `path` is written into a UserError.

    `needed`: bytes that it takes; where nobody can know, what is there of it below `partial` is told instead. Free is
    what will be once that is removed.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_full_disk(error):
            raise
        written = _bytes_in(partial) if partial else 0
        size = f"it needs {needed:,} bytes" if needed else f"{written:,} bytes of it had been written"
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise UserError(
            f"{path} cannot be written ({reason}): {size}, and {_free(path) + written:,} are free: make room, and "
            "give the same command again"
        ) from None


def _bytes_in(folder: Path) -> int:
    """Of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _free(path: Path) -> int:
    """Bytes on the disk of a path, which need not exist."""
    return shutil.disk_usage(next(above for above in path.absolute().parents if above.is_dir())).free

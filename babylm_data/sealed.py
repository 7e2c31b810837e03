"""Folders that exist complete or not at all, and that notice a flipped bit.

A sealed folder is written under a temporary name in the same file system, flushed to the disk, listed with the
SHA-256 of each file in `SHA256.json`, and only then renamed. A reader that finds the final name can trust it;
`verify` also finds damage that came later. The data stage, checkpoints and exports are all written this way.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from babylm_data.errors import UserError

SEAL = "SHA256.json"


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != SEAL)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """Flush every file of `folder` to the disk and write `SHA256.json` last."""
    digests = {name: sha256(folder / name) for name in _files(folder)}
    for name in digests:
        _flush(folder / name)
    (folder / SEAL).write_text(json.dumps(digests, indent=1) + "\n")
    _flush(folder / SEAL)
    for directory in [p for p in folder.rglob("*") if p.is_dir()] + [folder]:
        _flush(directory)


@contextmanager
def sealed_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder to write into; on a clean exit it is sealed and takes the name `path`.

    What stood at `path` before stays untouched until the new folder is complete. On an exception the temporary
    folder is removed. A temporary folder left behind by a killed process is removed by the next writer.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = path.parent / f".{path.name}.tmp-{os.getpid()}"
    temporary.mkdir()
    try:
        yield temporary
        seal(temporary)
        if path.exists():
            old = path.parent / f".{path.name}.tmp-old-{os.getpid()}"
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
        _flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def damage(path: str | Path) -> str | None:
    """Say in a few words what is wrong with a sealed folder, or None if every file is as it was sealed."""
    path = Path(path)
    if not (path / SEAL).is_file():
        return f"{path} is incomplete (no {SEAL})"
    try:
        digests = json.loads((path / SEAL).read_text())
        items = sorted(digests.items())
    except (ValueError, AttributeError):
        return f"{path / SEAL} is damaged"
    for name, digest in items:
        if not (path / name).is_file():
            return f"{path / name} is missing"
        if sha256(path / name) != digest:
            return f"{path / name} has changed since it was written"
    return None


def verify(path: str | Path, remedy: str) -> None:
    """Raise UserError unless the sealed folder `path` is intact; `remedy` says what to do."""
    if found := damage(path):
        raise UserError(f"{found}: {remedy}")

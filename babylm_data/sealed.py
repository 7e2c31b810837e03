"""Folders that exist complete or not at all, and that notice a flipped bit.

A sealed folder is written under a temporary name in the same file system, flushed to the disk, listed with the
SHA-256 of each file in `SHA256.json`, and only then renamed. A reader that finds the final name can trust it;
`verify` also finds damage that came later. The data stage, checkpoints and exports are all written this way.
"""

import fcntl
import glob
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from babylm_data.disk import room_advice
from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON

SEAL, LOCK = "SHA256.json", ".lock"
SETTLED = 2 * 10**9  # ns
DIGESTS: dict[tuple[int, ...], str] = {}
"""What identifies a file and its last change -> the SHA-256 of its bytes."""


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes; of one that has not changed since this program last asked, from memory."""
    with open(path, "rb") as file:
        state, now = os.fstat(file.fileno()), time.time_ns()
        seen = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
        if seen not in DIGESTS:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if now - state.st_ctime_ns < SETTLED:  # a change within one tick of its clock would not show
                return digest
            DIGESTS[seen] = digest
    return DIGESTS[seen]


def _files(folder: Path) -> list[str]:
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name not in (SEAL, LOCK)
    )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name, flush, rename: a reader sees the old file or the whole new one."""
    content, writer = text.encode(), f".{path.name}.tmp-{platform.node()}-"
    temporary = path.with_name(f"{writer}{os.getpid()}")
    with room_advice(path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent, writer)
        try:
            temporary.write_bytes(content)
            _flush(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _sweep(folder: Path, writer: str) -> None:
    """Remove what killed writers on this machine have left, whose names begin so and end with their number."""
    for leftover in folder.glob(f"{glob.escape(writer)}*"):
        try:
            os.kill(int(leftover.name.removeprefix(writer)), 0)
        except (ProcessLookupError, ValueError):
            leftover.unlink(missing_ok=True)
        except PermissionError:  # somebody else's, and alive
            pass


def seal(folder: Path) -> None:
    """Flush every file of `folder` to the disk and write `SHA256.json` last."""
    digests = {name: sha256(folder / name) for name in _files(folder)}
    for name in digests:
        _flush(folder / name)
    (folder / SEAL).write_text(_seal_of(digests))
    _flush(folder / SEAL)
    for directory in [p for p in folder.rglob("*") if p.is_dir()] + [folder]:
        _flush(directory)


def _seal_of(digests: dict[str, str]) -> str:
    """The text of `SHA256.json`."""
    return json.dumps(digests, indent=1) + "\n"


@contextmanager
def sealed_folder(path: str | Path, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary folder to write into; on a clean exit it is sealed and takes the name `path`.

    What stood at `path` before stays until the new folder is complete. On an exception the temporary folder is
    removed; what a killed writer left is cleared away, or put back, by the next one. A second writer of the same
    folder is refused. `needed`: bytes that it will take, where they are known, for whoever fills the disk.
    """
    path = Path(path)
    if path.is_mount():
        raise UserError(f"{path} is a mounted volume, which cannot be replaced: name a folder inside it")
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(path)
    temporary = path.parent / f".{path.name}.tmp-{os.getpid()}"
    old = path.parent / f".{path.name}.old"
    temporary.mkdir()
    with lock(temporary / LOCK):
        try:
            with room_advice(path, needed, temporary):
                yield temporary
                seal(temporary)
            if path.exists():
                os.rename(path, old)
            (temporary / LOCK).unlink()
            os.rename(temporary, path)
            _flush(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            if old.exists() and not path.exists():
                os.rename(old, path)
            raise


def lock(path: Path) -> TextIO:
    """Hold the lock file `path` until the returned file is closed; UserError that names the holder if it is held.

    A file, not its folder: over NFS the lock of a file opened for writing holds on every node. Where the file system
    knows no locks at all, that is said and the work goes on.
    """
    file = open(path, "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{path.parent} is in use by {holder}: wait for it, choose another folder, or if that is dead (a node that "
            f"failed) delete {path}"
        ) from None
    except OSError as error:
        print(
            f"warning: {path} cannot be locked ({error.strerror}): start nothing else there", file=sys.stderr
        )
    with suppress(OSError):  # on a full disk it is held without a name
        os.ftruncate(file.fileno(), 0)
        job = f", job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}{job}, since {since}".encode())
    return file


def is_held(path: Path) -> bool:
    """Whether a lock file is there and some process holds it."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is not there, or nobody can lock here
        pass
    return False


def _clear_leftovers(path: Path) -> None:
    for leftover in sorted(path.parent.glob(f".{path.name}.tmp-*")):
        with lock(leftover / LOCK):
            shutil.rmtree(leftover)
    old = path.parent / f".{path.name}.old"
    if old.exists() and not path.exists():  # killed between the two renames
        os.rename(old, path)
    shutil.rmtree(old, ignore_errors=True)


def damage(path: str | Path) -> str | None:
    """Say in a few words what is wrong with a sealed folder, or None if every file is as it was sealed."""
    try:
        return proven_damage(Path(path))
    except PermissionError:  # it may be sound, and nobody should lose it
        raise
    except OSError as error:  # a broken disk
        return f"{path} cannot be read ({error.strerror})"


def proven_damage(path: Path) -> str | None:
    """As `damage`, of what could be read; OSError if it cannot be."""
    if not (path / SEAL).is_file():
        return f"{path} is incomplete (no {SEAL})"
    try:
        text = (path / SEAL).read_text(encoding="utf-8")
        items = sorted(json.loads(text).items())
        leaving = any(Path(name).is_absolute() or ".." in Path(name).parts for name, _ in items)
        if leaving or text != _seal_of(dict(items)):  # not what was written, though it may mean the same
            raise ValueError
    except (*BAD_JSON, AttributeError, TypeError):
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

"""Dies before a given operation on a file: what a kill at every instant that matters comes to."""

import mmap
import os
import signal
import sys
from pathlib import Path

NAMES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
)
LOCKING = "fcntl.flock"  # by a descriptor, of a file that was opened here
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Operations:
    """Counts, over a fork, the operations on files below the working directory; `plant` begins it in a child.

    Python tells of its own operations before it carries them out; flushes to the disk, and the tensors that
    safetensors writes, are watched by name. Tensors count twice: before, and with one half of them written.
    """

    def __init__(self) -> None:
        self._count = mmap.mmap(-1, 8)
        self.dies_at = 0

    @property
    def seen(self) -> int:
        """How many there were in the last child."""
        return int.from_bytes(self._count[:8], "little")

    def plant(self) -> None:
        """Watch the operations of this process."""
        import safetensors.torch

        self._count[:8] = bytes(8)
        here, flush, serialize = str(Path.cwd()), os.fsync, safetensors.torch.serialize_file

        def fsync(descriptor: int) -> None:
            self._note()
            flush(descriptor)

        def serialize_file(tensors: dict, path: str, *args: object, **options: object) -> None:
            self._note()
            serialize(tensors, path, *args, **options)
            if self._next_dies:
                os.truncate(path, os.path.getsize(path) // 2)
            self._note()

        def is_here(path: str | bytes | int) -> bool:
            return not isinstance(path, int) and os.path.abspath(os.fsdecode(path)).startswith(here)

        def hear(event: str, arguments: tuple) -> None:
            writes = event == "open" and (arguments[2] or 0) & WRITING
            if event == LOCKING or ((writes or event in NAMES) and is_here(arguments[0])):
                self._note()

        os.fsync, safetensors.torch.serialize_file = fsync, serialize_file
        sys.addaudithook(hear)

    @property
    def _next_dies(self) -> bool:
        return self.seen + 1 == self.dies_at

    def _note(self) -> None:
        if self._next_dies:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count[:8] = (self.seen + 1).to_bytes(8, "little")

"""The machine's memory: one line when it is full, and no time lost in handing it back and forth."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from babylm_data.errors import UserError

# what torch says where it has no class for it: on the CPU, and in the libraries of a GPU
FULL_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


def is_full_memory(error: Exception) -> bool:
    """Is this how a library says that there is no memory left?"""
    # OutOfMemoryError is torch's, which is not imported here; NumPy's is a kind of MemoryError
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or any(words in str(error) for words in FULL_MEMORY)


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn a full memory, of a GPU or of the machine, into a UserError that ends in `advice`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_full_memory(error):
            raise
        raise UserError(f"out of memory {advice}") from None


def keep_freed_memory() -> None:
    """Keep the C library from handing freed memory back to the kernel.

    Every forward pass of a small model allocates and frees the same blocks of tens of megabytes (positions by
    vocabulary). glibc maps and unmaps them each time, and the page faults cost a tenth to a quarter of the
    time on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library: nothing to gain
        return
    mallopt(-4, 0)  # M_MMAP_MAX: no block of its own mapping
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: no trimming of the heap's end

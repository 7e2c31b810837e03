"""What this machine does best: number format, whether compiling pays, and how it gives the same bits twice."""

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Literal

import torch

from babylm_data.errors import UserError
from babylm_data.speed import multiplies_fast

# Sustained arithmetic in FLOP/s without compilation, on the low side. It only has to place a run on the right side
# of a minute: compiling costs about half a minute and about halves the time of what comes after.
CPU_THREAD_FLOPS, GPU_FLOPS = 7e10, 2e13
WORTH_COMPILING = 90.0  # seconds
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def choose_formats(asked: Literal["auto", "fp32", "bf16", "fp16"]) -> dict[str, str]:
    """Number formats of a run: `precision` of the forward pass, `muon` of that optimiser's products.

    `auto` is the first of bf16, fp16 (on a GPU) and fp32 that the device multiplies fast; Muon's products have too few
    bits to spare for fp16. On every process those of the first, which may have measured otherwise.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = "bf16" if multiplies_fast("bf16", device) else "fp32"
    best = "fp16" if half == "fp32" and device == "cuda" and multiplies_fast("fp16", device) else half
    return {"precision": best if asked == "auto" else asked, "muon": half}


def choose_compile(asked: bool | Literal["auto"], flops: float) -> bool:
    """`auto`: compile where a run of `flops` operations is long enough, and a compiler is there."""
    found = [os.environ.get("CXX"), *map(shutil.which, ("g++", "clang++"))]
    able = any(found) and Path(sysconfig.get_path("include"), "Python.h").exists()
    if asked is True and not able:
        raise UserError(
            "compile: true needs a C++ compiler and Python's headers; install them or write compile: false"
        )
    if asked != "auto":
        return asked
    speed = GPU_FLOPS if torch.cuda.is_available() else CPU_THREAD_FLOPS * torch.get_num_threads()
    return able and flops / speed > WORTH_COMPILING


def be_deterministic(device: torch.device) -> None:
    """Ask for kernels that give the same bits twice; an operation that has none on `device` is refused.

    It matters on the CPU too: compiled code otherwise adds the gradients of equal tokens to an embedding from
    several threads at once, in whatever order they come. On a GPU a warning would not do: attention then keeps
    the kernels that add in whatever order.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for reads of unset memory, and slow
    if device.type == "cuda" and WORKSPACE not in os.environ:
        # PyTorch wants to have seen this variable at the first product and asks no more; every product is slower while
        # it is there, by more than a small one takes. PyTorch's own workspace, one a stream, serves the same end.
        os.environ[WORKSPACE] = ":4096:8"
        one = torch.ones(1, 1, device=device)
        one @ one
        del os.environ[WORKSPACE]

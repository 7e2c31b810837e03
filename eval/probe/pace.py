"""What a model costs to run: time for a text of 128 tokens, tokens a second in a batch, memory, operations."""

import contextlib
import re
import resource
import statistics
import sys
import time
from pathlib import Path

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from babylm_data.hub import weight_files
from babylm_data.models import longest_input
from babylm_data.processes import pool_of
from eval.scorer.model import load_for_scoring

LENGTH, ROWS, WARM, TURNS = 128, 16, 3, 15


def pace(folder: Path, backend: str, device: str) -> dict:
    """Measured in a process of its own, so that its memory is the model's alone.

    {"parameters", "bytes" of its weights' files, "latency" in seconds of one text of LENGTH tokens (median), and its
    "tokens"; "tokens_per_second" in a batch of ROWS; "memory": bytes at the peak beyond what was there before it;
    "flops_per_token" of a forward pass}
    """
    with pool_of(1) as pool:
        return pool.submit(_measure, folder, backend, device).result()


@torch.inference_mode()
def _measure(folder: Path, backend: str, device: str) -> dict:
    model, _ = load_for_scoring(folder, device=device, backend=backend)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    before = psutil.Process().memory_info().rss - weights
    length = min(LENGTH, longest_input(model) or LENGTH)
    ids = torch.arange(ROWS * length, device=model.device).view(ROWS, length)
    ids = ids.remainder(model.get_input_embeddings().weight.shape[0])
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids[:1])
    latency, batch = (_median_time(model, rows) for rows in (ids[:1], ids))
    if model.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    else:
        memory = peak_memory() - before
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": sum(path.stat().st_size for path in weight_files(folder)),
        "tokens": length,
        "latency": latency,
        "tokens_per_second": ROWS * length / batch,
        "memory": memory,
        "flops_per_token": counter.get_total_flops() / length,
    }


def peak_memory() -> int:
    """Bytes that this program has held at most; Linux's ru_maxrss has those of the one that began it, too."""
    with contextlib.suppress(OSError, TypeError):
        held = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
        return 1024 * int(held[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _median_time(model: torch.nn.Module, ids: torch.Tensor) -> float:
    """Seconds of a forward pass."""
    times = []
    for turn in range(WARM + TURNS):
        _wait(model.device)
        start = time.perf_counter()
        model(input_ids=ids)
        _wait(model.device)
        times += [time.perf_counter() - start] if turn >= WARM else []
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

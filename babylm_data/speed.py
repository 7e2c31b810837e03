"""What a device multiplies fast: the one place that says whether bfloat16 or float16 pays.

A processor may lack a number format and have PyTorch emulate it 40 to 500 times slower than float32, or name a format
that it has no fast unit for. So a format counts if the device names it *and* a product of two matrices, timed for some
hundredths of a second, is faster in it.
"""

import time
from functools import cache

import torch

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FASTER = 1.25  # than float32, by which a half format must win: below that its conversions eat the gain
CPU_SIZE, GPU_SIZE = 256, 4096  # of the square matrices: 34 MFLOP and 137 GFLOP a product
SECONDS = 0.025  # of products in one format, after the first


@cache
def product_rates(device_type: str) -> dict[str, float]:
    """FLOP/s of matrix products by number format, the best of many; formats that the device does not name are left out.

    Measured once in a process, in about a tenth of a second.
    """
    named = {"fp32", *_named_formats(device_type)}
    return {name: _rate(dtype, device_type) for name, dtype in FORMATS.items() if name in named}


def multiplies_fast(name: str, device_type: str) -> bool:
    """Are products in this format ("bf16", "fp16") faster than in float32 on the device?"""
    rates = product_rates(device_type)
    return rates.get(name, 0.0) > FASTER * rates["fp32"]


def describe_rates(device_type: str) -> str:
    """The measured rates in a few words: `fp32 198 GFLOP/s, bf16 420`."""
    rates = {name: rate / 1e9 for name, rate in product_rates(device_type).items()}
    return "products: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()) + " GFLOP/s"


def _named_formats(device_type: str) -> set[str]:
    """The half formats that the device says it computes in."""
    if device_type == "cuda":
        return {"fp16", *(["bf16"] if torch.cuda.is_bf16_supported(including_emulation=False) else [])}
    if device_type != "cpu":
        return set()
    known = torch.cpu.get_capabilities()
    units = {
        "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
        "fp16": ("avx512_fp16", "amx_fp16", "fp16"),
    }
    return {name for name, flags in units.items() if any(known.get(flag) for flag in flags)}


def _rate(dtype: torch.dtype, device_type: str) -> float:
    size = GPU_SIZE if device_type == "cuda" else CPU_SIZE
    return 2 * size**3 / min(time_products(size, dtype, device_type, SECONDS))


def synchronise(device_type: str) -> None:
    """Wait until the device has done all that this process gave it."""
    if device_type == "cuda":
        torch.cuda.synchronize()


def time_products(size: int, dtype: torch.dtype, device_type: str, seconds: float) -> list[float]:
    """What each product of two random square matrices takes, one after the other for so many seconds."""
    # random: on a GPU, products of equal numbers draw less power and run faster; and not from the generator of a run
    generator = torch.Generator(device_type).manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator, device=device_type).to(dtype) for _ in range(2))
    product = a @ b  # the first sets a library up
    taken: list[float] = []
    while sum(taken) < seconds:
        synchronise(device_type)
        begun = time.perf_counter()
        torch.mm(a, b, out=product)
        synchronise(device_type)
        taken.append(time.perf_counter() - begun)
    return taken

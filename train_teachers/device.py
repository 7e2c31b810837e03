"""What this machine does best: number formats, form of attention, compiling, and how it gives the same bits twice."""

import os
import shutil
import sysconfig
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch._inductor.runtime.cache_dir_utils import cache_dir
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from babylm_data.errors import UserError
from babylm_data.speed import multiplies_fast

# Sustained arithmetic in FLOP/s without compilation, on the low side. It only has to place a run on the right side
# of a minute: compiling costs about half a minute and about halves the time of what comes after.
CPU_THREAD_FLOPS, GPU_FLOPS = 7e10, 2e13
WORTH_COMPILING = 90.0  # seconds
# Tokens of a forward pass: on a CPU so that activations stay near its cache, more of them where states are narrower
# than WIDTH; on a GPU enough to keep it busy.
CPU_TOKENS, WIDTH, GPU_TOKENS = {"fp32": 1024, "bf16": 2048}, 256, 65_536
# Bytes a parameter: of weights, gradients and two moments in float32; of a mean of the weights, and the last put aside.
WHOLE, AVERAGED = 16.0, 8.0
GPU_SHARE = 0.6  # of its memory, for what is estimated: weights with their optimiser, and activations
CAUSAL_BY_FLAG = ("llama", "gpt2")  # every layer sees all that was before, and nothing needs another mask
FLAGGED = "sdpa_causal"
# Kinds of rotary positions that look at nothing but the position.
FIXED_ANGLES = ("default", "linear", "llama3")
COMPILED_FORMS = 64  # of one family's models: by width, length, batch and mode
WORKSPACE, CODE = "CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_CACHE_DIR"


@dataclass(frozen=True)
class Manner:
    """How a run computes: decided at its first start, and the same at every later one, wherever that is."""

    precision: str
    """Number format of the forward pass."""
    muon: str
    """Number format of Muon's products."""
    compiled: bool
    micro_batch_size: int
    """Sequences per forward pass and device."""

    @property
    def record(self) -> dict[str, str]:
        """What is written down among the inputs of the run."""
        return {name: str(value) for name, value in asdict(self).items()}


def choose_formats(asked: Literal["auto", "fp32", "bf16", "fp16"]) -> dict[str, str]:
    """Number formats of a run: `precision` of the forward pass, `muon` of that optimiser's products.

    `auto` is the first of bf16, fp16 (on a GPU) and fp32 that the device multiplies fast; Muon's products have too few
    bits to spare for fp16.
    """
    refuse_absent_format(asked)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = "bf16" if multiplies_fast("bf16", device) else "fp32"
    best = "fp16" if half == "fp32" and device == "cuda" and multiplies_fast("fp16", device) else half
    return {"precision": best if asked == "auto" else asked, "muon": "fp32" if asked == "fp32" else half}


def refuse_absent_format(asked: str) -> None:
    """UserError if nothing here trains in that number format."""
    if asked == "fp16" and not torch.cuda.is_available():
        raise UserError("precision: fp16 needs a GPU; write auto, bf16 or fp32")


def choose_micro_batch(
    sequences: int,
    seq_len: int,
    student: PreTrainedModel,
    frozen: Sequence[PreTrainedModel],
    precision: str,
    *,
    bytes_a_parameter: float = WHOLE,
) -> int:
    """Sequences per forward pass, of all that a device has in a step: the largest even share that suits it."""
    if student.device.type == "cpu":
        tokens = tokens_of_a_pass(student, precision)
    else:
        memory = GPU_SHARE * torch.cuda.get_device_properties(student.device).total_memory
        weights = bytes_a_parameter * student.num_parameters() + sum(
            model.get_memory_footprint() for model in frozen
        )
        a_token = bytes_of_a_token(student, seq_len)
        # what a teacher keeps to be compared is a part of that
        a_token += sum(
            bytes_of_a_token(m, seq_len) for m in frozen if m.config._attn_implementation == "eager"
        )
        tokens = min(GPU_TOKENS, (memory - weights) / a_token)
    fitting = [n for n in range(1, sequences + 1) if sequences % n == 0 and n * seq_len <= tokens]
    return max(fitting, default=1)


def tokens_of_a_pass(model: PreTrainedModel, precision: str) -> int:
    """With how many a CPU is fast."""
    return CPU_TOKENS.get(precision, CPU_TOKENS["fp32"]) * max(1, WIDTH // model.config.hidden_size)


def bytes_of_a_token(model: PreTrainedModel, seq_len: int) -> float:
    """What a forward pass keeps of a token for the way back: in a block some ten states, four inside the MLP, and maps
    of attention where they are made.
    """
    shape = model.config
    inner = (
        getattr(shape, "intermediate_size", None) or getattr(shape, "n_inner", None) or 4 * shape.hidden_size
    )
    values = 10 * shape.hidden_size + 4 * inner
    if shape._attn_implementation == "eager":
        # a row of each head's map, before the softmax, behind it and dropped
        values += 3 * (getattr(shape, "num_attention_heads", None) or 0) * seq_len
    return 4.0 * shape.num_hidden_layers * values


def choose_compile(asked: bool | Literal["auto"], flops: float, *, begun: bool | None = None) -> bool:
    """`auto`: compile where a run of `flops` operations is long enough, and a compiler is there.

    `begun`: what its first start decided, which stays so.
    """
    found = [os.environ.get("CXX"), *map(shutil.which, ("g++", "clang++"))]
    able = any(found) and Path(sysconfig.get_path("include"), "Python.h").exists()
    if begun and not able:
        raise UserError(
            "this run was begun with compiled code, and here is no C++ compiler, or Python's headers are missing: "
            "install them, or pass name=… for a new run"
        )
    if begun is not None:
        return begun
    if asked is True and not able:
        raise UserError(
            "compile: true needs a C++ compiler and Python's headers; install them or write compile: false"
        )
    if asked != "auto":
        return asked
    speed = GPU_FLOPS if torch.cuda.is_available() else CPU_THREAD_FLOPS * torch.get_num_threads()
    return able and flops / speed > WORTH_COMPILING


def choose_attention(model: PreTrainedModel, precision: str, device: torch.device) -> None:
    """Give a model the form of attention that trains fastest on the device, if it has transformers' choice yet.

    On a CPU in bf16 plain products are a third faster than its fused kernel. Elsewhere the fused kernel, told that the
    mask is causal: transformers makes a mask, against which no fast kernel exists, as soon as a model is compiled.
    """
    if model.config._attn_implementation != "sdpa" or model.config.model_type not in CAUSAL_BY_FLAG:
        return
    if device.type == "cpu" and precision == "bf16":
        model.set_attn_implementation("eager")
        return
    AttentionInterface.register(FLAGGED, sdpa_attention_forward)  # no mask is made for a name without one
    model.set_attn_implementation(FLAGGED)


class RotaryTable(nn.Module):
    """Cosines and sines of a model's positions, made once, in the place of its `rotary_emb`.

    That makes them as the model runs, which compiled code for a CPU does again for each element of each head in each
    block: in bf16 six times what turning the states takes by itself.
    """

    def __init__(self, cos_1TK: Tensor, sin_1TK: Tensor) -> None:
        super().__init__()
        self.register_buffer("cos_TK", cos_1TK[0], persistent=False)
        self.register_buffer("sin_TK", sin_1TK[0], persistent=False)

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, T, K) of the positions (B, T), in the number format of `x`."""
        return self.cos_TK[position_ids].to(x.dtype), self.sin_TK[position_ids].to(x.dtype)


def tabulate_angles(model: PreTrainedModel) -> None:
    """Give a model on a CPU with rotary positions a table of them, where they are the same in every batch."""
    rotary = getattr(model.base_model, "rotary_emb", None)
    if model.device.type != "cpu" or getattr(rotary, "rope_type", None) not in FIXED_ANGLES:
        return
    places_1T = torch.arange(model.config.max_position_embeddings)[None]
    angles = rotary(places_1T.float(), places_1T)
    if isinstance(angles, tuple):  # of some families they are one complex tensor
        model.base_model.rotary_emb = RotaryTable(*angles)


def compiled_bodies(models: Collection[PreTrainedModel]) -> dict[int, Callable]:
    """What gives the final states of each model, compiled, by the id of the model."""
    keep_code_apart()
    for model in models:
        tabulate_angles(model)
    # models of one family share the limit of their class, behind which the rest would silently run uncompiled
    torch._dynamo.config.recompile_limit = max(COMPILED_FORMS, torch._dynamo.config.recompile_limit)
    return {id(model): torch.compile(model.base_model, dynamic=False) for model in models}


def keep_code_apart() -> None:
    """Have compiled code in a folder of its own for each instruction set.

    PyTorch's cache does not tell them apart: code from a processor with AVX-512 ends in a segmentation fault on one
    without, and the other way round, where both have one folder.
    """
    folder, name = Path(cache_dir()), torch.backends.cpu.get_cpu_capability()
    if folder.name != name:
        os.environ[CODE] = str(folder / name)


def be_deterministic(device: torch.device) -> None:
    """Ask for kernels that give the same bits twice; an operation that has none on `device` is refused.

    It matters on the CPU too: compiled code otherwise adds the gradients of equal tokens to an embedding from
    several threads at once, in whatever order they come. On a GPU a warning would not do: attention then keeps
    the kernels that add in whatever order.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for reads of unset memory, and slow
    if device.type == "cuda" and WORKSPACE not in os.environ:
        # PyTorch 2.11 wanted to have seen this variable at the first product and asked no more, so this comes before
        # any; every product is slower while it is there, by more than a small one takes. PyTorch's own
        # workspace, one a stream, serves the same end.
        os.environ[WORKSPACE] = ":4096:8"
        one = torch.ones(1, 1, device=device)
        one @ one
        del os.environ[WORKSPACE]

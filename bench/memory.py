"""What each GPU holds in a training step of a teacher, computed and not measured: more GPUs, other engines.

    python -m bench.memory
    python -m bench.memory train_teachers/configs/babyllama-58m-llama.yaml micro_batch_size=32

engines  ddp, zero1, zero2, fsdp2 (and zero3): the configs of slurm/accelerate
counted  per parameter 16 bytes: weight, gradient and two moments in float32, whole or an Nth of it as the engine has
         them, and with ddp 4 more for its buckets; what is gathered of the block that is worked on; weights converted
         to bf16; what the blocks keep for the way back in bf16, seen in a forward pass of one block and of two, with
         and without gradient_checkpointing; a chunk of logits
not      CUDA itself and what its allocator leaves unused, one or two GB; what compiled code spares; teachers
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import parser_of, run_stage

if TYPE_CHECKING:
    from train_teachers.config import Model, TrainConfig
    from train_teachers.sharding import Sharding

CONFIG = Path(__file__).parent.parent / "train_teachers" / "configs" / "babyllama-58m-gpt2.yaml"
GPUS = (1, 2, 4, 8)
SEQUENCES = 16  # a forward pass, where the config leaves that to the device
ENTRIES_OF_ALL = 16_000  # of a vocabulary that the config leaves to its data
ENTRIES = 8  # of the vocabulary of a model that is only looked at from inside
OF_A_LOGIT = 14  # bytes: made in bf16; as float32 the logit, its logarithm and its gradient


@dataclass(frozen=True)
class Shape:
    """What a step is of."""

    parameters: int
    block: int
    """Parameters of a block."""
    blocks: int
    width: int
    vocab_size: int
    kept: float
    """Bytes that a block keeps of a token for the way back."""
    kept_beside: float
    """And what is before and behind the blocks."""


def shape_of(config: "TrainConfig") -> Shape:
    """The shape of a config, from models of one block and of two."""
    model = config.model
    one, two = (model.model_copy(update={"num_hidden_layers": count}) for count in (1, 2))
    (small, kept_one), (large, kept_two) = (_looked_at(part, config.data.seq_len) for part in (one, two))
    block, entries = large - small, config.data.vocab_size or ENTRIES_OF_ALL
    matrices = 1 if model.tie_word_embeddings else 2
    return Shape(
        small + (model.num_hidden_layers - 1) * block + (matrices * entries - ENTRIES) * model.hidden_size,
        block,
        model.num_hidden_layers,
        model.hidden_size,
        entries,
        kept_two - kept_one,
        2 * kept_one - kept_two,
    )


def _looked_at(model: "Model", seq_len: int) -> tuple[int, float]:
    """(parameters without an output matrix, bytes kept of a token) of a model with ENTRIES entries."""
    import torch

    from train_teachers.device import choose_attention
    from train_teachers.language_model import config_of, model_class

    settings = config_of(model)
    settings.vocab_size, settings.attn_pdrop = (
        ENTRIES,
        0.0,
    )  # which alone makes a CPU form the maps of attention
    settings.bos_token_id = settings.eos_token_id = None
    body = model_class(model.family)(settings).base_model
    choose_attention(body, "bf16", torch.device("cuda"))  # as it would be there
    kept = [_kept(body, torch.zeros(count, seq_len, dtype=torch.long)) for count in (1, 2)]
    return sum(p.numel() for p in body.parameters()), (kept[1] - kept[0]) / seq_len


def _kept(body, ids_BT) -> int:
    """Bytes of all that a forward pass in bf16 keeps for the way back, but for the parameters."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in body.parameters()}
    found: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        last = body(input_ids=ids_BT, use_cache=False)  # held, or an address would stand for several in turn
    del last
    return sum(found.values())


def parts(
    shape: Shape, how: "Sharding | None", processes: int, tokens: int, *, checkpointed: bool
) -> dict[str, float]:
    """Bytes by what they are for, with so many tokens a forward pass."""
    from train_teachers.device import WHOLE
    from train_teachers.outputs import chunk_size

    beside = shape.parameters - shape.blocks * shape.block
    if how is None:
        of_each, working = WHOLE + 4 * (processes > 1), 0
    else:
        of_each = how.bytes_a_parameter(processes)
        # as it is gathered, and before its gradient is divided; two blocks where the next one is gathered meanwhile
        working = 4 * shape.block * (3 if how.parameters else 1) + 4 * beside * how.parameters
        working += 8 * shape.block + 4 * beside * how.gradients
    converted = shape.block * (1 if how and checkpointed else shape.blocks)
    of_a_token = shape.kept * (1 if checkpointed else shape.blocks) + shape.kept_beside
    of_a_token += 4 * shape.width * shape.blocks * checkpointed
    chunk = chunk_size(tokens, shape.vocab_size, _gpu())
    return {
        "parameters": of_each * shape.parameters + working + 2 * converted,
        "activations": of_a_token * tokens,
        "output": OF_A_LOGIT * chunk * shape.vocab_size + 6 * shape.vocab_size * shape.width,
    }


def _gpu():
    import torch

    return torch.device("cuda")


def main(argv: list[str]) -> None:
    """Print the table."""
    parser = parser_of("bench.memory", __doc__)
    parser.add_argument(
        "config", nargs="?", default=CONFIG, help="YAML of a teacher [that of 705M parameters]"
    )
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="change fields of the config")
    args = parser.parse_args(argv)

    from train_teachers.config import TrainConfig, load_config
    from train_teachers.sharding import Sharding

    config = load_config(TrainConfig, args.config, args.overrides)
    engines = {
        "ddp": None,
        "zero1": Sharding(parameters=False, gradients=False),
        "zero2": Sharding(parameters=False, gradients=True),
        "fsdp2, zero3": Sharding(parameters=True, gradients=True),
    }
    sequences = config.micro_batch_size if isinstance(config.micro_batch_size, int) else SEQUENCES
    shape, tokens = shape_of(config), sequences * config.data.seq_len
    print(
        f"{config.name}: {shape.parameters:,} parameters, {tokens:,} tokens a forward pass, bf16; GB on each GPU"
    )
    print(f"{'':<28}" + "".join(f"{count:>8}" for count in GPUS) + " GPUs")
    for checkpointed in (False, True):
        for name, how in engines.items():
            totals = [
                sum(parts(shape, how, count, tokens, checkpointed=checkpointed).values()) for count in GPUS
            ]
            row = f"{name}{', checkpointing' if checkpointed else ''}"
            print(f"{row:<28}" + "".join(f"{total / 1e9:>8.1f}" for total in totals))


if __name__ == "__main__":
    run_stage(main)

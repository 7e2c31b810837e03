"""Parameters, gradients and optimiser state in shards over the processes, where `accelerate launch` asks for FSDP2.

Between forward passes a process then holds a slice of each parameter, a DTensor, and of its gradient and moments. What
needs whole ones elsewhere asks here, and is given what it has where nothing is sharded.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, parse_flag_from_env
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from babylm_data.errors import UserError
from train_teachers.language_model import blocks_of

Found = TypeVar("Found")
CONFIGS = "slurm/accelerate"
NOT_OURS = {
    "fsdp_offload_params": "parameters stay on their device",
    "fsdp_cpu_ram_efficient_loading": "teachers would be empty but in the first process",
    "fsdp_activation_checkpointing": "the kit's own is gradient_checkpointing=true",
}
"""Keys of an accelerate config that the kit does not follow, and why."""


class Sharding(NamedTuple):
    """What is in shards beside optimiser state, which always is."""

    parameters: bool
    """Also between the forward and the backward pass."""
    gradients: bool
    """From each backward pass on, and not only from the last one of a step."""

    def bytes_a_parameter(self, processes: int) -> float:
        """Of weights, gradients and two moments in float32, but for those of the block that is worked on."""
        return 16 / processes + 4 * (not self.parameters) + 4 * (not self.gradients)


def refuse_other_engines() -> None:
    """UserError for what `accelerate launch` has put into the environment and the kit does not train by."""
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        raise UserError(
            "DeepSpeed's engine takes over a step that here has optimisers, clipping and checkpoints of its own: "
            f"launch with {CONFIGS}/zero1.yaml, zero2.yaml or zero3.yaml, which shard the same by FSDP2"
        )
    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return
    if os.environ.get("FSDP_VERSION") != "2":
        raise UserError(
            f"the accelerate config asks for FSDP1: set fsdp_version: 2, as {CONFIGS}/fsdp2.yaml does"
        )
    for key, why in NOT_OURS.items():
        if parse_flag_from_env(key.upper()):
            raise UserError(f"the accelerate config has {key}: set it to false ({why})")


def engine() -> Sharding | None:
    """What `accelerate launch` has asked for; None, too, before there are processes: parameters are whole."""
    if not (parse_flag_from_env("ACCELERATE_USE_FSDP") and distributed.is_initialized()):
        return None
    parameters = parse_flag_from_env("FSDP_RESHARD_AFTER_FORWARD", True)
    return Sharding(parameters, parameters or os.environ.get("FSDP_SHARDING_STRATEGY") == "SHARD_GRAD_OP")


def prepare(trained: nn.Module, accelerator: Accelerator) -> nn.Module:
    """What is called in a step; where it is sharded, the parameters of `trained` are others afterwards.

    A block of `trained.student` is gathered by itself, all else with the whole. What `trained.objective` optimises by
    itself is ignored: each process holds it.
    """
    if not (how := engine()):
        return accelerator.prepare(trained)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    student, own = trained.student, trained.objective.own_optimizers.values()
    for block in blocks_of(student):
        fully_shard(block, mesh=mesh, reshard_after_forward=how.parameters)
    ignored = {p for optimizer in own for group in optimizer.param_groups for p in group["params"]}
    fully_shard(trained, mesh=mesh, ignored_params=ignored)
    register_fsdp_forward_method(trained, "within")
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # of a total that nobody works on in place
    # a cache of converted weights would hold all of them to the end of the forward pass
    trained.forward = accelerator.autocast(AutocastKwargs(cache_enabled=False))(trained.forward)
    return trained


@contextlib.contextmanager
def accumulating(module: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Around a forward and a backward pass that is not the last of its step."""
    if not isinstance(module, FSDPModule):
        with accelerator.no_sync(module):
            yield
    elif engine().gradients:
        yield
    else:
        module.set_requires_gradient_sync(False)
        module.set_reshard_after_backward(False)
        yield
        module.set_requires_gradient_sync(True)
        module.set_reshard_after_backward(True)


def within(trained: nn.Module, call: Callable[[], Found]) -> Found:
    """What `call` gives, where it may read the parameters and run the student; for every process."""
    try:
        return trained.within(call)
    finally:
        if isinstance(trained, FSDPModule):
            for part in trained.modules():
                if isinstance(part, FSDPModule):
                    part.reshard()


def clip(parameters: Iterator[nn.Parameter], most: float) -> Tensor:
    """Scale the gradients down to a norm of `most`; their norm before."""
    return whole(torch.nn.utils.clip_grad_norm_(parameters, most))


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; for every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor, parameter: Tensor) -> Tensor:
    """What this process holds of a whole tensor, if it belongs to each number of a parameter in shards."""
    if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
        return tensor
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)


def gathered(tensor: Tensor, *, keep: bool) -> Tensor:
    """A tensor to be written: of one in shards all of it, on the CPU, or nothing where it is not to `keep`."""
    if not isinstance(tensor, DTensor):
        return tensor.detach()
    found = tensor.detach().full_tensor()
    return found.cpu() if keep else found.new_empty(0)


def whole_weights(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """The state_dict of a model to be written, as `gathered`; those that are one stay one."""
    held = model.state_dict(keep_vars=True)
    found = {tensor: gathered(tensor, keep=keep) for tensor in dict.fromkeys(held.values())}
    return {name: found[tensor] for name, tensor in held.items()}

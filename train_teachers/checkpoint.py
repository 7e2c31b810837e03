"""Two different things: the resumable state of a run, and the Hugging Face export of its model.

State is safetensors and JSON only, written as a sealed folder (temporary name, flushed, hashed, renamed), so a
kill at any instant leaves the previous checkpoint in use. The order of the data, the learning rate and dropout
are functions of (seed, step): nothing of them needs saving.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON
from babylm_data.sealed import proven_damage, sealed_folder, verify
from train_teachers.language_model import idle_parameter
from train_teachers.sharding import gathered, part_of

FORMAT = 1
KEEP = 2  # the newest may be damaged by the disk, then the one before it serves


def save_state(
    folder: Path,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler | None,
    progress: dict,
    *,
    owner: bool = True,
) -> None:
    """Write `folder/step-00000123`, then drop all but the newest checkpoints.

    `module` holds student and objective; its parameters are saved once even where tied. Its buffers are
    constants of the architecture and are not saved. `progress` holds at least the step. A process that is not the
    `owner` of the run writes nothing, and gives what it has of parameters in shards.
    """
    parameters = {name: gathered(p, keep=owner) for name, p in module.named_parameters()}
    tensors, numbers = {}, {}
    for i, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                place = f"{i}.{index}.{key}"
                if torch.is_tensor(value):
                    tensors[place] = gathered(value, keep=owner)
                else:
                    numbers[place] = value
    if not owner:
        return
    for leftover in folder.glob(".step-*"):  # of a kill in the middle of a save or a removal
        shutil.rmtree(leftover, ignore_errors=True)
    path = folder / f"step-{progress['step']:08d}"
    with sealed_folder(path, _bytes_of(parameters) + _bytes_of(tensors)) as temporary:
        save_file(parameters, temporary / "module.safetensors")
        save_file(tensors, temporary / "optimizer.safetensors")
        record = {
            "format": FORMAT,
            "progress": progress,
            "optimizer": numbers,
            "scaler": scaler.state_dict() if scaler else None,
        }
        (temporary / "state.json").write_text(json.dumps(record), encoding="utf-8")
    for old in _checkpoints(folder)[:-KEEP]:
        doomed = old.with_name(f".{old.name}.deleted")
        os.rename(old, doomed)  # a kill in the middle of the removal must not leave half a checkpoint
        shutil.rmtree(doomed)


def _bytes_of(tensors: Mapping[str, torch.Tensor]) -> int:
    """What tensors take."""
    return sum(tensor.nbytes for tensor in tensors.values())


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _checkpoints(folder: Path) -> list[Path]:
    """Those of a run, the oldest first; what somebody else has put beside them is left alone."""
    return sorted(path for path in folder.glob(f"step-{'[0-9]' * 8}") if path.is_dir())


def newest(folder: Path) -> Path | None:
    """The newest intact checkpoint, if there is one; those that are damaged are removed, and that is said.

    One that cannot be read may be sound, on a disk that comes back: it is put out of the way. UserError if there is
    no other.
    """
    unread = []
    for path in reversed(_checkpoints(folder)):
        try:
            found = proven_damage(path)
        except PermissionError:
            raise
        except OSError as error:
            found = f"{path} cannot be read ({error.strerror})"
            unread.append(path)
        else:
            if not found:
                for other in unread:
                    os.rename(other, other.with_name(f"unread-{other.name}"))
                return path
            shutil.rmtree(path, ignore_errors=True)  # else it would count as one of the newest for ever
        print(f"warning: {found}: going back to the checkpoint before it, if any", file=sys.stderr)
    if unread:
        raise UserError(
            f"{unread[0]} cannot be read, and no other is sound: look at the disk, then start this again"
        )
    return None


def load_state(
    path: Path,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler | None,
) -> dict:
    """Restore a checkpoint into all of these; its progress."""
    verify(path, "another process finds it sound: look at the disk of this machine")
    try:
        saved, tensors = (load_file(path / f"{name}.safetensors") for name in ("module", "optimizer"))
        record = json.loads((path / "state.json").read_text(encoding="utf-8"))
        known = record["format"] == FORMAT
    except (SafetensorError, *BAD_JSON, KeyError, TypeError) as error:
        raise UserError(f"{path} is no checkpoint of this kit ({error}): delete the run folder") from None
    if not known or _shapes(saved) != _shapes(dict(module.named_parameters())):
        raise UserError(
            f"{path} is of another version of the kit: use that version, or delete the run folder"
        )
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(part_of(saved[name], parameter))
    values = {**tensors, **record["optimizer"]}
    for i, optimizer in enumerate(optimizers):
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict] = {}
        for place, value in values.items():
            owner, index, key = place.split(".", 2)
            if int(owner) == i:
                part = part_of(value, held[int(index)]) if torch.is_tensor(value) else value
                state.setdefault(int(index), {})[key] = part
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    if scaler and record["scaler"]:
        scaler.load_state_dict(record["scaler"])
    return record["progress"]


def export(
    model: PreTrainedModel,
    tokenizer_folder: Path,
    path: Path,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
    exposure: dict | None = None,
) -> None:
    """Write the Hugging Face folder of `model`: loads alone in transformers 4 and 5, without this project.

    `weights`: others than it has by now. `exposure`: what exposure.json says of a revision.
    """
    with sealed_folder(path, _bytes_of(dict(model.named_parameters()))) as temporary:
        # a table of its own: save_pretrained takes out of it what it has written
        state = dict(weights or model.state_dict())
        idle = idle_parameter(model)
        if idle in state:  # transformers 4 reads it in the place of the output's bias
            state[idle] = state[f"{idle.rpartition('.')[0]}.decoder.bias"].clone()
        model.save_pretrained(temporary, state_dict=state)
        config = json.loads((temporary / "config.json").read_text(encoding="utf-8"))
        if "rope_theta" in (config.get("rope_parameters") or {}):  # transformers 4 reads the older name
            config["rope_theta"] = config["rope_parameters"]["rope_theta"]
        config["torch_dtype"] = config["dtype"]
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for file in sorted(tokenizer_folder.iterdir()):
            shutil.copy(file, temporary / file.name)
        if exposure:
            (temporary / "exposure.json").write_text(json.dumps(exposure, indent=1) + "\n", encoding="utf-8")

"""Frozen teachers: one forward pass gives a TeacherSignal each."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from babylm_data.errors import UserError
from babylm_data.sealed import SEAL, sha256, verify
from babylm_data.tokenizer import fingerprint
from distill.config import DistillConfig, Teacher

# Shape suffixes: B sequences, T positions, V vocabulary, D width of the teacher.


@dataclass(frozen=True)
class TeacherSignal:
    """What a teacher gives for a batch."""

    logits_BTV: Tensor
    hidden_BTD: tuple[Tensor, ...] | None
    """HF `hidden_states` (0 = embeddings, L = last block and final norm), where a hidden loss needs them."""


class Teachers:
    """The teachers of a run by name, in config order.

    A plain class with a plain dict on purpose: no nn.Module, so its models are never optimised, never saved with
    the student, and never switched to training mode.
    """

    def __init__(
        self, config: DistillConfig, student_fingerprint: str, vocab_size: int, device: torch.device
    ) -> None:
        self.models: dict[str, PreTrainedModel] = {}
        self.sources: dict[str, str] = {}
        hidden = config.losses.hidden
        self.with_hidden = frozenset(hidden.weight if hidden else ())
        for name, teacher in config.teachers.items():
            folder = _local(name, teacher)
            if fingerprint(folder) != student_fingerprint:
                raise UserError(
                    f"teacher '{name}' ({teacher.path}) has another tokenizer than {config.data.path}: "
                    "train it on the same data folder"
                )
            model = load_frozen(folder, device)
            _check_shape(name, model, config, vocab_size)
            self.models[name] = model
            weights = sorted(folder.glob("*.safetensors"))
            self.sources[f"teacher {name}"] = ",".join(sha256(file) for file in weights)

    @torch.no_grad()
    def __call__(self, inputs_BT: Tensor) -> dict[str, TeacherSignal]:
        """One forward pass per teacher."""
        signals = {}
        for name, model in self.models.items():
            out = model(input_ids=inputs_BT, use_cache=False, output_hidden_states=name in self.with_hidden)
            signals[name] = TeacherSignal(out.logits, out.hidden_states)
        return signals


def load_frozen(folder: Path, device: torch.device) -> PreTrainedModel:
    """A causal model in fp32 from safetensors, complete, in evaluation mode, without gradients."""
    if (folder / SEAL).is_file():
        verify(folder, "train that teacher again")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # the default asks on a terminal
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} does not load as a causal language model: {' '.join(str(error).split())}"
        ) from None
    if wrong := sorted(map(str, [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]])):
        raise UserError(
            f"{folder}: weight '{wrong[0]}' is missing, unknown or of another shape: export it again"
        )
    return model.to(device).eval().requires_grad_(False)


def _local(name: str, teacher: Teacher) -> Path:
    """The teacher's folder; a hub name is downloaded (or taken from the cache)."""
    folder = Path(teacher.path)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or teacher.path.count("/") != 1 or teacher.path.startswith("runs/"):
        raise UserError(f"teacher '{name}': {teacher.path} does not exist: train it first")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(teacher.path, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"teacher '{name}': {teacher.path} is no folder and not on the hub ({type(error).__name__})"
        ) from None


def _check_shape(name: str, model: PreTrainedModel, config: DistillConfig, vocab_size: int) -> None:
    if model.config.vocab_size != vocab_size:
        raise UserError(
            f"teacher '{name}' has {model.config.vocab_size} outputs, the tokenizer {vocab_size} entries: "
            "cut or pad its embeddings to the tokenizer first"
        )
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest and longest < config.data.seq_len:
        raise UserError(
            f"teacher '{name}' reads {longest} positions: lower data.seq_len from {config.data.seq_len}"
        )
    pairs = config.losses.hidden.layer_map.get(name, ()) if config.losses.hidden else ()
    for pair in pairs:
        if pair.teacher > model.config.num_hidden_layers:
            raise UserError(
                f"losses.hidden.layer_map.{name}: the teacher has {model.config.num_hidden_layers} layers, "
                f"no index {pair.teacher}"
            )

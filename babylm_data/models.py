"""One loader of models for every stage: whole, from safetensors, without code of its own, and not looking ahead.

A model that is scored, one that teaches, a student's first weights and a body that is fine-tuned all come through here.
"""

import json
import re
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    logging,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from babylm_data.causality import sees_later_tokens
from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON, utf8_text
from babylm_data.hub import weight_files
from babylm_data.memory import is_full_memory

Kind = Literal["causal", "masked", "body"]
CLASSES = {"causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM, "body": AutoModel}
KIND_NAMES = {"causal": " as a causal language model", "masked": " as a masked language model", "body": ""}

# What an architecture makes by itself and older versions of transformers saved with the weights.
CONSTANTS = re.compile(
    r"(^|\.)(attn|attention|self_attn|self_attention)\.(bias|masked_bias|causal_mask)$"  # causal masks
    r"|(^|\.)(inv_freq|cos_cached|sin_cached|pos_encoding)$"  # rotary
    r"|(^|\.)embed_positions(\.(weights|_float_tensor))?$"  # sines
    r"|(^|\.)(position_ids|token_type_ids|version)$"
)
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTHS = ("hidden_size", "n_embd", "d_model", "intermediate_size", "n_inner", "vocab_size", "head_dim")
WIDTHS += ("num_attention_heads", "n_head", "num_key_value_heads")
TABLES = ("max_position_embeddings", "n_positions", "n_ctx", "type_vocab_size")
INDEX = "model.safetensors.index.json"
HEADS = re.compile(
    r"(^|\.)(pooler|seq_relationship|score|classifier|qa_outputs|v_head|value_head|multiple_choice_head)\."
)
MASK = re.compile(r"\.(bias|causal_mask)$")


def read_config(folder: Path) -> PreTrainedConfig:
    """The folder's config; UserError for one that transformers cannot read."""
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers has no one kind of error for a folder that it cannot read
        raise load_error(folder, error) from error


def load_model(
    folder: Path,
    kind: Kind = "causal",
    *,
    dtype: torch.dtype = torch.float32,
    attention: str | None = None,
    config: PreTrainedConfig | None = None,
) -> PreTrainedModel:
    """The model in evaluation mode on the CPU; every weight comes from the file, and every one there is used.

    `attention` is an implementation by transformers' name (None: the best that the model has); `config` one to load
    with in place of the folder's. A "causal" model that sees later tokens is refused, whatever it is called. Whether a
    sealed folder is intact is for who finds it to look at.
    """
    there = config or read_config(folder)
    _refuse_strange(folder, there)
    if kind == "masked" and there.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise UserError(
            f"{folder} ({there.model_type}) is no masked language model: name one; a hybrid, which learned to be asked "
            "both ways, is scored with --backend mntp"
        )
    logging.disable_progress_bar()  # of the loading: a blink, and noise in a log
    logging.set_verbosity_error()  # it warns of keys, of which what matters is checked below, and of what is asked here
    try:
        model, info = CLASSES[kind].from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            trust_remote_code=False,  # the default asks on a terminal, and runs the folder's code on "y"
        )
    except Exception as error:
        raise load_error(folder, error, KIND_NAMES[kind]) from error
    check_weights(folder, model, info, kind)
    if looks_ahead(folder, model) and kind == "causal":
        family = model.config.model_type
        hint = ", or score it with --backend mlm" if family in MODEL_FOR_MASKED_LM_MAPPING_NAMES else ""
        raise UserError(
            f"{folder} ({family}) is no causal language model: it sees the very tokens that it is asked for; "
            f"name a causal one{hint}"
        )
    return model.eval()


def looks_ahead(folder: Path, model: PreTrainedModel) -> bool:
    """Whether the model of `folder` sees later tokens; UserError if it cannot be run."""
    try:
        return sees_later_tokens(model.eval(), longest_input(model))
    except Exception as error:  # a config that loads may still contradict itself
        if is_full_memory(error):
            raise load_error(folder, error) from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(
            f"{folder} loads and cannot be run, look at its config.json ({reason[:300]})"
        ) from error


def _refuse_strange(folder: Path, config: PreTrainedConfig) -> None:
    """UserError for an adapter that nobody would apply, for weights that are not those of the folder or not read, and
    for a config whose model no machine could even make.
    """
    if adapter := sorted(folder.glob("adapter_config.json")) + sorted(folder.glob("adapter_model.*")):
        raise UserError(
            f"{folder} has an adapter (LoRA?) that would not be applied: merge it into the weights with peft's "
            f"merge_and_unload, or remove {adapter[0].name}"
        )
    _refuse_strange_shards(folder)
    shapes = [shape for path in weight_files(folder) for shape in _shapes(path)]
    longest, said = max(chain.from_iterable(shapes), default=1), config.get_text_config().to_dict()
    most = {**dict.fromkeys(WIDTHS, max(2**16, 4 * longest)), **dict.fromkeys(LAYERS, max(1000, len(shapes)))}
    most |= dict.fromkeys(TABLES, 2**24)
    for key in most.keys() & said.keys():
        value = said[key]
        if isinstance(value, int) and value > most[key]:
            raise UserError(
                f"{folder}: config.json says {key} {value:,}, and the weights have {len(shapes)} tensors, the longest "
                f"{longest:,}: they do not belong together"
            )


def _refuse_strange_shards(folder: Path) -> None:
    """UserError unless the index of shards, if there is one, names files of this folder, and they are what is read."""
    if not (index := folder / INDEX).is_file():
        return
    try:
        shards = set(json.loads(utf8_text(index, "save the model again"))["weight_map"].values())
        if not shards:
            raise KeyError
        absent = sorted(name for name in shards if Path(name).name != name or not (folder / name).is_file())
    except (*BAD_JSON, KeyError, TypeError, AttributeError):
        raise UserError(f"{index} is no list of shards: save the model again") from None
    if absent:
        raise UserError(f"{index} names {absent[0]}, which is no file of this folder: save the model again")
    if (folder / "model.safetensors").is_file() and "model.safetensors" not in shards:
        raise UserError(
            f"{folder} has model.safetensors, and an index of other files: remove the one or the other"
        )


def _shapes(path: Path) -> list[list[int]]:
    try:
        with safe_open(path, "pt") as file:
            return [file.get_slice(key).get_shape() for key in file.keys()]
    except SafetensorError as error:
        raise UserError(f"{path} does not load: {error}") from None


def longest_input(model: PreTrainedModel) -> int | None:
    """Most tokens the model has positions for, or None if its config does not say.

    RoBERTa and its kin count positions from behind the one of the padding, so a table of 514 rows reads 512 tokens.
    """
    rows = getattr(model.config, "max_position_embeddings", None)
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    padding = next((getattr(table, "padding_idx", None) for table in tables), None)
    if rows is None or rows < 1:
        return None
    return rows if padding is None else rows - padding - 1


def load_error(folder: Path, error: Exception, kind: str = "") -> UserError:
    """The one line that says why transformers does not load `folder`, `kind` as what."""
    if "custom code" in str(error):
        return UserError(
            f"{folder} needs code of its own to load, as the official GPT-BERT baselines do, and such models are "
            "refused: models are loaded with trust_remote_code=False, and no code that comes with one is run"
        )
    if is_full_memory(error):
        return UserError(f"out of memory while {folder} was loaded: free some, or hold it in fewer bits")
    # the libraries tell it in a later line, or in bare words
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{folder} does not load{kind}: {reason[:300]}{'…' if reason[300:] else ''}")


def check_weights(folder: Path, model: PreTrainedModel, info: dict, kind: Kind) -> None:
    """Refuse weights that do not fit the config: what the file lacks would be random numbers, and the score with them.

    `info` is what transformers says of the loading. What an architecture makes by itself may stand in the file, where
    it is that; other heads than the one loaded are not looked at, and no pooler need be there, for none is read.
    """
    found = {name: sorted(map(str, info[f"{name}_keys"])) for name in ("missing", "unexpected", "mismatched")}
    found["missing"] = [key for key in found["missing"] if not key.startswith("pooler.")]
    constants = _constants(folder, model)
    found["unexpected"] = [
        key for key in found["unexpected"] if _belongs(model, key, kind) and key not in constants
    ]
    found["contradicting"] = [key for key, as_made in constants.items() if not as_made]
    body, lost = f"{model.base_model_prefix}.", set(found["missing"])
    head = {name for name, _ in model.named_parameters() if not name.startswith(body)}
    if kind != "body" and head and head <= lost and not any(key.startswith(body) for key in lost):
        raise UserError(
            f"{folder} ({model.config.model_type}) was saved without its output head (missing keys: {min(head)} …) "
            f"and can answer nothing: save it{KIND_NAMES[kind]}, with the head"
        )
    for name, keys in found.items():
        if keys:
            more = f" and {len(keys) - 1} more" if keys[1:] else ""
            raise UserError(
                f"the weights in {folder} do not fit its config.json ({name} keys: {keys[0]}{more}): "
                "export the model again"
            )


def _belongs(model: PreTrainedModel, key: str, kind: Kind) -> bool:
    """Is this the name of a weight of what was loaded, and not of a head beside it?"""
    if kind == "body":
        parts = {name for name, _ in model.named_children()}
        return key.removeprefix(f"{model.base_model_prefix}.").split(".")[0] in parts
    return not HEADS.search(key)


def _constants(folder: Path, model: PreTrainedModel) -> dict[str, bool]:
    """What the file has and an architecture makes by itself, by its name; and whether it is what this one makes.

    transformers passes over most of it whatever it says, such as another rotary angle than the config's.
    """
    learned = tuple(name for name, _ in model.named_parameters())
    buffers = [(name.rsplit(".", 1)[-1], buffer.squeeze().float()) for name, buffer in model.named_buffers()]
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    found = {}
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            for key in file.keys():
                if not CONSTANTS.search(key) or key.endswith(learned):
                    continue
                last, saved = key.rsplit(".", 1)[-1], file.get_tensor(key).squeeze().float()
                made = [buffer for name, buffer in buffers if name == last]
                if not made and MASK.search(key):
                    made = [torch.ones(saved.shape[-1:] * 2).tril()]
                if last == "inv_freq" and rope.get("rope_type", "default") != "default":
                    made = []  # scaled since, and not when it was saved
                found[key] = not made or any(
                    buffer.shape == saved.shape
                    and torch.allclose(buffer, saved, rtol=1e-2, atol=0.0 if last == "inv_freq" else 1e-3)
                    for buffer in made
                )
    return found

"""Plain transformers language models from a shape; nothing that needs remote code to load again."""

import copy

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from babylm_data.errors import UserError
from train_teachers.config import Init, Model
from train_teachers.families import FAMILIES, Family
from train_teachers.targets import Batch


def family_of(model: PreTrainedModel) -> Family | None:
    """The record of a model's architecture, if there is one."""
    return FAMILIES.get(model.config.model_type)


def model_class(family: str) -> type[PreTrainedModel]:
    """The class of transformers that models of a family are."""
    return getattr(transformers, FAMILIES[family].model)


def config_of(shape: Model) -> PreTrainedConfig:
    """The config of a model of that shape, in the words of its class."""
    family = FAMILIES[shape.family]
    words = {
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "max_position_embeddings": shape.max_position_embeddings,
        "tie_word_embeddings": shape.tie_word_embeddings,
        **dict.fromkeys(family.dropout, shape.dropout),
    }
    if family.heads:
        words["num_attention_heads"] = shape.num_attention_heads
    if family.groups:
        words["num_key_value_heads"] = shape.num_key_value_heads or shape.num_attention_heads
    if family.inner:
        words[family.inner] = shape.intermediate_size or 4 * shape.hidden_size
    return model_class(shape.family).config_class(**words | family.beside(shape))


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of a model of one of our families, in order."""
    return model.base_model.get_submodule(family_of(model).blocks)


def reading(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    """What a model is given to read a batch: ids, and where sequences are read in other ways which token sees which."""
    inputs = {"input_ids": batch.inputs_BT}
    if batch.full_B is None:
        return inputs
    length = batch.inputs_BT.shape[1]
    before_TT = torch.ones(length, length, dtype=torch.bool, device=batch.full_B.device).tril()
    sees_B1TT = (before_TT | batch.full_B[:, None, None])[:, None]
    if model.config._attn_implementation == "eager":  # adds what it is given to the scores
        blocked = torch.finfo(model.dtype).min
        sees_B1TT = torch.zeros_like(sees_B1TT, dtype=model.dtype).masked_fill(~sees_B1TT, blocked)
    return inputs | {"attention_mask": sees_B1TT}


def through_head(model: PreTrainedModel, final_ND: Tensor) -> Tensor:
    """What a model's output matrix is multiplied with, from its final states."""
    family = family_of(model)
    for part in family.head if family else ():
        final_ND = F.gelu(final_ND) if part == "gelu" else model.get_submodule(part)(final_ND)
    return final_ND


def build(shape: Model, tokenizer, *, seed: int) -> PreTrainedModel:
    """A freshly initialised model in fp32 for `tokenizer`; the same seed gives the same weights."""
    config = config_of(shape)
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    if FAMILIES[shape.family].behind_pad:
        config.pad_token_id = config.pad_token_id or 0
        config.max_position_embeddings = shape.max_position_embeddings + config.pad_token_id + 1
    return _fresh(shape.family, config, seed)


def _fresh(family: str, config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    model = model_class(family)(config)
    if model.can_generate():
        model.generation_config.pad_token_id = config.pad_token_id
    if idle := idle_parameter(model):
        model.get_parameter(idle).requires_grad_(False)
    return model


def idle_parameter(model: PreTrainedModel) -> str | None:
    """The name of a parameter that nothing is computed with; None where there is none."""
    family = family_of(model)
    return family.idle if family and not model.config.tie_word_embeddings else None


SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "tie_word_embeddings",
)


def fitting_blocks(source: PreTrainedConfig, shape: Model, init: Init) -> list[int]:
    """Which blocks of a model with the config `source` make one of `shape`; UserError if the two do not fit."""
    family, asked = FAMILIES[shape.family], config_of(shape)
    if family.behind_pad:
        asked.max_position_embeddings += source.pad_token_id + 1
    for key in SHAPE:
        there, here = _size(source, key, family), _size(asked, key, family)
        if there != here:
            raise UserError(f"init: {init.path} has {key} {there}, model says {here}")
    blocks = init.blocks or list(range(1, shape.num_hidden_layers + 1))
    deep = source.num_hidden_layers
    if not init.blocks and deep != len(blocks):
        raise UserError(
            f"init: {init.path} has {deep} blocks, the model {len(blocks)}: name them with init.blocks"
        )
    if max(blocks) > deep:
        raise UserError(f"init: {init.path} has {deep} blocks, no {max(blocks)}")
    return blocks


def build_from(
    source: PreTrainedModel, shape: Model, init: Init, *, entries: int, seed: int
) -> PreTrainedModel:
    """A model of `shape` with the weights of `source`: its chosen blocks, embeddings, norm and head.

    What `shape` does not tell (such as rotary angles and epsilons) is as in `source`. Of embeddings and outputs the
    first `entries` are kept, those of the tokenizer: more are padding. UserError if the two do not fit.
    """
    family = FAMILIES[shape.family]
    if not isinstance(source, model_class(shape.family)):
        raise UserError(
            f"init: {init.path} is a {source.config.model_type}, model.family says {shape.family}"
        )
    blocks, config = fitting_blocks(source.config, shape, init), copy.deepcopy(source.config)
    if config.vocab_size < entries:
        raise UserError(
            f"init: {init.path} has {config.vocab_size} embeddings, the tokenizer {entries} entries"
        )
    config.vocab_size = entries
    if (config.pad_token_id or 0) >= entries:
        config.pad_token_id = None
    config.num_hidden_layers = shape.num_hidden_layers
    if types := vars(config).get("layer_types"):  # a block sees as far as it did
        config.layer_types = [types[block - 1] for block in blocks]
    for key in family.dropout:
        setattr(config, key, shape.dropout)
    model = _fresh(shape.family, config, seed)
    weights, inside = source.state_dict(), f"{model.base_model_prefix}.{family.blocks}."
    for name, fresh in model.state_dict().items():
        origin = name
        if name.startswith(inside):
            number, _, part = name.removeprefix(inside).partition(".")
            if int(number) + 1 in init.reinit_blocks:
                continue
            origin = f"{inside}{blocks[int(number)] - 1}.{part}"
        fresh.copy_(weights[origin][: len(fresh)] if fresh.ndim else weights[origin])
    return model


def _size(config: PreTrainedConfig, key: str, family: Family) -> int | bool | None:
    """A part of the shape; of the inner width GPT-2 and GPT-J have none for four times the outer."""
    if key == "intermediate_size":
        return getattr(config, family.inner) or 4 * config.hidden_size if family.inner else None
    return getattr(config, key, None)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Compute the activations of each block again on the way back, by the name that this transformers has for it."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def num_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """(all parameters, those outside the input and output embeddings); a tied matrix counts once."""
    ends = filter(None, (model.get_input_embeddings(), model.get_output_embeddings()))
    embeddings = {id(p) for part in ends for p in part.parameters()}
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if id(p) not in embeddings)

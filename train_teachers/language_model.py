"""Plain transformers language models from a shape; nothing that needs remote code to load again."""

import copy
import re

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from babylm_data.errors import UserError
from train_teachers.config import Init, Model


def llama_config(shape: Model) -> PreTrainedConfig:
    """Rotary positions, SwiGLU, RMS norm (Touvron et al. 2023)."""
    return LlamaConfig(
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size or 4 * shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads or shape.num_attention_heads,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=shape.tie_word_embeddings,
    )


def gpt2_config(shape: Model) -> PreTrainedConfig:
    """Learned positions, GELU, layer norm before each part (Radford et al. 2019)."""
    return GPT2Config(
        n_embd=shape.hidden_size,
        n_inner=shape.intermediate_size,
        n_layer=shape.num_hidden_layers,
        n_head=shape.num_attention_heads,
        n_positions=shape.max_position_embeddings,
        tie_word_embeddings=shape.tie_word_embeddings,
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
    )


def gptj_config(shape: Model) -> PreTrainedConfig:
    """Rotary positions on part of each head, attention and MLP in parallel (Wang and Komatsuzaki 2021)."""
    return GPTJConfig(
        n_embd=shape.hidden_size,
        n_inner=shape.intermediate_size,
        n_layer=shape.num_hidden_layers,
        n_head=shape.num_attention_heads,
        n_positions=shape.max_position_embeddings,
        rotary_dim=min(64, shape.hidden_size // shape.num_attention_heads // 2 * 2),
        resid_pdrop=shape.dropout,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
    )


FAMILIES = {
    "llama": (llama_config, LlamaForCausalLM),
    "gpt2": (gpt2_config, GPT2LMHeadModel),
    "gptj": (gptj_config, GPTJForCausalLM),
}


def build(shape: Model, tokenizer, *, seed: int) -> PreTrainedModel:
    """A freshly initialised model in fp32 for `tokenizer`; the same seed gives the same weights."""
    make_config, model_class = FAMILIES[shape.family]
    config = make_config(shape)
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    torch.manual_seed(seed)
    model = model_class(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "tie_word_embeddings",
)
DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")


def build_from(
    source: PreTrainedModel, shape: Model, init: Init, *, entries: int, seed: int
) -> PreTrainedModel:
    """A model of `shape` with the weights of `source`: its chosen blocks, embeddings, norm and head.

    What `shape` does not tell (such as rotary angles and epsilons) is as in `source`. Of embeddings and outputs the
    first `entries` are kept, those of the tokenizer: more are padding. UserError if the two do not fit.
    """
    make_config, model_class = FAMILIES[shape.family]
    if not isinstance(source, model_class):
        raise UserError(
            f"init: {init.path} is a {source.config.model_type}, model.family says {shape.family}"
        )
    asked, config = make_config(shape), copy.deepcopy(source.config)
    for key in SHAPE:
        there, here = _size(config, key), _size(asked, key)
        if there != here:
            raise UserError(f"init: {init.path} has {key} {there}, model says {here}")
    blocks = init.blocks or list(range(1, shape.num_hidden_layers + 1))
    deep = config.num_hidden_layers
    if not init.blocks and deep != len(blocks):
        raise UserError(
            f"init: {init.path} has {deep} blocks, the model {len(blocks)}: name them with init.blocks"
        )
    if max(blocks) > deep:
        raise UserError(f"init: {init.path} has {deep} blocks, no {max(blocks)}")
    if config.vocab_size < entries:
        raise UserError(
            f"init: {init.path} has {config.vocab_size} embeddings, the tokenizer {entries} entries"
        )
    config.vocab_size = entries
    if (config.pad_token_id or 0) >= entries:
        config.pad_token_id = None
    config.num_hidden_layers = shape.num_hidden_layers
    for key in DROPOUTS:
        if hasattr(config, key):
            setattr(config, key, shape.dropout)
    torch.manual_seed(seed)
    model = model_class(config)
    model.generation_config.pad_token_id = config.pad_token_id
    weights, wanted = source.state_dict(), model.state_dict()
    for name, fresh in wanted.items():
        where = re.search(r"\.(?:layers|h)\.(\d+)\.", name)
        if where and int(where[1]) + 1 in init.reinit_blocks:
            continue
        origin = name
        if where:
            origin = f"{name[: where.start(1)]}{blocks[int(where[1])] - 1}{name[where.end(1) :]}"
        fresh.copy_(weights[origin][: len(fresh)])
    return model


def _size(config: PreTrainedConfig, key: str) -> int | bool | None:
    """A part of the shape; GPT-2 and GPT-J have another word for the inner width, and none for four times the outer."""
    if key == "intermediate_size" and not hasattr(config, key):
        return config.n_inner or 4 * config.hidden_size
    return getattr(config, key, None)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Compute the activations of each block again on the way back, by the name that this transformers has for it."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def num_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """(all parameters, those outside the input and output embeddings); a tied matrix counts once."""
    embeddings = {id(p) for p in model.get_input_embeddings().parameters()}
    embeddings |= {id(p) for p in model.get_output_embeddings().parameters()}
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if id(p) not in embeddings)

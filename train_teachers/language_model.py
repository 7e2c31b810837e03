"""Plain transformers language models from a shape; nothing that needs remote code to load again."""

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

from train_teachers.config import Model


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


def num_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """(all parameters, those outside the input and output embeddings); a tied matrix counts once."""
    embeddings = {id(p) for p in model.get_input_embeddings().parameters()}
    embeddings |= {id(p) for p in model.get_output_embeddings().parameters()}
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if id(p) not in embeddings)

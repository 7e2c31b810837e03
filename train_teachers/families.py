"""The architectures that a model can be built as, each a plain class of transformers: one record each.

A record says in what words the class's config has our shape, where its blocks are, and what it can be asked. Nothing
of transformers is loaded here, so that a config can be checked at once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from train_teachers.config import Model

CAUSAL, MASKED = ("causal", "both"), ("masked",)
LLAMA_DROPOUT = ("attention_dropout",)
BERT_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
GPT_DROPOUT = ("resid_pdrop", "embd_pdrop", "attn_pdrop")


class Family(NamedTuple):
    """How transformers has an architecture."""

    model: str
    """Its class with an output head."""
    blocks: str
    """Where the list of its blocks is, below the body."""
    reads: tuple[str, ...] = CAUSAL
    """What it can be asked: next tokens, or both these and hidden ones, where a mask says which token sees which; or
    hidden ones alone."""
    head: tuple[str, ...] = ()
    """What is between its final states and its output matrix: modules one after the other, `gelu` the function."""
    behind_pad: bool = False
    """Whether its positions are counted from behind the id of the padding."""
    undecayed: str | None = None
    """The last part of the names of parameters that must not be drawn to 0."""
    idle: str | None = None
    """A parameter that nothing is computed with unless embeddings are the output matrix."""
    inner: str | None = "intermediate_size"
    """The config's word for the width inside the MLP."""
    dropout: tuple[str, ...] = ()
    """The config's words for probabilities of dropout."""
    ties: bool = True
    """Whether embeddings can be the output matrix."""
    groups: bool = False
    """Whether heads can share keys and values."""
    heads: bool = True
    """Whether it has attention heads."""
    rotary: bool = False
    """Whether it turns pairs of numbers of a whole head by their position."""
    beside: Callable[["Model"], dict[str, Any]] = lambda shape: {}
    """What else its config is told."""


FAMILIES = {
    # rotary positions, SwiGLU, RMS norm (Touvron et al. 2023)
    "llama": Family("LlamaForCausalLM", "layers", dropout=LLAMA_DROPOUT, groups=True, rotary=True),
    # llama with a norm on queries and keys (Yang et al. 2025)
    "qwen3": Family(
        "Qwen3ForCausalLM",
        "layers",
        dropout=LLAMA_DROPOUT,
        groups=True,
        rotary=True,
        beside=lambda shape: {"head_dim": shape.hidden_size // shape.num_attention_heads},
    ),
    # learned positions, GELU, layer norm before each part (Radford et al. 2019)
    "gpt2": Family("GPT2LMHeadModel", "h", inner="n_inner", dropout=GPT_DROPOUT),
    # rotary positions on a part of each head, attention and MLP in parallel (Wang and Komatsuzaki 2021)
    "gptj": Family(
        "GPTJForCausalLM",
        "h",
        inner="n_inner",
        dropout=GPT_DROPOUT,
        ties=False,
        beside=lambda shape: {"rotary_dim": min(64, shape.hidden_size // shape.num_attention_heads // 2 * 2)},
    ),
    # attention and MLP in parallel, layer norm with biases (Black et al. 2022)
    "gpt_neox": Family("GPTNeoXForCausalLM", "layers", dropout=("hidden_dropout", "attention_dropout")),
    # GPT-2 with ReLU (Zhang et al. 2022)
    "opt": Family(
        "OPTForCausalLM",
        "decoder.layers",
        reads=("causal",),
        inner="ffn_dim",
        dropout=("dropout", "attention_dropout"),
        beside=lambda shape: {"word_embed_proj_dim": shape.hidden_size},
    ),
    # a recurrence in the place of attention (Gu and Dao 2023)
    "mamba": Family(
        "MambaForCausalLM", "layers", reads=("causal",), inner=None, heads=False, undecayed="A_log"
    ),
    # layer norm behind each part, token types (Devlin et al. 2019)
    "bert": Family(
        "BertForMaskedLM",
        "encoder.layer",
        reads=MASKED,
        head=("cls.predictions.transform",),
        idle="cls.predictions.bias",
        dropout=BERT_DROPOUT,
    ),
    # bert whose positions count from behind the one of the padding (Liu et al. 2019)
    "roberta": Family(
        "RobertaForMaskedLM",
        "encoder.layer",
        reads=MASKED,
        head=("lm_head.dense", "gelu", "lm_head.layer_norm"),
        idle="lm_head.bias",
        dropout=BERT_DROPOUT,
        behind_pad=True,
    ),
    # rotary positions, GeGLU; two of three blocks see 64 tokens to each side (Warner et al. 2024)
    "modernbert": Family(
        "ModernBertForMaskedLM",
        "layers",
        reads=MASKED,
        head=("head",),
        dropout=("embedding_dropout", "mlp_dropout", "attention_dropout"),
        rotary=True,
        beside=lambda shape: {"cls_token_id": None, "sep_token_id": None},
    ),
    # bert as the generator of ELECTRA (Clark et al. 2020), without its discriminator
    "electra": Family(
        "ElectraForMaskedLM",
        "encoder.layer",
        reads=MASKED,
        head=("generator_predictions",),
        dropout=BERT_DROPOUT,
        beside=lambda shape: {"embedding_size": shape.hidden_size},
    ),
}

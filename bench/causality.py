"""Which families of transformers see later tokens: as `babylm_data.causality` finds it, and prefix by prefix.

Each is built small, with random weights. The judge is slow and simple: what a model says at a token of a text is
compared with what it says when the text ends there. Prints a table; exit status 1 if any answer is wrong.

  python -m bench.causality
  python -m bench.causality llama bert
"""

from typing import NamedTuple

from babylm_data.errors import UserError, parser_of, run_stage

SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "emb_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(
        ("intermediate_size", "n_inner", "d_inner", "ffn_dim", "decoder_ffn_dim", "hidden_dim"), 64
    ),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "rotary_dim", "state_size"), 8),
    "encoder_layers": 1,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "attention_window": 4,
    "sliding_window": 4,
}
SPECIAL = {"vocab_size": 96, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BOTH_WAYS = {"is_causal": False}
DECODER = {"is_decoder": True}


class Case(NamedTuple):
    """A family as it is loaded, and whether its tokens see later ones."""

    family: str
    sees_later: bool
    changes: dict = {}
    """What differs from the family's own config, made small; None: what is not made small."""
    masked: bool = False
    """Loaded as a masked language model, not as a causal one."""

    @property
    def name(self) -> str:
        """With what was changed."""
        said = ", ".join(f"{key}={value}" for key, value in self.changes.items() if value is not None)
        return f"{self.family} ({said})" if said else self.family


CAUSAL = [
    *(
        "afmoe",
        "apertus",
        "arcee",
        "bart",
        "bigbird_pegasus",
        "biogpt",
        "bitnet",
        "blenderbot",
        "bloom",
        "codegen",
    ),
    *(
        "cohere",
        "cohere2",
        "ctrl",
        "diffllama",
        "doge",
        "ernie4_5",
        "exaone4",
        "falcon_mamba",
        "gemma",
        "gemma2",
    ),
    *(
        "gemma3_text",
        "glm",
        "glm4",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "gpt_oss",
        "gptj",
        "granite",
        "granitemoe",
    ),
    *("helium", "jetmoe", "lfm2", "llama", "mamba", "marian", "mbart", "minimax", "mistral", "mixtral"),
    *(
        "modernbert-decoder",
        "mpt",
        "nanochat",
        "olmo",
        "olmo2",
        "olmoe",
        "openai-gpt",
        "opt",
        "persimmon",
        "phi",
    ),
    *(
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "rwkv",
        "smollm3",
        "stablelm",
        "starcoder2",
        "xglm",
    ),
]
ENCODERS = ["bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert"]
ENCODERS += ["roberta", "roberta-prelayernorm", "roformer", "xlm-roberta", "xlm-roberta-xl"]
MASKED = [
    "albert",
    "bart",
    "convbert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "eurobert",
    "fnet",
    "ibert",
    "layoutlm",
]
MASKED += ["longformer", "mobilebert", "modernbert", "mpnet", "nystromformer", "squeezebert", "yoso"]
XLNET = Case("xlnet", sees_later=True, changes={"d_head": 8, "max_position_embeddings": None})
CASES = [
    *(Case(family, sees_later=False) for family in CAUSAL),
    *(Case(family, sees_later=True) for family in ENCODERS),
    *(Case(family, sees_later=False, changes=DECODER) for family in ENCODERS),
    *(Case(family, sees_later=True, masked=True) for family in [*ENCODERS, *MASKED]),
    *(Case(family, sees_later=True, changes=BOTH_WAYS) for family in ("llama", "mistral", "qwen3", "olmo2")),
    Case("gemma3_text", sees_later=True, changes={"use_bidirectional_attention": True}),
    XLNET,
    Case("xlm", sees_later=True),
    Case("xlm", sees_later=False, changes={"causal": True}),
]


def build(case: Case):
    """The model, small, with random weights, in evaluation mode."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM

    make = CONFIG_MAPPING[case.family]
    usual = make()
    small = {key: value for key, value in SMALL.items() if getattr(usual, key, None) is not None}
    torch.manual_seed(0)
    kind = AutoModelForMaskedLM if case.masked else AutoModelForCausalLM
    wanted = small | SPECIAL | case.changes
    return kind.from_config(make(**{key: value for key, value in wanted.items() if value is not None})).eval()


def differs_from_prefixes(model, length: int = 12) -> float:
    """The largest difference between logits in a text and at the end of its prefix, as a share of the largest logit."""
    import torch

    ids_1T = torch.randint(5, 96, (1, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole_TV = model(input_ids=ids_1T).logits[0]
        prefixes = [model(input_ids=ids_1T[:, : end + 1]).logits[0, -1] for end in range(length)]
    return float((whole_TV - torch.stack(prefixes)).abs().max() / whole_TV.abs().max())


def main(argv: list[str]) -> int:
    """Print the table; 1 if any answer is wrong."""
    parser = parser_of("bench.causality", __doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="these alone [all]")
    args = parser.parse_args(argv)
    if unknown := set(args.families) - {case.family for case in CASES}:
        raise UserError(f"no family {min(unknown)} in the list")
    from transformers import logging

    from babylm_data.causality import sees_later_tokens
    from babylm_data.models import longest_input

    logging.set_verbosity_error()
    wrong = 0
    print(f"{'family':<52}{'loaded as':<11}{'probe':<10}{'from its prefixes':<20}right")
    for case in CASES:
        if args.families and case.family not in args.families:
            continue
        model = build(case)
        found, difference = sees_later_tokens(model, longest_input(model)), differs_from_prefixes(model)
        right = found == case.sees_later == (difference > 1e-4)
        wrong += not right
        print(
            f"{case.name:<52}{'masked' if case.masked else 'causal':<11}{'sees' if found else 'causal':<10}"
            f"{difference:<20.1e}{'yes' if right else 'NO'}",
            flush=True,
        )
    return int(wrong > 0)


if __name__ == "__main__":
    run_stage(main)

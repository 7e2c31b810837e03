"""Random models of a few thousand parameters and a tokenizer, for tests that need a real model folder."""

from pathlib import Path

import torch
from choice_rows import pair as pair
from choice_rows import write_rows as write_rows
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from eval.scorer.items import Choice
from eval.scorer.log_probs import Scorer

SENTENCES = [
    "The dog sees the cats.",
    "The dogs see the cat.",
    "A small dog was seen by the old cats, wasn't it?",
    "Who sees the dog?",
    "cats",
    "The old cat that the dogs see sleeps.",
    "The dog sees the old cat and the cats see the small dog.",
    "Café – “quoted”, naïve.",
]


def tokenizer(*, bos: bool = True, eos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 entries whose post-processor adds <s> and </s> as asked."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES * 3, trainer)
    template = f"{'<s> ' * bos}$A{' </s>' * eos}"
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def model(family: str = "llama", *, positions: int = 64, seed: int = 0) -> PreTrainedModel:
    """A random model, 2 layers wide 32, with weights large enough that its logits differ clearly."""
    size = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.3}
    gpt = size | {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": positions}
    llama = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(seed)
    made = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**gpt)),
        "gptj": lambda: GPTJForCausalLM(GPTJConfig(**gpt, rotary_dim=8, tie_word_embeddings=False)),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(**size, **llama, max_position_embeddings=positions, tie_word_embeddings=True)
        ),
    }[family]()
    return made.eval()


def masked_model(*, seed: int = 0) -> PreTrainedModel:
    """A random masked language model with one entry more than the tokenizer, for a mask token."""
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=301, **size, max_position_embeddings=64, initializer_range=0.3)
    return BertForMaskedLM(config).eval()


def sentence_logprobs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: list[str], **options
):
    """Log-probability of whole sentences in nats, (len(texts),) float64; `options` are those of the Scorer."""
    return Scorer(model, tokenizer, **options).logprobs([Choice("", text) for text in texts])


def save(folder: Path, family: str = "llama", *, seed: int = 0) -> Path:
    """A model folder as an export has it."""
    model(family, seed=seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder

"""Tiny encoders and task files for the tests of fine-tuning."""

from pathlib import Path

import torch
from tiny_models import write_rows
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from eval.finetune.loop import Settings

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!@#-"
WORDS = ["the", "old", "small", "dog", "dogs", "cat", "cats", "sees", "who", "why", "word"]
PIECES = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Lower-case word pieces with [CLS] A [SEP] B [SEP]."""
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def save_bert(folder: Path, *, positions: int = 64) -> Path:
    """A masked language model as a folder: its old head must go, its pooler is not there."""
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return folder


def settings(**changes) -> Settings:
    """Settings of a second."""
    values = {"lr": 3e-3, "epochs": 2, "batch_size": 8, "max_length": 64, "precision": "fp32"}
    return Settings(**(values | {"head": "plain", "pool": "last"} | changes))


def write_sst2(data: Path, *, train: int = 32, valid: int = 24) -> Path:
    """Sentences about cats are 1, about dogs 0: nothing is easier."""
    for split, count in (("train", train), ("valid", valid)):
        rows = []
        for number in range(count):
            animal, ages = ("dog", "cat")[number % 2], "old " * (number % 5)
            rows.append(
                {"sentence": f"The {ages}{animal} sees the {animal}", "label": number % 2, "idx": number}
            )
        write_rows(data / f"sst2.{split}.jsonl", rows)
    return data

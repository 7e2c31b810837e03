"""What a run will take, before there is anything that it needs: hours by the speed of this machine, and memory."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from babylm_data.files import json_table
from babylm_data.hub import weight_files
from babylm_data.provenance import processor
from babylm_data.speed import product_rates
from babylm_data.tokens import read_manifest
from train_teachers.config import Model, TrainConfig, value
from train_teachers.device import (
    AVERAGED,
    GPU_TOKENS,
    WHOLE,
    bytes_of_a_token,
    choose_formats,
    tokens_of_a_pass,
)
from train_teachers.language_model import config_of, model_class, num_parameters
from train_teachers.run import ROOT

TOKENS_A_WORD, ENTRIES = 1.6, 8192  # where nothing is prepared: of the one, with a vocabulary of the other
USED = 0.4  # of the rate of products, until a run has shown what this machine does
PROGRAM = 0.6e9  # bytes that the libraries take


class Estimate(NamedTuple):
    """What a run takes, roughly."""

    seconds: float
    bytes: float
    """Of the device that it runs on."""


def estimate(
    config: TrainConfig, frozen: Sequence[Model | int], rate: float, *, trains: bool = True
) -> Estimate:
    """What a run takes at so many FLOP/s, with frozen models beside it, by their shapes or numbers of parameters; where
    it does not train, those models alone over its text. What losses on layers take comes on top.
    """
    shape, data, targets = config.model, config.data, config.targets
    entries, tokens_a_word = _corpus(config)
    student = _weightless(shape, entries)
    beside = sum(
        each if isinstance(each, int) else num_parameters(_weightless(each, entries))[0] for each in frozen
    )
    share = value(targets.share, 0.0)
    asked = {"causal": 1.0, "masked": share, "both": targets.causal + (1 - targets.causal) * share}
    tokens = data.words * tokens_a_word
    flops = 2.0 * beside * tokens
    if trains:
        flops += training_flops(config, tokens, student, judged=asked[targets.reads])
    fast = tokens_of_a_pass(student, choose_formats(config.precision)["precision"])
    # a GPU with less memory takes fewer
    at_once = min(GPU_TOKENS if torch.cuda.is_available() else fast, config.batch_size * data.seq_len)
    each = WHOLE + AVERAGED * bool(config.averaging)
    weights = each * num_parameters(student)[0] * trains + 4.0 * beside
    return Estimate(flops / rate, PROGRAM + weights + at_once * bytes_of_a_token(student, data.seq_len))


def stored_parameters(folder: Path) -> int:
    """How many numbers the weights in a folder are."""
    count = 0
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            count += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())
    return count


def training_flops(config: TrainConfig, tokens: float, student: torch.nn.Module, *, judged: float) -> float:
    """Of the student's training on so many tokens: forward and backward, 6 a token per weight that multiplies it, and
    attention to what it sees (Kaplan et al. 2020). `judged`: share of the tokens for which outputs are made.
    """
    shape, targets = config.model, config.targets
    outputs = shape.hidden_size * student.config.vocab_size * judged
    full = {"causal": 0.0, "masked": 1.0, "both": 1 - targets.causal}[targets.reads]
    attention = (1 + full) * shape.num_hidden_layers * shape.hidden_size * config.data.seq_len
    return tokens * 6.0 * (num_parameters(student)[1] + outputs + attention)


def machine_rate(at_once: int = 1) -> tuple[float, str]:
    """(FLOP/s that each of so many runs at once comes to on this machine, how that is known).

    By all runs that ended here, on a CPU on as many threads; where there is none, by products of matrices.
    """
    gpus, all_threads, threads = torch.cuda.device_count(), torch.get_num_threads(), threads_of_each(at_once)
    place = {"device": torch.cuda.get_device_name() if gpus else "cpu", "processor": processor()}
    place |= {} if gpus else {"threads": threads}
    share = min(1.0, (gpus or all_threads / threads) / at_once)  # where there are more than fit, they share
    runs = []
    for folder in ROOT.glob("*/"):
        summary = json_table(folder / "summary.json") or {}
        found = json_table(folder / "environment.json") or {}
        if summary.get("flops") and {key: found.get(key) for key in place} == place:
            runs.append((summary["flops"], summary["seconds"]))
    if runs:
        rate = sum(flops for flops, _ in runs) / sum(seconds for _, seconds in runs)
        return share * rate, f"as {len(runs)} finished runs on this machine had it"
    part = 1.0 if gpus else threads / all_threads
    rate = USED * part * max(product_rates("cuda" if gpus else "cpu").values())
    return share * rate, f"{USED:.0%} of what products of matrices come to"


def threads_of_each(at_once: int) -> int:
    """How many threads each of so many programs has, of those that PyTorch would take here for one."""
    return max(1, torch.get_num_threads() // at_once)


def _weightless(shape: Model, entries: int) -> torch.nn.Module:
    config = config_of(shape)
    config.vocab_size = entries
    with torch.device("meta"):
        return model_class(shape.family)(config)


def _corpus(config: TrainConfig) -> tuple[int, float]:
    """(entries of the vocabulary, tokens a word) of the data, or what is usual."""
    if not Path(config.data.path).is_dir():
        return config.data.vocab_size or ENTRIES, TOKENS_A_WORD
    manifest = read_manifest(config.data.path)
    train = manifest["splits"]["train"]
    return manifest["vocab_size"], train["tokens"] / max(1, train["words"])

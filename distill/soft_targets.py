"""Soft targets paid for once: what frozen teachers say of each position of a token stream, on disk.

A cache holds, for every block that the batches of a run can have (and for the held-out blocks of dev), at each
position either the likeliest tokens with their probabilities and the exact mass of all others, or tokens drawn from the
teacher. It belongs to one set of data, tokenizer, teachers' weights and proportions, sequence length, offsets, held-out
sequences and temperature; to any other it is refused.

    top      A divergence is taken between the distributions over (each kept token, all others). Lumping tokens
             together can only bring two distributions nearer: every f-divergence is a lower bound of the whole one.
    drawn    The mean of -log q over tokens drawn from p estimates the cross-entropy, and with it the gradient of
             forward KL, without bias (random sampling KD, arXiv 2503.16870); less the teacher's entropy, which is
             kept, KL itself.

Shape suffixes: N positions, C positions of a chunk, V vocabulary, K kept or drawn tokens.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON, utf8_text
from babylm_data.fingerprint import fingerprint
from babylm_data.sealed import SEAL, sha256, verify
from babylm_data.tokens import open_tokens, token_dtype
from distill.config import DistillConfig, value
from train_teachers.outputs import part_of
from train_teachers.targets import Batch

FORMAT = 4
MANIFEST, SPLITS = "manifest.json", ("train", "dev")


@dataclass(frozen=True)
class Identity:
    """What a cache belongs to: it serves a run for which all of this is the same."""

    data: str
    """Hash of the seal of the data folder."""
    tokenizer: str
    vocab_size: int
    teachers: tuple[str, ...]
    """Hash of config and weights of each; several are made into one target."""
    precision: tuple[str, ...]
    """Number format in which the weights of each are held."""
    combine: str
    """How; "separate" where there is one."""
    shares: tuple[float, ...]
    """Proportions of the teachers in their target."""
    temperature: float
    seq_len: int
    layouts: int
    """Offsets at which epochs begin."""
    held_out_sequences: int
    kind: Literal["top", "drawn"]
    count: int
    """Tokens a position."""
    shuffled: bool = False
    """Whether documents stand in other orders than that of the corpus."""

    @property
    def record(self) -> np.dtype:
        """What is kept of a position."""
        parts = [
            ("rest", "<f4"),
            ("ids", np.dtype(token_dtype(self.vocab_size)).newbyteorder("<"), self.count),
        ]
        return np.dtype([*parts, ("probs", "<f2", self.count)] if self.kind == "top" else parts)

    def bytes_of(self, blocks: int) -> int:
        """What so many blocks take."""
        return blocks * self.seq_len * self.record.itemsize

    def refuse_other(self, other: "Identity", what: str, remedy: str) -> None:
        """UserError that names the first thing in which `other`, that of `what`, is not this one."""
        for key, here in asdict(self).items():
            if (there := getattr(other, key)) != here:
                raise UserError(f"{what} is for {_in_words(key, there, here)}: {remedy}")


class Kept(NamedTuple):
    """What a cache says of N positions."""

    ids_NK: Tensor
    logs_NK: Tensor | None
    """Log-probabilities of the kept tokens; None where tokens were drawn, which count alike."""
    rest_N: Tensor
    """Log of the mass of all other tokens; where tokens were drawn, the teacher's entropy in nats."""

    def part(self, start: int, stop: int) -> "Kept":
        """The positions from `start` up to `stop`."""
        return Kept(*(None if tensor is None else part_of(tensor, start, stop) for tensor in self))

    def at(self, places_N: Tensor) -> "Kept":
        """Only the positions of these numbers."""
        return Kept(*(None if tensor is None else tensor[places_N] for tensor in self))

    def cast(self) -> "Kept":
        """As it is: in float32."""
        return self

    def lump(self, logprobs_NV: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher and student as log-probabilities (N, K + 1) of each kept token and of all others together."""
        others_NV = logprobs_NV.scatter(-1, self.ids_NK, -torch.inf)
        student = torch.cat(
            [logprobs_NV.gather(-1, self.ids_NK), others_NV.logsumexp(-1, keepdim=True)], dim=-1
        )
        return torch.cat([self.logs_NK, self.rest_N[:, None]], dim=-1), student

    def estimate_kl_N(self, logprobs_NV: Tensor) -> Tensor:
        """Forward KL as the drawn tokens have it: mean of -log q less the teacher's entropy."""
        return -logprobs_NV.gather(-1, self.ids_NK).mean(-1) - self.rest_N


class SoftTargets:
    """An open cache."""

    def __init__(self, folder: Path, expected: Identity) -> None:
        """Of a folder that is intact and belongs to what is expected; UserError else."""
        self.folder, self.identity = folder, expected
        self.made = refuse_other_cache(folder, expected)
        """How it was made: the command, the teachers' paths, the number format."""
        try:
            self.starts = {split: read_array(folder / f"{split}.starts.npy") for split in SPLITS}
            self.blocks = {
                split: np.memmap(
                    folder / f"{split}.bin",
                    dtype=expected.record,
                    mode="r",
                    shape=(len(starts), expected.seq_len),
                )
                for split, starts in self.starts.items()
            }
        except ValueError as error:  # not what the kit wrote, though sealed
            raise UserError(f"{folder} is no cache of this kit ({error}): write it again") from None
        digests = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        content = "".join(digests[f"{split}.bin"] for split in SPLITS)
        self.content = hashlib.sha256(content.encode()).hexdigest()
        """Hash of what is kept, whoever wrote it, and when."""

    def of(self, batch: Batch, device: torch.device) -> Kept:
        """What is known of the positions of a batch, in its order."""
        starts, begins = self.starts[batch.stream], batch.starts
        places = np.searchsorted(starts, begins).clip(max=len(starts) - 1)
        if not np.array_equal(starts[places], begins):
            raise UserError(
                f"the cache {self.folder} has no block at some of the places that a batch begins at"
            )
        found_N = self.blocks[batch.stream][places].ravel()
        fields = {name: torch.from_numpy(np.ascontiguousarray(found_N[name])) for name in found_N.dtype.names}
        there = {name: tensor.to(device, non_blocking=True) for name, tensor in fields.items()}
        rest_N = there["rest"]
        if self.identity.kind == "drawn":
            return Kept(there["ids"].long(), None, rest_N)
        probs_NK = there["probs"].float()
        # rounded to half precision they would no longer sum to 1 with the rest
        kept_N1 = -torch.expm1(rest_N)[:, None]
        logs_NK = (probs_NK * (kept_N1 / probs_NK.sum(-1, keepdim=True))).log()
        return Kept(there["ids"].long(), logs_NK, rest_N)


def read_array(path: Path) -> np.ndarray:
    """The array in a file of NumPy's; ValueError for anything else, such as the zip files that np.load would take."""
    with open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_cache(folder: Path) -> tuple[Identity, dict]:
    """What a cache belongs to, and how it was made; UserError if `folder` is none."""
    if not (folder / MANIFEST).exists():
        if folder.exists():
            raise UserError(f"{folder} is a folder and no cache: name another one")
        raise UserError(f"there is no cache {folder}: write it with `python -m distill.cache CONFIG`")
    text = utf8_text(folder / MANIFEST, "write the cache again")
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise UserError(f"{folder} has another format than this version of the kit reads: write it again")
        return identity_from(content["identity"]), content["made"]
    except (*BAD_JSON, KeyError, TypeError):
        raise UserError(f"{folder / MANIFEST} is damaged: write the cache again") from None


def refuse_other_cache(folder: Path, expected: Identity) -> dict:
    """How a cache was made; UserError if it belongs to anything but what is expected, or has changed."""
    identity, made = read_cache(folder)
    remedy = "write one for this config with `python -m distill.cache CONFIG`, in another folder"
    expected.refuse_other(identity, f"the cache {folder}", remedy)
    verify(folder, "delete it and write it again with `python -m distill.cache CONFIG`")
    return made


def identity_from(written: dict) -> Identity:
    """From JSON."""
    return Identity(**{key: tuple(part) if isinstance(part, list) else part for key, part in written.items()})


def _in_words(key: str, there: object, here: object) -> str:
    """Which of two things a cache is for, without hashes, of which nobody reads two."""
    if key == "teachers":
        return "teachers with other weights or another config, or in another order"
    if key in ("data", "tokenizer"):
        return f"another {key}"
    return f"another {key} ({there}, here {here})"


def identity_of(config: DistillConfig, names: list[str], models: dict[str, str]) -> Identity:
    """What the cache of these teachers belongs to; `models`: the hash of each one."""
    data, soft, cache = Path(config.data.path), config.losses.soft, config.teachers[names[0]].cache
    manifest = open_tokens(data, "train").manifest
    together = len(names) > 1
    parts = [value(soft.weight[name], 0.0) for name in names] if together else [1.0]
    return Identity(
        data=sha256(data / SEAL),
        tokenizer=fingerprint(data / "tokenizer"),
        vocab_size=manifest["vocab_size"],
        teachers=tuple(models[name] for name in names),
        precision=tuple(config.teachers[name].precision for name in names),
        combine=soft.combine if together else "separate",
        shares=tuple(round(part / sum(parts), 9) for part in parts),
        temperature=float(value(soft.temperature, 0.0)),
        seq_len=config.data.seq_len,
        layouts=config.data.layouts,
        shuffled=config.data.shuffle_documents,
        held_out_sequences=config.data.held_out_sequences,
        kind=cache.kind,
        count=cache.count,
    )

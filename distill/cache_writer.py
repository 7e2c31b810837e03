"""Writes a cache of soft targets: one pass of frozen teachers over all blocks that a run's batches can have.

Blocks are read in the order of the text, a fixed number at a time, and what is kept of them is appended to plain files
in a folder that bears another name until it is complete. How far the files are flushed to the disk is written down now
and then: a pass that was killed cuts them back to there and goes on to the same bytes.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from babylm_data.errors import UserError
from babylm_data.memory import keep_freed_memory, memory_advice
from babylm_data.provenance import command_line
from babylm_data.sealed import LOCK, lock, seal, verify, write_whole
from babylm_data.speed import FORMATS
from babylm_data.tokenizer import fingerprint
from babylm_data.tokens import Batches, Blocks, held_out, open_data, open_tokens
from distill.config import DistillConfig
from distill.losses import ONE
from distill.soft import combined_NV
from distill.soft_targets import FORMAT, MANIFEST, Identity, identity_of, read_cache
from distill.teachers import Teachers
from train_teachers.device import (
    CPU_TOKENS,
    be_deterministic,
    choose_attention,
    choose_compile,
    choose_formats,
    compiled_bodies,
)
from train_teachers.language_model import num_parameters
from train_teachers.outputs import chunk_size
from train_teachers.targets import next_token

TOKENS_WITHOUT_GRADIENT = 16_384  # of a forward pass on a GPU
PROGRESS = "progress.json"
FLUSHED_EVERY = 64  # forward passes
SMALLEST = 6e-8  # probability above 0 in half precision
LEAST_REST = -60.0  # log of a mass that rounding leaves nothing of


def write_caches(config: DistillConfig) -> None:
    """Write every cache of a config that is not there yet."""
    if not config.caches:
        raise UserError("no teacher of this config has a cache: give one `cache: {path: …, top: 32}`")
    for path, names in config.caches.items():
        with memory_advice("in the teachers' pass: hold them in bf16 (teachers.NAME.precision)"):
            Pass(config, Path(path), names).write()


class Pass:
    """One cache to be written."""

    def __init__(self, config: DistillConfig, folder: Path, names: list[str]) -> None:
        self.folder, self.names, data = folder, names, Path(config.data.path)
        open_data(data)
        keep_freed_memory()
        self.splits = {split: open_tokens(data, split) for split in ("train", "dev")}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        be_deterministic(self.device)
        self.asked, self.precision = config.precision, choose_formats(config.precision)["precision"]
        alone = {name: config.teachers[name].model_copy(update={"cache": None}) for name in names}
        self.teachers = Teachers(
            config.model_copy(update={"teachers": alone}),
            fingerprint(data / "tokenizer"),
            self.splits["train"].manifest["vocab_size"],
            self.device,
        )
        self.identity = identity_of(config, names, self.teachers.hashes)
        if self.identity.count >= self.identity.vocab_size:
            raise UserError(
                f"a cache of {self.identity.count} tokens a position leaves no others of a vocabulary of "
                f"{self.identity.vocab_size}: keep fewer"
            )
        batches = Batches(
            self.splits["train"],
            seq_len=config.data.seq_len,
            batch_size=1,
            seed=0,
            layouts=config.data.layouts,
        )
        self.starts = {
            "train": batches.every_start(),
            "dev": held_out(self.splits["dev"], config.data.seq_len, config.data.held_out_sequences).starts,
        }
        tokens = len(self.starts["train"]) * config.data.seq_len
        self.made = {
            "command": command_line(),
            "weights": {name: self.teachers.sources[f"teacher {name}"] for name in names},
            "paths": {name: config.teachers[name].path for name in names},
            "words_read": batches.words_seen(len(self.starts["train"])),  # one epoch at each offset
            "flops": 2.0 * tokens * sum(num_parameters(model)[0] for model in self.teachers.models.values()),
        }
        self.compiled = choose_compile(config.compile, self.made["flops"])

    def write(self) -> None:
        """Do what is left of it; nothing where the cache is complete."""
        if self._is_complete():
            return
        partial = self.folder.parent / f".{self.folder.name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(lock(partial / LOCK)):
            if self._is_complete():  # by another process, meanwhile
                shutil.rmtree(partial, ignore_errors=True)
                return
            done = self._begun(partial)
            for model in self.teachers.models.values():
                choose_attention(model, self.precision, self.device)
            self.bodies = compiled_bodies(self.teachers.models.values()) if self.compiled else {}
            self._say_size(partial)
            for split in ("train", "dev"):
                np.save(partial / f"{split}.starts.npy", self.starts[split])
                self._write_split(partial, split, done)
            made = self.made | {"precision": self.precision}
            content = {"format": FORMAT, "identity": asdict(self.identity), "made": made}
            write_whole(partial / MANIFEST, json.dumps(content, indent=1) + "\n")
            seal(partial)
            # a pass that was killed before this finds all blocks done, and seals again
            os.rename(partial, self.folder)
            (self.folder / LOCK).unlink()
        print(f"{self.folder}: {self._bytes() / 1e6:,.1f} MB")

    def _is_complete(self) -> bool:
        """Whether the cache is there; UserError if it is another one, or damaged."""
        if not self.folder.exists():
            return False
        self.identity.refuse_other(read_cache(self.folder)[0], self.folder)
        verify(self.folder, "delete it to write it again")
        print(f"{self.folder} is complete: delete it to write it again")
        return True

    def _begun(self, partial: Path) -> dict:
        """How far an earlier start came, in which steps and format it went; UserError if it was another pass."""
        tokens = CPU_TOKENS[self.precision] if self.device.type == "cpu" else TOKENS_WITHOUT_GRADIENT
        batch = max(1, tokens // self.identity.seq_len)
        fresh = {"identity": json.loads(json.dumps(asdict(self.identity))), "precision": self.precision}
        fresh |= {"batch": batch, "train": 0, "dev": 0}
        try:
            found = json.loads((partial / PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = fresh
        for key in fresh["identity"]:
            if found["identity"].get(key) != fresh["identity"][key]:
                raise UserError(
                    f"{partial} is an unfinished cache of another {key}: go on with its config, or delete it"
                )
        if self.asked not in ("auto", found["precision"]):
            raise UserError(
                f"{partial} was begun in {found['precision']}: go on with precision={found['precision']}, or delete it"
            )
        self.precision = found["precision"]
        if any(self._short(partial, split, found[split]) for split in self.starts):
            return fresh | {"precision": self.precision}
        return found

    def _short(self, partial: Path, split: str, blocks: int) -> bool:
        """Whether a file has less than it was said to have: somebody has cleared up."""
        for field in self.identity.fields:
            path, size = partial / f"{split}.{field}.bin", self.identity.bytes_of(field, blocks)
            if size and not (path.exists() and path.stat().st_size >= size):
                return True
        return False

    def _write_split(self, partial: Path, split: str, done: dict) -> None:
        """The blocks of a split from number `done[split]` on."""
        starts, batch, identity = self.starts[split], done["batch"], self.identity
        with contextlib.ExitStack() as stack:
            files = {}
            for field in identity.fields:
                file = stack.enter_context(open(partial / f"{split}.{field}.bin", "ab"))
                file.truncate(identity.bytes_of(field, done[split]))
                files[field] = file
            options = {"total": len(starts), "initial": done[split], "unit": " blocks", "disable": None}
            bar = stack.enter_context(tqdm(desc=f"{self.folder.name}, {split}", **options))
            for turn, first in enumerate(range(done[split], len(starts), batch), start=1):
                blocks = Blocks.at(self.splits[split], starts[first : first + batch], identity.seq_len)
                whole = len(blocks.starts) == batch  # for the last few nothing is compiled anew
                body = (
                    (lambda model: self.bodies.get(id(model), model.base_model))
                    if whole
                    else (lambda model: model.base_model)
                )
                for field, array in self._kept(blocks, body).items():
                    files[field].write(array.astype(identity.fields[field]).tobytes())
                bar.update(len(blocks.starts))
                if turn % FLUSHED_EVERY == 0 or first + batch >= len(starts):
                    for file in files.values():
                        file.flush()
                        os.fsync(file.fileno())
                    done[split] = min(first + batch, len(starts))
                    write_whole(partial / PROGRESS, json.dumps(done))

    @torch.no_grad()
    def _kept(self, blocks: Blocks, body: Callable) -> dict[str, np.ndarray]:
        """What is kept of the positions of some blocks, by field."""
        batch = next_token(blocks, 0, 0).to(self.device)
        half = self.precision != "fp32"
        with torch.autocast(self.device.type, FORMATS[self.precision] if half else None, enabled=half):
            signals = self.teachers(batch, self.names, body)
            outputs = {name: signals[name].output.cast() for name in self.names}
        drawn_NK = _uniform(blocks, self.identity).to(self.device)
        size, parts = chunk_size(batch.inputs_BT.numel(), self.identity.vocab_size, self.device), []
        for start in range(0, batch.inputs_BT.numel(), size):
            stop = min(start + size, batch.inputs_BT.numel())
            logits = [output.part(start, stop) for output in outputs.values()]
            parts.append(self._of_target(self._target(logits), drawn_NK[start:stop]))
        return {field: torch.cat([part[field] for part in parts]).cpu().numpy() for field in parts[0]}

    def _target(self, logits: list[Tensor]) -> Tensor:
        """Log-probabilities (C, V) of the one target at its temperature."""
        temperature = torch.tensor(self.identity.temperature, device=self.device)
        shares_K = torch.tensor(self.identity.shares, device=self.device)
        return combined_NV(self.identity.combine, logits, shares_K, temperature)

    def _of_target(self, target_CV: Tensor, uniform_CK: Tensor) -> dict[str, Tensor]:
        """Of log-probabilities (C, V) what is kept."""
        if self.identity.kind == "drawn":
            # in integers: on a GPU the sums of floating-point numbers depend on the order in which they are formed
            cumulated_CV = (target_CV.double().exp() * ONE).long().cumsum(-1)
            drawn_CK = (uniform_CK * cumulated_CV[:, -1:]).long()
            places_CK = torch.searchsorted(cumulated_CV, drawn_CK, right=True)
            entropy_C1 = -(target_CV.exp() * target_CV).sum(-1, keepdim=True)
            return {"ids": places_CK.clamp_max(self.identity.vocab_size - 1), "rest": entropy_C1}
        top_CK, ids_CK = target_CV.topk(self.identity.count, dim=-1)
        rest_C1 = target_CV.scatter(-1, ids_CK, -torch.inf).logsumexp(-1, keepdim=True)
        return {
            "ids": ids_CK,
            "probs": top_CK.exp().clamp_min(SMALLEST),
            "rest": rest_C1.clamp_min(LEAST_REST),
        }

    def _bytes(self) -> int:
        blocks = sum(len(starts) for starts in self.starts.values())
        return blocks * self.identity.seq_len * self.identity.bytes_per_token

    def _say_size(self, partial: Path) -> None:
        """Say what the cache will take before the pass begins; UserError if the disk has no room for it."""
        there = sum(file.stat().st_size for file in partial.glob("*.bin"))
        needed, free = self._bytes() - there, shutil.disk_usage(partial).free
        identity, blocks = self.identity, len(self.starts["train"])
        what = f"{identity.kind} {identity.count} of {', '.join(self.names)}"
        where = f"{blocks:,} blocks, offsets: {identity.layouts}"
        size = f"{identity.bytes_per_token} bytes a token, {self._bytes() / 1e6:,.1f} MB"
        print(f"{self.folder}: {what}, {where}, {size}", flush=True)
        if needed > free:
            raise UserError(
                f"{self.folder} needs {needed / 1e6:,.0f} MB more and the disk has {free / 1e6:,.0f}: make room, or "
                "keep fewer tokens or offsets"
            )


def _uniform(blocks: Blocks, identity: Identity) -> Tensor:
    """(N, K) numbers in [0, 1) from the teachers and the place of each block alone, so that a pass in other steps draws
    the same, and one of other teachers does not.
    """
    if identity.kind != "drawn":
        return torch.empty(blocks.starts.size * identity.seq_len, 0)
    split = ("train", "dev").index(blocks.split)
    teachers = int(hashlib.sha256("".join(identity.teachers.values()).encode()).hexdigest(), 16)
    rows = [
        np.random.Generator(np.random.Philox(np.random.SeedSequence([teachers, split, int(start)]))).random(
            (identity.seq_len, identity.count)
        )
        for start in blocks.starts
    ]
    return torch.from_numpy(np.concatenate(rows))

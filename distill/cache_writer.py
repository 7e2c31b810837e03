"""Writes a cache of soft targets: one pass of frozen teachers over all blocks that a run's batches can have.

Blocks are read in the order of the text, a fixed number at a time, and what is kept of them is appended to a plain file
in a folder that bears another name until it is complete. How far the file is flushed to the disk is written down now
and then: a pass that was killed cuts it back to there and goes on to the same bytes.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import logging

from babylm_data.disk import room_advice
from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON, utf8_text
from babylm_data.fingerprint import fingerprint
from babylm_data.memory import keep_freed_memory, memory_advice
from babylm_data.provenance import command_line
from babylm_data.sealed import LOCK, lock, seal, write_whole
from babylm_data.speed import FORMATS
from babylm_data.status import STATUS_FILE, tell
from babylm_data.stopping import Stopped, asked, saving_first
from babylm_data.tokens import Batches, Blocks, generator, held_out, open_data, open_tokens
from distill.config import DistillConfig, partial_of
from distill.losses import ONE
from distill.soft import combined_NV
from distill.soft_targets import (
    FORMAT,
    MANIFEST,
    SPLITS,
    Identity,
    identity_from,
    identity_of,
    refuse_other_cache,
)
from distill.teachers import Teachers, folder_of
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
from train_teachers.pretrained import model_hash, weights_of
from train_teachers.targets import NEXT_TOKEN
from train_teachers.tracking import progress_bar

TOKENS_WITHOUT_GRADIENT = 16_384  # of a forward pass on a GPU
PROGRESS = "progress.json"
SMALLEST = 6e-8  # probability above 0 in half precision
LEAST_REST = -60.0  # log of a mass that rounding leaves nothing of


def write_caches(config: DistillConfig) -> None:
    """Write every cache of a config that is not there yet; what is refused without loading is so before the first."""
    if not config.caches:
        raise UserError("no teacher of this config has a cache: give one `cache: {path: …, top: 32}`")
    logging.disable_progress_bar()  # of the loading: a blink, and noise in a log
    open_data(config.data.path)
    keep_freed_memory()
    be_deterministic(_device())
    passes = [Pass(config, Path(path), names) for path, names in config.caches.items()]
    left = [each for each in passes if not each.is_complete()]
    for each in left:
        each.say_size()
    refuse_full_disk(left)
    with contextlib.ExitStack() as stack:
        for each in left:
            each.begin(stack)
        for each in left:
            advice = "in the teachers' pass: hold them in bf16 (teachers.NAME.precision)"
            with memory_advice(advice), room_advice(each.folder, each.bytes_left()):
                each.write()
    # of caches that stood already too: whoever wrote them may have been killed before this
    passes[-1].tell_of_all()


def refuse_full_disk(passes: list["Pass"]) -> None:
    """UserError unless their disks have room for all of them."""
    needed: dict[int, int] = defaultdict(int)
    for each in passes:
        free, disk = shutil.disk_usage(each.partial.parent).free, each.partial.parent.stat().st_dev
        needed[disk] += each.bytes_left()
        if needed[disk] > free:
            raise UserError(
                f"{each.folder} needs {each.bytes_left() / 1e6:,.0f} MB more and the disk has "
                f"{max(0, free - needed[disk] + each.bytes_left()) / 1e6:,.0f}: make room, or keep fewer tokens or "
                "offsets"
            )


class Pass:
    """One cache to be written; nothing is loaded before that."""

    def __init__(self, config: DistillConfig, folder: Path, names: list[str]) -> None:
        self.config, self.folder, self.names, data = config, folder, names, Path(config.data.path)
        self.partial = partial_of(folder)
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        self.device, self.tokenizer = _device(), fingerprint(data / "tokenizer")
        self.hashes = {name: model_hash(folder_of(config, name, self.tokenizer)) for name in names}
        self.identity = identity_of(config, names, self.hashes)
        if self.identity.count >= self.identity.vocab_size:
            raise UserError(
                f"a cache of {self.identity.count} tokens a position leaves no others of a vocabulary of "
                f"{self.identity.vocab_size}: keep fewer"
            )
        self.splits = {split: open_tokens(data, split) for split in SPLITS}
        self.batches = Batches(
            self.splits["train"],
            seq_len=config.data.seq_len,
            batch_size=1,
            seed=0,
            layouts=config.data.layouts,
            shuffled=config.data.shuffle_documents,
        )
        self.starts = {
            "train": self.batches.every_start(),
            "dev": held_out(self.splits["dev"], config.data.seq_len, config.data.held_out_sequences).starts,
        }
        self.words_read = self.batches.words_seen(len(self.starts["train"]))  # one epoch at each offset

    def is_complete(self) -> bool:
        """Whether the cache is there; UserError if it is another one, or damaged."""
        if not self.folder.exists():
            return False
        made = refuse_other_cache(self.folder, self.identity)
        if self.config.precision not in ("auto", made["precision"]):
            raise UserError(
                f"{self.folder} was computed in {made['precision']}: leave precision={self.config.precision} away, "
                "or name another folder"
            )
        print(f"{self.folder} is complete: delete it to write it again")
        return True

    def say_size(self) -> None:
        """What the cache will take."""
        identity, blocks = self.identity, len(self.starts["train"])
        what = f"{identity.kind} {identity.count} of {', '.join(self.names)}"
        where = f"{blocks:,} blocks, offsets: {identity.layouts}{', shuffled' if identity.shuffled else ''}"
        size = f"{identity.record.itemsize} bytes a token, {self._bytes() / 1e6:,.1f} MB"
        print(f"{self.folder}: {what}, {where}, {size}", flush=True)

    def bytes_left(self) -> int:
        """What it will take that an earlier start has not written."""
        return self._bytes() - sum(file.stat().st_size for file in self.partial.glob("*.bin"))

    def _bytes(self) -> int:
        return sum(self.identity.bytes_of(len(starts)) for starts in self.starts.values())

    def begin(self, stack: contextlib.ExitStack) -> None:
        """Take the folder, for as long as `stack` is open, and see how far an earlier start came in it."""
        self.partial.mkdir(exist_ok=True)
        stack.enter_context(contextlib.closing(lock(self.partial / LOCK)))
        self.done = self._begun()
        self._tell()

    def write(self) -> None:
        """Do what is left of it."""
        if self.is_complete():  # by another process, meanwhile
            shutil.rmtree(self.partial, ignore_errors=True)
            return
        made = self._load()
        for split in SPLITS:
            starts = io.BytesIO()  # into a file NumPy would write it so that a full disk is not noticed
            np.save(starts, self.starts[split])
            (self.partial / f"{split}.starts.npy").write_bytes(starts.getvalue())
            self._write_split(split)
        content = {"format": FORMAT, "identity": asdict(self.identity), "made": made}
        write_whole(self.partial / MANIFEST, json.dumps(content, indent=1) + "\n")
        (self.partial / STATUS_FILE).unlink(missing_ok=True)
        seal(self.partial)
        # a pass that was killed before this finds all blocks done, and seals again
        os.rename(self.partial, self.folder)
        (self.folder / LOCK).unlink()
        print(f"{self.folder}: {self._bytes() / 1e6:,.1f} MB")

    def _load(self) -> dict:
        """The teachers, in the form in which they are fast; what a reader of the cache should know of its making."""
        config = self.config
        alone = {name: config.teachers[name].model_copy(update={"cache": None}) for name in self.names}
        of_these = config.model_copy(update={"teachers": alone})
        self.teachers = Teachers(of_these, self.tokenizer, self.identity.vocab_size, self.device)
        for name, hashed in self.hashes.items():
            if self.teachers.sources[f"teacher {name}"] != weights_of(hashed):
                raise UserError(f"teacher '{name}' has changed since this pass began: start it again")
        models = self.teachers.models.values()
        tokens = len(self.starts["train"]) * self.identity.seq_len
        flops = 2.0 * tokens * sum(num_parameters(model)[0] for model in models)
        for model in models:
            choose_attention(model, self.precision, self.device)
        self.bodies = compiled_bodies(models) if choose_compile(config.compile, flops) else {}
        return {
            "started": self.done["started"],
            "command": self.done["command"],
            "paths": [teacher.path for teacher in alone.values()],
            "precision": self.precision,
            "words_read": self.words_read,
            "flops": flops,
        }

    def _begun(self) -> dict:
        """How far an earlier start came, in which steps and format it went; UserError if it was another pass."""
        asked = self.config.precision
        self.precision = choose_formats(asked)["precision"]
        tokens = CPU_TOKENS[self.precision] if self.device.type == "cpu" else TOKENS_WITHOUT_GRADIENT
        batch = max(1, tokens // self.identity.seq_len)
        fresh = {"identity": asdict(self.identity), "precision": self.precision, "batch": batch}
        fresh |= {"started": datetime.now(UTC).isoformat(timespec="seconds"), "command": command_line()}
        fresh |= dict.fromkeys(SPLITS, 0)
        try:
            found = json.loads(utf8_text(self.partial / PROGRESS, "write the cache again"))
            identity = identity_from(found["identity"])
        except (OSError, *BAD_JSON, KeyError, TypeError):  # none, or of another version
            return fresh
        unfinished, remedy = f"the unfinished {self.partial}", "go on with its config, or delete it"
        self.identity.refuse_other(identity, unfinished, remedy)
        if asked not in ("auto", found["precision"]):
            raise UserError(
                f"{self.partial} was begun in {found['precision']}: go on with precision={found['precision']}, or "
                "delete it"
            )
        self.precision = found["precision"]
        # somebody may have cleared up
        there = all(_size(self.partial / f"{s}.bin") >= self.identity.bytes_of(found[s]) for s in SPLITS)
        return found if there else found | dict.fromkeys(SPLITS, 0)

    def _write_split(self, split: str) -> None:
        """The blocks of a split from number `done[split]` on."""
        starts, done = self.starts[split], self.done
        batch = done["batch"]
        with (
            open(self.partial / f"{split}.bin", "ab") as file,
            progress_bar(len(starts), done[split], "blocks", desc=f"{self.folder.name}, {split}") as bar,
            contextlib.ExitStack() as unsaved,
        ):
            file.truncate(self.identity.bytes_of(done[split]))
            begun_at, flushed_at = done[split], time.monotonic()
            for first in range(begun_at, len(starts), batch):
                blocks = self._blocks(split, starts[first : first + batch])
                file.write(self._kept(blocks, compiled=len(blocks.starts) == batch).tobytes())
                if first == begun_at:  # until then there is nothing to save
                    unsaved.enter_context(saving_first())
                bar.update(len(blocks.starts))
                ends, stopping = first + batch >= len(starts), asked()
                if ends or stopping or time.monotonic() - flushed_at > self.config.checkpoint_seconds:
                    file.flush()
                    os.fsync(file.fileno())
                    done[split], flushed_at = min(first + batch, len(starts)), time.monotonic()
                    write_whole(self.partial / PROGRESS, json.dumps(done))
                    self._tell()
                if stopping:
                    bar.close()
                    raise Stopped(
                        f"stopped at block {done[split]} of {len(starts)}: the same command goes on"
                    )

    def _blocks(self, split: str, starts: np.ndarray) -> Blocks:
        if split == "train":
            return self.batches.blocks(starts)
        return Blocks.at(self.splits[split], starts, self.identity.seq_len)

    def tell_of_all(self) -> None:
        """That nothing is left to do; not in the folder, which is sealed and has no status.json."""
        tell(None, "cache", self.folder.name, self._blocks_in_all(), self._blocks_in_all(), goes_on=False)

    def _tell(self) -> None:
        """How many blocks are on the disk."""
        done = sum(self.done[split] for split in SPLITS)
        tell(self.partial, "cache", self.folder.name, done, self._blocks_in_all(), goes_on=True)

    def _blocks_in_all(self) -> int:
        return sum(map(len, self.starts.values()))

    @torch.no_grad()
    def _kept(self, blocks: Blocks, *, compiled: bool) -> np.ndarray:
        """What is kept of the positions of some blocks: an array of records.

        `compiled`: with compiled code, where there is any; for the last few blocks nothing is compiled anew.
        """
        bodies: dict[int, Callable] = self.bodies if compiled else {}
        batch, half = NEXT_TOKEN.of_items(blocks).to(self.device), self.precision != "fp32"
        with torch.autocast(self.device.type, FORMATS[self.precision] if half else None, enabled=half):
            signals = self.teachers(batch, self.names, lambda model: bodies.get(id(model), model.base_model))
            outputs = [signals[name].output.cast() for name in self.names]
        drawn_NK = _uniform(blocks, self.identity).to(self.device)
        count, identity = batch.inputs_BT.numel(), self.identity
        size, parts = chunk_size(count, identity.vocab_size, self.device), []
        for start in range(0, count, size):
            stop = min(start + size, count)
            logits = [output.part(start, stop) for output in outputs]
            parts.append(self._of_target(self._target(logits), drawn_NK[start:stop]))
        kept_N = np.empty(count, identity.record)
        for field in identity.record.names:
            kept_N[field] = torch.cat([part[field] for part in parts]).cpu().numpy()
        if not np.isfinite(kept_N["rest"]).all():
            raise UserError(
                f"{', '.join(self.names)}: not finite at some positions of {blocks.split} in {self.precision}: delete "
                f"{self.partial}, and compute in a wider format (precision=bf16 or fp32) or train that teacher again"
            )
        return kept_N

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
            entropy_C = -(target_CV.exp() * target_CV).sum(-1)
            return {"ids": places_CK.clamp_max(self.identity.vocab_size - 1), "rest": entropy_C}
        top_CK, ids_CK = target_CV.topk(self.identity.count, dim=-1)
        rest_C = target_CV.scatter(-1, ids_CK, -torch.inf).logsumexp(-1)
        return {
            "ids": ids_CK,
            "probs": top_CK.exp().clamp_min(SMALLEST),
            "rest": rest_C.clamp_min(LEAST_REST),
        }


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def _uniform(blocks: Blocks, identity: Identity) -> Tensor:
    """(N, K) numbers in [0, 1) from the teachers and the place of each block alone, so that a pass in other steps draws
    the same, and one of other teachers does not.
    """
    if identity.kind != "drawn":
        return torch.empty(blocks.starts.size * identity.seq_len, 0)
    split = SPLITS.index(blocks.split)
    teachers = int(hashlib.sha256("".join(identity.teachers).encode()).hexdigest(), 16)
    rows = [
        generator([teachers, split, int(start)]).random((identity.seq_len, identity.count))
        for start in blocks.starts
    ]
    return torch.from_numpy(np.concatenate(rows))

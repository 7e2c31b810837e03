"""From a config to a finished run folder: what every training stage does around the loop.

Everything that can be refused is refused before the first step: data, teachers, shapes, a run folder that holds
something else, a loss without a gradient.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel, PreTrainedTokenizerBase, logging

from babylm_data.errors import UserError
from babylm_data.files import json_table
from babylm_data.fingerprint import fingerprint
from babylm_data.hub import find_folder
from babylm_data.memory import keep_freed_memory, memory_advice
from babylm_data.models import read_config as read_model_config
from babylm_data.provenance import command_line
from babylm_data.sealed import SEAL, sha256
from babylm_data.speed import describe_rates
from babylm_data.stopping import Stopped
from babylm_data.tokenizer_files import load_tokenizer
from babylm_data.tokens import Batches, Blocks, held_out, open_data, open_tokens
from babylm_data.words import check_exposure, check_last_step, load_track
from train_teachers.audit import Finding, audit, audit_table
from train_teachers.checkpoint import export
from train_teachers.config import TrainConfig
from train_teachers.device import (
    AVERAGED,
    WHOLE,
    Manner,
    be_deterministic,
    choose_attention,
    choose_compile,
    choose_formats,
    choose_micro_batch,
    refuse_absent_format,
)
from train_teachers.estimate import training_flops
from train_teachers.language_model import build, build_from, checkpoint_activations, num_parameters
from train_teachers.loop import Progress, train
from train_teachers.objective import Objective
from train_teachers.pretrained import (
    kind_of,
    load_pretrained,
    refuse_other_mask,
    refuse_other_tokenizer,
    weights_hash,
)
from train_teachers.revisions import RevisionWriter, due_revisions, told
from train_teachers.run import Run, begun, finished
from train_teachers.sharding import engine, refuse_other_engines, whole_weights
from train_teachers.targets import Targets, targets_of
from train_teachers.tracking import wandb_mode

AUDIT_SEQUENCES = 4
EPOCHS_A_STEP = 100  # beyond that a step is a slip of the pen
EPOCHS_A_RUN = 10_000  # and a run
INIT_ABSENT = "init: {} does not exist: train it first"


class MakeObjective(Protocol):
    """What makes the objective, once there is a student."""

    def __call__(
        self, student: PreTrainedModel, fingerprint: str, device: torch.device, *, targets: Targets
    ) -> Objective:
        """From the student, the fingerprint of its tokenizer, the device, and what is asked."""


def run_training(
    config: TrainConfig, *, kind: str, make_objective: MakeObjective, extra: Callable[[], dict] = dict
) -> None:
    """Train `config` into runs/<name>/ as a `kind` ("teacher", "student", "control").

    What `extra` gives, asked before the first step, goes into the summary.
    """
    with memory_advice(_smaller(config)):
        try:
            ready = Ready(config, make_objective)
        except UserError as error:
            if not finished(config):
                raise
            print(f"runs/{config.name} is finished already; to train it again would not work: {error}")
            return
        accelerator = ready.accelerator
        with accelerator.main_process_first():
            run = Run(config, ready.inputs, kind=kind, owner=accelerator.is_main_process)
        with parting(accelerator), contextlib.closing(run):
            if finished_with := run.summary:
                if accelerator.is_main_process:
                    run.tell(finished_with["steps"], finished_with["steps"], goes_on=False)
                accelerator.print(f"{run.folder} is finished already: delete it to train again")
                return
            findings, beside = ready.audit(AUDIT_SEQUENCES), extra()
            if accelerator.is_main_process:
                run.write_json("audit.json", {name: asdict(finding) for name, finding in findings.items()})
                print(ready.describe(findings), flush=True)
            ready.student.train()
            tokenizer = Path(config.data.path) / "tokenizer"
            progress = train(
                ready.student,
                ready.objective,
                ready.batches,
                ready.held_out,
                config,
                run,
                accelerator,
                manner=ready.manner,
                revisions=RevisionWriter(
                    run.folder / "revisions",
                    ready.revisions,
                    tokenizer,
                    owner=accelerator.is_main_process,
                ),
            )
            weights = whole_weights(ready.student, keep=accelerator.is_main_process)
            if accelerator.is_main_process:
                export(ready.student, tokenizer, run.folder / "export", weights=weights)
                summary = _summary(ready, run, progress) | beside
                run.write_json("summary.json", summary)
                run.tell(progress.step, progress.step, goes_on=False)
                print(f"{run.name}: held-out hard loss {summary['val/hard']:.4f} nats per token")


@contextlib.contextmanager
def parting(accelerator: Accelerator) -> Iterator[None]:
    """Have the processes leave each other where all have come to an end, or were stopped.

    Else the threads by which they talk are still there when a process ends, which now and then aborts it, and whoever
    launched them takes that for a failure and kills the others.
    """
    try:
        yield
    except Stopped:
        accelerator.end_training()
        raise
    accelerator.end_training()


def check(config: TrainConfig, make_objective: MakeObjective) -> None:
    """Load everything, audit one sequence, say what was found, and write nothing."""
    with memory_advice(_smaller(config)):
        ready = Ready(config, make_objective)
        ready.accelerator.print(ready.describe(ready.audit(1)))


def _smaller(config: TrainConfig) -> str:
    size = config.micro_batch_size
    if size == "auto":
        return (
            "with micro_batch_size: auto: lower micro_batch_size to a number (--check tells what auto gives)"
        )
    return f"with {size or config.batch_size} sequences a forward pass: lower micro_batch_size"


class Ready:
    """All that a run needs, loaded and found good: what can be refused is refused here."""

    def __init__(self, config: TrainConfig, make_objective: MakeObjective) -> None:
        refuse_other_engines()
        logging.disable_progress_bar()  # of loading and saving: a blink, and noise in a log
        self.config, data = config, Path(config.data.path)
        if config.wandb:
            wandb_mode(config)
        manifest = open_data(data)
        self.track = load_track(manifest["track"])
        self.words_before = words_of_init(config) if config.init else 0
        corpus = manifest["splits"]["train"]["words"]
        if config.competition:
            check_exposure(self.track, corpus, config.data.words, self.words_before)
        self.batches, self.held_out = batches_of(config), _held_out(config)
        if config.batch_size > EPOCHS_A_STEP * self.batches.sequences_per_epoch:
            raise UserError(
                f"batch_size {config.batch_size:,} is over {EPOCHS_A_STEP} times the "
                f"{self.batches.sequences_per_epoch:,} sequences of {config.data.seq_len} tokens that the text has: "
                "lower it"
            )
        if config.data.words > EPOCHS_A_RUN * max(1, corpus):
            raise UserError(
                f"data.words {config.data.words:,} is over {EPOCHS_A_RUN:,} times the {corpus:,} words that the text "
                "has: lower it"
            )
        self.steps = self.batches.steps_for(config.data.words)
        if config.competition:
            ends_at = self.words_before + self.batches.words_seen(self.steps)
            check_last_step(self.track, corpus, ends_at, self.batches.words(self.steps - 1))
        scale = config.words_scale
        self.revisions = (
            due_revisions(self.track, self.batches, self.steps, scale, self.words_before)
            if config.revisions
            else []
        )
        keep_freed_memory()
        be_deterministic(PartialState(cpu=not torch.cuda.is_available()).device)
        decided = _decided(config)
        self.accelerator = _accelerator(config, decided["precision"])
        tokenizer = load_tokenizer(data / "tokenizer")
        with memory_advice("for the model itself: lower the sizes below model:"):
            self.student, origin = _student(config, tokenizer)
        self.student.to(self.accelerator.device)
        if config.gradient_checkpointing:
            checkpoint_activations(self.student)
        self.objective = make_objective(
            self.student,
            fingerprint(data / "tokenizer"),
            self.accelerator.device,
            targets=targets_of(config.targets, tokenizer),
        )
        self.objective.to(self.accelerator.device)
        if config.targets.reads != "both":  # where a mask says which token sees which
            for model in (self.student, *self.objective.frozen):
                choose_attention(model, decided["precision"], self.accelerator.device)
        sequences, length = self.steps * config.batch_size, config.data.seq_len
        tokens = sequences * length
        judged = self.objective.judged(sequences, length) / tokens
        self.flops = training_flops(config, tokens, self.student, judged=judged)
        self.flops += tokens * self.objective.flops_per_token
        self.manner = self._manner(decided)
        self.inputs = {
            "data": sha256(data / SEAL),
            **self.manner.record,
            **origin,
            **self.objective.sources,
        }
        if "micro_batch_size" not in config.may_change:  # which then is a part of what a process sees
            self.inputs["processes"] = str(self.accelerator.num_processes)

    def _manner(self, decided: dict[str, str]) -> Manner:
        """What was decided before, or is now."""
        config, share = self.config, self.config.batch_size // self.accelerator.num_processes
        begun = {"True": True, "False": False}.get(decided.get("compiled"))
        micro, how = config.micro_batch_size, engine()
        if micro == "auto" and "micro_batch_size" not in config.may_change:
            micro = None  # a loss looks at all that is seen together
        if micro == "auto":
            count, mean = self.accelerator.num_processes, AVERAGED * bool(config.averaging)
            weights = how.bytes_a_parameter(count) + mean / count if how else WHOLE + mean
            micro = int(decided.get("micro_batch_size", 0)) or choose_micro_batch(
                share,
                config.data.seq_len,
                self.student,
                self.objective.frozen,
                decided["precision"],
                bytes_a_parameter=weights,
            )
        return Manner(
            precision=decided["precision"],
            muon=decided["muon"],
            compiled=choose_compile(config.compile, self.flops, begun=begun),
            micro_batch_size=micro or share,
        )

    def audit(self, sequences: int) -> dict[str, Finding]:
        """The gradient audit on so many held-out sequences."""
        batch = self.objective.targets.of_items(self.held_out.some(sequences)).to(self.accelerator.device)
        # in fp16 a sum over tokens could overflow, which in training the scaler sees to
        autocast = contextlib.nullcontext if self.manner.precision == "fp16" else self.accelerator.autocast
        return audit(self.student, self.objective, batch, autocast=autocast)

    def describe(self, findings: dict[str, Finding]) -> str:
        """The run in one line, its audit as a table, and which revisions it will write, where it is asked to."""
        parameters = num_parameters(self.student)[0]
        shape = f"{self.config.model.family}, {parameters:,} parameters, {self.steps:,} steps"
        manner, device = self.manner, self.accelerator.device
        muon = f", Muon in {manner.muon}" if self.config.optim.optimizer == "muon" else ""
        how = f"{manner.precision}{muon}{', compiled' if manner.compiled else ''}"
        how += f"{', in shards' if engine() else ''}, on {device}"
        seen = f"{manner.micro_batch_size} sequences a forward pass, {describe_rates(device.type)}"
        lines = [f"{self.config.name}: {shape}, {how}", seen, *self.objective.notes, audit_table(findings)]
        if self.config.averaging:
            lines.append(f"exported is the {self.config.averaging}")
        if self.config.revisions:
            words = (self.words_before or 0) + self.batches.words_seen(self.steps)
            lines.append(told(self.revisions, self.track, words, self.config.words_scale))
        return "\n".join(lines)


def _student(
    config: TrainConfig, tokenizer: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, dict[str, str]]:
    """The model at the start of the run, and the hash of what its weights come from, if not from the seed."""
    place, asked = Path(config.data.path) / "tokenizer", config.data.vocab_size
    if asked and len(tokenizer) != asked:
        raise UserError(
            f"{place} has {len(tokenizer)} entries, data.vocab_size says {asked}: "
            f"prepare the data with --vocab-size {asked}, or change it here"
        )
    if config.init is None:
        return build(config.model, tokenizer, seed=config.seed), {}
    folder = find_folder(config.init.path, absent=INIT_ABSENT.format(config.init.path))
    what = f"init ({config.init.path})"
    refuse_other_tokenizer(folder, fingerprint(place), what)
    if config.targets.reads != "causal":
        refuse_other_mask(folder, place, what)
    if (there := read_model_config(folder).model_type) != config.model.family:
        raise UserError(f"init: {config.init.path} is a {there}, model.family says {config.model.family}")
    student = build_from(
        load_pretrained(folder, kind=kind_of(config.targets.reads)),
        config.model,
        config.init,
        entries=len(tokenizer),
        seed=config.seed,
    )
    return student, {"init": weights_hash(folder)}


def words_of_init(config: TrainConfig) -> int | None:
    """Words of exposure that the first weights had before this run; outside the competition None if nobody knows."""
    folder = find_folder(config.init.path, absent=INIT_ABSENT.format(config.init.path))
    words = _exposure_of(folder)
    if words is None and config.competition:
        raise UserError(
            f"nobody can count the words that init ({config.init.path}) has read: "
            "set competition=false, a run outside the competition"
        )
    return words


def _exposure_of(folder: Path) -> int | None:
    """What a revision says of itself, or a run of its export; None where nothing says it, or where it was not known."""
    if revision := json_table(folder / "exposure.json"):
        return None if revision.get("words_before", 0) is None else revision.get("words_seen")
    run = json_table(folder.parent / "summary.json") or {}
    before, seen = run.get("words_before", 0), run.get("words_seen")
    return None if None in (before, seen) else before + seen


def batches_of(config: TrainConfig) -> Batches:
    """What the config trains on."""
    data = config.data
    return Batches(
        open_tokens(Path(data.path), "train"),
        seq_len=data.seq_len,
        batch_size=config.batch_size,
        seed=config.seed,
        layouts=data.layouts,
        shuffled=data.shuffle_documents,
    )


def _held_out(config: TrainConfig) -> Blocks:
    """The sequences that the config is watched on."""
    data = config.data
    return held_out(open_tokens(Path(data.path), "dev"), data.seq_len, data.held_out_sequences)


def _decided(config: TrainConfig) -> dict[str, str]:
    """What the first start of this run decided, else what this machine is best at; the same on every process."""
    refuse_absent_format(config.precision)  # every process for itself: they are about to wait for the first
    here = choose_formats(config.precision) | begun(config) if PartialState().is_main_process else None
    return broadcast_object_list([here])[0]


def _accelerator(config: TrainConfig, precision: str) -> Accelerator:
    """The devices of this run; UserError if the batch cannot be split evenly over its processes."""
    if precision == "fp16" and not torch.cuda.is_available():
        raise UserError("fp16 needs a GPU: write precision: auto, bf16 or fp32, for a new run")
    if engine() and precision == "fp16":
        raise UserError("fp16 is not for parameters in shards: write precision: bf16 or fp32, for a new run")
    mixed = "no" if precision == "fp32" else precision
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)
    if config.batch_size % accelerator.num_processes:
        raise UserError(
            f"batch_size {config.batch_size} is no multiple of {accelerator.num_processes} processes"
        )
    return accelerator


def _summary(ready: Ready, run: Run, progress: Progress) -> dict:
    config = ready.config
    parameters, without_embeddings = num_parameters(ready.student)
    return {
        "name": run.name,
        "kind": run.kind,
        "status": "finished",
        "family": config.model.family,
        "targets": config.targets.kind,
        "reads": config.targets.reads,
        "parameters": parameters,
        "parameters_without_embeddings": without_embeddings,
        "steps": progress.step,
        "words_seen": progress.words_seen,
        "words_before": ready.words_before,
        "words_in_last_step": ready.batches.words(progress.step - 1),
        "tokens_seen": progress.tokens_seen,
        "epochs": progress.step * config.batch_size / ready.batches.sequences_per_epoch,
        "seconds": round(progress.seconds, 1),
        "flops": ready.flops,
        "precision": ready.manner.precision,
        "compiled": ready.manner.compiled,
        "processes": ready.accelerator.num_processes,
        "val/hard": run.last("val/hard"),
        "averaging": str(config.averaging) if config.averaging else None,
        "seed": config.seed,
        "track": ready.track.name,
        "competition": config.competition,
        "words_scale": config.words_scale,
        "revisions": [asdict(revision) for revision in ready.revisions],
        "operational": sorted(config.may_change),
        "data": config.data.path,
        "tokenizer": fingerprint(Path(config.data.path) / "tokenizer"),
        "command": command_line(),
    }

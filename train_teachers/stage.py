"""From a config to a finished run folder: what every training stage does around the loop.

Everything that can be refused is refused before the first step: data, teachers, shapes, a run folder that holds
something else, a loss without a gradient.
"""

import contextlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, logging

from babylm_data.errors import UserError
from babylm_data.provenance import command_line
from babylm_data.sealed import SEAL, sha256
from babylm_data.tokenizer import fingerprint, load_tokenizer
from babylm_data.tokens import Batches, held_out, open_data, open_tokens
from train_teachers.audit import audit, table
from train_teachers.checkpoint import export
from train_teachers.config import TrainConfig
from train_teachers.device import be_deterministic, choose_compile, choose_precision, keep_freed_memory
from train_teachers.language_model import build, num_parameters
from train_teachers.loop import Progress, train
from train_teachers.objective import Batch, Objective
from train_teachers.run import Run

AUDIT_SEQUENCES = 4


def run_training(
    config: TrainConfig,
    *,
    kind: str,
    make_objective: Callable[[PreTrainedModel, str, torch.device], Objective],
    extra: dict | None = None,
) -> None:
    """Train `config` into runs/<name>/ as a `kind` ("teacher", "student", "control").

    `make_objective(student, fingerprint, device)` gets the fingerprint of the student's tokenizer; `extra` goes
    into the summary.
    """
    try:
        _run_training(config, kind, make_objective, extra or {})
    except RuntimeError as error:  # torch.OutOfMemoryError on a GPU; on the CPU it has no class of its own
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        size = config.micro_batch_size or config.batch_size
        raise UserError(
            f"out of memory with {size} sequences a forward pass: lower micro_batch_size"
        ) from None


def _run_training(
    config: TrainConfig,
    kind: str,
    make_objective: Callable[[PreTrainedModel, str, torch.device], Objective],
    extra: dict,
) -> None:
    logging.disable_progress_bar()  # of loading and saving: a blink, and noise in a log
    data = Path(config.data.path)
    open_data(data)
    batches, sequences = _read(config)
    keep_freed_memory()
    be_deterministic()
    precision = choose_precision(config.precision)
    accelerator = _accelerator(config, precision)
    student = build(config.model, load_tokenizer(data / "tokenizer"), seed=config.seed)
    student.to(accelerator.device)
    objective = make_objective(student, fingerprint(data / "tokenizer"), accelerator.device)
    objective.to(accelerator.device)
    flops = _training_flops(config, student, objective, batches)
    compiled = choose_compile(config.compile, flops)
    inputs = {
        "data": sha256(data / SEAL),
        "precision": precision,
        "compiled": str(compiled),
        **objective.sources,
    }
    with accelerator.main_process_first():
        run = Run(config, inputs, kind=kind, owner=accelerator.is_main_process)
    with contextlib.closing(run):
        if run.summary:
            accelerator.print(f"{run.folder} is finished already: delete it to train again")
            return
        sample = torch.from_numpy(sequences[:AUDIT_SEQUENCES]).to(accelerator.device)
        with accelerator.autocast():
            findings = audit(student, objective, Batch.from_sequences(sample))
        if accelerator.is_main_process:
            run.write_json("audit.json", {name: asdict(finding) for name, finding in findings.items()})
            steps, parameters = batches.steps_for(config.data.words), num_parameters(student)[0]
            shape = f"{config.model.family}, {parameters:,} parameters, {steps:,} steps"
            how = f"{precision}{', compiled' if compiled else ''}, on {accelerator.device}"
            print(f"{run.name}: {shape}, {how}\n{table(findings)}", flush=True)
        student.train()
        progress = train(student, objective, batches, sequences, config, run, accelerator, compiled=compiled)
        if accelerator.is_main_process:
            export(student, data / "tokenizer", run.folder / "export")
            chosen = {"precision": precision, "compiled": compiled, "processes": accelerator.num_processes}
            summary = _summary(config, run, student, batches, progress, flops) | chosen | extra
            run.write_json("summary.json", summary)
            print(f"{run.name}: held-out hard loss {summary['val/hard']:.4f} nats per token")


def _read(config: TrainConfig) -> tuple[Batches, np.ndarray]:
    """What the config trains on, and the held-out sequences that it is watched on."""
    data = config.data
    batches = Batches(
        open_tokens(Path(data.path), "train"),
        seq_len=data.seq_len,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    return batches, held_out(open_tokens(Path(data.path), "dev"), data.seq_len, data.held_out_sequences)


def _accelerator(config: TrainConfig, precision: str) -> Accelerator:
    """The devices of this run; UserError if the batch cannot be split evenly over its processes."""
    mixed = "no" if precision == "fp32" else precision
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed)
    if config.batch_size % accelerator.num_processes:
        raise UserError(
            f"batch_size {config.batch_size} is no multiple of {accelerator.num_processes} processes"
        )
    return accelerator


def _training_flops(
    config: TrainConfig, student: PreTrainedModel, objective: Objective, batches: Batches
) -> float:
    """Of the whole run: forward and backward, 6 a token per weight that multiplies, and causal attention
    (Kaplan et al. 2020); and what the objective computes beside.
    """
    shape = config.model
    matrices = num_parameters(student)[1] + shape.hidden_size * student.config.vocab_size
    attention = shape.num_hidden_layers * shape.hidden_size * config.data.seq_len
    tokens = batches.steps_for(config.data.words) * config.batch_size * config.data.seq_len
    return tokens * (6.0 * (matrices + attention) + objective.flops_per_token)


def _summary(
    config: TrainConfig,
    run: Run,
    student: PreTrainedModel,
    batches: Batches,
    progress: Progress,
    flops: float,
) -> dict:
    parameters, without_embeddings = num_parameters(student)
    return {
        "name": run.name,
        "kind": run.kind,
        "status": "finished",
        "family": config.model.family,
        "parameters": parameters,
        "parameters_without_embeddings": without_embeddings,
        "steps": progress.step,
        "words_seen": progress.words_seen,
        "tokens_seen": progress.tokens_seen,
        "epochs": progress.step * config.batch_size / batches.sequences_per_epoch,
        "seconds": round(progress.seconds, 1),
        "flops": flops,
        "val/hard": run.last("val/hard"),
        "seed": config.seed,
        "data": config.data.path,
        "tokenizer": fingerprint(Path(config.data.path) / "tokenizer"),
        "command": command_line(),
    }

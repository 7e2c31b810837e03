"""A student beside its control and teachers, looked at from all sides and written down: RUN/probe/probe.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from babylm_data.errors import UserError
from babylm_data.models import longest_input
from babylm_data.provenance import processor
from babylm_data.sealed import write_whole
from eval.probe.alikeness import calibration, cka_table, lay_out
from eval.probe.pace import pace
from eval.probe.passages import read_passages
from eval.probe.probed import FILE, FORMAT
from eval.probe.readings import Reading, read_all
from eval.probe.subjects import Subject, subjects_of
from eval.results.request import Request, changed
from eval.sample.writer import Manner, Writer
from eval.scorer.model import load_for_scoring, model_sha256

LENGTH = 128  # tokens of a passage, or as many as the shortest model reads
STATES, DRAWN = 1000, 120
"""Positions whose hidden states are compared, and those of them that are drawn."""
MOST_LAYERS = 6  # of the student that are drawn
PROMPTS = ("The little girl", "Once upon a time", "I don't think that", "What did you")


@dataclass(frozen=True)
class ProbeRequest(Request):
    """What one call looks at."""

    PROGRAM = "eval.probe"
    run: Path
    """A finished run's folder."""
    text: tuple[str, ...] = ()
    """Files and folders of held-out text; none: the test split of the run's data."""
    prompt: tuple[str, ...] = PROMPTS
    """What models write on from."""
    passages: int = 64
    """How many passages are read."""
    device: str = "auto"

    def _words(self) -> list[str]:
        words = [str(self.run), *(["--text", *self.text] if self.text else [])]
        if self.prompt != PROMPTS:
            words += [word for prompt in self.prompt for word in ("--prompt", prompt)]
        return words + changed(self, ("passages", "device"))


def probe(request: ProbeRequest) -> dict:
    """Look at a run and write what was found beside it; UserError for one that cannot be looked at."""
    subjects, left_out, data = subjects_of(request.run)
    loaded = {
        one.name: load_for_scoring(one.folder, device=request.device, backend=one.backend) for one in subjects
    }
    left_out += refuse_unlike(subjects, loaded)
    subjects = [one for one in subjects if one.name in loaded]
    models = {name: model for name, (model, _) in loaded.items()}
    student, tokenizer = subjects[0], loaded[subjects[0].name][1]
    length = min([LENGTH, *(longest for model in models.values() if (longest := longest_input(model)))])
    texts = list(request.text) or [str(data / "text" / "test")]
    passages = read_passages(
        texts, tokenizer, count=request.passages, length=length, masked=student.backend == "mlm"
    )
    teachers = [one.name for one in subjects if one.role == "teacher" and one is not student]
    readings = read_all(models, teachers, passages, positions=STATES)
    found = {
        "format": FORMAT,
        "command": request.command,
        "device": str(next(iter(models.values())).device),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "left_out": left_out,
        "text": {"paths": texts, "passages": len(passages.ids_ST), "length": length},
        "positions": sum(map(len, readings[student.name].nats)),
        "states": min(STATES, sum(len(layers[0]) for layers in readings[student.name].states)),
        "drawn": DRAWN,
        "masked": student.backend == "mlm",
        "models": [described(one, readings[one.name]) for one in subjects],
        "alikeness": alikeness(subjects, readings),
    }
    del models, loaded
    for described_one, one in zip(found["models"], subjects, strict=True):
        if one.role != "early":
            described_one["pace"] = pace(one.folder, one.backend, request.device)
    found["samples"] = samples(subjects, request)
    (request.run / FILE).parent.mkdir(exist_ok=True)
    write_whole(request.run / FILE, json.dumps(found, ensure_ascii=False) + "\n")
    return found


def refuse_unlike(subjects: list[Subject], loaded: dict) -> list[str]:
    """Take out of `loaded` who has another vocabulary than the student, or is asked another way: a line for each."""
    student, *others = subjects
    words, lines = loaded[student.name][1].get_vocab(), []
    for one in others:
        if one.backend != student.backend:
            lines.append(f"{one.name}: it is asked as {one.backend}, {student.name} as {student.backend}")
        elif loaded[one.name][1].get_vocab() != words:
            lines.append(f"{one.name}: it has another vocabulary than {student.name}")
        else:
            continue
        del loaded[one.name]
    return lines


def described(one: Subject, reading: Reading) -> dict:
    """What a model says, in numbers, and how near that is to each teacher."""
    nats_N, confidence_N = np.concatenate(reading.nats), np.concatenate(reading.confidence)
    right_N = nats_N <= -np.log(confidence_N) + 1e-6  # the target is the likeliest, or as likely
    error, bins = calibration(confidence_N, right_N)
    return {
        "name": one.name,
        "role": one.role,
        "words": one.words,
        "model_sha256": model_sha256(one.folder),
        "nats": float(nats_N.mean()),
        "right": float(right_N.mean()),
        "confidence": float(confidence_N.mean()),
        "calibration_error": error,
        "bins": bins,
        "from_teachers": {
            name: float(np.concatenate(values).mean()) for name, values in reading.from_teachers.items()
        },
    }


def alikeness(subjects: list[Subject], readings: Mapping[str, Reading]) -> dict[str, dict]:
    """By teacher: how often each other model finds the same token likeliest, the CKA of all layers, and some layers
    of the student laid out in one plane with the teacher's.
    """
    found = {}
    layers = {one.name: readings[one.name].layers() for one in subjects}
    likeliest = {one.name: np.concatenate(readings[one.name].likeliest) for one in subjects}
    for teacher in (one for one in subjects[1:] if one.role == "teacher"):
        others = [one for one in subjects if one.role != "teacher"]
        theirs = layers[teacher.name]
        found[teacher.name] = {
            "same_likeliest": {
                one.name: float((likeliest[one.name] == likeliest[teacher.name]).mean()) for one in others
            },
            "cka": {one.name: cka_table(layers[one.name], theirs) for one in others},
            "planes": [
                plane(one.name, number, layers[one.name], theirs)
                for one in others
                if one.role != "control"
                for number in drawn_layers(len(layers[one.name]) - 1)
            ],
        }
    return found


def drawn_layers(count: int) -> list[int]:
    """At most MOST_LAYERS of the layers 1 to `count`, spread evenly, the last among them."""
    shown = min(count, MOST_LAYERS)
    return [round(count * (number + 1) / shown) for number in range(shown)]


def plane(name: str, number: int, mine: list[np.ndarray], theirs: list[np.ndarray]) -> dict:
    """A layer of a model and the layer of its teacher that lies as deep, by t-SNE."""
    depth = round(number * (len(theirs) - 1) / (len(mine) - 1))
    points = lay_out(mine[number][:DRAWN], theirs[depth][:DRAWN])
    placed = [[[round(float(x), 1), round(float(y), 1)] for x, y in side] for side in points]
    return {"model": name, "layer": number, "teacher_layer": depth, "points": placed[0], "teacher": placed[1]}


def samples(subjects: list[Subject], request: ProbeRequest) -> list[dict]:
    """What the models that write from left to right make of each prompt."""
    writers = {
        one.name: Writer(str(one.folder), request.device)
        for one in subjects
        if one.backend == "causal" and one.role != "early"
    }
    if not writers:
        return []
    manner, found = Manner(tokens=40), []
    for prompt in request.prompt:
        try:
            texts = {name: writer(prompt, manner) for name, writer in writers.items()}
        except UserError as error:  # a prompt that has no room
            raise UserError(f"--prompt {prompt!r}: {error}") from None
        found.append({"prompt": prompt, "texts": texts})
    return found

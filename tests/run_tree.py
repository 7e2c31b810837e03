"""A small synthetic runs/ tree in the kit's own file formats, for the tests of the report and the bundle."""

import json
import math
from pathlib import Path

import numpy as np

from babylm_data.sealed import SEAL, sealed_folder, sha256
from eval.results.scores import ScoreFile, measured_on, task_key
from eval.scorer.items import Choice, Item
from eval.scorer.model import model_sha256, weights_sha256
from eval.tasks.choices import Choices
from eval.tasks.perplexity import rates

START = ("started", "command", "commit", "dirty", "device", "threads")
NURSERY_TASKS = {
    "nursery": {
        "agreement": {"agreement_plain": 200, "agreement_over_preposition": 200},
        "questions": {"do_support": 150},
    }
}
TEXTS = {"dev/nursery.txt": 15_000, "test/nursery.txt": 15_100}
PREPARED = "python -m babylm_data --source nursery --out runs/nursery-data"
BASE = {"nursery-llama": 0.84, "nursery-gpt2": 0.8, "nursery": 0.86, "nursery-control": 0.82}


def write_runs(
    runs: Path,
    *,
    tasks: dict = NURSERY_TASKS,
    texts: dict = TEXTS,
    base: dict = BASE,
    sources: tuple = ("nursery",),
    words: int = 300_000,
    exposure: int = 1_200_000,
    steps: int = 400,
) -> Path:
    """Write data, teachers, student and control (the last two of `base`); return the student's folder."""
    rng = np.random.default_rng(0)
    *teachers, student, control = base
    train = {"words": words, "tokens": int(1.3 * words), "documents": words // 50}
    train["sources"] = {
        name: {
            "words": words // len(sources),
            "documents": 9,
            "files": [{"name": f"{name}.train", "sha256": name}],
        }
        for name in sources
    }
    data = write_data(runs / f"{student}-data", train)
    uids = [(task, uid) for task, terms in tasks.items() for term in terms.values() for uid in term]
    shifts = {key: rng.normal(0, 0.1) for key in uids}
    for order, (name, level) in enumerate(base.items()):
        run = runs / name
        summary = {
            "name": name, "kind": {student: "student", control: "control"}.get(name, "teacher"), "seed": 0,
            "operational": ["checkpoint_seconds", "log_every", "micro_batch_size", "wandb"],
            "status": "finished", "family": "gpt2" if "gpt2" in name else "llama", "data": str(data),
            "parameters": 3_150_000 + 700_000 * min(order, len(teachers)), "parameters_without_embeddings": 2_100_000,
            "steps": steps, "words_seen": exposure, "tokens_seen": int(1.3 * exposure),
            "epochs": exposure / words,
            "seconds": 61.0 + 35 * order, "val/hard": 2.0, "tokenizer": "f" * 64, "flops": 3.1e13, "compiled": False,
            "command": f"python -m distill distill/configs/{name}.yaml",
        }  # fmt: skip
        if name == student:
            summary["teachers"] = [
                {"name": short(t, student), "path": str(runs / t / "export")} for t in teachers
            ]
            summary["control"] = str(runs / control)
        write_run(run, summary, order)
        write_metrics(run / "metrics.jsonl", summary, level, rng)
        write_scores(run, order, tasks, texts, level, shifts, rng)
    return runs / student


def short(teacher: str, student: str) -> str:
    """A teacher's name in the student's config, which is not that of its run."""
    return teacher.removeprefix(f"{student}-")


def write_data(data: Path, train: dict) -> Path:
    """A data folder that holds no more than its manifest, sealed, and beside the seal the command that made it."""
    with sealed_folder(data) as folder:
        manifest = {"format": 1, "track": "2025/strict-small", "splits": {"train": train}}
        write_json(folder / "manifest.json", manifest)
    (data / "command.txt").write_text(PREPARED + "\n", encoding="utf-8")
    return data


def write_run(run: Path, summary: dict, order: int) -> None:
    """All of a run folder but its metrics and its scores."""
    write_json(run / "summary.json", summary)
    write_json(run / "environment.json", {
        "command": summary["command"], "commit": "0123456789abcdef" * 2, "dirty": False, "python": "3.11.9",
        "torch": "2.13.0", "transformers": "5.23.0", "device": "cpu", "threads": 2,
        "started": f"2030-01-01T10:{order:02d}:00Z",
    })  # fmt: skip
    first = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    edit(run / "environment.json", starts=[{key: first[key] for key in START}])
    config = f"# {summary['kind']}\nname: {summary['name']}\nseed: 0\nmodel:\n  family: llama\n  layers: 6\n"
    inputs = {"data": sha256(Path(summary["data"]) / SEAL), "precision": "fp32", "muon": "fp32"}
    if summary["kind"] == "student":
        soft = {"value": 3.1, "weight": 0.25, "gradient_share": 0.15}
        write_json(run / "audit.json", {
            "hard": {"value": 8.32, "weight": 0.5, "gradient_share": 0.62},
            **{f"soft.{teacher['name']}": soft for teacher in summary["teachers"]},
            "hidden.last": {"value": 1.4, "weight": 0.1, "gradient_share": 0.08},
        })  # fmt: skip
        config += "teachers:\n" + "".join(
            f"  {t['name']}:\n    path: {t['path']}\n" for t in summary["teachers"]
        )
        config += "losses:\n  hard:\n    weight: 0.5\n"
        for teacher in summary["teachers"]:
            inputs[f"teacher {teacher['name']}"] = sha256(Path(teacher["path"]) / "model.safetensors")
    (run / "config.yaml").write_text(config, encoding="utf-8")
    write_json(run / "inputs.json", inputs)
    with sealed_folder(run / "export") as export:
        (export / "model.safetensors").write_bytes(summary["name"].encode() * 99)
        write_json(export / "config.json", {"model_type": summary["family"], "hidden_size": 192})
        write_json(export / "tokenizer.json", {"version": "1.0"})


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_metrics(path: Path, summary: dict, level: float, rng: np.random.Generator) -> None:
    """Loss curves that fall as a power of the step, with noise; twenty held-out lines."""
    lines, steps = [], summary["steps"]
    for step in range(1, steps + 1):
        seen = {"step": step, "words_seen": summary["words_seen"] * step // steps}
        hard = 9 * (1 + 60 * step / steps) ** -0.3 + 2 * (1 - level)
        if step % 2 == 0:
            terms = {"loss/hard": hard + rng.normal(0, 0.06)}
            for teacher in summary.get("teachers", ()):
                terms[f"loss/soft.{teacher['name']}"] = (hard - 1.8) * 0.4 + rng.normal(0, 0.03)
                terms["loss/hidden.last"] = 0.3 + 1 / (1 + 9 * step / steps) + rng.normal(0, 0.01)
            lines.append({**seen, "seconds": step / 4, "lr": 0.002, "grad_norm": 1.0, **terms})
        if step % (steps // 20) == 0 or step == 1:
            lines.append({**seen, "val/hard": hard + 0.05})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_scores(run: Path, order: int, tasks: dict, texts: dict, level: float, shifts: dict, rng) -> None:
    """What `python -m eval` writes; a score is `level` plus a shift that all runs share."""
    export = run / "export"
    identity = {"weights_sha256": weights_sha256(export), "model_sha256": model_sha256(export)}
    file = ScoreFile(run / "eval", {"model": str(export), **identity})
    file.scores["parameters"] = 1
    names = " ".join([*tasks, "perplexity"])
    made = {
        "created": f"2030-01-02T11:{order:02d}:00Z",
        "command": f"python -m eval {run.name}/export --tasks {names} --out {run.name}/eval",
        "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "tokenizers": "0.23.3"},
    }
    for task, terms in tasks.items():
        items, scores = [], []
        for term, uids in terms.items():
            for uid, count in uids.items():
                chance = min(0.99, max(0.2, level + shifts[task, uid] + rng.normal(0, 0.015)))
                choices = (Choice("", "good"), Choice("", "bad"))
                items += [Item(f"{uid}_{n}", uid, choices, phenomenon=term or None) for n in range(count)]
                scores += [[-1.0, -2.0] if right else [-2.0, -1.0] for right in rng.random(count) < chance]
        settings = {"dtype": "float32", "limit": None}
        asked = measured_on([], settings | {"task": task})
        questions = Choices(items)
        result = settings | {"partial": False} | questions.summarise(scores) | made | {"measured_on": asked}
        details = {"predictions": questions.predictions(scores), "items": questions.per_item(scores)}
        file.add(task, task_key(identity["model_sha256"], asked), result, details)
    settings = {"dtype": "float32", "max_words": None, "window": 128}
    asked = measured_on([], settings)
    result = settings | held_out(texts, level) | made | {"measured_on": asked}
    file.add("perplexity", task_key(identity["model_sha256"], asked), result)


def add_task(run: Path, task: str, questions, scores) -> None:
    """One more task of a run of the tree, stamped like the others."""
    file = ScoreFile(run / "eval", read_scores(run))
    like = next(iter(file.scores["tasks"].values()))
    settings = {"dtype": "float32", "limit": None, "partial": False, "measured_on": f"the {task} items"}
    made = {key: like[key] for key in ("created", "command", "versions")}
    details = {"predictions": questions.predictions(scores), "items": questions.per_item(scores)}
    file.add(task, "key", settings | questions.summarise(scores) | made, details)


def held_out(texts: dict, level: float) -> dict:
    """What eval.tasks.perplexity.measure gives for texts of so many words."""
    counts = {
        file: text_counts(words, 3.4 - level + 0.1 * math.sin(n))
        for n, (file, words) in enumerate(texts.items())
    }
    splits = {file.split("/")[0]: rates(count) for file, count in counts.items()}
    total = {key: sum(count[key] for count in counts.values()) for key in text_counts(1, 1.0)}
    files = {file: rates(count) for file, count in counts.items()}
    return {
        "window": 128,
        "stride": 64,
        "document_start": "<s>",
        "files": files,
        "splits": splits,
        "all": rates(total),
    }


def text_counts(words: int, nats_per_token: float) -> dict:
    """Sums over a text of `words` words, 1.3 tokens and 5.2 bytes a word."""
    tokens = int(1.3 * words)
    return {
        "tokens": tokens,
        "words": words,
        "bytes": int(5.2 * words),
        "documents": 9,
        "nats": tokens * nats_per_token,
    }


def edit(path: Path, **changes: object) -> None:
    """Change top-level fields of a JSON file."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def add_start(run: Path, **changes: object) -> None:
    """Note in a run's environment.json that it was started again, an hour later and with `changes`."""
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    first = environment["starts"][0]
    again = first | {"started": first["started"].replace("T10:", "T11:")} | changes
    edit(run / "environment.json", starts=[*environment["starts"], again])


def read_scores(run: Path) -> dict:
    return json.loads((run / "eval" / "scores.json").read_text(encoding="utf-8"))

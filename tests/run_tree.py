"""A small synthetic runs/ tree in the kit's own file formats, for the tests of the report and the bundle."""

import json
import math
from pathlib import Path

import numpy as np

from babylm_data.sealed import sealed_folder, sha256

NURSERY_TASKS = {
    "nursery": {
        "agreement": {"agreement_plain": 200, "agreement_over_preposition": 200},
        "questions": {"do_support": 150},
    }
}
TEXTS = {"dev/nursery.txt": 15_000, "test/nursery.txt": 15_100}
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
        name: {"words": words // len(sources), "documents": 9, "files": []} for name in sources
    }
    data = runs / f"{student}-data"
    write_json(
        data / "manifest.json", {"format": 1, "track": "2025/strict-small", "splits": {"train": train}}
    )
    uids = [(task, uid) for task, terms in tasks.items() for term in terms.values() for uid in term]
    shifts = {key: rng.normal(0, 0.1) for key in uids}
    for order, (name, level) in enumerate(base.items()):
        run = runs / name
        summary = {
            "name": name, "kind": {student: "student", control: "control"}.get(name, "teacher"), "seed": 0,
            "status": "finished", "family": "gpt2" if "gpt2" in name else "llama", "data": str(data),
            "parameters": 3_150_000 + 700_000 * order, "parameters_without_embeddings": 2_100_000,
            "steps": steps, "words_seen": exposure, "tokens_seen": int(1.3 * exposure),
            "epochs": exposure / words,
            "seconds": 61.0 + 35 * order, "val/hard": 2.0, "tokenizer": "f" * 64, "flops": 3.1e13,
            "command": f"python -m distill distill/configs/{name}.yaml",
        }  # fmt: skip
        if name == student:
            summary["teachers"] = [
                {"name": t, "path": str(runs / t / "export"), "weight": 0.25} for t in teachers
            ]
            summary["control"] = str(runs / control)
        write_run(run, summary, order)
        write_metrics(run / "metrics.jsonl", summary, level, rng)
        write_scores(run, order, tasks, texts, level, shifts, rng)
    return runs / student


def write_run(run: Path, summary: dict, order: int) -> None:
    """All of a run folder but its metrics and its scores."""
    write_json(run / "summary.json", summary)
    write_json(run / "environment.json", {
        "command": summary["command"], "commit": "0123456789abcdef" * 2, "dirty": False, "python": "3.11.9",
        "torch": "2.13.0", "transformers": "5.23.0", "device": "cpu", "threads": 2,
        "started": f"2030-01-01T10:{order:02d}:00Z",
    })  # fmt: skip
    if summary["kind"] == "student":
        soft = {"value": 3.1, "weight": 0.25, "gradient_share": 0.15}
        write_json(run / "audit.json", {
            "hard": {"value": 8.32, "weight": 0.5, "gradient_share": 0.62},
            **{f"soft.{teacher['name']}": soft for teacher in summary["teachers"]},
            "hidden.last": {"value": 1.4, "weight": 0.1, "gradient_share": 0.08},
        })  # fmt: skip
    config = f"name: {summary['name']}\nseed: 0\nmodel:\n  family: {summary['family']}\n  layers: 6\n"
    (run / "config.yaml").write_text(config, encoding="utf-8")
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
    """scores.json and predictions.json; an accuracy is `level` plus a shift that all runs share."""
    results = {}
    for task, terms in tasks.items():
        by_subtask, by_phenomenon = {}, {}
        for term, uids in terms.items():
            for uid, items in uids.items():
                right = rng.binomial(
                    items, min(0.99, max(0.2, level + shifts[task, uid] + rng.normal(0, 0.015)))
                )
                by_subtask[uid] = proportion(right, items)
            if term:
                rights = sum(by_subtask[uid]["accuracy"] * by_subtask[uid]["items"] for uid in uids)
                by_phenomenon[term] = proportion(rights, sum(uids.values()))
        parts = list(by_subtask.values())
        results[task] = {
            "score": sum(part["accuracy"] for part in parts) / len(parts),
            "standard_error": math.hypot(*(part["standard_error"] for part in parts)) / len(parts),
            "chance": 0.5, "items": sum(part["items"] for part in parts), "ties": 0, "official_score": 0.5,
            "by_subtask": by_subtask, "by_phenomenon": by_phenomenon,
        }  # fmt: skip
        write_json(run / "eval" / task / "predictions.json", {uid: {"predictions": []} for uid in by_subtask})
    files = {
        file: text_figures(count, 3.4 - level + 0.1 * math.sin(i))
        for i, (file, count) in enumerate(texts.items())
    }
    results["perplexity"] = {
        "window": 256,
        "stride": 128,
        "files": files,
        "all": text_figures(sum(texts.values()), 3.0),
    }
    write_json(run / "eval" / "scores.json", {
        "model": str(run / "export"), "weights_sha256": sha256(run / "export" / "model.safetensors"),
        "parameters": 1, "created": f"2030-01-02T11:{order:02d}:00Z",
        "command": f"python -m eval {run.name}/export --tasks {' '.join(results)} --out {run.name}/eval",
        "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0"}, "tasks": results,
    })  # fmt: skip


def proportion(right: float, items: int) -> dict:
    accuracy = right / items
    error = math.sqrt(accuracy * (1 - accuracy) / items)
    return {"accuracy": accuracy, "standard_error": error, "items": items, "ties": 0}


def text_figures(words: int, nats_per_token: float) -> dict:
    """Held-out figures of a text of `words` words, 1.3 tokens and 5.2 bytes a word."""
    tokens, size = int(1.3 * words), int(5.2 * words)
    nats = tokens * nats_per_token
    return {
        "tokens": tokens, "words": words, "bytes": size, "documents": 9, "nats": nats,
        "nats_per_token": nats_per_token, "perplexity": math.exp(nats_per_token),
        "bits_per_byte": nats / math.log(2) / size, "bits_per_word": nats / math.log(2) / words,
    }  # fmt: skip


def edit(path: Path, **changes: object) -> None:
    """Change top-level fields of a JSON file."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def read_scores(run: Path) -> dict:
    return json.loads((run / "eval" / "scores.json").read_text(encoding="utf-8"))

"""The record of a quarter of an hour of a card: what is carried there, what fits, what is brought back."""

import json
import tarfile
from pathlib import Path

import pytest
import torch
from tiny_models import pair, write_rows
from transformers import AutoModelForCausalLM

from babylm_data.errors import UserError
from bench import gpu_record
from bench.record_page import page

SMALL = [
    "data.vocab_size=null",
    "data.seq_len=16",
    "data.words=400",
    "data.held_out_sequences=8",
    "model.hidden_size=32",
    "model.intermediate_size=64",
    "model.num_attention_heads=2",
    "model.num_hidden_layers=2",
    "batch_size=4",
    "precision=fp32",
    "compile=false",
]


@pytest.fixture
def carried(data_folder, tmp_path) -> Path:
    """What is carried, of a tiny corpus and a few pairs."""
    rows = [pair("the dog sees the cat.", "cat the sees dog the.", "order", "syntax")] * 2
    for task, name in (("blimp_filtered", "order"), ("supplement_filtered", "hypernym")):
        write_rows(tmp_path / f"items/full_eval/{task}/{name}.jsonl", rows)
    path = tmp_path / "carried.tar.gz"
    assert gpu_record.main([str(path), "--pack", str(data_folder), "--data", str(tmp_path / "items")]) == 0
    return path


def test_what_is_carried_holds_the_data_the_items_and_the_commit_and_nothing_else(carried):
    with tarfile.open(carried) as tar:
        tops = {name.split("/")[0] for name in tar.getnames()}
        assert json.load(tar.extractfile("packed.json")).keys() == {"commit", "dirty"}
    assert tops == {"data", "evaluation_data", "packed.json"}
    assert not (carried.parent / "packed.json").exists()


def test_nothing_is_carried_without_the_items_and_nothing_trained_without_what_is_carried(
    data_folder, tmp_path
):
    with pytest.raises(UserError, match="blimp_filtered: there is no such folder"):
        gpu_record.main(
            [str(tmp_path / "carried.tar.gz"), "--pack", str(data_folder), "--data", str(tmp_path)]
        )
    with pytest.raises(UserError, match="--pack DATA --data DIR writes it"):
        gpu_record.main([str(tmp_path / "absent.tar.gz"), "--out", str(tmp_path)])


def test_a_rate_is_that_of_the_second_half_of_the_steps(tmp_path):
    lines = [{"val/hard": 9.0, "words_seen": 0}] + [
        {"seconds": 60.0 + n, "words_seen": 1000 * n}
        if n < 5
        else {"seconds": 65.0 + 2 * (n - 5), "words_seen": 1000 * n}
        for n in range(1, 10)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert gpu_record.seconds_a_word(tmp_path) == pytest.approx(0.002)


@pytest.mark.slow
def test_a_hybrid_and_its_student_are_trained_scored_and_brought_back(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_record, "PIECE", "20KB")
    out, work = tmp_path / "out", tmp_path / "work"
    told = [str(carried), "--out", str(out), "--work", str(work), "--minutes", "30", *SMALL]
    assert gpu_record.main(told) == 0
    record = json.loads((out / "results.json").read_text())
    control, student = record["attempts"]
    assert (control["recipe"], student["recipe"]) == ("gpu-quarter-control", "gpu-quarter")
    assert control["minutes"] < student["minutes"] < 30 and student["words_seen"] >= 400
    assert student["scores"].keys() == control["scores"].keys() and len(student["scores"]) == 5
    assert "BLiMP, mntp, %" in page([record])
    pieces = sorted(out.glob("*.safetensors"))
    assert len(pieces) > 1 and all(path.stat().st_size < 30_000 for path in pieces)
    with tarfile.open(out / "rest.tar.gz") as tar:
        tar.extractall(out, filter="data")
    there, here = (
        AutoModelForCausalLM.from_pretrained(path) for path in (work / "runs/gpu-quarter/export", out)
    )
    for name, weight in there.state_dict().items():
        assert torch.equal(weight.bfloat16(), here.state_dict()[name].bfloat16()), name


@pytest.mark.slow
def test_where_time_is_short_both_have_as_many_words_as_fit(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_record, "START", 0.0)
    monkeypatch.setattr(gpu_record, "SPARE", 1e-4)
    told = [str(carried), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), *SMALL]
    gpu_record.main(told)
    control, student = json.loads((tmp_path / "out/results.json").read_text())["attempts"]
    assert control["words_seen"] == student["words_seen"] < 400

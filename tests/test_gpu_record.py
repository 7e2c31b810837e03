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
from eval.scorer.model import find_model

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
    """What is carried, of a tiny corpus, by a link, and a few pairs."""
    (tmp_path / "linked").symlink_to(data_folder)
    rows = [pair("the dog sees the cat.", "cat the sees dog the.", "order", "syntax")] * 2
    for task, name in (("blimp_filtered", "order"), ("supplement_filtered", "hypernym")):
        write_rows(tmp_path / f"items/full_eval/{task}/{name}.jsonl", rows)
    path = tmp_path / "carried.tar.gz"
    assert (
        gpu_record.main([str(path), "--pack", str(tmp_path / "linked"), "--data", str(tmp_path / "items")])
        == 0
    )
    return path


def test_what_is_carried_holds_the_data_the_items_and_the_commit_and_nothing_else(carried):
    with tarfile.open(carried) as tar:
        tops = {name.split("/")[0] for name in tar.getnames()}
        assert json.load(tar.extractfile("packed.json")).keys() == {"commit", "dirty", "code"}
        assert not any(member.issym() for member in tar)
    assert tops == {"data", "evaluation_data", "packed.json"}
    assert not list(carried.parent.glob("*.half"))


def test_nothing_is_carried_without_the_items_and_nothing_trained_without_what_is_carried(
    data_folder, tmp_path
):
    with pytest.raises(UserError, match="blimp_filtered: there is no such folder"):
        gpu_record.main(
            [str(tmp_path / "carried.tar.gz"), "--pack", str(data_folder), "--data", str(tmp_path)]
        )
    with pytest.raises(UserError, match="--pack DATA --data DIR writes it"):
        gpu_record.main([str(tmp_path / "absent.tar.gz"), "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--work", "."], "is emptied, and .*carried.tar.gz lies in it"),
        (["name=x"], "name=x: it has to be as distill/configs/gpu-quarter.yaml has it"),
        (["teachers.own.path=x"], "teachers.own.path=x: it has to be"),
        (["--data", "."], "write --pack DATA --data DIR, or --out DIR"),
    ],
)
def test_what_cannot_be_or_would_be_lost_is_refused_before_anything_is_emptied(
    tmp_path, monkeypatch, more, said
):
    monkeypatch.chdir(tmp_path)
    Path("carried.tar.gz").touch()
    with pytest.raises(UserError, match=said):
        gpu_record.main(["carried.tar.gz", "--out", "out", *more])
    assert Path("carried.tar.gz").exists()


def test_models_that_are_trained_and_results_that_are_there_are_not_lost_to_other_words(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("carried.tar.gz").write_bytes(b"no archive")
    words = ["carried.tar.gz", "--out", "out", "--work", "work"]
    with pytest.raises(UserError, match="carried.tar.gz is damaged .*: bring it here anew"):
        gpu_record.main(words)
    with pytest.raises(UserError, match="batchsize"):
        gpu_record.main([*words, "batchsize=16"])
    record = {"minutes": 10.0, "commands": ["python -m bench.gpu_record first"], "attempts": []}
    Path("work/trained.json").write_text(json.dumps({"asked": ["other"], "record": record}))
    with pytest.raises(UserError, match="work holds two models by `python -m bench.gpu_record first`"):
        gpu_record.main(words)
    Path("out/results.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="out holds what came of `python -m bench.gpu_record first`"):
        gpu_record.main(words)
    assert Path("work/trained.json").exists()


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
    assert {path.suffix for path in out.iterdir()} == {".json", ".gz", ".safetensors"}
    pieces = sorted(out.glob("*.safetensors"))
    assert len(pieces) > 1 and all(path.stat().st_size < 30_000 for path in pieces)
    with tarfile.open(out / "rest.tar.gz") as tar:
        assert "gpu-quarter-control/eval-mntp/blimp_filtered/items.json" in tar.getnames()
        tar.extractall(out, filter="data")
    assert find_model(str(out)) == out
    assert (out / "gpu-quarter-control/metrics.jsonl").exists() and (
        out / "gpu-quarter/eval-mntp/scores.json"
    ).exists()
    there, here = (
        AutoModelForCausalLM.from_pretrained(path) for path in (work / "runs/gpu-quarter/export", out)
    )
    for name, weight in there.state_dict().items():
        assert torch.equal(weight.bfloat16(), here.state_dict()[name].bfloat16()), name


def test_where_no_time_is_left_after_the_trial_nothing_is_trained(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_record, "train", lambda *_: None)
    monkeypatch.setattr(gpu_record, "seconds_a_word", lambda _: 1e-6)
    told = [str(carried), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), *SMALL]
    with pytest.raises(UserError, match="seconds are lacking after the trial alone: give more --minutes"):
        gpu_record.main([*told, "--minutes", "0.1"])


@pytest.mark.slow
def test_where_time_is_short_both_have_as_many_words_as_fit(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_record, "START", 0.0)
    monkeypatch.setattr(gpu_record, "seconds_a_word", lambda _: 1.5)  # a second word has no time
    told = [str(carried), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), *SMALL]
    gpu_record.main(told)
    control, student = json.loads((tmp_path / "out/results.json").read_text())["attempts"]
    assert control["words_seen"] == student["words_seen"] < 400


@pytest.mark.slow
def test_a_scoring_that_fails_takes_nothing_else_with_it_and_the_same_words_score_what_is_lacking(
    carried, tmp_path, monkeypatch
):
    asked, broken, out = [], {"mntp"}, [tmp_path / "out"]
    monkeypatch.setattr(gpu_record, "PIECE", "20KB")

    def scored(run, data, tasks, backend):
        asked.append((run.name, backend))
        with tarfile.open(out[-1] / "rest.tar.gz") as tar:  # should this be the end
            assert "model.safetensors.index.json" in tar.getnames()
        if backend in broken:
            raise UserError("no more memory")
        return dict.fromkeys(tasks, 0.5)

    monkeypatch.setattr(gpu_record, "scored", scored)
    told = [str(carried), "--work", str(tmp_path / "work"), *SMALL, "--out"]
    assert gpu_record.main([*told, str(tmp_path / "out")]) == 1
    record = json.loads((tmp_path / "out/results.json").read_text())
    for found in record["attempts"]:
        assert {name.split(", ")[1] for name in found["scores"]} == {"causal"}
    assert (tmp_path / "out/rest.tar.gz").exists()
    broken.clear()
    asked.clear()
    out.append(tmp_path / "again")
    monkeypatch.setattr(gpu_record, "train", lambda *_: pytest.fail("trained again"))
    assert gpu_record.main([*told, str(tmp_path / "again")]) == 0
    assert asked == [("gpu-quarter-control", "mntp"), ("gpu-quarter", "mntp")]
    whole = json.loads((tmp_path / "again/results.json").read_text())
    assert [each["minutes"] for each in whole["attempts"]] == [each["minutes"] for each in record["attempts"]]
    assert all(len(each["scores"]) == 5 for each in whole["attempts"])
    assert list((tmp_path / "again").glob("*.safetensors")) and (tmp_path / "again/rest.tar.gz").exists()

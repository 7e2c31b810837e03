"""The independent judge: it agrees with `eval`, and a planted difference is found, named and counted."""

import json
import math
from pathlib import Path

import pytest
import tiny_models
from tiny_models import pair, write_rows

from babylm_data.errors import UserError
from bench import agreement
from eval.__main__ import main

ENTITY = [
    {
        "numops": n % 2,
        "input_prefix": f"The {'old ' * n}dog sees ",
        "options": ["the cat.", "the dog.", "a cat.", "a dog.", "cats."],
    }
    for n in range(6)
]
WUG = [
    {"sentences": f"The dog {verb}ed.\tThe dog {verb}t.\tdogs {verb}", "ratio": 0.5}
    for verb in ("see", "sea")
]
EWOK = [
    {"Domain": "places", "Context1": f"The dog sees {word} cat.", "Target1": "A cat.", "Target2": "The dogs."}
    for word in ("the", "a")
]
COMPS = [
    {"prefix_acceptable": "The dog", "prefix_unacceptable": f"The {word}", "property_phrase": "sees the cat."}
    for word in ("cats", "old dog")
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A model and three tasks, shared and never changed."""
    folder = tmp_path_factory.mktemp("judged")
    tiny_models.save(folder / "model")
    texts = tiny_models.SENTENCES
    rows = [pair(a, b, "order", "syntax") for a, b in zip(texts, texts[::-1], strict=True) if a != b]
    data = folder / "data/full_eval"
    write_rows(data / "blimp_filtered/order.jsonl", rows)
    write_rows(data / "entity_tracking/regular.jsonl", ENTITY)
    write_rows(data / "wug_past_tense/wug_past_tense.jsonl", WUG)
    write_rows(data / "ewok_filtered/places.jsonl", EWOK)
    write_rows(data / "comps/comps_wugs_dist-before.jsonl", COMPS)
    return folder


TASKS = ("blimp_filtered", "entity_tracking", "wug_past_tense", "ewok_filtered", "comps")


def command(folder: Path, *more: str, tasks: tuple[str, ...] = TASKS) -> list[str]:
    return [str(folder / "model"), "--data", str(folder / "data"), "--tasks", *tasks, *more]


def test_the_judge_agrees_in_batches_of_every_size_and_order(folder, capsys):
    assert agreement.main(command(folder)) == 0
    said = capsys.readouterr().out
    assert "no different choice" in said and said.count("another order") == len(TASKS)


def test_the_judge_notices_choices_that_differ(folder, monkeypatch, capsys):
    honest = agreement.plain_logprob
    monkeypatch.setattr(agreement, "plain_logprob", lambda *found: -honest(*found))
    assert agreement.main(command(folder, tasks=("blimp_filtered",))) == 1
    assert "32 differences" in capsys.readouterr().out  # 8 pairs, four times


def test_the_judge_compares_what_stands_on_the_disk(folder, tmp_path, capsys, monkeypatch):
    main([*command(folder), "--out", str(tmp_path / "out")])
    judge = command(folder, "--against", str(tmp_path / "out"), "--keep", str(tmp_path / "kept.json"))
    assert agreement.main(judge) == 0
    monkeypatch.setattr(agreement, "plain_scores", None)  # from here on the judge's scores are those kept
    path = tmp_path / "out/entity_tracking/predictions.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    row = found["regular_0_ops"]["predictions"][0]
    row["pred"] = "cats." if row["pred"] != "cats." else "a dog."
    path.write_text(json.dumps(found), encoding="utf-8")
    assert agreement.main(judge) == 1
    assert "1 differences" in capsys.readouterr().out
    scores = json.loads((tmp_path / "out/scores.json").read_text(encoding="utf-8"))
    scores["tasks"]["blimp_filtered"]["by_subtask"]["order"]["score"] -= 0.5
    (tmp_path / "out/scores.json").write_text(json.dumps(scores), encoding="utf-8")
    assert agreement.main(judge) == 1
    assert "1 subtasks with another score than the judge's" in capsys.readouterr().out


def test_the_judge_refuses_a_model_of_nan_and_an_absent_one(folder, tmp_path):
    model = tiny_models.model()
    model.model.norm.weight.data.fill_(math.nan)
    model.save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    arguments = command(folder, tasks=("blimp_filtered",))
    with pytest.raises(UserError, match="8 of 8 items have scores that are not finite"):
        agreement.main([str(tmp_path), *arguments[1:]])
    with pytest.raises(UserError, match="no model folder"):
        agreement.main([str(tmp_path / "absent"), *arguments[1:]])

"""The rules of the submission file: official sizes and revisions, and what a misspelt rules file is told."""

import pytest
from pydantic import ValidationError

from babylm_data.errors import UserError
from eval.submission import rules
from eval.submission.rules import known_rules, load_rules

KEYS = [
    "blimp",
    "blimp_supplement",
    "ewok",
    "entity_tracking",
    "wug_adj",
    "wug_past",
    "comps",
    "reading",
    "aoa",
]
SIZES = [59_875, 5_218, 7_618, 9_483, 200, 50, 91_028, 1_726, 8_005, 29_577]


def test_2025_has_the_official_keys_sizes_and_labels():
    found = load_rules("2025")
    assert [*found.keys] == [*KEYS, "glue"] and found.fast_key == "fast_eval_results"
    assert [sum(section.rows.values()) for section in found.keys.values()] == SIZES
    assert found.keys["glue"].labels == dict(boolq=2, mnli=3, mrpc=2, multirc=2, qqp=2, rte=2, wsc=2)
    assert [*found.fast] == [*KEYS[:6], "reading"]
    counts = [sum(rows or 0 for rows in entry.rows.values()) for entry in found.fast.values()]
    assert counts == [13_400, 250, 1_100, 3_152, 0, 0, 0]
    assert [*found.fast["reading"].rows] == ["spr", "rt"] and [*found.fast["wug_past"].rows] == ["wug_past"]
    assert found.total_rows(19) == sum(SIZES) + 18 * 8_005


@pytest.mark.parametrize(("track", "count", "last"), [("strict-small", 19, 100), ("strict", 28, 1000)])
def test_a_complete_run_has_all_revisions_of_its_track(track, count, last):
    found = load_rules("2025").revisions(track)
    assert len(found) == count and found[0] == "chck_1M" and found[-1] == f"chck_{last}M"


def test_a_shorter_run_has_the_revisions_that_it_reached():
    found = load_rules("2026-april")
    assert found.revisions("strict", 20_000_001)[-2:] == ["chck_10M", "chck_20M"]
    assert found.revisions("strict", 2_000, 0.001) == ["chck_1M", "chck_2M"]


def test_2026_of_april_is_2025_under_another_name():
    april = load_rules("2026-april")
    same = load_rules("2025").model_copy(update={"name": "2026-april", "year": "2026", "note": april.note})
    assert april == same


def test_2026_asks_its_own_tasks_and_of_the_model_card_a_license():
    assert known_rules() == ["2025", "2026", "2026-april", "2026-entity-18"]
    found = load_rules("2026")
    assert found.license and not load_rules("2025").license
    assert not {"wug_adj", "wug_past", "entity_tracking"} & {*found.keys, *found.fast}
    assert (found.keys["ewok"].task, found.fast["ewok"].task) == ("ewok_contexts", "ewok_contexts_fast")
    assert found.keys["ewok"].rows == load_rules("2025").keys["ewok"].rows
    assert sum(found.keys["entity_tracking_filtered"].rows.values()) == 6_780
    assert [*found.fast["entity_tracking_filtered"].rows.values()] == [517, 409, 405, 425, 388, 94]
    eighteen = load_rules("2026-entity-18")
    assert eighteen.fast["entity_tracking_filtered"].rows == eighteen.keys["entity_tracking_filtered"].rows
    assert (eighteen.keys, eighteen.license) == (found.keys, True)
    assert found.keys["global_piqa_parallel"].rows == {"global_piqa_parallel": 103}
    assert found.keys["blimp"] == load_rules("2025").keys["blimp"]


def test_unknown_rules_are_told_the_nearest():
    with pytest.raises(UserError, match="did you mean 2025"):
        load_rules("205")


@pytest.mark.parametrize("change", [("varies:", "varied:"), ("prob: fraction", "prob: share")])
def test_a_misspelt_field_or_kind_of_a_rules_file_is_an_error(tmp_path, monkeypatch, change):
    text = (rules.RULES / "2025.yaml").read_text(encoding="utf-8")
    (tmp_path / "2025.yaml").write_text(text.replace(*change), encoding="utf-8")
    monkeypatch.setattr(rules, "RULES", tmp_path)
    with pytest.raises(ValidationError):
        load_rules("2025")

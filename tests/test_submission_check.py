"""The submission file: a sound one is accepted, and every fault is found, named and placed."""

import json
import math
import random
import time
from pathlib import Path

import pytest
from submission_faults import FAULTS, REVISIONS
from submission_files import fitted, sound, write_data

from babylm_data.errors import UserError
from eval.submission.__main__ import main
from eval.submission.check import file as check
from eval.submission.check.file import check_file
from eval.submission.check.gold import read_gold
from eval.submission.rules import known_rules, load_rules

DRAWS = range(15)
NEED_GOLD = ("no choice of its item", "not finite")  # all else the rules alone can tell


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def rules(data):
    return {name: fitted(load_rules(name), data) for name in known_rules()}


def checked(folder: Path, content: object, *arguments, **options) -> list[str]:
    """The faults of a file with this content, as lines; warnings left out."""
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found = check_file(path, *arguments, **options)
    assert all("\n" not in str(fault) for fault in found)
    return [str(fault) for fault in found if not fault.warning]


@pytest.mark.parametrize("draw", DRAWS[:5])
@pytest.mark.parametrize("name", known_rules())
def test_a_sound_file_has_no_fault(tmp_path, rules, data, name, draw):
    for gold in (data, None):
        content = sound(rules[name], REVISIONS, random.Random(draw), gold)
        assert checked(tmp_path, content, rules[name], REVISIONS, gold) == []


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_is_and_nowhere_else(tmp_path, rules, data, fault, draw):
    rng = random.Random(f"{fault} {draw}")
    asked = rules[rng.choice(known_rules())]
    content = sound(asked, REVISIONS, rng, data)
    place, said = FAULTS[fault](content, asked, rng)
    gold = data if draw % 2 or fault in NEED_GOLD else None
    found = checked(tmp_path, content, asked, REVISIONS, gold)
    assert any(line.startswith(place) and said in line for line in found), (place, said, found)
    key = place.partition("/")[0].partition(",")[0]
    assert [line for line in found if not line.startswith(key)] == []


@pytest.mark.parametrize("count", [2, 3])
def test_two_of_the_revisions_that_are_one_model_are_a_fault_of_however_many(tmp_path, rules, count):
    asked = rules["2025"]
    content = sound(asked, REVISIONS[:count], random.Random(0))
    for scores in content[asked.fast_key].values():
        scores[1] = dict(scores[0])
    found = checked(tmp_path, content, asked, REVISIONS[:count])
    assert (
        [line for line in found if "chck_1M and chck_2M have equal scores in every fast task" in line]
        == found
        != []
    )


def test_a_file_whose_fast_lists_are_all_missing_is_told_of_each(tmp_path, rules):
    asked = rules["2025"]
    content = sound(asked, REVISIONS, random.Random(0)) | {asked.fast_key: {}}
    found = checked(tmp_path, content, asked, REVISIONS)
    assert [line.partition(":")[0] for line in found] == [f"{asked.fast_key}/{key}" for key in asked.fast]


def unlike(content: dict) -> None:
    """A prediction of the kind that only the gold data can judge."""
    content["blimp"]["island"]["predictions"][1]["pred"] = "Never a choice."


@pytest.mark.parametrize(
    "draw", [*range(40), *(pytest.param(n, marks=pytest.mark.slow) for n in range(40, 200))]
)
def test_whatever_stands_in_the_file_faults_are_all_that_comes_of_it(tmp_path, rules, data, draw):
    rng = random.Random(draw)
    strange = [None, True, -1, 10**25, math.nan, "", "\ud800", "a\nb", [], [[]], {}, {"": 0}, [None] * 3]
    content = sound(rules["2025"], REVISIONS, rng, data)
    node = content
    while True:
        places = [*node] if isinstance(node, dict) else range(len(node))
        place = rng.choice(places)
        if rng.random() < 0.25 or not isinstance(node[place], dict | list) or not node[place]:
            break
        node = node[place]
    node[place] = rng.choice([value for value in strange if type(value) is not type(node[place])])
    found = checked(tmp_path, content, rules["2025"], REVISIONS, rng.choice([data, None]))
    assert found or node[place] in (-1, 10**25)  # a correlation and a surprisal can be


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('{"blimp": ', '{"blimp": {}, "blimp": ', 'the file: the key "blimp" stands in it twice'),
        (
            '"pred": ',
            '"pred": "x", "pred": ',
            'blimp/island, row 0: the key "pred" stands in it twice',
        ),
        ('"pred": "', '"pred": "\\ud800', 'row 0: "\\ud800The'),
        (
            '"prob": 0.',
            '"prob": 1e999, "x": 0.',
            'wug_adj/wug_adj, row 0: the key "x" is none of the rules\'',
        ),
        (
            '"prob": 0.',
            '"prob": 12345678901234567890123.',
            "row 0: 1.2345678901234568e+22 in 'prob' is not from 0",
        ),
        ('"pred": 0}', f'"pred": {"9" * 5000}}}', "row 0: Infinity in 'pred' is none of the labels 0, 1"),
        ('"word_count": 1000000', '"word_count": true', "row 0: true in 'word_count' is no whole number"),
        ('"word_count": 1000000', '"word_count": 1e6', "row 0: 1000000.0 in 'word_count' is no whole number"),
        (
            '"word_count": 1000000',
            '"word_count": 5',
            "row 0: 5 in 'word_count', and chck_1M is due at 1,000,000",
        ),
        ('"spr": 0.', '"spr": -0.', "fast_eval_results/reading, chck_1M, spr: -0."),
    ],
)
def test_traps_of_json_are_named(tmp_path, rules, data, before, after, said):
    content = sound(rules["2025"], REVISIONS, random.Random(3), data)
    text = json.dumps(content)
    assert before in text
    found = checked(tmp_path, text.replace(before, after, 1), rules["2025"], REVISIONS)
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-9], "is not JSON"),
        (lambda text: b"", "is not JSON"),
        (lambda text: b"\xef\xbb\xbf" + text, "begins with a byte-order mark"),
        (lambda text: b"[" * 100_000, "nested too deeply"),
        (lambda text: text.replace(b"The", b"\xff", 1), "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_json_is_a_users_mistake(tmp_path, rules, damage, said):
    path = tmp_path / "file.json"
    content = sound(rules["2025"], REVISIONS, random.Random(0))
    path.write_bytes(damage(json.dumps(content | {"note": "The"}).encode("utf-8")))
    with pytest.raises(UserError, match=said):
        check_file(path, rules["2025"], REVISIONS)


def test_faults_of_one_kind_in_one_place_are_one_line(tmp_path, rules, data):
    content = sound(rules["2025"], REVISIONS, random.Random(0), data)
    for row in content["reading"]["reading"]["predictions"][5:]:
        row["pred"] = None
    unlike(content)
    assert checked(tmp_path, content, rules["2025"], REVISIONS, data) == [
        'blimp/island, row 1: the prediction "Never a choice." is no choice of island_1: '
        "evaluate it by these rules, on the data in --data",
        "reading/reading, row 5: null in 'pred' is no number (and 42 more rows of reading/reading): "
        "evaluate it again, and collate the file again",
    ]


def test_without_data_only_the_number_of_words_without_one_before_is_known(tmp_path, rules, data):
    content = sound(rules["2025"], REVISIONS, random.Random(0), data)
    rows = content["reading"]["reading"]["predictions"]
    rows[0]["prev_pred"], rows[1]["prev_pred"] = 1.5, math.nan
    assert checked(tmp_path, content, rules["2025"], REVISIONS) == []
    (first, second) = checked(tmp_path, content, rules["2025"], REVISIONS, data)
    assert first.startswith("reading/reading, row 1: NaN in 'prev_pred', and there is a word before")
    assert second.startswith("reading/reading, row 0: 1.5 in 'prev_pred', and no word before")
    rows[2]["prev_pred"] = math.nan
    (fault,) = checked(tmp_path, content, rules["2025"], REVISIONS)
    assert "7 rows have NaN in 'prev_pred', and 6 have no word before" in fault


@pytest.mark.parametrize(("index", "where"), [(0, "first"), (-1, "last")])
def test_predictions_by_place_are_a_constant_that_can_be_allowed(tmp_path, rules, data, index, where):
    content = sound(rules["2025"], REVISIONS, random.Random(0), data)
    gold = read_gold(rules["2025"].keys["comps"], data)
    for name, subtask in content["comps"].items():
        for row, texts in zip(subtask["predictions"], gold.choices[name], strict=True):
            row["pred"] = f" {texts[index]}\n"
    (fault,) = checked(tmp_path, content, rules["2025"], REVISIONS, data)
    assert fault.startswith(f"comps: all 12 predictions are the {where} choice of their item")
    assert checked(tmp_path, content, rules["2025"], REVISIONS, data, allow_constant=["comps"]) == []


def test_revisions_with_the_same_weights_are_told(tmp_path, rules):
    content = sound(rules["2025"], REVISIONS, random.Random(0))
    for name, weights in zip(REVISIONS[:2], ("a", "a"), strict=True):
        (tmp_path / "revisions" / name).mkdir(parents=True)
        (tmp_path / "revisions" / name / "model.safetensors").write_text(weights)
    same, absent = checked(tmp_path, content, rules["2025"], REVISIONS, revisions=tmp_path / "revisions")
    assert "chck_2M: has the same weights as chck_1M" in same
    assert "chck_3M: has no *.safetensors" in absent


@pytest.mark.parametrize(("ties", "level"), [(12, None), (13, "warning"), (102, "warning"), (103, "fault")])
def test_many_ties_are_odd_and_a_tenth_is_a_fault(tmp_path, rules, ties, level):
    (tmp_path / "file.json").write_text(json.dumps(sound(rules["2025"], REVISIONS, random.Random(0))))
    task = {"items": 1000, "ties": ties, "identical": ["a_0", "a_1"]}
    (tmp_path / "scores.json").write_text(json.dumps({"tasks": {"comps": task, "nursery": task}}))
    found = check_file(tmp_path / "file.json", rules["2025"], REVISIONS, scores=[tmp_path / "scores.json"])
    assert [(fault.place.split()[0], fault.warning) for fault in found] == (
        [("comps", level == "warning")] if level else []
    )


def aoa_rows(content: dict) -> list[dict]:
    return content["aoa"]["results"]


def rename_a_context(content: dict) -> None:
    for row in aoa_rows(content):
        row["context"] = row["context"].replace("The old", "The new")


def skip_a_number(content: dict) -> None:
    for row in aoa_rows(content):
        row["context_id"] += row["target_word"] == "Zo\u00eb"


def leave_no_revision_whole(content: dict) -> None:
    content["aoa"]["results"] = [row for row in aoa_rows(content) if row["target_word"] != "cats"]


def one_revision_too_many(content: dict) -> None:
    content["aoa"]["results"] += [row | {"step": "chck_4M"} for row in aoa_rows(content)[:6]]


@pytest.mark.parametrize(
    ("plant", "gold", "said"),
    [
        (
            rename_a_context,
            True,
            'aoa, chck_3M, row 0: the word, number and context is ["dog", 0, "The new"]',
        ),
        (rename_a_context, False, None),  # the same at every revision
        (skip_a_number, False, "aoa, every revision, row 5: 1 in 'context_id' of \"Zo\\u00eb\""),
        (leave_no_revision_whole, False, "aoa, chck_2M: has 4 rows, the data 6"),
        (one_revision_too_many, False, 'aoa: the revision "chck_4M" is none of those that are due'),
    ],
)
def test_contexts_are_those_of_the_data_or_else_of_most_revisions(tmp_path, rules, data, plant, gold, said):
    content = sound(rules["2025"], REVISIONS, random.Random(0), data)
    plant(content)
    found = checked(tmp_path, content, rules["2025"], REVISIONS, data if gold else None)
    assert any(line.startswith(said) for line in found) if said else found == []


def test_what_is_odd_but_possible_is_a_warning(tmp_path, rules, data):
    content = sound(rules["2025"], REVISIONS, random.Random(0), data)
    fast = content["fast_eval_results"]
    fast["blimp"][1]["island"] = 0.3
    fast["wug_past"][2] = fast["wug_past"][0]
    content["reading"]["reading"]["predictions"][0]["pred"] = -1e-6  # -log p of a p that was rounded
    for row in content["wug_past"]["wug_past"]["predictions"]:  # what people say most often comes first
        row["pred"] = read_gold(rules["2025"].keys["wug_past"], data).choices["wug_past"][int(row["id"][-1])][
            0
        ]
    assert checked(tmp_path, content, rules["2025"], REVISIONS, data) == []
    found = [str(fault) for fault in check_file(tmp_path / "file.json", rules["2025"], REVISIONS)]
    assert [line.partition(":")[0] for line in found] == [
        "fast_eval_results/blimp, chck_2M, island",
        "fast_eval_results/wug_past, chck_3M",
    ]
    content["reading"]["reading"]["predictions"][0]["pred"] = -1.0
    assert len(checked(tmp_path, content, rules["2025"], REVISIONS, data)) == 1


def test_data_with_other_rows_than_the_official_ones_are_not_compared(tmp_path, rules, data):
    content = sound(rules["2025"], REVISIONS, random.Random(0), data)
    whole = rules["2025"].keys["comps"]
    other = whole.model_copy(update={"rows": whole.rows | {"base": 2}})
    changed = rules["2025"].model_copy(update={"keys": rules["2025"].keys | {"comps": other}})
    content["comps"]["base"]["predictions"].pop()
    content["comps"]["wugs"]["predictions"][0]["pred"] = "Never a choice."
    notes: list[str] = []
    assert checked(tmp_path, content, changed, REVISIONS, data, notes=notes) == []
    assert [note.partition(":")[0] for note in notes] == ["comps was not compared with gold data"]


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda content: content["aoa"].update(aoa=1.5), "aoa/aoa: 1.5 is not from -1 to 1"),
        (
            lambda content: content["ewok"]["agent-properties"]["predictions"].pop(),
            "ewok/agent-properties: has 2 rows, the data 3: evaluate all of it, of the rows that the organisers' own",
        ),
        (
            lambda content: content["ewok"]["agent-properties"]["predictions"][0].update(
                pred=" The cat is in view."
            ),
            'ewok/agent-properties, row 0: the prediction " The cat is in view." is no choice of agent-properties_0',
        ),
        (
            lambda content: content["aoa_surprisals"]["results"].pop(),
            "aoa_surprisals, chck_3M: has 5 rows, the data 6: evaluate all of it; the words with 20 contexts or more",
        ),
        (
            lambda content: content.update(entity_tracking=content.pop("entity_tracking_filtered")),
            'the file: the key "entity_tracking" is none of the rules\': did you mean entity_tracking_filtered?',
        ),
        (lambda content: content.update(comps=None), "comps: null stands where an object belongs"),
        (
            lambda content: content["global_piqa_parallel"]["eng_latn_1"]["predictions"][0].update(
                id="eng_latn_1"
            ),
            'global_piqa_parallel/"eng_latn_1", row 0: the id is "eng_latn_1", not "eng_latn_1_0"',
        ),
    ],
)
def test_what_the_leaderboard_of_2026_counts_as_0_is_a_fault(tmp_path, rules, data, plant, said):
    content = sound(rules["2026"], REVISIONS, random.Random(0), data)
    plant(content)
    found = checked(tmp_path, content, rules["2026"], REVISIONS, data)
    assert any(line.startswith(said) for line in found), found


def test_numbers_of_reading_are_floats(tmp_path, rules, data):
    content = sound(rules["2026"], REVISIONS, random.Random(0), data)
    content["reading"]["reading"]["predictions"][3]["pred"] = 3
    (fault,) = checked(tmp_path, content, rules["2026"], REVISIONS, data)
    assert fault.startswith(
        "reading/reading, row 3: 3 in 'pred' is a whole number, where the leaderboard takes 3.0"
    )


def test_an_ewok_of_zeros_is_told_to_come_from_the_collator(tmp_path, rules):
    content = sound(rules["2026"], REVISIONS, random.Random(0))
    for scores in content["fast_eval_results"]["ewok"]:
        scores |= dict.fromkeys(scores, 0.0)
    (fault,) = checked(tmp_path, content, rules["2026"], REVISIONS)
    assert fault.startswith(
        "fast_eval_results/ewok: every score is 0: the organisers' collator of July takes"
    )


def test_examples_have_names_of_their_own_and_one_row_each(tmp_path, rules):
    content = sound(rules["2026"], REVISIONS, random.Random(0))
    piqa = content["global_piqa_parallel"]
    del piqa["eng_latn_0"]
    (fault,) = checked(tmp_path, content, rules["2026"], REVISIONS)
    assert fault.startswith("global_piqa_parallel: has 3 examples, the data 4")
    piqa["other"] = {"predictions": [{"id": "other_0", "pred": "a"}, {"id": "other_1", "pred": "b"}]}
    assert any("has 2 rows, the data 1" in f for f in checked(tmp_path, content, rules["2026"], REVISIONS))


def run(arguments: list) -> int:
    """The exit status of `check`."""
    return main(["check", *map(str, arguments)])


def test_the_command_tells_sound_from_faulty_by_status_and_last_line(
    tmp_path, rules, data, capsys, monkeypatch
):
    monkeypatch.setattr(check, "load_rules", rules.get)
    path = tmp_path / "file.json"
    content = sound(rules["2026"], REVISIONS[:2], random.Random(0), data)
    path.write_text(json.dumps(content))
    shorter = [path, "--rules", "2026", "--words", 2_999_999, "--data", data]
    assert run(shorter) == 0
    said = capsys.readouterr().out.splitlines()
    assert "is sound by the rules of 2026, strict-small: 12 keys" in said[-1]
    assert "their order was not looked at" in said[-2]
    assert run([*shorter, "--words-scale", 0.5]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith(f"has {len([s for s in said if s.startswith('fault: ')])} faults by the rules of "
                             "2026, strict-small")  # fmt: skip
    assert run([path, "--rules", "2026"]) == 1
    for arguments in (["--words", 10], ["--data", tmp_path / "none"], ["--revisions", tmp_path / "none"]):
        with pytest.raises(UserError, match=arguments[0]):
            run([path, *arguments])
    with pytest.raises(UserError, match="is not there"):
        run([tmp_path / "none.json"])


@pytest.mark.parametrize("scale", ["0", "1.5", "-1", "nan", "half"])
def test_a_scale_is_above_0_and_up_to_1(tmp_path, capsys, scale):
    with pytest.raises(SystemExit):
        run([tmp_path / "file.json", "--words", 10, f"--words-scale={scale}"])
    assert "--words-scale" in capsys.readouterr().err


def test_a_scale_alone_does_not_say_where_the_run_ended(tmp_path):
    with pytest.raises(UserError, match="add --words N"):
        run([tmp_path / "file.json", "--words-scale", 0.5])


@pytest.mark.slow
def test_a_file_at_the_official_sizes_is_checked_in_seconds(tmp_path):
    asked = load_rules("2025")
    due = asked.revisions("strict-small")
    content = sound(asked, due, random.Random(0))
    content["comps"]["base"]["predictions"][49_339]["id"] = "base_0"
    began = time.process_time()
    line, absent = checked(tmp_path, content, asked, due)
    assert absent.startswith('comps/base, row 49339: the row with the id "base_49339" is missing')
    assert line.startswith('comps/base, row 49339: the id "base_0" is that of row 0 too')
    assert time.process_time() - began < 60


def test_one_share_of_a_hundred_rows_may_be_that_of_two_revisions(tmp_path, rules):
    content = sound(rules["2026"], REVISIONS, random.Random(0))
    lists = content["fast_eval_results"]
    for key in ("global_piqa_parallel", "ewok"):
        lists[key][1] = dict(lists[key][0])
    path = tmp_path / "file.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    odd = [fault for fault in check_file(path, rules["2026"], REVISIONS) if "are those of" in fault.what]
    places = [fault.place for fault in odd if fault.warning]
    assert "fast_eval_results/ewok, chck_2M" in places and not any("piqa" in place for place in places)

"""Reading task files: official fields and ids, and one line about each way they can be wrong."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from choice_rows import ROWS, asked, pair, write_rows, write_task
from scipy.stats import bootstrap, spearmanr

from babylm_data.errors import UserError
from eval.scorer.items import Choice
from eval.tasks import TASKS
from eval.tasks.choices import TIE_RULES
from eval.tasks.minimal_pairs import load
from eval.tasks.official import deviation_note, deviations, official_rows
from eval.tasks.wug import bootstrap_error


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def test_blimp_rows_take_subtask_and_phenomenon_from_their_fields(tmp_path):
    write_rows(
        tmp_path / "x.jsonl",
        [pair("Good 0.", "Bad 0.", "island", "islands"), pair("G", "B", "island", "islands")],
    )
    first, second = load(files_in(tmp_path)).items
    assert (first.uid, first.subtask, first.phenomenon, first.gold) == ("island_0", "island", "islands", 0)
    assert first.choices == (Choice("", "Good 0."), Choice("", "Bad 0."))
    assert second.uid == "island_1"


def test_supplement_rows_take_the_name_of_their_file(tmp_path):
    write_rows(tmp_path / "turn_taking.jsonl", [pair("A:\nB.", "B:\nA.")])
    (item,) = load(files_in(tmp_path)).items
    assert (item.uid, item.phenomenon, item.choices[0].text) == ("turn_taking_0", None, "A:\nB.")


def test_a_uid_of_null_is_no_uid(tmp_path):
    row = {"sentence_good": "a", "sentence_bad": "b", "UID": None, "linguistics_term": None}
    write_rows(tmp_path / "turns.jsonl", [row])
    (item,) = load(files_in(tmp_path)).items
    assert (item.uid, item.phenomenon) == ("turns_0", None)


def test_items_are_in_file_order_and_files_in_name_order(tmp_path):
    write_rows(tmp_path / "b.jsonl", [pair(str(n), "x") for n in range(3)])
    write_rows(tmp_path / "a.jsonl", [pair("first", "x")])
    assert [item.choices[0].text for item in load(files_in(tmp_path)).items] == ["first", "0", "1", "2"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"sentence_good": "a"', "is not JSON"),
        (b'["a", "b"]', "is not a JSON object"),
        (b'{"sentence_good": "a"}', "no text in 'sentence_bad'"),
        (b'{"sentence_good": "", "sentence_bad": "b"}', "no text in 'sentence_good'"),
        (b'{"sentence_good": 3, "sentence_bad": "b"}', "no text in 'sentence_good'"),
        (b'{"sentence_good": "a", "sentence_bad": "b", "UID": 3}', "no text in 'UID'"),
        (
            b'{"sentence_good": "a", "sentence_bad": "b", "linguistics_term": ["x"]}',
            "no text in 'linguistics_term'",
        ),
        (b'{"sentence_good": "a", "sentence_bad": "\\ud83d"}', "lone surrogate.* in 'sentence_bad'"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, complaint):
    optional = {field: "x" for field in ("UID", "linguistics_term") if field.encode() in line}
    first = json.dumps({"sentence_good": "a", "sentence_bad": "b"} | optional).encode()
    (tmp_path / "x.jsonl").write_bytes(first + b"\n" + line + b"\n")
    with pytest.raises(UserError, match=f"x.jsonl, line 2 .*{complaint}"):
        load(files_in(tmp_path))


@pytest.mark.parametrize("lacking", [1, 2])
def test_a_row_without_the_subtask_that_the_others_name_is_refused(tmp_path, lacking):
    rows = [pair("a", "b", "island", "islands"), pair("c", "d", "island", "islands")]
    del rows[lacking - 1]["UID"]
    write_rows(tmp_path / "x.jsonl", rows)
    with pytest.raises(UserError, match=f"x.jsonl, line {lacking} has no text in 'UID', which line"):
        load(files_in(tmp_path))


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b"\xef\xbb\xbf"), (b"\n", b"\r\n"), (b"\n", b"\r"), (b"\n", b"\n\n \t\n")],
)
def test_what_editors_do_to_a_file_changes_no_item(tmp_path, before, after):
    (path,) = write_task(tmp_path, "supplement_filtered")
    whole = load([path]).items
    path.write_bytes(after + path.read_bytes() if not before else path.read_bytes().replace(before, after))
    assert load([path]).items == whole


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"sentence_good": "a", "sentence_bad": "b", "n": NaN}', r"not valid \(NaN is no number\)"),
        (
            '{"sentence_good": "a", "sentence_bad": "b", "n": 1' + "0" * 5000 + "}",
            "not valid .Exceeds the limit",
        ),
        ('{"sentence_good": "a", "n": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        (
            '{"sentence_good": "a", "sentence_bad": "b", "sentence_bad": "c"}',
            "key 'sentence_bad' stands in it twice",
        ),
    ],
)
def test_json_that_no_field_could_hold_is_refused(tmp_path, line, complaint):
    (tmp_path / "x.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"x.jsonl, line 1 is .*{complaint}"):
        load(files_in(tmp_path))


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"sentence_good": "caf\xe9", "sentence_bad": "b"}\n')
    with pytest.raises(UserError, match="x.jsonl, line 1 is not UTF-8"):
        load(files_in(tmp_path))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="has no rows"):
        load(files_in(tmp_path))


@pytest.mark.parametrize("name", ROWS)
def test_every_choice_task_loads_from_its_folder_and_says_when_it_is_absent(tmp_path, name):
    with pytest.raises(UserError, match=f"no .*jsonl files in .*{TASKS[name].folder}"):
        TASKS[name].files(tmp_path)
    written = write_task(tmp_path / TASKS[name].folder, name)
    assert TASKS[name].files(tmp_path) == written
    assert len(TASKS[name].load(written).items) == asked(name)


def test_a_task_that_both_downloads_hold_is_found_in_either(tmp_path):
    copy = write_task(tmp_path / "fast_eval/wug_past_tense", "wug_past_tense")
    assert TASKS["wug_past_tense"].files(tmp_path) == copy
    whole = write_task(tmp_path / "full_eval/wug_past_tense", "wug_past_tense")
    assert TASKS["wug_past_tense"].files(tmp_path) == whole


def test_ewok_asks_for_both_targets_after_the_first_context(tmp_path):
    first, second, *_ = TASKS["ewok_filtered"].load(write_task(tmp_path, "ewok_filtered")).items
    assert (first.uid, first.subtask, first.gold) == ("agent-properties_0", "agent-properties", 0)
    assert first.choices == (
        Choice("Ali sees the cat.", " The cat is in view."),
        Choice("Ali sees the cat.", " The cat is in earshot."),
    )
    assert second.choices[0].text == "Ali hears the cat. The cat is in earshot."


def test_ewok_of_2026_asks_for_one_target_after_both_contexts_and_quotes_the_sentence(tmp_path):
    found = TASKS["ewok_contexts"].load(write_task(tmp_path, "ewok_contexts"))
    first, *_ = found.items
    assert (first.uid, first.subtask, first.gold) == ("agent-properties_0", "agent-properties", 0)
    assert first.choices == (
        Choice("Ali sees the cat.", " The cat is in view."),
        Choice("Ali hears the cat.", " The cat is in view."),
    )
    row = found.predictions([[-2.0, -1.0]] * len(found.items))["agent-properties"]["predictions"][0]
    assert row == {"id": "agent-properties_0", "pred": "Ali hears the cat. The cat is in view."}


def test_entity_tracking_of_2026_is_that_of_2025_without_the_rows_that_offer_nothing(tmp_path):
    files = write_task(tmp_path, "entity_tracking")
    whole, filtered = (TASKS[name].load(files) for name in ("entity_tracking", "entity_tracking_filtered"))
    kept = [
        item for item in whole.items if all("nothing" not in choice.completion for choice in item.choices)
    ]
    assert [item.choices for item in filtered.items] == [item.choices for item in kept] != whole.items
    assert [item.uid for item in filtered.items if item.subtask == "regular_1_ops"] == ["regular_1_ops_0"]
    write_rows(tmp_path / "only/regular.jsonl", [ROWS["entity_tracking"]["regular"][1]])
    with pytest.raises(UserError, match="each row has 'nothing' in an option"):
        TASKS["entity_tracking_filtered"].load(files_in(tmp_path / "only"))


def test_global_piqa_is_decided_per_token_and_each_row_stands_under_its_own_name(tmp_path):
    found = TASKS["global_piqa_parallel"].load(write_task(tmp_path, "global_piqa_parallel"))
    assert found.per_token and [item.gold for item in found.items] == [0, 1, 2, 3]
    assert found.items[1].choices[3] == Choice("To open jar 1,", " paint it.")
    told = found.predictions([[-4.0, -3.0, -2.0, -1.0]] * 4)
    row = {"id": "eng_latn_2_0", "pred": " paint it."}
    assert list(told) == [f"eng_latn_{n}" for n in range(4)] and told["eng_latn_2"] == {"predictions": [row]}
    assert found.gold().choices["eng_latn_2"] == [("twist it.", "sing it.", "eat it.", "paint it.")]
    result = found.summarise([[-4.0, -3.0, -2.0, -1.0]] * 4)
    assert (result["score"], result["chance"], list(result["by_subtask"])) == (
        0.25,
        0.25,
        ["global_piqa_parallel"],
    )


def test_two_rows_of_global_piqa_with_one_name_are_refused(tmp_path):
    (path,) = write_task(tmp_path, "global_piqa_nonparallel")
    path.write_text(path.read_text() * 2)
    with pytest.raises(UserError, match="line 5 has the example_id 'eng_latn_0' of another row"):
        TASKS["global_piqa_nonparallel"].load([path])


def test_entity_tracking_has_a_subtask_for_each_file_and_number_of_operations(tmp_path):
    found = TASKS["entity_tracking"].load(write_task(tmp_path, "entity_tracking"))
    uids = ["ambiref_0_ops_0", "ambiref_2_ops_0", "move_contents_0_ops_0"]
    assert [item.uid for item in found.items[:3]] == uids
    assert found.items[-1].uid == "regular_1_ops_1"
    assert found.items[0].choices[1] == Choice("Box 0 contains the key. Box 0 contains ", "the map.")
    scores = [
        [-1.0] + [-2.0] * 4 if item.phenomenon == "regular" else [-2.0] * 4 + [-1.0] for item in found.items
    ]
    assert found.summarise(scores)["score"] == pytest.approx(
        1 / 3
    )  # one of three files, with three of six items


def test_comps_scores_one_phrase_after_two_contexts_and_quotes_the_sentence(tmp_path):
    found = TASKS["comps"].load(write_task(tmp_path, "comps"))
    assert found.items[0].choices == (Choice("A robin ", "can fly 0."), Choice("A trout ", "can fly 0."))
    rows = found.predictions([[-2.0, -1.0]] * len(found.items))
    assert list(rows) == ["base", "wugs", "wugs_dist_before", "wugs_dist_in_between"]
    assert rows["base"]["predictions"][2] == {"id": "base_2", "pred": "A trout can fly 2."}


def test_wug_predictions_hold_the_share_of_the_first_of_all_sentences(tmp_path):
    found = TASKS["wug_past_tense"].load(write_task(tmp_path, "wug_past_tense"))
    scores = [[math.log(0.5), math.log(0.3), math.log(0.2)]] * 5
    row = found.predictions(scores)["wug_past"]["predictions"][1]
    assert row == {"id": "wug_past_1", "pred": "They 1 wug0.", "prob": pytest.approx(0.5)}
    assert found.per_item(scores)["wug_past"]["ratio"] == [0.25, 0.5, 1.0, 0.75, 0.0]


@pytest.mark.parametrize("rule", TIE_RULES)
def test_what_is_stored_of_a_wug_test_tells_the_same_by_either_rule(tmp_path, rule):
    found = (
        TASKS["wug_adj_nominalization"].load(write_task(tmp_path, "wug_adj_nominalization")).with_ties(rule)
    )
    scores = [[-41.03, -60.37], [-3.0, -30.0], [-9.0, -9.5], [-5.5, -5.25], [-8.0, -27.0]]
    for stored in (found.with_ties(other).per_item(scores) for other in TIE_RULES):
        again = found.recall(json.loads(json.dumps(stored)))
        assert found.summarise(again) == found.summarise(scores)
        assert found.predictions(again) == found.predictions(scores)


def test_by_the_official_rule_shares_of_a_wug_test_are_in_float32_in_which_many_tie(tmp_path):
    found = TASKS["wug_adj_nominalization"].load(write_task(tmp_path, "wug_adj_nominalization"))
    scores = [[-1.0, -20.0 - row] for row in range(5)]
    shared, official = (found.with_ties(rule) for rule in TIE_RULES)
    assert len(set(shared.shares(scores))) == 5 and set(official.shares(scores)) == {1.0}
    result = official.summarise(scores)
    assert (result["score"], result["official_score"], result["standard_error"]) == (0.0, 0.0, None)
    assert result["shared_score"] == shared.summarise(scores)["score"] != 0
    assert official.predictions(scores)["wug_adj"]["predictions"][0]["prob"] == 1.0


def test_the_error_of_a_correlation_is_that_of_drawing_rows_and_the_same_each_time():
    rng = np.random.default_rng(5)
    x = rng.normal(size=300)
    y = x + rng.normal(size=300)
    error = bootstrap_error(x, y)
    other = bootstrap(
        (x, y),
        lambda *pair: spearmanr(*pair).statistic,
        paired=True,
        vectorized=False,
        n_resamples=500,
        rng=1,
    )
    assert error == bootstrap_error(x, y) == pytest.approx(other.standard_error, rel=0.1)


@pytest.mark.parametrize(
    ("name", "subtasks", "rows"),
    [
        ("blimp_filtered", 67, 59_875),
        ("supplement_filtered", 5, 5_218),
        ("ewok_filtered", 11, 7_618),
        ("entity_tracking", 18, 9_483),
        ("comps", 4, 91_028),
        ("wug_adj_nominalization", 1, 200),
        ("wug_past_tense", 1, 50),
        ("blimp_fast", 67, 13_400),
        ("supplement_fast", 5, 250),
        ("ewok_fast", 11, 1_100),
        ("entity_tracking_fast", 6, 3_152),
        ("entity_tracking_filtered", 18, 6_780),
        ("global_piqa_parallel", 1, 103),
        ("global_piqa_nonparallel", 1, 100),
    ],
)
def test_the_official_rows_add_up_to_the_published_sizes(name, subtasks, rows):
    official = official_rows(name)
    assert (len(official), sum(official.values())) == (subtasks, rows)


def test_every_choice_task_has_official_rows_but_the_nursery_which_the_kit_writes_itself():
    assert [name for name in ROWS if official_rows(name) is None] == ["nursery"]


def test_the_official_rows_are_no_deviation():
    official = official_rows("supplement_fast")
    assert deviations("supplement_fast", Counter(official).elements()) == []
    assert deviations("nursery", ["anything"]) == []


@pytest.mark.parametrize(
    ("subtask", "rows", "complaint"),
    [
        ("hypernym", 0, "hypernym has 0 rows, the official data 50"),
        ("hypernym", 49, "hypernym has 49 rows, the official data 50"),
        ("turn_taking", 51, "turn_taking has 51 rows, the official data 50"),
        ("stray", 2, "stray has 2 rows, the official data 0"),
    ],
)
def test_rows_too_few_or_too_many_are_named_with_both_counts(subtask, rows, complaint):
    found = Counter(official_rows("supplement_fast")) | Counter()
    found[subtask] = rows
    unlike = deviations("supplement_fast", found.elements())
    assert unlike == [complaint] and deviation_note(unlike) == complaint


def test_further_subtasks_that_differ_are_counted():
    unlike = deviations("supplement_fast", ["qa_congruence_easy"] * 50)
    assert deviation_note(unlike) == "hypernym has 0 rows, the official data 50 (and 3 more subtasks differ)"

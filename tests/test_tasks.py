"""Reading task files: official fields and ids, and one line about each way they can be wrong."""

from pathlib import Path

import pytest
from tiny_models import pair, write_rows

from babylm_data.errors import UserError
from eval.items import Choice
from eval.tasks import TASKS
from eval.tasks.minimal_pairs import load
from eval.tasks.official import official_rows


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def test_blimp_rows_take_subtask_and_phenomenon_from_their_fields(tmp_path):
    write_rows(
        tmp_path / "x.jsonl",
        [pair("Good 0.", "Bad 0.", "island", "islands"), pair("G", "B", "island", "islands")],
    )
    first, second = load(files(tmp_path))
    assert (first.uid, first.subtask, first.phenomenon, first.gold) == ("island_0", "island", "islands", 0)
    assert first.choices == (Choice("", "Good 0."), Choice("", "Bad 0."))
    assert second.uid == "island_1"


def test_supplement_rows_take_the_name_of_their_file(tmp_path):
    write_rows(tmp_path / "turn_taking.jsonl", [pair("A:\nB.", "B:\nA.")])
    (item,) = load(files(tmp_path))
    assert (item.uid, item.phenomenon, item.choices[0].text) == ("turn_taking_0", None, "A:\nB.")


def test_a_uid_of_null_is_no_uid(tmp_path):
    row = {"sentence_good": "a", "sentence_bad": "b", "UID": None, "linguistics_term": None}
    write_rows(tmp_path / "turns.jsonl", [row])
    (item,) = load(files(tmp_path))
    assert (item.uid, item.phenomenon) == ("turns_0", None)


def test_items_are_in_file_order_and_files_in_name_order(tmp_path):
    write_rows(tmp_path / "b.jsonl", [pair(str(n), "x") for n in range(3)])
    write_rows(tmp_path / "a.jsonl", [pair("first", "x")])
    assert [item.choices[0].text for item in load(files(tmp_path))] == ["first", "0", "1", "2"]


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
    (tmp_path / "x.jsonl").write_bytes(b'{"sentence_good": "a", "sentence_bad": "b"}\n' + line + b"\n")
    with pytest.raises(UserError, match=f"x.jsonl, line 2 .*{complaint}"):
        load(files(tmp_path))


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"sentence_good": "caf\xe9", "sentence_bad": "b"}\n')
    with pytest.raises(UserError, match="x.jsonl is not UTF-8"):
        load(files(tmp_path))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="has no rows"):
        load(files(tmp_path))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_loads_from_its_folder_and_says_when_it_is_absent(tmp_path, name):
    with pytest.raises(UserError, match=f"no .*jsonl files in .*{name}"):
        TASKS[name].files(tmp_path)
    write_rows(tmp_path / TASKS[name].folder / "x.jsonl", [pair("a", "b")])
    assert len(TASKS[name].load(TASKS[name].files(tmp_path))) == 1


@pytest.mark.parametrize(
    ("name", "files", "rows"),
    [
        ("blimp_filtered", 67, 59_875),
        ("supplement_filtered", 5, 5_218),
        ("blimp_fast", 67, 13_400),
        ("supplement_fast", 5, 250),
    ],
)
def test_the_official_rows_add_up_to_the_published_sizes(name, files, rows):
    official = official_rows(name)
    assert (len(official), sum(official.values())) == (files, rows)


def test_every_task_has_official_rows_but_the_nursery_which_the_kit_writes_itself():
    assert [name for name in TASKS if official_rows(name) is None] == ["nursery"]


@pytest.fixture
def supplement(tmp_path) -> Path:
    """A data folder with as many rows in each file of the fast supplement as the official one."""
    for stem, rows in official_rows("supplement_fast").items():
        write_rows(tmp_path / f"fast_eval/supplement_fast/{stem}.jsonl", [pair("a", "b")] * rows)
    return tmp_path


def test_the_official_files_are_the_whole_task(supplement):
    assert TASKS["supplement_fast"].is_partial(supplement, allowed=False) is False
    assert TASKS["supplement_fast"].is_partial(supplement, allowed=True) is False


@pytest.mark.parametrize(
    ("stem", "rows", "complaint"),
    [
        ("hypernym", 0, r"hypernym.jsonl is missing \(0 of its 50 rows\)"),
        ("hypernym", 49, "hypernym.jsonl has 49 rows, the official file 50"),
        ("turn_taking", 51, "turn_taking.jsonl has 51 rows, the official file 50"),
        ("stray", 2, r"stray.jsonl has 2 rows, and no official file \(0 rows\) has that name"),
    ],
)
def test_a_file_or_row_too_few_or_too_many_is_named_with_both_counts(supplement, stem, rows, complaint):
    path = supplement / f"fast_eval/supplement_fast/{stem}.jsonl"
    path.unlink(missing_ok=True)
    if rows:
        write_rows(path, [pair("a", "b")] * rows)
    with pytest.raises(UserError, match=f"{complaint}: download the .* again, or pass --partial") as error:
        TASKS["supplement_fast"].is_partial(supplement, allowed=False)
    assert "\n" not in str(error.value)
    assert TASKS["supplement_fast"].is_partial(supplement, allowed=True) is True


def test_further_files_that_are_not_right_are_counted(supplement):
    for stem in ("hypernym", "turn_taking", "qa_congruence_easy"):
        (supplement / f"fast_eval/supplement_fast/{stem}.jsonl").unlink()
    with pytest.raises(UserError, match=r"hypernym.jsonl is missing .* \(and 2 more such files\): "):
        TASKS["supplement_fast"].is_partial(supplement, allowed=False)

"""Stand-ins for absent data: official names, fields and counts, a mark in every row and in every result of them."""

import json
from pathlib import Path

import pytest
import tiny_models
from choice_rows import ROWS, write_rows, write_task
from tuning_models import save_bert

from babylm_data.errors import UserError
from bench.stand_in_data import TRAINING_ROWS, make_folder, parts
from bench.stand_in_data import main as stand_in
from eval import __main__ as scoring
from eval.finetune import __main__ as tuning
from eval.finetune.runner import read_job
from eval.tasks import TASKS, extent_note
from eval.tasks.json_rows import is_synthetic
from eval.tasks.official import official_rows

INVENTED = [
    "ewok_filtered",
    "ewok_fast",
    "comps",
    "entity_tracking",
    "entity_tracking_fast",
    "global_piqa_parallel",
    "global_piqa_nonparallel",
]
GLUE = "full_eval/glue_filtered"


@pytest.fixture(scope="session")
def official(tmp_path_factory) -> Path:
    """Official data as far as they may be passed on: BLiMP of four rows a file, the validation rows of BoolQ."""
    data = tmp_path_factory.mktemp("official")
    for task in ("blimp_filtered", "blimp_fast"):
        write_task(data / TASKS[task].folder, task)
    rows = [{"question": f"is {n} odd", "passage": f"It is {n}.", "label": n % 2, "idx": n} for n in range(6)]
    write_rows(data / GLUE / "boolq.valid.jsonl", rows)
    return data


@pytest.fixture(scope="session")
def made(official, tmp_path_factory) -> Path:
    """The folder with stand-ins of three rows a subtask."""
    out = tmp_path_factory.mktemp("made") / "data"
    make_folder(out, official, most=3)
    return out


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_part_has_the_official_number_of_rows():
    for task in INVENTED:
        assert {part.subtask: part.rows for part in parts() if part.task == task} == official_rows(task)
    assert {part.path: part.rows for part in parts() if part.task in ("boolq", "multirc")} == {
        f"{GLUE}/boolq.train.jsonl": TRAINING_ROWS,
        f"{GLUE}/multirc.train.jsonl": TRAINING_ROWS,
    }


def test_the_readers_find_every_subtask_in_its_official_file(made):
    for task in INVENTED:
        questions = TASKS[task].load(TASKS[task].files(made))
        assert {item.subtask for item in questions.items} == set(official_rows(task))
        assert len(questions.items) == 3 * len(official_rows(task))
        for item in questions.items:
            assert len({choice.text for choice in item.choices}) == len(item.choices), item
    names = sorted(path.name for path in (made / "full_eval/comps").iterdir())
    assert names == [f"{stem}.jsonl" for stem in sorted(ROWS["comps"])]


def test_every_row_of_a_stand_in_and_none_of_an_official_file_is_marked(official, made):
    for path in sorted(made.rglob("*.jsonl")):
        marks = {row.get("synthetic") for row in rows_of(path)}
        assert marks == ({None} if (official / path.relative_to(made)).exists() else {True})


def test_official_files_are_linked_or_copied_and_nothing_stands_in_for_them(official, made, tmp_path):
    copied = tmp_path / "copied"
    make_folder(copied, official, copy=True, most=1)
    for path in sorted(official.rglob("*.jsonl")):
        name = path.relative_to(official)
        assert (made / name).resolve() == path.resolve()
        assert not (copied / name).is_symlink() and (copied / name).read_bytes() == path.read_bytes()
    data = tmp_path / "official"
    write_rows(
        data / "full_eval/ewok_filtered/agent-properties.jsonl", ROWS["ewok_filtered"]["agent-properties"]
    )
    written = make_folder(tmp_path / "out", data, most=1)
    assert "ewok_filtered" not in written and "ewok_fast" in written
    assert len(list((tmp_path / "out/full_eval/ewok_filtered").iterdir())) == 1


def test_the_seed_decides_and_the_fast_rows_are_among_the_full_ones(official, made, tmp_path):
    for number, seed in enumerate((0, 1)):
        make_folder(tmp_path / str(number), official, seed=seed, most=3)
    domain = "ewok_filtered/social-relations.jsonl"
    first, other = ((tmp_path / f"{n}/full_eval" / domain).read_bytes() for n in (0, 1))
    assert first == (made / "full_eval" / domain).read_bytes() != other
    assert (made / "fast_eval/ewok_fast/social-relations.jsonl").read_bytes() == first


def test_an_answer_follows_from_what_the_row_says(made):
    for row in rows_of(made / f"{GLUE}/multirc.train.jsonl"):
        doer, verb = row["question"].removeprefix("What did ").removesuffix("?").rsplit(" ", 1)
        (told,) = [text for text in row["paragraph"].lower().split(". ") if text.startswith(f"{doer} ")]
        assert told.rstrip(".").endswith(row["answer"].lower().rstrip(".")) == bool(row["label"]), verb
    for row in rows_of(made / "full_eval/entity_tracking/regular.jsonl"):
        *_, last, _ = row["input_prefix"].split(". ")
        assert last.endswith(row["options"][0].rstrip("."))
        assert row["input_prefix"].count(" put ") == row["numops"]


def test_what_is_there_is_not_written_over(official, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already, and nothing is written over"):
        make_folder(tmp_path / "out", official)
    with pytest.raises(UserError, match="holds neither full_eval/ nor fast_eval/"):
        make_folder(tmp_path / "new", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_says_what_is_invented_and_what_is_lacking(official, tmp_path, capsys):
    stand_in(["--out", str(tmp_path / "out"), "--data", str(official), "--most", "2"])
    said = capsys.readouterr().out
    assert "comps: 8 synthetic rows" in said and "multirc: 2 synthetic training rows" in said
    assert "nothing stands in for it: supplement_filtered, supplement_fast, " in said


def test_a_score_on_stand_ins_is_marked_in_the_file_and_the_table(made, tmp_path, capsys):
    tiny_models.save(tmp_path / "model")
    data = ["--data", str(made), "--tasks", "blimp_filtered", "comps"]
    scoring.main([*data, "--check"])
    assert "comps: 12 items in 4 files (synthetic stand-ins, not" in capsys.readouterr().out
    scoring.main([str(tmp_path / "model"), *data, "--out", str(tmp_path / "out")])
    tasks = json.loads((tmp_path / "out/scores.json").read_text())["tasks"]
    assert tasks["comps"]["synthetic"] is True and "synthetic" not in tasks["blimp_filtered"]
    said = capsys.readouterr().out
    assert (
        "comps is no score of the whole task: synthetic stand-ins, not the official data, other rows" in said
    )
    assert "blimp_filtered is no score of the whole task: other rows" in said


def test_a_model_tuned_on_stand_ins_is_marked_in_both_files_and_the_table(made, tmp_path, capsys):
    save_bert(tmp_path / "bert")
    command = [
        str(tmp_path / "bert"),
        "--tasks",
        "boolq",
        "--data",
        str(made),
        "--out",
        str(tmp_path / "out"),
    ]
    tuning.main([*command, "--epochs", "1", "--max-length", "32"])
    for result in (
        json.loads((tmp_path / "out/boolq/seed-42/result.json").read_text()),
        json.loads((tmp_path / "out/finetune.json").read_text())["tasks"]["boolq"],
    ):
        assert result["synthetic"] is True
    assert "boolq: the rows of boolq.train.jsonl are synthetic stand-ins" in capsys.readouterr().out


def test_official_training_rows_are_not_marked(official, tmp_path):
    valid = rows_of(official / GLUE / "boolq.valid.jsonl")
    for split in ("train", "valid"):
        write_rows(tmp_path / f"boolq.{split}.jsonl", valid)
    assert read_job("boolq", [tmp_path], None).synthetic is False


def test_the_mark_is_found_among_many_rows_and_not_in_a_text_that_quotes_it(tmp_path):
    plain = {"text": 'it says "synthetic": true', "synthetic": False}
    write_rows(tmp_path / "quotes.jsonl", [plain] * 50)
    write_rows(tmp_path / "mixed.jsonl", [*[plain] * 50, {"synthetic": True}])
    assert not is_synthetic([tmp_path / "quotes.jsonl"])
    assert is_synthetic([tmp_path / "quotes.jsonl", tmp_path / "mixed.jsonl"])
    (tmp_path / "close.jsonl").write_text('{"synthetic":true}\n')
    assert is_synthetic([tmp_path / "close.jsonl"])


def test_notes_of_extent_name_every_reason():
    assert extent_note(None, False) == "" == extent_note(None, False, False)
    note = extent_note(5, True, True)
    assert all(reason in note for reason in ("synthetic", "other rows", "the first 5")), note

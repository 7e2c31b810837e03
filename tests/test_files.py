"""What people's folders hold: read, passed over as clutter, or named; a name without content is refused."""

import json
import os

import pytest
from tiny_models import write_rows

from babylm_data.errors import UserError
from babylm_data.files import files_below, is_clutter
from babylm_data.sources import find_inputs
from babylm_data.words import load_track
from eval.finetune import glue, squad
from eval.tasks import TASKS
from eval.tasks.texts import find_texts, read_text

TRACK = load_track("2025/strict-small")
CLUTTER = [
    "._childes.train",
    ".DS_Store",
    ".ipynb_checkpoints/childes.train",
    "__MACOSX/childes.train",
    "childes.train~",
    ".childes.train.swp",
    "#childes.train#",
    "~$childes.train",
    ".~lock.childes.train#",
    "Thumbs.db",
    "README.txt",
    "readme.md",
    "LICENSE.txt",
]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def put(path, text="the dog sees the cat\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def raw(tmp_path):
    for split in ("train", "dev"):
        put(tmp_path / f"raw/{split}/childes.{split}", f"{split} text\n")
    return tmp_path / "raw"


def names(inputs):
    return {split: sorted(p.name for files in inputs[split].values() for p in files) for split in inputs}


@pytest.mark.parametrize("name", CLUTTER)
def test_clutter_is_passed_over_in_a_corpus_in_texts_and_in_evaluation_data(raw, tmp_path, name, capsys):
    put(raw / "train" / name, "\x00\x05\x16\x07 not text")
    put(raw / name, "\x00 not text")
    assert names(find_inputs(raw, TRACK)) == {"train": ["childes.train"], "dev": ["childes.dev"]}
    assert capsys.readouterr().out == ""
    put(tmp_path / "texts/a.txt")
    put(tmp_path / "texts" / name.replace(".train", ".txt"))
    assert [path.name for path in find_texts([str(tmp_path / "texts")])] == ["a.txt"]
    data = tmp_path / "data"
    put(data / "full_eval/blimp_filtered/a.jsonl")
    put(data / "full_eval/blimp_filtered" / name.replace(".train", ".jsonl"))
    assert [path.name for path in TASKS["blimp_filtered"].find(data)] == ["a.jsonl"]


@pytest.mark.parametrize(
    "name",
    [
        "childes.train",
        "a.b.txt",
        "new-york_2.txt",
        "readmes.txt",
        "citation_stories.train",
        "#1 Story.train",
        "License.to.kill.train",
    ],
)
def test_a_name_like_any_other_is_no_clutter(tmp_path, name):
    assert not is_clutter(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["bnc.train.gz", "bnc.zip", "deeper/bnc.train", "bnc.json", "bnc", "bnc.dev", "bnc.train.part"]
)
def test_what_is_not_read_is_named(raw, tmp_path, name, capsys):
    put(raw / "train" / name)
    assert names(find_inputs(raw, TRACK))["train"] == ["childes.train"]
    said = capsys.readouterr().out
    assert f"not read in {raw / 'train'}: {name.split('/')[0]}" in said
    put(tmp_path / "texts/a.txt")
    put(tmp_path / "texts" / f"{name}.x")
    find_texts([str(tmp_path / "texts")])
    assert f"not read in {tmp_path / 'texts'}: {name.split('/')[-1]}.x" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".TRAIN", ".Train", ".TXT", ".txt"])
def test_the_case_of_an_ending_does_not_matter(raw, ending, tmp_path):
    put(raw / "train" / f"bnc{ending}")
    assert names(find_inputs(raw, TRACK))["train"] == [f"bnc{ending}", "childes.train"]
    put(tmp_path / "texts/a.TXT")
    assert len(find_texts([str(tmp_path / "texts")])) == 1


def test_a_folder_beside_those_that_are_read_and_strange_sources_of_dev_are_named(raw, capsys):
    put(raw / "Test/childes.test")
    put(raw / "notes.pdf")
    put(raw / "dev/qed.dev", "other dev text\n")
    find_inputs(raw, TRACK)
    said = capsys.readouterr().out
    assert f"not read in {raw}: Test/, notes.pdf\n" in said
    assert "dev has sources that train has not: qed\n" in said


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_that_is_a_link_to_a_folder_is_read(raw, tmp_path, split):
    (raw / split).rename(tmp_path / "elsewhere")
    (raw / split).symlink_to(tmp_path / "elsewhere")
    assert names(find_inputs(raw, TRACK)) == {"train": ["childes.train"], "dev": ["childes.dev"]}
    put(tmp_path / "texts/test/a.txt")
    (tmp_path / "texts/dev").symlink_to(tmp_path / "elsewhere")
    put(tmp_path / "elsewhere/b.txt")
    found = [read_text(path) for path in find_texts([str(tmp_path / "texts")])]
    assert ("b.txt" in {text.name.split("/")[1] for text in found}) and len(found) >= 2


def dead(path):
    path.symlink_to("../.git/annex/objects/xx")


def pointer(path):
    put(path, POINTER)


def device(path):
    path.symlink_to("/dev/zero")


def pipe(path):
    os.mkfifo(path)


HOLLOW = {
    dead: "is a link to nothing",
    pointer: "is a pointer of Git LFS",
    device: "is no file",
    pipe: "is no file",
}


@pytest.mark.parametrize("make", HOLLOW)
def test_a_name_without_content_is_refused_wherever_it_would_be_read(raw, tmp_path, make):
    make(raw / "train/bnc.train")
    with pytest.raises(UserError, match=f"bnc.train {HOLLOW[make]}"):
        find_inputs(raw, TRACK)
    put(tmp_path / "texts/a.txt")
    make(tmp_path / "texts/b.txt")
    for path in (tmp_path / "texts", tmp_path / "texts/b.txt"):
        with pytest.raises(
            UserError, match=HOLLOW[make] if path.is_dir() or make is not dead else "no text file"
        ):
            find_texts([str(path)])
    (tmp_path / "data/full_eval/blimp_filtered").mkdir(parents=True)
    make(tmp_path / "data/full_eval/blimp_filtered/a.jsonl")
    with pytest.raises(UserError, match=HOLLOW[make]):
        TASKS["blimp_filtered"].find(tmp_path / "data")


def test_a_split_that_is_a_link_to_nothing_is_not_taken_for_none(raw):
    (raw / "dev").rename(raw.parent / "gone")
    (raw / "dev").symlink_to("nowhere")
    with pytest.raises(UserError, match="dev is a link to nothing"):
        find_inputs(raw, TRACK)


def test_a_link_to_a_folder_that_holds_it_ends(tmp_path):
    put(tmp_path / "a/b.txt")
    (tmp_path / "a/again").symlink_to("..")
    with pytest.raises(UserError, match="is a link to a folder that holds it"):
        list(files_below(tmp_path))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_no_part_of_a_text_or_a_table(tmp_path, mark):
    text = read_text(put(tmp_path / "a.txt", f"{mark}the dog\r\nsees\r\n\r\nthe cat\r"))
    assert text.documents == ["the dog\nsees", "the cat"] and text.bytes == 19
    again = read_text(put(tmp_path / "b.txt", f"{mark}the dog\r\r\nsees\r\r\n\r\r\nthe cat\r\r\n"))
    assert again.documents == text.documents
    (tmp_path / "c.txt").write_bytes("the dog".encode("utf-16-le"))
    with pytest.raises(UserError, match=r"c.txt has zero bytes and is no text"):
        read_text(tmp_path / "c.txt")
    (example,) = glue.read_examples(
        put(tmp_path / "a.tsv", f"{mark}sentence\tlabel\nfine\t1\n"), glue.TASKS["sst2"]
    )
    assert (example.first, example.label) == ("fine", 1)
    answer = {"text": "sat", "answer_start": 4}
    question = {"id": "1", "question": "what?", "answers": [answer]}
    articles = {"data": [{"paragraphs": [{"context": "Ann sat", "qas": [question]}]}]}
    (found,) = squad.read_questions(put(tmp_path / "a.json", mark + json.dumps(articles)))
    assert found.answers == (("sat", 4),)
    rows = tmp_path / "a.jsonl"
    write_rows(rows, [{"sentence": "fine", "label": 1}])
    rows.write_text(mark + rows.read_text(encoding="utf-8"), encoding="utf-8")
    assert glue.read_examples(rows, glue.TASKS["sst2"])[0].first == "fine"


@pytest.mark.parametrize(
    "beside", ["more.jsonl.gz", "more.JSONL", "more.json", "b.jsonl.bak", "sub/more.jsonl"]
)
def test_what_lies_beside_evaluation_data_and_is_not_read_is_named(tmp_path, capsys, beside):
    folder = tmp_path / "full_eval/blimp_filtered"
    put(folder / "a.jsonl")
    put(folder / beside)
    assert [path.name for path in TASKS["blimp_filtered"].files(tmp_path)] == ["a.jsonl"]
    assert f"not read in {folder}: {beside.split('/')[0]}" in capsys.readouterr().out


def test_the_same_rows_twice_are_named(tmp_path, capsys):
    for name in ("a.jsonl", "Copy of a.jsonl"):
        put(tmp_path / "full_eval/blimp_filtered" / name)
    assert len(TASKS["blimp_filtered"].files(tmp_path)) == 2
    assert "Copy of a.jsonl and a.jsonl in" in capsys.readouterr().out


@pytest.mark.parametrize("read", [find_texts, lambda paths: find_inputs(paths[0], TRACK)])
def test_a_name_that_is_no_text_in_the_locale_is_told_before_the_work(raw, read):
    (raw / "train" / os.fsdecode(b"\xff.train")).write_text("the dog\n")
    with pytest.raises(UnicodeEncodeError):  # which the program tells as one line, with the name
        read([raw])

"""Raw text to a data folder: layouts, budgets, the manifest, and bad input that leaves nothing behind."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from babylm_data import prepare as preparing
from babylm_data.__main__ import main
from babylm_data.errors import UserError, run_stage
from babylm_data.hub import find_folder
from babylm_data.prepare import Settings, check_budget, prepare
from babylm_data.sealed import damage
from babylm_data.sources import find_inputs
from babylm_data.tokenizer_files import load_tokenizer
from babylm_data.tokens import open_data, open_tokens
from babylm_data.words import load_track

VOCAB = 280
LINES = "".join(
    f"*MOT:\tthe {a} sees the {b}.\n" for a in ("dog", "cat", "cow") for b in ("bird", "fish", "hen")
)
BOOK = "_The_ dog ran home.\nThe cat ran home.\n\nThe cow saw it.\n"


def write(folder, **files):
    """Files by name, with __ for a folder and a last _ for the dot."""
    for name, text in files.items():
        path = folder / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def raw(tmp_path):
    return write(
        tmp_path / "raw",
        train__childes_train=LINES,
        train__gutenberg_train=BOOK,
        dev__childes_dev=LINES[:90],
        test__gutenberg_test=BOOK.replace("ran", "walked"),
    )


def settings(**changes):
    return Settings(**({"source": "raw", "track": "2025/strict-small", "vocab_size": VOCAB} | changes))


def test_a_corpus_becomes_a_sealed_folder_whose_counts_agree(raw, tmp_path):
    manifest, was_there = prepare(tmp_path / "data", settings(), raw=raw)
    assert not was_there and open_data(tmp_path / "data") == manifest
    assert list(manifest["splits"]) == ["train", "dev", "test"]
    train = manifest["splits"]["train"]
    assert train["sources"]["childes"]["words"] == 9 * 5
    assert train["sources"]["gutenberg"]["documents"] == 2
    assert train["words"] == 45 + 12
    tokens = open_tokens(tmp_path / "data", "train")
    assert int(tokens.words.sum()) == train["words"] and len(tokens.documents) == train["documents"]
    (file,) = train["sources"]["gutenberg"]["files"]
    assert file["name"] == "gutenberg.train" and file["bytes"] == len(BOOK) and len(file["sha256"]) == 64


def test_clean_text_of_dev_and_test_is_kept_and_that_of_train_is_not(raw, tmp_path):
    prepare(tmp_path / "data", settings(), raw=raw)
    text = (tmp_path / "data/text/test/gutenberg.txt").read_text(encoding="utf-8")
    assert text == "The dog walked home.\nThe cat walked home.\n\nThe cow saw it.\n"
    assert sorted(p.name for p in (tmp_path / "data/text").iterdir()) == ["dev", "test"]


def test_a_share_is_drawn_from_each_source_by_the_seed_in_whole_documents_and_from_train_alone(tmp_path):
    number = iter(range(10_000))
    books = {name: [f"{name} {next(number)} " + "word " * (n % 7) for n in range(400)] for name in ("a", "b")}
    texts = {f"train__{name}_train": "\n\n".join(lines) for name, lines in books.items()}
    raw = write(tmp_path / "raw", **texts, dev__a_dev="dev words here", test__a_test="test words here")

    def kept(name, **changes):
        manifest, _ = prepare(tmp_path / name, settings(**changes), raw=raw)
        tokenizer = load_tokenizer(tmp_path / name / "tokenizer")
        tokens = open_tokens(tmp_path / name, "train")
        ids = np.split(tokens.tokens, tokens.documents[1:])
        return manifest["splits"], [tokenizer.decode(part[1:-1]) for part in ids]

    whole, every = kept("whole")
    some, drawn = kept("some", share=0.1, seed=3)
    for source in ("a", "b"):
        aimed = 0.1 * whole["train"]["sources"][source]["words"]
        assert aimed <= some["train"]["sources"][source]["words"] < aimed + 9
    assert (some["dev"], some["test"]) == (
        whole["dev"] | lengths(some["dev"]),
        whole["test"] | lengths(some["test"]),
    )
    places = [every.index(text) for text in drawn]
    assert places == sorted(places) and len(set(places)) == len(places)
    assert kept("again", share=0.1, seed=3)[1] == drawn != kept("other", share=0.1, seed=4)[1]
    with pytest.raises(UserError, match="made with share = 0.1, now it is 0.2"):
        prepare(tmp_path / "some", settings(share=0.2, seed=3), raw=raw)


def lengths(split):
    """What hangs on the tokenizer, which learns from the train text."""
    return {"tokens": split["tokens"]}


def test_the_same_input_gives_the_same_bytes_however_many_workers(raw, tmp_path, monkeypatch):
    prepare(tmp_path / "one", settings(), raw=raw, workers=1)
    monkeypatch.setattr("babylm_data.clean.SMALL_BYTES", 0)
    prepare(tmp_path / "two", settings(), raw=raw, workers=2)
    seals = [(tmp_path / name / "SHA256.json").read_text(encoding="utf-8") for name in ("one", "two")]
    assert seals[0] == seals[1]


def test_a_finished_folder_is_not_made_again(raw, tmp_path, monkeypatch):
    made, _ = prepare(tmp_path / "data", settings(), raw=raw)
    monkeypatch.setattr(preparing, "clean_all", None)  # would fail if called
    assert prepare(tmp_path / "data", settings(), raw=raw) == (made, True)


def test_a_folder_made_otherwise_is_refused_with_the_first_difference(raw, tmp_path):
    prepare(tmp_path / "data", settings(), raw=raw)
    with pytest.raises(UserError, match="made with vocab_size = 280, now it is 281: choose another --out"):
        prepare(tmp_path / "data", settings(vocab_size=281), raw=raw)
    write(raw, train__gutenberg_train=BOOK + "More.\n")
    with pytest.raises(UserError, match="made with train/gutenberg.train = SHA-256"):
        prepare(tmp_path / "data", settings(), raw=raw)
    (raw / "train/gutenberg.train").unlink()
    with pytest.raises(UserError, match="train/gutenberg.train = SHA-256 .* now it is None"):
        prepare(tmp_path / "data", settings(), raw=raw)


def test_a_damaged_folder_is_made_again(raw, tmp_path):
    prepare(tmp_path / "data", settings(), raw=raw)
    with open(tmp_path / "data/train.tokens.bin", "r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(UserError, match="has changed since it was written: make it again"):
        open_data(tmp_path / "data")
    assert prepare(tmp_path / "data", settings(), raw=raw)[1] is False
    assert damage(tmp_path / "data") is None


def test_a_folder_that_is_not_a_data_folder_is_never_replaced(raw, tmp_path):
    with pytest.raises(UserError, match="is not a data folder"):
        prepare(raw, settings(), raw=raw)
    assert (raw / "train/childes.train").is_file()


LAYOUTS = {
    "folders": {"train__childes_train": LINES, "dev__childes_dev": BOOK, "test__childes_test": BOOK},
    "flat": {
        "._childes_train": "of another system",
        "childes_train": LINES,
        "childes_dev": BOOK,
        "childes_test": BOOK,
    },
    "2024": {"train_10M__childes_train": LINES, "dev__childes_dev": BOOK, "test__childes_test": BOOK},
    "2023": {
        "babylm_10M__childes_train": LINES,
        "babylm_dev__childes_dev": BOOK,
        "babylm_test__childes_test": BOOK,
    },
    "txt folders": {"train__childes_txt": LINES, "dev__childes_txt": BOOK, "test__childes_txt": BOOK},
    "flat txt": {"childes_txt": LINES, "dev_txt": BOOK, "test_txt": BOOK},
    "chunks": {
        "train__childes_0_train": LINES,
        "train__childes_1_train": BOOK,
        "childes_dev": "a",
        "childes_test": "b",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_official_layouts_and_plain_text_are_found(layout, tmp_path):
    inputs = find_inputs(write(tmp_path, **LAYOUTS[layout]), load_track("2025/strict-small"))
    assert list(inputs) == ["train", "dev", "test"]
    assert list(inputs["train"]) == ["childes"]
    assert [path.stem[:7] for path in inputs["train"]["childes"]] == ["childes"] * (
        2 if layout == "chunks" else 1
    )


@pytest.mark.parametrize(("track", "words"), [("2024/strict-small", "10M"), ("2024/strict", "100M")])
def test_the_track_chooses_between_two_corpora_of_one_download(track, words, tmp_path):
    write(tmp_path, train_10M__childes_train=LINES, train_100M__childes_train=LINES + LINES)
    inputs = find_inputs(tmp_path, load_track(track))
    assert inputs["train"]["childes"][0].parent.name == f"train_{words}"


def test_without_dev_and_test_files_the_end_of_each_source_becomes_these(tmp_path):
    raw = write(
        tmp_path / "raw", tales_train="".join(f"tale {i} of the dog\n\n" for i in range(401)), other_txt=BOOK
    )
    manifest, _ = prepare(tmp_path / "data", settings(vocab_size=265), raw=raw)
    sources = {split: counts["sources"] for split, counts in manifest["splits"].items()}
    assert list(sources) == ["train", "dev", "test"]
    assert [part["tales"]["documents"] for part in sources.values()] == [396, 3, 2]
    assert sources["dev"]["other"] == {"words": 4, "documents": 1, "files": []}
    test = (tmp_path / "data/text/test/tales.txt").read_text(encoding="utf-8")
    assert test == "tale 396 of the dog\n\ntale 397 of the dog\n"
    dev = (tmp_path / "data/text/dev/tales.txt").read_text(encoding="utf-8")
    prepare(tmp_path / "some", settings(vocab_size=265, share=0.5, seed=1), raw=raw)
    assert (tmp_path / "some/text/dev/tales.txt").read_text(encoding="utf-8") == dev
    assert dev == "tale 398 of the dog\n\ntale 399 of the dog\n\ntale 400 of the dog\n"
    assert prepare(tmp_path / "data", settings(vocab_size=265), raw=raw)[1] is True


def test_the_official_corpus_of_2026_is_within_the_budget_of_its_own_track():
    train = {"bb26_en": {"words": 10_421_796}}
    check_budget(train, load_track("2026/strict-small"), allow_words=0)
    with pytest.raises(UserError, match="10,421,796 words, over the 10,000,000 of track 2025/strict-small"):
        check_budget(train, load_track("2025/strict-small"), allow_words=0)


def test_more_words_than_the_budget_need_the_flag_that_the_error_names(raw, tmp_path, monkeypatch):
    small = load_track("2025/strict-small").model_copy(update={"corpus_words": 50})
    monkeypatch.setattr(preparing, "load_track", lambda name: small)
    monkeypatch.setattr(preparing, "train_tokenizer", None)  # refused before anything is trained
    with pytest.raises(
        UserError, match="57 words, over the 50 of track 2025/strict-small: .* --allow-words 57"
    ):
        prepare(tmp_path / "data", settings(), raw=raw, allow_words=56)
    monkeypatch.undo()
    monkeypatch.setattr(preparing, "load_track", lambda name: small)
    assert (
        prepare(tmp_path / "data", settings(), raw=raw, allow_words=57)[0]["splits"]["train"]["words"] == 57
    )


BAD = {
    "no folder": ({}, "is not a folder"),
    "no text": ({"readme_md": "hello"}, "holds no .* found readme.md"),
    "empty file": ({"train__a_train": LINES, "train__b_train": ""}, "b.train is empty"),
    "blank file": ({"train__a_train": LINES, "train__b_train": " \n\n"}, "b.train holds no text"),
    "same file twice": (
        {"train__a_train": LINES, "train__b_train": LINES},
        "train/a.train and train/b.train are the same",
    ),
    "train text again as dev": (
        {"train__a_train": LINES, "dev__a_dev": LINES},
        "train/a.train and dev/a.dev are the same",
    ),
    "one document": ({"train__a_train": "one line"}, "too little train text"),
    "small corpus": ({"train__a_train": "a b\n\nc d"}, "lower --vocab-size to 261"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_one_line_and_leaves_nothing_behind(bad, tmp_path):
    files, message = BAD[bad]
    write(tmp_path / "raw", **files)
    with pytest.raises(UserError, match=message) as error:
        prepare(tmp_path / "out/data", settings(), raw=tmp_path / "raw")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_bad_file_is_named_by_a_worker_process_too(raw, tmp_path, monkeypatch):
    monkeypatch.setattr("babylm_data.clean.SMALL_BYTES", 0)
    (raw / "train/childes.train").write_bytes(b"good\ncaf\xe9\n")
    with pytest.raises(UserError, match="childes.train is not UTF-8: line 2"):
        prepare(tmp_path / "out/data", settings(), raw=raw, workers=2)
    assert list((tmp_path / "out").iterdir()) == []


ROWS = [f"the dog number {i} sees the cat" for i in range(9)] + ["", "two lines of\none document"]


def words_of(manifest: dict, *splits: str) -> int:
    """Of some splits together."""
    return sum(manifest["splits"][split]["words"] for split in splits)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "txt"])
def test_a_data_set_of_parquet_jsonl_or_text_files_is_read_by_its_text_column(kind, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "validation"):
        path = folder / f"{split}.{kind}"
        rows = ROWS if split == "train" else [row.upper() for row in ROWS]
        if kind == "parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table({"text": rows}), path)
        elif kind == "jsonl":
            path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
        else:
            path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    manifest, _ = prepare(tmp_path / "data", settings(source=f"hf:{folder}", vocab_size=270))
    assert list(manifest["splits"]) == ["train", "dev", "test"]
    assert words_of(manifest, "train", "test") == 9 * 7 + 5
    assert [part["documents"] for part in manifest["splits"].values()] == [1, 2, 1]
    assert prepare(tmp_path / "data", settings(source=f"hf:{folder}", vocab_size=270))[1] is True


def test_rows_without_text_and_splits_without_rows_are_left_out_and_counted(tmp_path, capsys):
    import pyarrow
    import pyarrow.parquet

    rows = {"train": [*ROWS, None, None], "validation": [row.upper() for row in ROWS], "test": [None]}
    (tmp_path / "set").mkdir()
    for split, texts in rows.items():
        table = pyarrow.table({"text": pyarrow.array(texts, pyarrow.string())})
        pyarrow.parquet.write_table(table, tmp_path / "set" / f"{split}.parquet")
    manifest, _ = prepare(tmp_path / "data", settings(source=f"hf:{tmp_path / 'set'}", vocab_size=270))
    assert list(manifest["splits"]) == ["train", "dev", "test"]
    assert words_of(manifest, "train", "test") == 9 * 7 + 5
    said = capsys.readouterr().out
    assert "train: 2 rows of" in said and "test of" in said and "has no rows with text" in said


def test_a_linked_folder_of_a_data_set_is_not_passed_over(tmp_path):
    for folder in ("set", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (tmp_path / "set/test").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="set/test is a link, and `datasets` follows none"):
        prepare(tmp_path / "data", settings(source=f"hf:{tmp_path / 'set'}"))


@pytest.mark.parametrize(
    "beside", ["more.jsonl", "TRAIN-2.TXT", "train.bak", "notes.md", "more/x.csv", "unsupervised.txt"]
)
def test_what_a_data_set_folder_holds_and_is_not_read_is_named(tmp_path, capsys, beside):
    folder = tmp_path / "set"
    for name in ("train-0.txt", "validation.txt", beside):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join([*ROWS, name]) + "\n", encoding="utf-8")
    manifest, _ = prepare(tmp_path / "data", settings(source=f"hf:{folder}", vocab_size=270))
    assert words_of(manifest, "train", "test") == 9 * 7 + 6
    assert f"not read in {folder}: {Path(beside).name}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["txt", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "hollow",
    [
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "/annex/objects/MD5E-s5--1\n",
        "../../.git/annex/objects/x/y\n",
        None,
    ],
)
def test_a_hollow_file_of_a_data_set_is_refused_as_what_it_is(tmp_path, kind, hollow):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train-0.txt").write_text("\n".join(ROWS), encoding="utf-8")
    if hollow is None:
        (folder / f"train-1.{kind}").symlink_to("nowhere")
    else:
        (folder / f"train-1.{kind}").write_text(hollow)
    with pytest.raises(UserError, match=rf"train-1.{kind} is a (pointer|link to nothing)"):
        prepare(tmp_path / "data", settings(source=f"hf:{folder}", vocab_size=270))


@pytest.mark.parametrize("row", [3, ["a", "b"], {"a": 1}])
def test_a_data_set_whose_text_is_no_text_says_what_it_is(tmp_path, row):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text(json.dumps({"text": row}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has a (int|list|dict) where its column 'text' should have a text"):
        prepare(tmp_path / "data", settings(source=f"hf:{tmp_path / 'set'}"))


def test_a_data_set_without_text_or_without_a_name_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text('{"story": "a"}\n', encoding="utf-8")
    with pytest.raises(UserError, match="no column 'text', only story"):
        prepare(tmp_path / "data", settings(source=f"hf:{tmp_path / 'set'}"))
    with pytest.raises(UserError, match="unknown source 'tiny'"):
        prepare(tmp_path / "data", settings(source="tiny"))


def test_a_hub_data_set_of_official_files_is_taken_as_it_is(tmp_path, monkeypatch):
    """The 2026 corpus is one file bb26_en.train, which `datasets` cannot read; no network here."""
    write(tmp_path / "snapshot", bb26_en_train=BOOK)
    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = lambda name, repo_type, allow_patterns: str(tmp_path / "snapshot")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    manifest, _ = prepare(tmp_path / "data", settings(source="hf:someone/corpus-2026", vocab_size=265))
    assert list(manifest["splits"]["train"]["sources"]) == ["bb26_en"]


def test_the_command_line_says_what_was_made_and_when_it_is_there_already(raw, tmp_path, capsys):
    arguments = ["--raw", str(raw), "--vocab-size", str(VOCAB), "--out", str(tmp_path / "data")]
    main(arguments)
    made = capsys.readouterr().out
    assert "made in" in made and "childes" in made and "57 words" in made
    main(arguments)
    assert "is there already" in capsys.readouterr().out


def test_the_nursery_is_kept_with_its_raw_text_and_its_minimal_pairs(tmp_path):
    main(["--source", "nursery", "--words", "3000", "--vocab-size", "400", "--out", str(tmp_path / "data")])
    made = open_data(tmp_path / "data")["settings"]
    assert (made["source"], made["words"], made["seed"]) == ("nursery", 3000, 0)
    assert (tmp_path / "data/raw/train/nursery.train").is_file()
    assert list((tmp_path / "data/evaluation_data/full_eval/nursery").glob("*.jsonl"))


def test_the_command_line_wants_exactly_one_kind_of_text(tmp_path):
    for arguments in ([], ["--raw", "a", "--source", "nursery"]):
        with pytest.raises(UserError, match="either --raw DIR, or --source"):
            main([*arguments, "--out", str(tmp_path / "data")])


def test_a_mounted_volume_is_refused_before_the_work(raw, tmp_path, monkeypatch):
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "volume")
    monkeypatch.setattr(preparing, "clean_all", None)
    with pytest.raises(
        UserError, match="volume is a mounted volume, which cannot be replaced: name a folder inside"
    ):
        prepare(tmp_path / "volume", settings(), raw=raw)


def test_a_full_disk_is_told_while_the_tokenizer_is_saved(raw, tmp_path, monkeypatch):
    def full(path, *args, **options):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match=r"data cannot be written \(No space left on device\): [\d,]+ bytes"):
        prepare(tmp_path / "data", settings(), raw=raw)
    assert not (tmp_path / "data").exists()


def test_a_data_folder_may_be_a_link(raw, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk/data")
    made, _ = prepare(tmp_path / "data", settings(), raw=raw)
    assert prepare(tmp_path / "data", settings(), raw=raw) == (made, True)
    assert open_tokens(tmp_path / "data", "train").words.any() and (tmp_path / "data").is_symlink()


@pytest.mark.parametrize("endpoint", ["huggingface.co", "", "ftp://x"])
def test_an_address_of_a_hub_that_is_none_is_told_at_once(tmp_path, monkeypatch, endpoint):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    for name in ("hf:someone/words",):
        with pytest.raises(UserError, match="HF_ENDPOINT is .*: begin it with https://"):
            prepare(tmp_path / "data", settings(source=name))
    with pytest.raises(UserError, match="HF_ENDPOINT is"):
        find_folder("someone/model", absent="absent")


def test_an_out_folder_that_cannot_be_made_is_one_line(raw, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    words = ["--raw", str(raw), "--vocab-size", str(VOCAB), "--out", str(tmp_path / "file/data")]
    monkeypatch.setattr("sys.argv", ["babylm_data", *words])
    monkeypatch.setattr("babylm_data.errors.listen", lambda: None)  # it would, to the end of this process
    with pytest.raises(SystemExit) as ended:
        run_stage(main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: File exists\n"

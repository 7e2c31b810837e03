"""What is damaged is found before it is used, and a full disk leaves whole what was there; `bench.damage` itself."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest
from test_soft_targets import make_cached as make_cached

from babylm_data.encode import encode_split
from babylm_data.errors import UserError
from babylm_data.files import utf8_text
from babylm_data.sealed import SEAL, damage, lock, sealed_folder, write_whole
from babylm_data.tokenizer_files import bare, load_tokenizer
from babylm_data.tokens import open_tokens
from bench.children import in_child
from bench.full_disk import limited_files
from distill.cache_writer import Pass, write_caches

ROOT = Path(__file__).parent.parent
BROKEN = "/proc/self/mem"  # opens, and to read it is an error


def test_a_child_tells_how_its_work_ended():
    def refuse():
        raise UserError("that will not do")

    assert in_child(lambda: {"a": 1})[::2] == (0, {"a": 1})
    assert in_child(refuse).refusal == "error: that will not do"
    fault = in_child(lambda: 1 // 0)
    assert (
        fault.refusal is None
        and fault.told == "status 1: ZeroDivisionError: integer division or modulo by zero"
    )
    killed = in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert killed.refusal is None and killed.told == "SIGKILL: nothing said"


@pytest.mark.parametrize("name", ["tokens", "words", "documents"])
@pytest.mark.parametrize("left", [0, 1, 0.5, -1])
def test_a_token_file_that_was_cut_is_refused_and_kills_nobody(data_folder, tmp_path, name, left):
    path = copytree(data_folder, tmp_path / "data") / f"train.{name}.bin"
    size = path.stat().st_size
    os.truncate(path, int(left * size) if isinstance(left, float) else left % size)
    ended = in_child(lambda: int(getattr(open_tokens(tmp_path / "data", "train"), name).sum()))
    assert ended.refusal and "bytes instead of" in ended.refusal, ended.told


def test_a_file_that_is_cut_while_it_is_mapped_does_kill(data_folder, tmp_path):
    """So the test above would see it."""
    path = copytree(data_folder, tmp_path / "data") / "train.tokens.bin"

    def read():
        tokens = open_tokens(tmp_path / "data", "train").tokens
        os.truncate(path, 0)
        return int(tokens.sum())

    assert in_child(read).status == -signal.SIGBUS


@pytest.mark.parametrize("limit", [0, 1, 999])
def test_a_text_that_finds_no_room_leaves_the_one_before_and_names_the_bytes(tmp_path, limit):
    path = tmp_path / "notes.json"
    write_whole(path, "before")

    def write():
        with limited_files(tmp_path, limit):
            write_whole(path, "x" * 1000)

    said = in_child(write).refusal
    assert re.search(
        r"notes.json cannot be written \(File too large\): it needs 1,000 bytes, and [\d,]{9,} are free: ",
        said,
    )
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("limit", [0, 5, 60])
def test_a_folder_that_finds_no_room_leaves_the_one_before_and_names_the_bytes(tmp_path, limit):
    """The files, or in the last case their seal."""

    def write(text):
        with sealed_folder(tmp_path / "x") as folder:
            (folder / "file").write_text(text)

    def write_less():
        with limited_files(tmp_path, limit):
            write("123456789")

    write("before")
    said = in_child(write_less).refusal
    assert re.search(r"/x cannot be written \(File too large\): \d+ bytes of it had been written, and ", said)
    assert (tmp_path / "x/file").read_text() == "before" and damage(tmp_path / "x") is None
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_lock_is_held_on_a_full_disk_too(tmp_path):
    def hold():
        with (
            limited_files(tmp_path, 0),
            lock(tmp_path / "lock"),
            pytest.raises(UserError, match="another process"),
        ):
            lock(tmp_path / "lock")

    assert in_child(hold).status == 0


def test_tokens_that_a_full_disk_takes_only_in_part_are_not_lost_in_silence(data_folder, tmp_path):
    """NumPy's own `tofile` would not say so of the last few kilobytes."""
    (tmp_path / "train.tokens.bin").symlink_to("/dev/full")
    tokenizer = bare(load_tokenizer(data_folder / "tokenizer"))
    with pytest.raises(OSError, match="No space left"):
        encode_split(["The dog sees the cat."], tokenizer, tmp_path, "train")


def test_a_cache_whose_index_finds_no_room_is_told_at_once(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False)
    monkeypatch.setattr(Pass, "_write_split", lambda *_: pytest.fail("what was lost was not noticed"))

    def write():
        with limited_files(Path(), 150):  # the header of NumPy's file, and some numbers
            write_caches(config)

    ended = in_child(write)
    assert re.search(
        r"cache-a cannot be written \(File too large\): it needs [\d,]+ bytes", ended.refusal or ""
    ), ended.told
    assert not Path("cache-a").exists()


@pytest.mark.parametrize("change", [b"\n", b" ", b"\0"])
def test_a_seal_that_only_means_what_was_written_is_damaged(tmp_path, change):
    with sealed_folder(tmp_path / "x") as folder:
        (folder / "file").write_text("text")
    seal = tmp_path / "x" / SEAL
    whole = seal.read_bytes()
    for content in (whole + change, whole[:-1], whole.replace(b"\n", b"", 1)):
        seal.write_bytes(content)
        assert damage(tmp_path / "x") == f"{seal} is damaged"
    seal.write_bytes(whole)
    assert damage(tmp_path / "x") is None


@pytest.mark.parametrize("name", ["file", SEAL])
def test_what_a_broken_disk_holds_is_damaged_and_named(tmp_path, name):
    with sealed_folder(tmp_path / "x") as folder:
        (folder / "file").write_text("text")
    (tmp_path / "x" / name).unlink()
    (tmp_path / "x" / name).symlink_to(BROKEN)
    assert damage(tmp_path / "x") == f"{tmp_path / 'x'} cannot be read (Input/output error)"
    with pytest.raises(UserError, match=f"x/{name} cannot be read: Input/output error"):
        utf8_text(tmp_path / "x" / name, "")


@pytest.mark.parametrize(
    "name",
    ["train.tokens.bin", "dev.words.bin", "train.documents.bin", "tokenizer/tokenizer.json", "manifest.json"],
)
def test_a_run_on_data_of_which_one_bit_has_changed_makes_no_folder(data_folder, tmp_path, train_tiny, name):
    path = copytree(data_folder, tmp_path / "data") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="data.*: make it again with"):
        train_tiny(data={"path": str(tmp_path / "data")})
    assert not Path("runs").exists()


def run_bench(*options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "bench.damage", *options], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.slow
def test_all_damage_is_found_and_full_disks_leave_all_whole():
    done = run_bench("--count", "60", "--sizes", "2", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 damages, 60 found" in done.stdout


@pytest.mark.slow
def test_the_bench_sees_what_gets_through_where_nothing_is_verified():
    done = run_bench("--count", "60", "--sizes", "0", "--without-verification")
    assert done.returncode == 1 and "loaded as if nothing were" in done.stdout
    assert int(re.search(r"60 damages, (\d+) found", done.stdout)[1]) < 50

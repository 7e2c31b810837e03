import hashlib
import os

import pytest

from babylm_data import sealed
from babylm_data.errors import UserError
from babylm_data.sealed import SEAL, damage, sealed_folder, sha256, verify


def write(path, text="hello"):
    with sealed_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file.txt").write_text(text)


def test_a_sealed_folder_is_intact_and_complete(tmp_path):
    write(tmp_path / "x")
    assert damage(tmp_path / "x") is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]


def test_nothing_stands_under_the_final_name_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), sealed_folder(tmp_path / "x") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_hashed_again_when_it_has_changed_and_not_before(tmp_path, monkeypatch):
    path, hashed = tmp_path / "x", []
    path.write_text("one")
    whole = hashlib.file_digest
    monkeypatch.setattr(sealed.hashlib, "file_digest", lambda *asked: hashed.append(asked) or whole(*asked))
    first = sha256(path)
    assert sha256(path) == first == hashlib.sha256(b"one").hexdigest() and len(hashed) == 2, "too new to tell"
    monkeypatch.setattr(sealed, "SETTLED", -(10**18))
    assert [sha256(path), sha256(path)] == [first] * 2 and len(hashed) == 3
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert sha256(path) == hashlib.sha256(b"two").hexdigest() and len(hashed) == 4


def test_a_failed_rewrite_leaves_the_old_folder_in_place(tmp_path):
    write(tmp_path / "x", "old")
    with pytest.raises(RuntimeError), sealed_folder(tmp_path / "x") as folder:
        (folder / "sub").mkdir()
        raise RuntimeError
    assert (tmp_path / "x" / "sub" / "file.txt").read_text() == "old"
    assert damage(tmp_path / "x") is None


def test_a_folder_left_by_a_killed_writer_is_cleared_away(tmp_path):
    (tmp_path / ".x.tmp-12345").mkdir()
    write(tmp_path / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]


@pytest.mark.parametrize("fault", ["flip", "truncate", "delete", "no seal", "torn seal"])
def test_every_kind_of_damage_is_found_and_named(tmp_path, fault):
    write(tmp_path / "x")
    file, seal = tmp_path / "x" / "sub" / "file.txt", tmp_path / "x" / SEAL
    if fault == "flip":
        file.write_text("hellp")
    elif fault == "truncate":
        file.write_text("hell")
    elif fault == "delete":
        file.unlink()
    elif fault == "no seal":
        seal.unlink()
    else:
        seal.write_text(seal.read_text()[:-20])
    with pytest.raises(UserError, match="make it again"):
        verify(tmp_path / "x", "make it again")


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    write(tmp_path / "x", "old")
    (tmp_path / "x").rename(tmp_path / ".x.old")
    with pytest.raises(RuntimeError), sealed_folder(tmp_path / "x"):
        raise RuntimeError
    assert (tmp_path / "x" / "sub" / "file.txt").read_text() == "old"


def test_a_second_writer_of_the_same_folder_is_refused(tmp_path):
    with sealed_folder(tmp_path / "x") as first:
        (first / "file").write_text("first")
        with (
            pytest.raises(UserError, match="is in use by process"),
            sealed_folder(tmp_path / "x"),
        ):
            pass
    assert (tmp_path / "x" / "file").read_text() == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]

"""How a program begins and ends: one line and status 2 for a user's mistake, on any terminal and in any locale."""

import os
import subprocess
import sys
from functools import partial

import pytest

PROGRAM = """
import sys
from babylm_data.errors import UserError, run_stage

def main(argv):
    print("naïve … 你好")
    if argv[0] == "refuse":
        raise UserError(f"café{''.join(argv[1:])} is closed: come again")
    if argv[0] == "full":
        raise OSError(28, "No space left on device", "/some/file")
    if argv[0] == "fault":
        return {}["x"]
    if argv[0] == "import":
        sys.path.insert(0, argv[1])
        import odd
    return int(argv[0])

run_stage(main)
"""


@pytest.fixture
def run(tmp_path):
    """run("0", LC_ALL="C"): the program with these words in this environment."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")  # not -c: that is read in the locale
    return partial(_run, tmp_path / "program.py")


def _run(program, *words, **environment):
    names = ("LANG", "LC_ALL", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE")
    clean = {key: value for key, value in os.environ.items() if key not in names}
    clean |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run([sys.executable, program, *words], env=clean | environment, capture_output=True)


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "environment", [{}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, ASCII]
)
@pytest.mark.parametrize(
    ("word", "status", "said"),
    [
        ("0", 0, b""),
        ("3", 3, b""),
        ("refuse", 2, b"is closed: come again\n"),
        ("full", 2, b"/some/file: No space"),
    ],
)
def test_a_program_ends_as_it_should_whatever_its_terminal_can_show(run, environment, word, status, said):
    done = run(word, **environment)
    assert (done.returncode, done.stderr.count(b"\n")) == (status, int(bool(said)))
    assert said in done.stderr and done.stdout


@pytest.mark.parametrize(("folder", "status"), [("site-packages", 2), ("ours", 1)])
def test_a_setting_that_a_library_cannot_read_is_one_line_and_a_fault_of_ours_is_not_hidden(
    run, tmp_path, folder, status
):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "odd.py").write_text("def read():\n    return int('ten')\n\nSECONDS = read()\n")
    done = run("import", tmp_path / folder)
    assert done.returncode == status
    assert (b"error: odd cannot be imported (invalid literal" in done.stderr) == (status == 2)
    assert (b"Traceback" in done.stderr) == (status == 1)


def test_a_fault_of_ours_is_one_traceback(run):
    done = run("fault")
    assert done.returncode == 1
    assert done.stderr.count(b"Traceback") == 1 and done.stderr.strip().endswith(b"KeyError: 'x'")


@pytest.mark.parametrize("quoted", ["x" * 100_000, "a\nb", "\n" * 2000])
def test_an_error_that_quotes_a_monster_is_one_line_with_its_beginning_and_what_to_do(run, quoted):
    said = run("refuse", quoted).stderr.decode()
    assert len(said) < 1000 and said.count("\n") == 1
    assert said.startswith("error: ") and said.endswith("is closed: come again\n")


def test_a_name_that_is_no_text_in_the_locale_is_told_before_the_work(run, tmp_path):
    done = run("1", str(tmp_path / "café"), **ASCII)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"is no text in this locale: export LC_ALL=C.UTF-8" in done.stderr
    assert run("1", str(tmp_path / "café"), LC_ALL="C").returncode == 1

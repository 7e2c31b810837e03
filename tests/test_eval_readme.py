"""The numbers of the README come from records, and the records from scores."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_tree import BASE, read_scores, write_json, write_runs

from babylm_data.errors import UserError
from eval.report.readme import BEGIN, END, main, record, rewrite_readme, seen_from
from eval.report.record_tables import render
from eval.runs.lineup import read_lineup

ROOT = Path(__file__).parent.parent


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def test_the_record_holds_the_numbers_of_the_scores(student, tmp_path):
    assert main([str(student), "--record", str(tmp_path / "r.json"), "--command", "make submission"]) == 0
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    result = read_scores(student)["tasks"]
    row = next(row for row in found["rows"] if row["role"] == "student")
    assert row["scores"]["nursery"] == [result["nursery"]["score"], result["nursery"]["standard_error"]]
    assert row["scores"]["bits_per_byte"] == pytest.approx(
        result["perplexity"]["files"]["test/nursery.txt"]["bits_per_byte"]
    )
    assert found["command"] == "make submission"
    assert "no claim about English" in found["corpus"]
    assert not (student / "report.html").exists()
    picture = (tmp_path / "r.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert student.name in picture and "prefers-color-scheme: dark" in picture and "var(--student)" in picture


def test_the_readme_keeps_its_text_and_is_stable(student, tmp_path):
    readme, path = tmp_path / "README.md", tmp_path / "r.json"
    write_json(path, record(read_lineup(student), "make submission"))
    readme.write_text(f"# before\n{BEGIN}\nold numbers\n{END}\nafter\n", encoding="utf-8")
    rewrite_readme(readme, [path])
    once = readme.read_text(encoding="utf-8")
    rewrite_readme(readme, [path])
    assert readme.read_text(encoding="utf-8") == once
    assert once.startswith(f"# before\n{BEGIN}\n### nursery\n") and once.endswith(f"{END}\nafter\n")
    assert "old numbers" not in once
    assert "`0123456789`" in once
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        score, error = row["scores"]["nursery"]
        assert f"{100 * score:.2f} ± {100 * error:.2f}" in once


@pytest.mark.parametrize(
    ("mark", "note"),
    [
        ("partial", "other rows than the official ones"),
        ("synthetic", "synthetic stand-ins, not the official data"),
    ],
)
def test_a_score_on_other_rows_is_marked_in_the_record_and_its_table(student, mark, note):
    for run in BASE:
        found = read_scores(student.parent / run)
        found["tasks"]["nursery"][mark] = True
        write_json(student.parent / run / "eval" / "scores.json", found)
    kept = record(read_lineup(student), "make submission")
    assert kept[mark] == ["nursery"]
    assert f"Nursery pairs 550 ({note})" in render([kept])


def test_a_record_without_its_command_is_refused(student, tmp_path):
    with pytest.raises(UserError, match="needs one RUN and --command"):
        main([str(student), "--record", str(tmp_path / "r.json")])
    assert not (tmp_path / "r.json").exists()


def test_a_readme_without_markers_is_left_alone(student, tmp_path):
    readme, path = tmp_path / "README.md", tmp_path / "r.json"
    write_json(path, record(read_lineup(student), "make submission"))
    readme.write_text("# mine\n", encoding="utf-8")
    with pytest.raises(UserError, match="scores:begin"):
        main([str(readme), str(path)])
    assert readme.read_text(encoding="utf-8") == "# mine\n"


def test_the_tables_of_the_kit_equal_its_committed_records_and_each_record_has_one():
    readmes = [ROOT / "README.md", ROOT / "docs/README.md"]
    texts = [readme.read_text(encoding="utf-8") for readme in readmes]
    headings = [re.findall(r"^### (.+)$", text.split(BEGIN)[1].split(END)[0], re.MULTILINE) for text in texts]
    paths = {
        path.stem: path for folder in ("distill/results", "docs") for path in (ROOT / folder).glob("*.json")
    }
    assert sorted(sum(headings, [])) == sorted(paths)
    for readme, text, names in zip(readmes, texts, headings, strict=True):
        expected = render([seen_from(readme, paths[name]) for name in names])
        assert text.split(BEGIN)[1].split(END)[0].strip() == expected.strip()

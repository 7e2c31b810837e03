"""The page, made from a small synthetic runs/ tree."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from run_tree import BASE, PREPARED, add_start, edit, read_scores, write_json, write_runs

from babylm_data.errors import UserError
from babylm_data.sealed import sha256
from eval.report.curves import spread, thin
from eval.report.page import TEMPLATES, duration, page
from eval.report.readme import record
from eval.report.record_tables import render
from eval.runs.commands import Command, commands
from eval.runs.evaluations import read_evaluated
from eval.runs.lineup import read_lineup
from eval.submission.card import model_card
from eval.submission.collate import Collected
from eval.tasks.perplexity import LOSSY


@pytest.fixture
def student(runs_template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(runs_template, tmp_path / "runs") / "nursery"


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One page of a run whose teacher has a hostile name, and the folder that it was made from."""
    student = write_runs(tmp_path_factory.mktemp("page") / "runs")
    teacher = student.parent / "nursery-gpt2"
    edit(teacher / "summary.json", name="<script>$x$&")
    return student, page(read_lineup(student))


def test_the_page_shows_the_score_of_every_run(html):
    student, text = html
    for name in BASE:
        result = read_scores(student.parent / name)["tasks"]["nursery"]
        assert f"{100 * result['score']:.2f} <span" in text
        if name != "nursery-gpt2":
            assert name in text


def test_bits_per_byte_of_a_part_of_the_text_are_marked_wherever_they_stand(student):
    def places():
        lineup = read_lineup(student)
        return page(lineup), model_card(lineup, Collected()).of_bundle, render([record(lineup, "make")])

    assert all(LOSSY not in text for text in places())
    found = read_scores(student.parent / "nursery-gpt2")
    found["tasks"]["perplexity"]["whole_text"] = False
    write_json(student.parent / "nursery-gpt2" / "eval" / "scores.json", found)
    assert all(f"nursery-gpt2: {LOSSY}." in text for text in places())


def test_a_correlation_without_a_known_error_stands_in_every_table_and_is_no_claim(student):
    for number, name in enumerate(BASE):
        found = read_scores(student.parent / name)
        cell = {"score": 0.1 * number, "standard_error": None, "items": 50, "ties": 0}
        wug = (
            found["tasks"]["nursery"]
            | cell
            | {"metric": "spearman", "chance": 0.0, "official_score": 0.1 * number}
        )
        wug = {key: wug[key] for key in wug if key not in ("tie_rule", "shared_score")}
        wug |= {"by_subtask": {"wug_past": cell}, "by_phenomenon": {}}
        found["tasks"]["wug_past_tense"] = wug
        write_json(student.parent / name / "eval" / "scores.json", found)
    lineup = read_lineup(student)
    text, card = page(lineup), model_card(lineup, Collected()).of_bundle
    assert "Wug, past tense, spearman x 100" in text and "Wug, past tense, spearman x 100" in card
    assert "<td>20.00</td>" in text and "| 20.00 |" in card
    claim = "Wug, past tense: the student is 10.00 hundredths (spearman) below the same model trained without"
    assert f"{claim} distillation. Its standard error is not known: no claim of superiority follows." in text
    assert "spearman x 100" in render([record(lineup, "make submission")])


def test_the_page_escapes_names_in_text_and_pictures(html):
    _, text = html
    assert "<script>$x$" not in text
    assert "&lt;script&gt;$x$&amp;" in text


def test_the_page_loads_nothing_and_runs_nothing_but_what_sorts_its_tables(html):
    _, text = html
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in text
    assert "://" not in text
    assert not re.search(r"<(link|img|iframe|object|embed)\b|@import|url\((?!#)|\bon[a-z]+=", text)
    [script] = re.findall(r"<script>\n(.*?)</script>", text, flags=re.DOTALL)
    assert script == (TEMPLATES / "sort.js").read_text(encoding="utf-8").rstrip("\n")


def test_the_page_says_first_what_came_out_and_how_sure_that_is(html):
    _, text = html
    of_text, of_pairs = re.findall(r"<p>(.*?)</p>", text, flags=re.DOTALL)[:2]
    assert re.search(r"the student needs [\d.]+ bits a byte, the same model .* [\d.]+\.$", of_text)
    assert re.search(
        r"the student is [\d.]+ percentage points .*95 % interval [+-][\d.]+ to [+-][\d.]+", of_pairs
    )


def test_pictures_take_their_colours_from_the_page(html):
    _, text = html
    pictures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        assert "var(--student)" in picture
        assert not re.search(r"#0[0-9]0[0-9]0[0-9]\b", picture)


def test_every_reference_inside_a_picture_has_one_target(html):
    _, text = html
    identities = re.findall(r'\bid="([^"]+)"', text)
    assert len(identities) == len(set(identities))
    assert {name for name in re.findall(r'(?:href="#|url\(#)([^")]+)', text)} <= set(identities)


def test_the_page_shows_commands_in_the_order_in_which_they_ran(html):
    _, text = html
    found = re.findall(r"<pre>(python -m [^<]+)</pre>", text)
    assert found[0] == PREPARED
    assert [command.split()[2] for command in found] == ["babylm_data"] + ["distill"] * 4 + ["eval"] * 4


def test_a_student_whose_teacher_is_its_control_has_a_page_with_one_row_of_it(student):
    control = student.parent / "nursery-control"
    edit(student / "summary.json", teachers=[{"name": "own", "path": str(control / "export")}])
    edit(student / "inputs.json", **{"teacher own": sha256(control / "export" / "model.safetensors")})
    lineup = read_lineup(student)
    assert [run.name for run in lineup.runs] == ["nursery", "nursery-control"]
    assert [run.name for run in lineup.teachers] == ["nursery-control"]
    assert page(lineup).count('<tr class="control"><th>') == 1 + 1  # scores, ledger


def listed(student: Path) -> list[Command]:
    lineup = read_lineup(student)
    return commands(lineup, read_evaluated(lineup))


def test_each_further_start_with_another_command_or_commit_is_listed(student):
    add_start(student)  # the same command and commit: nothing to tell
    assert len(listed(student)) == 9
    launched = "accelerate launch --num_processes 2 -m distill nursery.yaml"
    add_start(student, command=launched)
    add_start(student.parent / "nursery-llama", commit="f" * 40, dirty=True)
    found = [(line.purpose, line.text) for line in listed(student) if "go on" in line.purpose]
    changed = "go on with nursery-llama, commit ffffffffff with uncommitted changes"
    assert found == [
        (changed, "python -m distill distill/configs/nursery-llama.yaml"),
        ("go on with nursery, commit 0123456789", launched),
    ]
    assert launched in page(read_lineup(student))


def test_a_start_before_the_one_that_counts_is_not_listed(student):
    path = student / "environment.json"
    early = {"started": "2029", "command": "python -m distill early.yaml", "commit": None, "device": "cpu"}
    edit(path, starts=[early])
    assert len(listed(student)) == 9


def test_data_prepared_by_an_unknown_command_say_so(student):
    (student.parent / "nursery-data" / "command.txt").unlink()
    assert "<li>prepare nursery-data: not recorded</li>" in page(read_lineup(student))


@pytest.mark.parametrize(
    ("mark", "note"),
    [
        ("partial", "other rows than the official ones"),
        ("synthetic", "synthetic stand-ins, not the official data"),
    ],
)
def test_a_task_on_other_rows_is_marked(student, mark, note):
    assert note not in page(read_lineup(student))
    for run in BASE:
        found = read_scores(student.parent / run)
        found["tasks"]["nursery"][mark] = True
        write_json(student.parent / run / "eval" / "scores.json", found)
    text = page(read_lineup(student))
    assert f"Nursery pairs 550 ({note})" in text
    assert ("from which nothing follows" in text) is (mark == "synthetic")
    assert ("<h3>Nursery pairs, on synthetic stand-ins</h3>" in text) is (mark == "synthetic")
    assert ("points above the same model" in text or "points below the same" in text) is (mark != "synthetic")


def test_a_teacher_that_could_not_be_asked_has_a_dash_and_a_reason(student):
    teacher = student.parent / "nursery-gpt2"
    scores = read_scores(teacher)
    del scores["tasks"]["nursery"]
    write_json(teacher / "eval/scores.json", scores)
    with pytest.raises(UserError, match="nursery-gpt2 lacks nursery"):
        read_lineup(student)
    write_json(teacher / "eval/scores.json", scores | {"refused": {"nursery": "item 7 has 67 tokens"}})
    lineup = read_lineup(student)
    reason = "nursery-gpt2 has no Nursery pairs: item 7 has 67 tokens"
    assert reason in page(lineup) and "<td>–</td>" in page(lineup)
    card = model_card(lineup, Collected()).of_bundle
    assert reason in card and re.search(r"nursery-gpt2 \| teacher \| [\d,]+ \| – \|", card)
    render([record(lineup, "make submission")])


def test_the_page_draws_the_scores_of_the_revisions(student):
    seen = {f"chck_{n}M": 1_000_000 * n for n in (1, 2, 3)}
    revisions = [
        {"name": name, "mark": words, "words_seen": words, "step": n}
        for n, (name, words) in enumerate(seen.items())
    ]
    edit(student / "summary.json", revisions=revisions)
    assert "The revisions on the way" not in page(read_lineup(student))
    for name in seen:
        shutil.copytree(student / "export", student / "revisions" / name)
        shutil.copytree(student / "eval", student / "eval_revisions" / name)
    control = student.parent / "nursery-control"  # an older one, whose revisions somebody scored
    edit(control / "summary.json", revisions=revisions)
    for name in seen:
        shutil.copytree(control / "export", control / "revisions" / name)
        shutil.copytree(control / "eval", control / "eval_revisions" / name)
    html = page(read_lineup(student))
    section = html.split("The revisions on the way")[1].split("</section>")[0]
    assert "var(--student)" in section and "control" not in section
    assert "Nursery pairs: score of each revision against words of exposure" in html
    assert "Not shown" not in html
    edit(student / "eval_revisions/chck_2M/scores.json", model_sha256="0" * 64)
    html = page(read_lineup(student))
    assert "Not shown: " in html and "eval_revisions/chck_2M/scores.json is of another model" in html
    assert "Nursery pairs: score of each revision against words of exposure" in html


def test_the_held_out_loss_is_said_to_be_on_evenly_spread_sequences(html):
    _, text = html
    assert "on sequences spread evenly over the dev split" in text


def test_the_same_runs_give_the_same_page(html):
    student, text = html
    assert page(read_lineup(student)) == text


def test_labels_at_the_ends_of_curves_keep_their_distance():
    axes = Figure().subplots()
    axes.set_ylim(0.0, 10.0)
    assert spread(axes, [9.0, 5.0, 5.1, -2.0]) == pytest.approx([9.0, 4.625, 5.475, 0.0])
    assert spread(axes, [10.0, 9.95, 9.9]) == pytest.approx([10.0, 9.15, 8.3])


def test_a_thinned_curve_keeps_its_mean_and_a_short_one_its_points():
    words, loss = thin(np.arange(600.0), np.arange(600.0) ** 2, most=150)
    assert len(words) == 150 and loss.mean() == pytest.approx((np.arange(600.0) ** 2).mean())
    assert thin(np.array([1.0, 2.0]), np.array([3.0, 4.0]))[1].tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (59.6, "1 min 00 s"), (725, "12 min 05 s"), (3790, "1 h 03 min")]
)
def test_a_duration_is_written_as_people_say_it(seconds, text):
    assert duration(seconds) == text

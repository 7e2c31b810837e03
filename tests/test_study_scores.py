"""A study's runs, scored: cells against controls of the same seeds, what is left out, and what may be said."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from test_compare import choice_task, write_folder

from babylm_data.errors import UserError
from babylm_data.sealed import sha256
from eval.compare.seeds import seeds_to_settle
from eval.report.readme import BEGIN, END
from eval.report.readme import main as readme
from eval.report.record_tables import render
from eval.runs.run_folder import SUMMARY
from eval.study import cells as cells_module
from eval.study import finished as finished_module
from eval.study.__main__ import main
from eval.study.cells import UNKNOWN, compare_cells, correct
from eval.study.cells_table import cells_table
from eval.study.page import study_page
from eval.study.plan import read_plan
from eval.study.scope import Scope
from eval.tasks.perplexity import LOSSY

SEEDS = (0, 1, 2)
GAIN = {"good": 0.15, "same": 0.0, "bad": -0.15}


def write_run(name: str, rng, ease, *, gain: float, loss: float) -> None:
    """A finished run that gets each item right with a chance of 0.6, less how hard it is, and its gain."""
    folder = Path("runs", name)
    earned = {sub: (rng.random(300) < 0.6 + gain + hard).astype(float).tolist() for sub, hard in ease.items()}
    text = ({"all": {"bits_per_byte": 2 * loss}}, None)
    write_folder(folder / "eval", {"blimp_fast": choice_task(earned), "perplexity": text}, model=name)
    summary = dict.fromkeys(SUMMARY, 1) | {
        "name": name,
        "status": "finished",
        "val/hard": loss,
        "data": "data",
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = []
    for step in range(1, 41):
        seen = {"step": step, "words_seen": 100 * step}
        lines.append(seen | {"val/hard": loss + 4 / step, "loss/hard": loss + 4 / step + rng.normal(0, 0.1)})
        if gain:
            lines[-1] |= {
                "loss/hidden.t": 1 / step,
                "layer/hidden.t@2-1": 1 / step,
                "layer/hidden.t@4-2": 2 / step,
            }
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text("name: x")


@pytest.fixture
def study(workplace, monkeypatch):
    """That controls are those of their students is tested where such runs are trained, in test_study.py."""
    monkeypatch.setattr(cells_module, "refuse_strangers", lambda student, control: None)
    monkeypatch.setattr(finished_module, "model_sha256", lambda export: export.parent.name)
    return write_study()


def write_study() -> str:
    """A study of three cells over three seeds: one is better by all measures, one worse, one the same."""
    Path("st.yaml").write_text("as it was")
    rng, cells = np.random.default_rng(0), []
    ease = {f"sub{k}": rng.uniform(-0.2, 0.2, 300) for k in range(3)}
    for seed in SEEDS:
        control = f"control-abc-s{seed}"
        write_run(control, rng, ease, gain=0.0, loss=4.0 + 0.01 * seed)
        for label, gain in GAIN.items():
            name = f"st-{label}-s{seed}"
            write_run(
                name, rng, ease, gain=gain, loss=4.0 + 0.01 * seed - gain + 0.004 * ((seed * 7) % 3 - 1)
            )
            cells.append({"label": label, "values": {"axis": label}, "seed": seed, "run": name})
            cells[-1] |= {"control": control, "command": ["python"]}
    plan = {"name": "st", "question": "which?", "base": "base.yaml", "judge": "hard", "seeds": list(SEEDS)}
    plan["files"] = {"st.yaml": sha256(Path("st.yaml"))}
    folder = Path("runs/studies/st")
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(plan | {"axes": {"axis": list(GAIN)}, "cells": cells}))
    return "st"


def compared(study):
    return compare_cells(read_plan(study), lambda name: Path("runs", name, "eval"))


def test_a_cell_is_better_worse_or_not_to_be_told_from_its_control_by_every_measure(study):
    found = compared(study)
    assert list(found.cells) == ["hard", "blimp_fast", "perplexity"]
    verdicts = {"good": "better", "same": "not distinguishable", "bad": "worse"}
    for measure, cells in found.cells.items():
        assert {label: cell["verdict"] for label, cell in cells.items()} == verdicts, measure
    good = found.cells["blimp_fast"]["good"]
    assert good["interval"][0] < good["difference"] < good["interval"][1] and good["seeds"] == 3
    assert good["mean"] == pytest.approx(good["a"]) and good["control_mean"] == pytest.approx(good["b"])
    assert found.cells["hard"]["good"]["noise"] == pytest.approx(0.01)
    assert found.said == (
        "By held-out hard loss, nats a token (less is better): 1 of 3 cells better than the control, 1 worse, "
        "1 not to be told from it. The best, good: -0.1500 (95 % interval -0.1599 to -0.1401), better."
    )
    assert found.answers[0] == "axis: same, not good: +0.1500 (its noise is not known), not distinguishable."
    assert set(found.contrasts) == set(found.cells)
    bad = found.contrasts["blimp_fast"]["axis: bad, not good"]
    assert bad["difference"] == pytest.approx(
        found.cells["blimp_fast"]["bad"]["mean"] - found.cells["blimp_fast"]["good"]["mean"]
    )


def test_what_an_axis_does_is_told_by_the_means_over_all_that_is_otherwise_alike(study):
    path = Path("runs/studies/st/study.json")
    plan = json.loads(path.read_text())
    values = {"good": {"loss": "kl", "size": "s"}, "same": {"loss": "js", "size": "s"}}
    values |= {"bad": {"loss": "kl", "size": "l"}, "other": {"loss": "js", "size": "l"}}
    plan["axes"] = {"loss": ["kl", "js"], "size": ["s", "l"]}
    for cell in plan["cells"]:
        cell["values"] = values[cell["label"]]
    # the fourth combination has the runs of the second
    fourth = [
        cell | {"label": "other", "values": values["other"]}
        for cell in plan["cells"]
        if cell["label"] == "same"
    ]
    path.write_text(json.dumps(plan | {"cells": [*plan["cells"], *fourth]}))
    found = compared(study)
    assert list(found.contrasts["hard"]) == ["loss: js, not kl", "size: l, not s"]
    for measure in ("hard", "blimp_fast"):
        means = {label: cell["mean"] for label, cell in found.cells[measure].items()}
        expected = (means["same"] + means["other"] - means["good"] - means["bad"]) / 2
        told = found.contrasts[measure]["loss: js, not kl"]
        assert told["difference"] == pytest.approx(expected) and told["seeds"] == 3
    assert found.contrasts["blimp_fast"]["size: l, not s"]["item_error"] > 0
    Path("runs/st-bad-s1/summary.json").unlink()
    assert compared(study).contrasts["hard"]["loss: js, not kl"]["seeds"] == 2


def test_every_cell_is_compared_with_a_baseline_that_the_study_names_and_values_with_that_of_their_axis(
    study,
):
    path = Path("runs/studies/st/study.json")
    plan = json.loads(path.read_text())
    for cell in plan["cells"]:
        cell["values"] = {} if cell["label"] == "same" else cell["values"]
    plan["axes"] = {"axis": ["good", "bad"]}
    path.write_text(json.dumps(plan | {"against": ["same"]}))
    found = compared(study)
    assert list(found.contrasts["hard"]) == ["axis: bad, not good", "good, not same", "bad, not same"]
    for label in ("good", "bad"):
        told, cells = found.contrasts["blimp_fast"][f"{label}, not same"], found.cells["blimp_fast"]
        assert told["difference"] == pytest.approx(cells[label]["mean"] - cells["same"]["mean"])
        assert told["seeds"] == 3 and not told["of_gains"]
    assert (
        "1 not to be told from it. 0 of 2 cells better than same, 2 not to be told from it. The" in found.said
    )
    plan["axes"] = {"axis": ["good", "bad", "same"]}
    for cell in plan["cells"]:
        cell["values"] = {"axis": cell["label"]}
    path.write_text(json.dumps(plan | {"against": ["bad", "same"]}))
    told = ["axis: good, not bad", "axis: same, not bad", "axis: good, not same"]
    assert [label for label in compared(study).contrasts["hard"] if label.startswith("axis")] == told


def without_axes(against):
    """Have the study compare cells alone, and some of them with each other."""
    path = Path("runs/studies/st/study.json")
    plan = json.loads(path.read_text()) | {"axes": {}, "against": against}
    for cell in plan["cells"]:
        cell["values"] = {}
    path.write_text(json.dumps(plan))


def test_a_cell_is_compared_with_the_one_that_the_study_names_for_it_and_with_no_other(study):
    without_axes({"good": "bad"})
    found = compared(study)
    assert (
        list(found.contrasts["hard"]) == ["good, not bad"] == [line.split(":")[0] for line in found.answers]
    )
    told, cells = found.contrasts["blimp_fast"]["good, not bad"], found.cells["blimp_fast"]
    assert told["difference"] == pytest.approx(cells["good"]["mean"] - cells["bad"]["mean"])
    assert told["p_holm"] == told["p_value"]  # corrected for one comparison


def test_where_nothing_is_distilled_all_cells_are_compared_with_the_first(study):
    path = Path("runs/studies/st/study.json")
    plan = json.loads(path.read_text())
    for cell in plan["cells"]:
        cell["control"] = f"st-good-s{cell['seed']}"
    path.write_text(json.dumps(plan | {"distilled": False}))
    found = compared(study)
    assert {measure: list(cells) for measure, cells in found.cells.items()} == dict.fromkeys(
        ("hard", "blimp_fast", "perplexity"), ["same", "bad"]
    )
    assert found.cells["hard"]["bad"]["difference"] == pytest.approx(0.3)
    # all seeds differ by the same, so no noise is known
    assert "0 of 2 cells better than good, 2 not to be told from it" in found.said
    for axis, each in (("axis: same, not good", "same"), ("axis: bad, not good", "bad")):
        told = found.contrasts["hard"][axis]
        assert not told["of_gains"]
        assert told["difference"] == pytest.approx(found.cells["hard"][each]["difference"])
    told = render([found.record | {"command": "make study", "page": "st.html"}])
    assert "which? 2 cells with seeds 0, 1, 2, each against good" in told
    page = study_page(found, "")
    assert "Each cell less good" in page and "control" not in page.split("<h2>")[1] + cells_table(found)


def test_the_table_has_a_block_for_each_measure_its_best_cell_first(study):
    table = cells_table(compared(study))
    assert table.startswith("st: which?\nBy held-out hard loss")
    for block in table.split("\n\n")[1:]:
        rows = [line.split()[0] for line in block.splitlines()[2:]]
        assert rows == ["good", "same", "bad"]
        assert ["*" in line for line in block.splitlines()[2:]] == [True, False, True]


def test_runs_that_are_not_finished_are_named_and_the_seeds_that_are_count(study):
    Path("runs/st-good-s1/summary.json").unlink()
    Path("runs/control-abc-s2/summary.json").unlink()
    found = compared(study)
    assert found.left_out == ["the control is not finished: seed 2", "good is not finished: seed 1"]
    assert {label: cell["seeds"] for label, cell in found.cells["hard"].items()} == {
        "good": 1,
        "same": 2,
        "bad": 2,
    }
    assert found.cells["hard"]["good"]["interval"] is None
    assert found.cells["hard"]["good"]["verdict"] == "not distinguishable"
    assert "\ngood is not finished: seed 1\n" in cells_table(found)


def test_a_cell_that_was_asked_other_items_than_its_control_is_left_out_there(study):
    path = Path("runs/st-same-s0/eval/scores.json")
    path.write_text(path.read_text().replace('"measured_on": "same"', '"measured_on": "other"', 1))
    found = compared(study)
    assert list(found.cells["blimp_fast"]) == ["good", "bad"] and len(found.cells["hard"]) == 3
    told = [line.partition(":")[0] for line in found.left_out]
    assert told == ["blimp_fast, same is left out", "blimp_fast, axis"]
    assert "were scored on other items of blimp_fast" in found.left_out[0]


def test_a_run_that_is_no_control_of_a_student_is_left_out_and_all_else_is_told(study, monkeypatch):
    def refuse(student, control):
        if student.name == "st-good-s1":
            raise UserError("control-abc-s1 is no control of it")

    monkeypatch.setattr(cells_module, "refuse_strangers", refuse)
    found = compared(study)
    assert found.left_out == ["st-good-s1 is left out: control-abc-s1 is no control of it"]
    assert {label: cell["seeds"] for label, cell in found.cells["hard"].items()} == {
        "good": 2,
        "same": 3,
        "bad": 3,
    }


def test_scores_of_another_model_are_refused(study, monkeypatch):
    monkeypatch.setattr(finished_module, "model_sha256", lambda export: "trained again")
    with pytest.raises(UserError, match="is of another model than .* has now: score the model again"):
        compared(study)


def test_where_the_changed_thing_changes_the_control_gains_are_compared(study):
    path = Path("runs/studies/st/study.json")
    plan = json.loads(path.read_text())
    for cell in plan["cells"]:
        if cell["label"] == "bad":  # a student of another size: its own control, which is worse than itself
            cell["control"] = f"st-same-s{cell['seed']}"
            worse = json.loads(Path("runs", cell["control"], "summary.json").read_text())
            mine = json.loads(Path("runs", cell["run"], "summary.json").read_text())
            Path("runs", cell["control"], "summary.json").write_text(
                json.dumps(worse | {"val/hard": mine["val/hard"] + 1})
            )
    path.write_text(json.dumps(plan | {"cells": [cell for cell in plan["cells"] if cell["label"] != "same"]}))
    plan = json.loads(path.read_text())
    plan["axes"] = {"axis": ["good", "bad"]}
    path.write_text(json.dumps(plan))
    found = compared(study)
    contrast = found.contrasts["hard"]["axis: bad, not good"]
    gains = {label: cell["difference"] for label, cell in found.cells["hard"].items()}
    assert contrast["of_gains"] and contrast["difference"] == pytest.approx(gains["bad"] - gains["good"])
    assert (
        "in the gain over the control" in found.answers[0]
        and "largest gain over a control of its own" in found.said
    )
    assert found.contrasts["blimp_fast"]["axis: bad, not good"]["seed_error"] > 0


def test_losses_of_runs_with_other_targets_or_data_are_not_compared(study):
    path = Path("runs/st-good-s0/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"targets": "masked"}))
    found = compared(study)
    assert "good" not in found.cells["hard"] and "good" in found.cells["blimp_fast"]
    assert "hard, good is left out: losses of runs that have another targets say nothing" in found.left_out[0]


def test_p_values_are_corrected_for_all_that_were_looked_at_and_so_are_the_seeds_that_would_settle_it():
    def each(p, difference=0.04):
        known = {"p_value": p, "difference": difference, "seed_error": 0.02, "item_error": 0.0, "seeds": 3}
        return known if p is not None else known | {"p_value": None}

    found = {"a": each(0.02), "b": each(0.03), "c": each(0.5), "d": each(None)}
    correct(found, 1)
    assert [found[label]["p_holm"] for label in "abc"] == pytest.approx([0.06, 0.06, 0.5])
    assert {cell["verdict"] for cell in found.values()} == {UNKNOWN}
    strict, loose = (seeds_to_settle(0.04, 3 * 0.02**2, 0.0, 1 - level) for level in (0.05 / 3, 0.05))
    assert found["a"]["settles"] == str(strict) and strict > loose
    assert found["d"]["settles"] == "one more seed tells"
    found = {"a": each(0.02), "b": each(0.01, -0.04), "hopeless": each(0.9) | {"item_error": 0.1}}
    correct(found, 1)
    assert [found[label]["verdict"] for label in ("a", "b", "hopeless")] == ["better", "worse", UNKNOWN]
    assert [found[label]["settles"] for label in ("a", "hopeless")] == ["settled", "over 1,000"]


def test_a_study_is_scored_once_and_told_in_a_table_and_a_file(study, monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr("eval.results.workers.score_all", lambda requests, processes: asked.update(requests))
    Path("data/text/test").mkdir(parents=True)
    main([study, "--processes", "2"])
    assert len(asked) == 12 and all(each.tasks.names == ("perplexity",) for each in asked.values())
    record = json.loads(Path("runs/studies/st/results.json").read_text())
    assert (
        record["measures"]["hard"]["good"]["verdict"] == "better"
        and record["said"] in capsys.readouterr().out
    )
    assert record["cells"][0] == {"label": "good", "values": {"axis": "good"}}


def test_a_study_has_a_page_that_says_first_what_came_out_and_loads_nothing(study, monkeypatch):
    monkeypatch.setattr("eval.results.workers.score_all", lambda requests, processes: None)
    main([study])
    text = Path("runs/studies/st/report.html").read_text(encoding="utf-8")
    found = compared(study)
    assert re.search(r"<p>(.*?)</p>", text)[1] == found.said
    for label, cell in found.cells["hard"].items():
        assert text.count(f"<th>{label}</th>") == len(found.cells)
        assert f"{cell['difference']:+.4f}".replace("-", "\N{MINUS SIGN}") in text
    pictures = re.findall(r'<svg[^>]*aria-label="([^"]*)"', text)
    assert len(pictures) == 2 * 3 + 2 + 2
    assert "://" not in text and not re.search(r"<(link|img|iframe)\b|@import|url\((?!#)", text)
    identities = re.findall(r'\bid="([^"]+)"', text)
    assert len(identities) == len(set(identities))
    assert "python -m distill.study st.yaml" in text and "as it was" in text


def test_a_trial_goes_beside_the_scores(study):
    asked = Scope((), limit=3, max_words=100).request("st-good-s0")
    assert asked.out == Path("runs/st-good-s0/trial/eval") and asked.tasks.max_words == 100


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("nobody", "study.json is missing: train it with `python -m distill.study STUDY.yaml`"),
        ("nobody.yaml", "nobody.yaml: no such study"),
    ],
)
def test_a_study_that_nobody_began_is_refused(workplace, named, told):
    with pytest.raises(UserError, match=told):
        main([named])


def test_a_study_of_which_nothing_is_finished_is_refused(study):
    for path in Path("runs").glob("*/summary.json"):
        path.unlink()
    with pytest.raises(UserError, match="no run of st is finished"):
        main([study])


def test_a_study_that_was_changed_since_its_runs_were_begun_is_refused(study):
    assert read_plan("st.yaml").name == "st"
    Path("st.yaml").write_text("another")
    for named in ("st.yaml", "st"):
        with pytest.raises(UserError, match="st.yaml is not what it was when its runs were begun"):
            read_plan(named)
    Path("other.yaml").write_text("as it was")
    with pytest.raises(UserError, match="other.yaml has not been begun"):
        read_plan("other.yaml")


def test_bits_of_a_part_of_the_text_and_tasks_that_one_run_lacks_are_told(study):
    path = Path("runs/st-bad-s1/eval/scores.json")
    scores = json.loads(path.read_text())
    del scores["tasks"]["blimp_fast"]
    scores["tasks"]["perplexity"]["whole_text"] = False
    path.write_text(json.dumps(scores))
    found = compared(study)
    assert found.left_out == ["blimp_fast is left out: st-bad-s1 has no score in it"]
    assert cells_table(found).endswith(LOSSY) and not found.cells["perplexity"]["good"]["lossy"]


@pytest.mark.parametrize("judge", ["blimp_filtered", "perplexity", "ewok"])
def test_a_study_is_not_judged_by_what_final_scores_are_told_in(study, judge):
    path = Path("runs/studies/st/study.json")
    path.write_text(path.read_text().replace('"judge": "hard"', f'"judge": "{judge}"'))
    with pytest.raises(
        UserError, match=f"st is judged by {judge}, in which final scores are told: write judge: hard"
    ):
        main([study])


def test_the_record_of_a_study_is_what_a_readme_says_of_it(study, monkeypatch):
    monkeypatch.setattr("eval.results.workers.score_all", lambda requests, processes: None)
    main([study])
    Path("docs").mkdir()
    readme(["--record", "docs/st.json", "runs/studies/st", "--command", "make study STUDY=st.yaml"])
    assert Path("docs/st.html").read_text() == Path("runs/studies/st/report.html").read_text()
    Path("README.md").write_text(f"# before\n{BEGIN}\n{END}\nafter\n")
    readme(["README.md", "docs/st.json"])
    text = Path("README.md").read_text()
    found = compared(study)
    assert f"**{found.said}**" in text and "[the page](docs/st.html)" in text
    assert "`make study STUDY=st.yaml`" in text and "](docs/st.svg)" in text
    assert "| model |" not in text  # of one with axes, the page tells the rest
    content = json.loads(Path("docs/st.json").read_text())
    Path("docs/st.json").write_text(
        json.dumps({key: value for key, value in content.items() if key != "said"})
    )
    with pytest.raises(UserError, match=r"docs/st.json lacks said"):
        readme(["README.md", "docs/st.json"])


def test_of_a_study_that_goes_on_a_readme_says_how_much_is_there(study, monkeypatch):
    monkeypatch.setattr("eval.results.workers.score_all", lambda requests, processes: None)
    without_axes({"good": "bad"})
    for name in ("st-good-s1", "st-bad-s0", "st-bad-s1", "st-bad-s2"):
        Path("runs", name, "summary.json").unlink()
    main([study])
    readme(["--record", "st.json", "runs/studies/st", "--command", "make study"])
    text = render([json.loads(Path("st.json").read_text())])
    assert "which? 2 of 3 cells with seeds 0, 1, 2, each against the control" in text
    assert "\n| good (2 seeds) | " in text and "\n| same | " in text and "\n| bad" not in text


def test_a_study_of_cells_is_a_table_in_a_readme_and_what_is_told_apart_is_bold(study, monkeypatch):
    monkeypatch.setattr("eval.results.workers.score_all", lambda requests, processes: None)
    without_axes({"good": "bad"})
    main([study])
    Path("README.md").write_text(f"{BEGIN}\n{END}\n")
    readme(["--record", "st.json", "runs/studies/st", "--command", "make study"])
    readme(["README.md", "st.json"])
    lines = [
        line.split(" | ") for line in Path("README.md").read_text().splitlines() if line.startswith("| ")
    ]
    # what it is judged by is the first
    measures = ["Held-out hard loss, nats a token", "BLiMP (fast), %", "Held-out text, bits per byte |"]
    assert lines[0] == ["| model", *measures]
    assert [line[0] for line in lines[1:6]] == ["| ---", "| control", "| good", "| same", "| bad"]
    assert lines[6] == ["| A − B", *measures]
    assert [line[0] for line in lines[7:]] == ["| ---", "| good − bad"]
    found = compared(study).cells["perplexity"]["good"]
    low, high = found["interval"]
    assert lines[3][3] == (
        f"{found['mean']:.4f} ± {found['standard_deviation']:.4f} "
        f"(**{found['difference']:+.4f}**, {low:+.4f} to {high:+.4f}) |"
    )
    assert lines[2][3] == f"{found['control_mean']:.4f} ± {found['noise']:.4f} |"
    assert "**" not in "".join(lines[4]) and "**" in lines[5][2]
    assert ElementTree.fromstring(Path("st.svg").read_text()).tag.endswith("svg")
    assert "(st.svg)" in Path("README.md").read_text()
    content = json.loads(Path("st.json").read_text())
    content["measures"]["perplexity"]["good"]["interval"] = None  # of one seed
    del content["measures"]["perplexity"]["same"]
    content["measures"]["hard"]["same"]["settles"] = "12"
    assert "; 12 seeds would tell) |" in render([content])
    assert "*N seeds would tell*: " in render([content])
    content["measures"]["hard"]["same"]["settles"] = "over 1,000"
    assert "; over 1,000 seeds would tell) |" in render([content])
    assert "**) |" in render([content]) and ") | – |" in render([content])
    content["measures"] = {}
    assert "| model |" not in render([content]) and "| the one" not in render([content])


def test_a_study_is_not_judged_by_what_nobody_was_asked(study):
    path = Path("runs/studies/st/study.json")
    path.write_text(path.read_text().replace('"judge": "hard"', '"judge": "ewok_fast"'))
    with pytest.raises(UserError, match="st is judged by ewok_fast: add it to --tasks"):
        main([study])

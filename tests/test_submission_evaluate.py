"""What `evaluate` asks the other programs for, what it finds missing, and that one failure stops nothing else."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from run_tree import add_task, edit
from submission_files import write_data

from babylm_data.errors import UserError
from babylm_data.sealed import sealed_folder
from eval.scorer.items import Choice, Item
from eval.submission import evaluate
from eval.submission.__main__ import main
from eval.submission.rules import load_rules
from eval.submission.scope import HUMAN
from eval.tasks.choices import Choices


@pytest.fixture
def run(runs_template, tmp_path) -> Path:
    """A student's run folder with three revisions."""
    folder = shutil.copytree(runs_template, tmp_path / "runs") / "nursery"
    write_revisions(folder, 3)
    return folder


def write_revisions(folder: Path, count: int) -> None:
    revisions = [{"name": f"chck_{n}M", "mark": n, "words_seen": n, "step": n} for n in range(1, count + 1)]
    edit(folder / "summary.json", revisions=revisions)
    for revision in revisions:
        with sealed_folder(folder / "revisions" / revision["name"]) as place:
            (place / "model.safetensors").write_text(revision["name"])


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "data")


def evaluated(run: Path, data: Path, *more: str) -> int | None:
    return main(["evaluate", str(run), "--data", str(data), *more])


@pytest.fixture
def called(monkeypatch) -> list[list[str]]:
    """The calls that are asked for, as words. Those that score a control fail."""
    calls = []

    def call(request):
        calls.append([request.PROGRAM, *request.words])
        return 2 * any("control" in word for word in request.words)

    def score_each(requests, _processes):
        return [("", call(request)) for request in requests]

    for name in ("fit", "finetune"):
        monkeypatch.setattr(evaluate, name, call)
    monkeypatch.setattr(evaluate, "score_each", score_each)
    monkeypatch.setattr(evaluate, "alone", lambda action, request: action(request))
    monkeypatch.setattr(evaluate, "print_contents", lambda tasks: calls.append(tasks))
    return calls


def write_text(folder: Path) -> str:
    """A file of held-out text."""
    path = folder / "held-out.txt"
    path.write_text("The dog sees the cat.\n", encoding="utf-8")
    return str(path)


def write_glue(data: Path) -> None:
    """Two rows of one task."""
    rows = [{"sentence1": "a", "sentence2": "b", "label": n} for n in (0, 1)]
    for part in ("train", "valid"):
        path = data / f"full_eval/glue_filtered/rte.{part}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


NO_GLUE = ("--partial", "--glue")


def test_every_model_that_a_table_needs_is_asked_the_full_list_and_each_revision_the_fast_one(
    run, data, called
):
    with pytest.raises(UserError, match="1 parts did not end well"):  # the control's
        evaluated(run, data, *NO_GLUE, "--text", write_text(data), "--processes", "2")
    scored = {call[1]: call for call in called if call[0] == "eval" and call[1].endswith("/export")}
    runs = run.parent
    assert set(scored) == {str(runs / name / "export") for name in
                           ("nursery", "nursery-llama", "nursery-gpt2", "nursery-control")}  # fmt: skip
    full = [section.task for section in load_rules("2025").keys.values() if section.form == "predictions"]
    for call in scored.values():
        asked = call[call.index("--tasks") + 1 : call.index("--data")]
        assert asked == [*[task for task in full if task], "perplexity"]
    assert (
        "--results" in scored[str(run / "export")]
        and "--results" not in scored[str(runs / "nursery-gpt2/export")]
    )
    fast = [call for call in called if "revisions" in call[1]]
    assert [call[1] for call in fast] == [str(run / "revisions" / f"chck_{n}M") for n in (1, 2, 3)]
    for call in fast:
        name = Path(call[1]).name
        assert {"blimp_fast", "reading", "aoa"} <= set(call)
        assert call[call.index("--revision") + 1] == name
        assert call[call.index("--out") + 1] == str(run / "eval_revisions" / name)


@pytest.mark.parametrize(
    ("targets", "asked", "own", "teacher"),
    [
        ("masked", [], "mlm", "mlm"),
        ("hybrid", [], "causal", "causal"),
        ("hybrid", ["--backend", "mntp"], "mntp", "causal"),
    ],
)
def test_each_model_is_scored_in_a_way_of_its_targets(run, data, called, targets, asked, own, teacher):
    """The teachers of a masked student are masked; those of this hybrid read from left to right."""
    for folder in (run, run.parent / "nursery-control"):
        edit(folder / "summary.json", targets=targets, reads="masked" if targets == "masked" else "both")
    for name in ("nursery-llama", "nursery-gpt2"):
        edit(run.parent / name / "summary.json", reads="masked" if targets == "masked" else "causal")
    with pytest.raises(UserError, match="1 parts did not end well"):  # the control's
        evaluated(run, data, *NO_GLUE, "--text", write_text(data), *asked)
    for call in called:
        of_student = "nursery-llama" not in call[1] and "nursery-gpt2" not in call[1]
        if call[0] == "eval":
            backend = call[call.index("--backend") + 1] if "--backend" in call else "causal"
            assert backend == (own if of_student else teacher)
            assert ("perplexity" in call) == (backend == "causal" and "revisions" not in call[1])
    with pytest.raises(UserError, match=f"nursery was trained on {targets}: score it with --backend"):
        evaluated(run, data, *NO_GLUE, "--backend", "mntp" if targets == "masked" else "mlm")


def test_two_years_of_one_task_are_refused_before_anything_is_scored(run, data, called):
    with pytest.raises(
        UserError,
        match="ewok_fast and ewok_contexts_fast have one place .*: evaluate once with the --rules of each year$",
    ):
        evaluated(run, data, *NO_GLUE, "--fast", "fast", "fast-2026")
    assert called == []


def test_each_years_rules_have_a_results_tree_of_their_own(run, data, called):
    for rules, tree in (("2025", "results"), ("2026", "results-2026")):
        called.clear()
        with pytest.raises(UserError, match="did not end well"):
            evaluated(run, data, *NO_GLUE, "--rules", rules)
        trees = {call[call.index("--results") + 1] for call in called if "--results" in call}
        assert trees == {str(run / tree)}


def test_fine_tuning_is_of_the_student_alone_and_with_the_seeds_asked_for(run, data, called):
    write_glue(data)
    with pytest.raises(UserError):
        evaluated(run, data, "--partial", "--glue", "rte", "--seeds", "1", "2", "--epochs", "3")
    (call,) = (call for call in called if call[0] == "eval.finetune")
    assert call[1] == f"{run}/export"
    assert call[call.index("--seeds") + 1 : call.index("--seeds") + 3] == ["1", "2"]
    assert call[call.index("--epochs") + 1] == "3"


def test_one_revision_has_a_folder_of_its_own_all_the_same(run, data, called):
    edit(run / "summary.json", revisions=[{"name": "chck_1M", "mark": 1, "words_seen": 1, "step": 1}])
    with pytest.raises(UserError):
        evaluated(run, data, *NO_GLUE)
    (fast,) = (call for call in called if call[1].endswith("chck_1M"))
    assert fast[fast.index("--out") + 1] == str(run / "eval_revisions/chck_1M")
    assert fast[fast.index("--revision") + 1] == "chck_1M"
    assert not any(call[0] == "eval.aoa" for call in called)  # one point is no curve


def test_a_limit_writes_below_trial_in_every_run_folder_and_no_results_tree(run, data, called):
    write_glue(data)
    write_revisions(run, 5)
    (data / HUMAN).write_text("")
    with pytest.raises(UserError):
        evaluated(run, data, "--partial", "--glue", "rte", "--limit", "3")
    assert not any("--results" in call for call in called)
    assert all("--limit" in call for call in called)
    beside = ("nursery-llama", "nursery-gpt2", "nursery-control")
    assert {call[call.index("--out") + 1] for call in called} == {
        *(str(run / "trial" / part) for part in ("eval", "finetune")),
        *(str(run / f"trial/eval_revisions/chck_{n}M") for n in range(1, 6)),
        *(str(run.parent / name / "trial/eval") for name in beside),
    }


def test_ages_are_fitted_of_five_revisions_and_with_what_children_say(run, data, called):
    write_revisions(run, 5)
    with pytest.raises(
        UserError, match=r"lacks the data of ages of acquisition \(full_eval/aoa/cdi_human.csv"
    ):
        evaluated(run, data, "--glue")
    assert not called
    with pytest.raises(UserError, match="did not end well"):
        evaluated(run, data, *NO_GLUE)
    assert called and not any(call[0] == "eval.aoa" for call in called)
    months = ",".join(str(month) for month in range(16, 31))
    (data / HUMAN).write_text(f"word,{months}\ndog,{','.join(['2'] * 15)}\n", encoding="utf-8")
    called.clear()
    with pytest.raises(UserError, match="has a share that is not between 0 and 1"):
        evaluated(run, data, "--glue")
    assert not called
    (data / HUMAN).write_text(f"word,{months}\ndog,{','.join(['0.5'] * 15)}\n", encoding="utf-8")
    with pytest.raises(UserError, match="did not end well"):
        evaluated(run, data, "--glue")
    (call,) = (call for call in called if call[0] == "eval.aoa")
    assert call[call.index("--human") + 1] == str(data / HUMAN)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--full", "comp"], "there is no task 'comp': did you mean comps"),
        (["--fast", "blimp_fats"], "there is no task 'blimp_fats': did you mean blimp_fast"),
        (["--glue", "rtee"], "there is no task 'rtee' to fine-tune on: did you mean rte"),
        (["--text", "nowhere"], "there is no text file or folder nowhere"),
        (["--full", "comps", "perplexity"], "perplexity needs --text"),
    ],
)
def test_a_mistake_in_the_options_is_told_before_anything_is_scored(run, data, called, options, said):
    with pytest.raises(UserError, match=said):
        evaluated(run, data, *([] if "--glue" in options else ["--glue"]), "--partial", *options)
    assert not called


def test_lists_and_short_names_of_tasks_are_those_of_eval(run, data, called):
    with pytest.raises(UserError, match="did not end well"):
        evaluated(run, data, *NO_GLUE, "--full", "blimp", "comps", "--fast", "fast")
    asked = [call[call.index("--tasks") + 1 : call.index("--data")] for call in called]
    assert asked[0] == ["blimp_filtered", "comps"]
    assert "entity_tracking_fast" in asked[-1] and "fast" not in asked[-1]


def test_perplexity_is_asked_once_however_it_is_asked_for(run, data, called):
    with pytest.raises(UserError, match="did not end well"):
        evaluated(run, data, *NO_GLUE, "--full", "comps", "perplexity", "--text", write_text(data))
    assert called[0].count("perplexity") == 1


@pytest.mark.parametrize("seed", ["x", "-1", "1.5"])
def test_a_seed_is_a_whole_number(run, data, capsys, seed):
    with pytest.raises(SystemExit):
        evaluated(run, data, f"--seeds={seed}")
    assert "not a whole number from 0 on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("nursery-llama", "run `python -m distill distill/configs/nursery-llama.yaml`"),
        ("nursery-control", "train it with `python -m distill distill/configs/nursery.yaml --control`"),
    ],
)
def test_a_model_beside_the_student_that_is_not_there_is_told_first(run, data, called, name, remedy):
    shutil.rmtree(run.parent / name / "export")
    with pytest.raises(UserError, match=f"{name}/export.*: {remedy}"):
        evaluated(run, data, *NO_GLUE)
    assert not called


def test_data_that_are_not_there_are_named_before_anything_is_scored(run, data, called):
    with pytest.raises(
        UserError, match="lacks the data of boolq, mnli, mrpc, multirc, qqp, rte, wsc: put them"
    ):
        evaluated(run, data)
    assert not called


def test_a_damaged_revision_is_named_before_anything_is_scored(run, data, called):
    (run / "revisions/chck_2M/model.safetensors").write_text("other")
    with pytest.raises(
        UserError, match="chck_2M/model.safetensors has changed since it was written: train the run"
    ):
        evaluated(run, data, *NO_GLUE)
    assert not called


@pytest.mark.parametrize(
    ("status", "refused", "failed"),
    [
        (2, {"comps": "too long"}, 1),  # the control's alone
        (2, {}, 3),  # that of the teachers too: whatever it was, it was not what they cannot be asked
        (1, {"comps": "too long"}, 3),
    ],
)
def test_only_what_a_teacher_was_refused_is_excused(run, data, monkeypatch, status, refused, failed):
    for name in ("nursery-llama", "nursery-gpt2"):
        edit(run.parent / name / "eval/scores.json", refused=refused)
    fails = ("nursery-llama/export", "nursery-gpt2/export", "nursery-control/export")
    monkeypatch.setattr(
        evaluate,
        "score_each",
        lambda requests, _: [("", status * request.model.endswith(fails)) for request in requests],
    )
    with pytest.raises(UserError, match=f"^{failed} parts did not end well"):
        evaluated(run, data, *NO_GLUE)


def test_the_check_needs_no_run_and_looks_at_all_data_that_is_asked(data, called, tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(UserError, match="lacks the data of boolq, mnli.*full_eval/aoa/cdi_human.csv"):
        evaluated(nowhere, data, "--check")
    assert evaluated(nowhere, data, "--check", *NO_GLUE, "--text", write_text(data)) is None
    (tasks,) = called
    assert tasks.data == data and not nowhere.exists()
    assert {"blimp_filtered", "blimp_fast", "aoa", "perplexity"} <= set(tasks.names)


def test_the_list_names_what_is_missing_and_scores_nothing(run, data, called, capsys):
    items = [Item("base_0", "base", (Choice("", "good"), Choice("", "bad")))]
    add_task(run, "comps", Choices(items), [[-1.0, -2.0]])
    assert evaluated(run, data, "--list") == 1
    said = capsys.readouterr().out
    assert "missing: blimp: not scored" in said and "comps: not scored" not in said
    assert "missing: fast blimp: not scored on any of the 3 revisions" in said
    assert "missing: glue rte: not fine-tuned" in said
    assert not called


@pytest.mark.parametrize(
    ("task", "change", "line"),
    [
        ("nursery", {"limit": 10}, "nursery: scored on 550 items, only the first 10 of each subtask"),
        ("comps", {"synthetic": True}, "comps: scored on synthetic stand-ins"),
    ],
)
def test_the_list_names_results_that_build_would_refuse(run, data, capsys, task, change, line):
    items = [Item("base_0", "base", (Choice("", "good"), Choice("", "bad")))]
    add_task(run, "comps", Choices(items), [[-1.0, -2.0]])
    scores = json.loads((run / "eval/scores.json").read_text(encoding="utf-8"))
    scores["tasks"][task] |= change
    edit(run / "eval/scores.json", **scores)
    assert evaluated(run, data, "--list") == 1
    assert f"missing: {line}" in capsys.readouterr().out


def test_the_list_names_whatever_build_would_refuse(run, data, called, capsys):
    shutil.rmtree(run.parent / "nursery-control" / "eval")
    assert evaluated(run, data, "--list") == 1
    said = capsys.readouterr().out
    assert "nursery-control/eval/scores.json is missing" in said and "missing: blimp: not scored" in said
    edit(run / "eval" / "scores.json", model_sha256="0" * 64)
    assert evaluated(run, data, "--list") == 1
    said = capsys.readouterr().out
    assert "nursery/eval/scores.json is of another model" in said and "missing: blimp: not scored" in said


@pytest.mark.parametrize(("free", "expected"), [(0, 1), (3.5, 2), (100, 4)])
def test_no_more_processes_than_memory_cores_and_models_allow(tmp_path, monkeypatch, free, expected):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 2**30))
    monkeypatch.setattr(evaluate.os, "cpu_count", lambda: 4)
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert evaluate.fitting_processes([tmp_path] * 19) == expected
    assert evaluate.fitting_processes([tmp_path]) == 1
    (tmp_path / "large").mkdir()
    with open(tmp_path / "large/model.safetensors", "wb") as file:
        file.truncate(10 * 2**30)  # a hole: no byte of it is on the disk
    assert evaluate.fitting_processes([tmp_path, tmp_path / "large"]) <= expected // 2 + 1

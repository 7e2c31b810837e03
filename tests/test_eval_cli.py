"""`python -m eval` from end to end: what it writes, refuses before loading, and does not repeat."""

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import tiny_models
import torch
from choice_rows import write_task
from safetensors.torch import load_file, save_file
from tiny_models import pair, write_rows

from babylm_data.errors import UserError
from babylm_data.sealed import seal
from eval.__main__ import main
from eval.scorer import model as eval_model
from eval.scorer.model import load_for_scoring
from eval.tasks import TASKS, on_list

WORDS = ["The", "old", "dog", "sees", "small", "cats"]
PERMUTATIONS = [
    pair("dog cat see", "see cat dog", "order", "syntax"),
    pair("a b c", "c a b", "order", "syntax"),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A model, BLiMP and supplement files, and held-out text, shared and never changed."""
    root = tmp_path_factory.mktemp("eval")
    tiny_models.save(root / "model")
    rows = [pair(f"The {word} dog.", f"dog {word} The.", "island", "islands") for word in WORDS]
    write_rows(root / "data/full_eval/blimp_filtered/island.jsonl", rows)
    write_rows(root / "data/full_eval/blimp_filtered/order.jsonl", PERMUTATIONS)
    write_rows(root / "data/full_eval/supplement_filtered/turns.jsonl", [pair("Who?\nI.", "I.\nWho?")])
    (root / "text/dev").mkdir(parents=True)
    (root / "text/dev/x.txt").write_text("\n\n".join(tiny_models.SENTENCES), encoding="utf-8")
    return root


def arguments(folder: Path, out: Path, *tasks: str) -> list[str]:
    return [
        *(str(folder / "model"), "--tasks", *tasks, "--data", str(folder / "data")),
        *("--text", str(folder / "text"), "--out", str(out)),
    ]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("learned", "warned"), [("causal", False), ("masked", True), (None, False)])
def test_a_run_that_is_asked_in_a_way_that_it_has_not_learned_is_told_of(
    folder, tmp_path, capsys, learned, warned
):
    run = tmp_path / "run"
    run.mkdir()
    (run / "export").symlink_to(folder / "model")
    if learned:
        (run / "summary.json").write_text(json.dumps({"name": "run", "reads": learned}))
    main([str(run / "export"), *arguments(folder, tmp_path / "out", "supplement_filtered")[1:]])
    told = f"warning: {run / 'export'} was trained to be asked by --backend mlm"
    assert (told in capsys.readouterr().err) is warned


def test_scores_and_predictions_are_written_whole(folder, tmp_path, capsys):
    main(arguments(folder, tmp_path, "blimp_filtered", "supplement_filtered", "perplexity"))
    scores = read(tmp_path / "scores.json")
    blimp = scores["tasks"]["blimp_filtered"]
    assert (blimp["items"], set(blimp["by_subtask"])) == (8, {"island", "order"})
    assert set(blimp["by_phenomenon"]) == {"islands", "syntax"}
    assert scores["tasks"]["supplement_filtered"]["by_phenomenon"] == {}
    assert scores["tasks"]["perplexity"]["files"]["dev/x.txt"]["documents"] == len(tiny_models.SENTENCES)
    assert scores["parameters"] == tiny_models.model().num_parameters()
    assert len(scores["weights_sha256"]) == len(scores["model_sha256"]) == 64
    assert blimp["command"].startswith("python -m eval ")
    assert blimp["limit"] is None and blimp["partial"] is True
    found = read(tmp_path / "blimp_filtered/predictions.json")
    right = [row["pred"].startswith("The") for row in found["island"]["predictions"]]
    assert sum(right) / len(right) == blimp["by_subtask"]["island"]["score"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "blimp_filtered",
        "scores.json",
        "supplement_filtered",
    ]
    assert "blimp_filtered by phenomenon" in capsys.readouterr().out


def test_a_constant_model_gets_half_of_the_permutations(folder, tmp_path):
    model = tiny_models.model("gptj")
    model.lm_head.weight.data.zero_()
    model.lm_head.bias.data.zero_()
    model.save_pretrained(tmp_path / "model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    main([str(tmp_path / "model"), *arguments(folder, tmp_path / "out", "blimp_filtered")[1:]])
    order = read(tmp_path / "out/scores.json")["tasks"]["blimp_filtered"]["by_subtask"]["order"]
    assert (order["score"], order["ties"]) == (0.5, 2)


def test_a_model_of_nan_is_refused_and_nothing_is_written(folder, tmp_path):
    model = tiny_models.model()
    model.model.norm.weight.data.fill_(math.nan)
    model.save_pretrained(tmp_path / "model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="^blimp_filtered: 8 of 8 items have non-finite scores"):
        main([str(tmp_path / "model"), *arguments(folder, tmp_path / "out", "blimp_filtered")[1:]])
    assert not (tmp_path / "out").exists()


def test_a_task_that_a_model_is_too_short_for_is_noted_until_it_has_a_result(folder, tmp_path):
    tiny_models.model("gpt2", positions=4).save_pretrained(tmp_path / "model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    command = [
        str(tmp_path / "model"),
        *arguments(folder, tmp_path / "out", "blimp_filtered", "supplement_filtered")[1:],
    ]
    with pytest.raises(UserError, match="the model reads at most 4"):
        main(command)
    scores = read(tmp_path / "out/scores.json")
    assert "the model reads at most 4" in scores["refused"]["blimp_filtered"]
    assert "blimp_filtered" not in scores["tasks"]
    main([*arguments(folder, tmp_path / "two", "blimp_filtered")])
    assert "refused" not in read(tmp_path / "two/scores.json")


def test_a_finished_task_is_not_scored_again(folder, tmp_path, monkeypatch, capsys):
    main(arguments(folder, tmp_path, "blimp_filtered", "perplexity"))
    before = (tmp_path / "scores.json").read_bytes()
    monkeypatch.setattr(
        "eval.results.score.load_for_scoring", lambda *_, **__: pytest.fail("the model was loaded")
    )
    main(arguments(folder, tmp_path, "blimp_filtered", "perplexity"))
    assert "blimp_filtered: already scored" in capsys.readouterr().out
    assert (tmp_path / "scores.json").read_bytes() == before


def test_a_result_is_redone_when_data_settings_or_predictions_change(folder, tmp_path, capsys):
    data = tmp_path / "data"
    write_rows(data / "full_eval/nursery/x.jsonl", [pair("a b", "b a", "x", "y")])
    command = [
        str(folder / "model"),
        "--tasks",
        "nursery",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
    ]
    main(command)
    write_rows(data / "full_eval/nursery/x.jsonl", [pair("a b", "b a", "x", "y"), pair("c", "d", "x", "y")])
    main(command)
    assert read(tmp_path / "out/scores.json")["tasks"]["nursery"]["items"] == 2
    main([*command, "--limit", "1"])
    assert read(tmp_path / "out/scores.json")["tasks"]["nursery"]["items"] == 1
    (tmp_path / "out/nursery/predictions.json").unlink()
    main([*command, "--limit", "1"])
    assert (tmp_path / "out/nursery/predictions.json").is_file()
    assert "already scored" not in capsys.readouterr().out


def test_results_of_another_model_do_not_stay(folder, tmp_path):
    main(arguments(folder, tmp_path / "out", "blimp_filtered", "supplement_filtered"))
    other = tiny_models.save(tmp_path / "other", seed=1)
    main([str(other), *arguments(folder, tmp_path / "out", "supplement_filtered")[1:]])
    assert set(read(tmp_path / "out/scores.json")["tasks"]) == {"supplement_filtered"}
    assert not (tmp_path / "out/blimp_filtered/predictions.json").exists()


def test_results_of_the_same_model_are_kept_beside_new_ones(folder, tmp_path):
    main(arguments(folder, tmp_path, "blimp_filtered"))
    main(arguments(folder, tmp_path, "supplement_filtered"))
    tasks = read(tmp_path / "scores.json")["tasks"]
    assert set(tasks) == {"blimp_filtered", "supplement_filtered"}
    assert all(f"--tasks {name}" in result["command"] for name, result in tasks.items())


def test_predictions_that_a_killed_call_left_are_not_trusted(folder, tmp_path, capsys):
    main(arguments(folder, tmp_path, "blimp_filtered"))
    path = tmp_path / "blimp_filtered/predictions.json"
    whole = path.read_bytes()
    path.write_text("{}", encoding="utf-8")
    main(arguments(folder, tmp_path, "blimp_filtered"))
    assert path.read_bytes() == whole and "already scored" not in capsys.readouterr().out


def test_the_tasks_of_one_call_carry_one_stamp(folder, tmp_path, monkeypatch):
    ticks = (datetime(2030, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in count())
    clock = type("Clock", (), {"now": staticmethod(lambda zone: next(ticks))})
    monkeypatch.setattr("eval.results.scores.datetime", clock)
    main(arguments(folder, tmp_path, "blimp_filtered", "supplement_filtered", "perplexity"))
    tasks = read(tmp_path / "scores.json")["tasks"].values()
    assert len(tasks) == 3 and len({(result["created"], result["command"]) for result in tasks}) == 1


def test_other_rows_than_the_official_ones_are_scored_named_and_marked(folder, tmp_path, capsys):
    command = arguments(folder, tmp_path, "blimp_filtered")
    note = "other rows than the official ones"
    main([*command, "--check"])
    assert f"blimp_filtered: 8 items in 2 files ({note})" in capsys.readouterr().out
    main([*command, "--limit", "3"])
    said = capsys.readouterr().out.splitlines()
    (line,) = [line for line in said if "marked partial" in line]
    assert line.endswith("adjunct_island has 0 rows, the official data 928 (and 68 more subtasks differ)")
    assert f"blimp_filtered is no score of the whole task: {note}, only the first 3 of each subtask" in said
    assert read(tmp_path / "scores.json")["tasks"]["blimp_filtered"]["partial"] is True


def test_each_file_of_a_task_is_read_once(folder, tmp_path, monkeypatch):
    opened, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read_bytes(path))
    main([*arguments(folder, tmp_path, "blimp_filtered"), "--check"])
    assert opened == ["island.jsonl", "order.jsonl"]


def lists(folder: Path, tmp_path: Path, *names: str) -> Path:
    """A data folder with these tasks alone."""
    for name in names:
        write_task(tmp_path / "data" / TASKS[name].folder, name)
    return tmp_path / "data"


def test_a_list_without_all_of_its_data_is_refused_or_left_shorter(folder, tmp_path, capsys):
    data = lists(folder, tmp_path, "blimp_fast", "wug_past_tense")
    command = ["--tasks", "fast", "--data", str(data), "--check"]
    lacking = "supplement_fast, ewok_fast, entity_tracking_fast, wug_adj_nominalization"
    with pytest.raises(UserError, match=f"data lacks the data of {lacking}.*: put them there, or --partial"):
        main(command)
    main([*command, "--partial"])
    said = capsys.readouterr().out
    assert f"left out of fast, for {data} lacks their data: {lacking}" in said
    assert "blimp_fast: 8 items" in said and "wug_past_tense: 5 items" in said
    with pytest.raises(UserError, match="lacks the data of blimp_filtered"):
        main(["--tasks", "full", "--data", str(tmp_path), "--check", "--partial"])
    with pytest.raises(UserError, match="fast needs --data"):
        main(["--tasks", "fast", "--check"])


def test_a_named_task_without_data_is_refused_or_with_partial_left_out(folder, tmp_path, capsys):
    data = lists(folder, tmp_path, "blimp_fast")
    command = ["--tasks", "blimp_fast", "reading", "--data", str(data), "--check"]
    with pytest.raises(UserError, match="reading"):
        main(command)
    main([*command, "--partial"])
    said = capsys.readouterr().out
    assert f"left out, for {data} lacks their data: reading" in said and "blimp_fast: 8 items" in said


def test_the_lists_are_the_official_ones():
    wug = "wug_adj_nominalization wug_past_tense"
    full = f"blimp_filtered supplement_filtered ewok_filtered entity_tracking comps {wug}"
    fast = f"blimp_fast supplement_fast ewok_fast entity_tracking_fast {wug}"
    assert set(full.split()) <= set(on_list("full")) <= {*full.split(), "reading"}
    assert set(fast.split()) <= set(on_list("fast")) <= {*fast.split(), "reading"}


def test_official_short_names_mean_the_full_data(folder, tmp_path, capsys):
    data = lists(folder, tmp_path, "wug_adj_nominalization", "ewok_filtered")
    main(["--tasks", "wug_adj", "ewok", "ewok_filtered", "--data", str(data), "--check"])
    assert capsys.readouterr().out.count("ewok_filtered: 6 items") == 1


@pytest.fixture
def undecided(tmp_path) -> str:
    """A model to which all words are alike."""
    model = tiny_models.model("gptj")
    model.lm_head.weight.data.zero_()
    model.lm_head.bias.data.zero_()
    model.save_pretrained(tmp_path / "model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_both_tie_rules_are_printed_and_the_one_asked_for_is_the_score(folder, undecided, tmp_path, capsys):
    command = [undecided, *arguments(folder, tmp_path / "out", "blimp_filtered")[1:]]
    scores = {}
    for rule in ("shared", "official"):
        main([*command, "--ties", rule])
        result = read(tmp_path / "out/scores.json")["tasks"]["blimp_filtered"]
        scores[rule] = result["score"]
        both = f"{100 * result['shared_score']:.2f} {100 * result['official_score']:>12.2f}"
        assert both in capsys.readouterr().out
        preds = read(tmp_path / "out/blimp_filtered/predictions.json")["order"]["predictions"]
        credit = read(tmp_path / "out/blimp_filtered/items.json")["order"]["credit"]
        assert credit == ([0.5, 0.5] if rule == "shared" else [1.0, 1.0])
    assert [row["pred"] for row in preds] == [row["sentence_good"] for row in PERMUTATIONS]
    assert scores["official"] > scores["shared"]


def test_the_official_collator_is_given_all_that_it_needs_for_the_revisions_too(folder, tmp_path, capsys):
    options = ["--results", str(tmp_path / "tree"), "--model-name", "x"]
    main([*arguments(folder, tmp_path / "out", "blimp_filtered"), *options])
    said = capsys.readouterr().out
    assert f"--results_dir {tmp_path / 'tree'} --revision_name main\n" in said
    fast = f"--fast --track strict-small --fast_eval_dir {folder / 'data/fast_eval'} (or your track)\n"
    assert f"of all revisions beside them by adding {fast}" in said
    main([*arguments(folder, tmp_path / "out", "blimp_filtered"), *options, "--revision", "chck_1M"])
    assert "--fast" not in capsys.readouterr().out


def test_the_other_tie_rule_rewrites_everything_without_the_model(folder, undecided, tmp_path, monkeypatch):
    def told(out: str, rule: str) -> dict[str, bytes]:
        options = ["--ties", rule, "--results", str(tmp_path / out / "tree")]
        main([undecided, *arguments(folder, tmp_path / out, "blimp_filtered", "perplexity")[1:], *options])
        files = [path for path in (tmp_path / out).rglob("*") if path.is_file()]
        return {str(path.relative_to(tmp_path / out)): path.read_bytes() for path in files}

    afresh, first = told("afresh", "official"), told("out", "shared")
    monkeypatch.setattr(
        "eval.results.score.load_for_scoring", lambda *_, **__: pytest.fail("the model was loaded")
    )
    other = told("out", "official")
    assert {name for name in first if first[name] == other[name]} == set()
    assert {name for name in first if afresh[name] != other[name]} == {"scores.json"}
    entries = [json.loads(files["scores.json"])["tasks"]["blimp_filtered"] for files in (afresh, other)]
    for entry in entries:
        del entry["created"], entry["command"]
    assert entries[0] == entries[1]
    assert told("out", "shared") == first


def test_the_results_tree_is_written_also_from_what_was_scored_before(folder, tmp_path, monkeypatch, capsys):
    command = [*arguments(folder, tmp_path / "out", "blimp_filtered", "perplexity")]
    main(command)
    monkeypatch.setattr(
        "eval.results.score.load_for_scoring", lambda *_, **__: pytest.fail("the model was loaded")
    )
    main([*command, "--results", str(tmp_path / "r"), "--model-name", "L0.1", "--revision", "chck_1M"])
    place = tmp_path / "r/L0.1/chck_1M/zero_shot/causal/blimp/blimp_filtered"
    assert read(place / "predictions.json") == read(tmp_path / "out/blimp_filtered/predictions.json")
    assert sorted(path.name for path in place.iterdir()) == [
        "best_temperature_report.txt",
        "predictions.json",
    ]
    assert "--model_path_or_name L0.1.x --backend causal" in capsys.readouterr().out
    with pytest.raises(UserError, match="'a/b' cannot be the name of a folder"):
        main([*command, "--results", str(tmp_path / "r"), "--model-name", "a/b"])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA: tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        MemoryError(),
        type("_ArrayMemoryError", (MemoryError,), {})("Unable to allocate 9 GiB for an array"),  # NumPy's
    ],
)
@pytest.mark.parametrize("task", ["blimp_filtered", "perplexity"])
def test_a_full_memory_is_one_line_that_says_what_to_lower(folder, tmp_path, monkeypatch, task, error):
    from eval.scorer import log_probs as scoring

    honest = scoring.judge

    def fail(*arguments, **options):
        if getattr(arguments[1], "ends_BR", "of a tree") is None:  # sentences one by one need less
            return honest(*arguments, **options)
        raise error

    for name in ("log_probs.judge", "logits.token_logprobs"):
        monkeypatch.setattr(f"eval.scorer.{name}", fail)
    with pytest.raises(
        UserError, match="out of memory with 1,024 tokens a batch: lower it with --batch-tokens"
    ):
        main(arguments(folder, tmp_path, task))


def test_another_error_of_the_model_is_no_full_memory(folder, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("shapes cannot be multiplied")

    for name in ("log_probs.judge", "logits.token_logprobs"):
        monkeypatch.setattr(f"eval.scorer.{name}", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        main(arguments(folder, tmp_path, "blimp_filtered"))


def test_another_window_is_another_result(folder, tmp_path):
    main(arguments(folder, tmp_path, "perplexity"))
    before = read(tmp_path / "scores.json")["tasks"]["perplexity"]
    main([*arguments(folder, tmp_path, "perplexity"), "--window", "8"])
    after = read(tmp_path / "scores.json")["tasks"]["perplexity"]
    assert (before["window"], after["window"], after["stride"]) == (64, 8, 4)
    assert before["measured_on"] != after["measured_on"] and before["all"]["nats"] != after["all"]["nats"]


def test_a_place_that_cannot_hold_scores_is_refused_before_the_model_is_loaded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "eval.results.score.load_for_scoring", lambda *_, **__: pytest.fail("the model was loaded")
    )
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="file is not a folder"):
        main(arguments(folder, tmp_path / "file" / "out", "blimp_filtered"))
    with pytest.raises(UserError, match="the model's own folder"):
        main(arguments(folder, folder / "model", "blimp_filtered"))


def test_a_device_that_is_not_there_is_named(folder):
    for device in ("nowhere", "meta"):
        with pytest.raises(UserError, match=f"--device {device} cannot be used: .{{10,220}}$"):
            load_for_scoring(folder / "model", device=device)
    assert eval_model.pick_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"blimp_filtered": "blimp_filterd"}, "no task 'blimp_filterd': did you mean blimp_filtered?"),
        ({"DATA/data": "DATA/absent"}, "no .*jsonl files in"),
        ({"DATA/model": "DATA/absent"}, "no model folder"),
        ({"DATA/model": "DATA/text"}, "has no config.json"),
        ({"DATA/text": "DATA/absent.txt"}, "no text file or folder"),
    ],
)
def test_faults_are_found_before_the_model_is_loaded(folder, tmp_path, monkeypatch, change, complaint):
    monkeypatch.setattr(
        "eval.results.score.load_for_scoring", lambda *_, **__: pytest.fail("the model was loaded")
    )
    command = arguments(folder, tmp_path, "blimp_filtered", "perplexity")
    for old, new in change.items():
        old, new = (text.replace("DATA", str(folder)) for text in (old, new))
        command = [new if word == old else word for word in command]
    with pytest.raises(UserError, match=complaint):
        main(command)


def test_missing_options_are_named(folder, tmp_path):
    base = [str(folder / "model"), "--out", str(tmp_path), "--tasks"]
    with pytest.raises(UserError, match="perplexity needs --text"):
        main([*base, "perplexity"])
    with pytest.raises(UserError, match="blimp_filtered needs --data"):
        main([*base, "blimp_filtered"])


def test_a_damaged_scores_file_is_refused(folder, tmp_path):
    (tmp_path / "scores.json").write_text('{"tasks": ', encoding="utf-8")
    with pytest.raises(UserError, match="scores.json is damaged .*delete it"):
        main(arguments(folder, tmp_path, "blimp_filtered"))


@pytest.mark.parametrize("absent", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_folder_that_lacks_a_part_says_which(tmp_path, absent):
    tiny_models.save(tmp_path / "model")
    for path in (tmp_path / "model").glob(absent):
        path.unlink()
    with pytest.raises(UserError, match="config.json|safetensors|tokenizer"):
        eval_model.find_model(str(tmp_path / "model"))


def test_a_damaged_export_is_refused(tmp_path):
    tiny_models.save(tmp_path / "model")
    seal(tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match="has changed since it was written"):
        eval_model.find_model(str(tmp_path / "model"))


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    path = tiny_models.save(tmp_path) / "model.safetensors"
    whole = load_file(path)
    some = "model.layers.1.mlp.up_proj.weight"
    for changed, complaint in (
        ({name: tensor for name, tensor in whole.items() if name != some}, f"missing keys: {some}"),
        (whole | {"stray.weight": torch.zeros(2)}, "unexpected keys: stray.weight"),
        (whole | {some: torch.zeros(3, 3)}, "mismatch"),
    ):
        save_file(changed, path, metadata={"format": "pt"})
        with pytest.raises(UserError, match=complaint):
            load_for_scoring(tmp_path)
    save_file(whole, path, metadata={"format": "pt"})
    load_for_scoring(tmp_path)


def test_a_tokenizer_with_more_entries_than_embeddings_is_refused(tmp_path):
    tiny_models.save(tmp_path)
    tokenizer = tiny_models.tokenizer()
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="301 entries up to number 300 .*, the model 300 embeddings"):
        load_for_scoring(tmp_path)


HELP = """
import runpy, sys
sys.argv = ["eval", "--help"]
try:
    runpy.run_module("eval", run_name="__main__")
except SystemExit:
    print(sorted({"torch", "transformers", "numpy"} & set(sys.modules)))
"""


def test_help_imports_nothing_heavy():
    shown = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_an_error_is_one_line_and_status_2():
    command = [
        sys.executable,
        "-m",
        "eval",
        "nowhere",
        "--tasks",
        "perplexity",
        "--text",
        "no.txt",
        "--out",
        "x",
    ]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1) and failed.stderr.startswith("error: ")


def test_perplexity_is_of_causal_models_and_refused_of_masked_ones(folder, tmp_path):
    command = arguments(folder, tmp_path, "perplexity")
    with pytest.raises(UserError, match="perplexity is of causal models: leave it out with --backend mlm"):
        main([*command, "--backend", "mlm"])

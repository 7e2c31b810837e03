"""`python -m eval.harness`: lm_eval asks what `python -m eval` asks, and gets the same numbers."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_models
from tiny_models import pair, write_rows

from babylm_data.errors import UserError
from eval.harness.__main__ import main
from eval.harness.task_files import find_subtasks, own_name
from eval.harness.tasks.rows import read
from eval.scorer.items import Choice, Item
from eval.scorer.log_probs import Scorer
from eval.scorer.ties import best_choices
from eval.tasks import TASKS

ROOT = Path(__file__).parent.parent
NOUNS = ("dog", "old cat", "small cats", "café", 'dog’s "cat"')

BLIMP = [pair(f"The {noun} sees.", f"{noun} The sees.", "island", "islands") for noun in NOUNS]
TURNS = [pair(f"Who sees?\nThe {noun}.", f"The {noun}.\nWho sees?") for noun in NOUNS]
EWOK = [
    {
        "Domain": f"agent-{n % 2}",
        "Context1": f"The {noun} sleeps.",
        "Context2": f"Who sees the {noun}?",
        "Target1": "It's old.",
        "Target2": "Who?",
    }
    for n, noun in enumerate(NOUNS)
]
BOXES = [
    {
        "input_prefix": f"Box 0 holds the {noun}, Box 1 holds ",
        "options": [f"the {noun}.", "nothing.", "old cats."],
        "numops": n % 2,
    }
    for n, noun in enumerate(NOUNS)
]
COMPS = [
    {"prefix_acceptable": f"A {noun}", "prefix_unacceptable": "The 'wug'", "property_phrase": "sees dogs."}
    for noun in NOUNS
]


# one subtask, where BOXES are two: the mean over all three is not the mean over the files
MOVES = [row | {"numops": 3, "options": row["options"][::-1]} for row in BOXES]


def choices(*pairs: tuple[str, str]) -> tuple[Choice, ...]:
    return tuple(Choice(context, completion) for context, completion in pairs)


# what the official program asks: task -> the choices of its items, in order
ASKED = {
    "babylm_blimp_filtered_island": [
        choices(("", row["sentence_good"]), ("", row["sentence_bad"])) for row in BLIMP
    ],
    "babylm_supplement_filtered_turns": [
        choices(("", row["sentence_good"]), ("", row["sentence_bad"])) for row in TURNS
    ],
    **{
        f"babylm_ewok_filtered_agent-{n}": [
            choices((row["Context1"], " " + row["Target1"]), (row["Context1"], " " + row["Target2"]))
            for row in EWOK[n::2]
        ]
        for n in (0, 1)
    },
    **{
        f"babylm_entity_tracking_regular_{n}_ops": [
            choices(*((row["input_prefix"], option) for option in row["options"])) for row in BOXES[n::2]
        ]
        for n in (0, 1)
    },
    "babylm_entity_tracking_moves_3_ops": [
        choices(*((row["input_prefix"], option) for option in row["options"])) for row in MOVES
    ],
    **{
        f"babylm_comps_{name}": [
            choices(
                (row["prefix_acceptable"] + " ", row["property_phrase"]),
                (row["prefix_unacceptable"] + " ", row["property_phrase"]),
            )
            for row in COMPS
        ]
        for name in ("base", "wugs_dist_before")
    },
    "babylm_entity_tracking_fast_regular_0_ops": [
        choices(*((row["input_prefix"], option) for option in row["options"])) for row in BOXES[::2]
    ],
    **{
        f"babylm_ewok_contexts_agent-{n}": [
            choices((row["Context1"], " " + row["Target1"]), (row["Context2"], " " + row["Target1"]))
            for row in EWOK[n::2]
        ]
        for n in (0, 1)
    },
}
DATASETS = ["blimp_filtered", "supplement_filtered", "ewok_filtered", "ewok_contexts", "entity_tracking"]
DATASETS += ["entity_tracking_fast", "comps"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """lm_eval describes the machine in every result, which takes seconds."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _: None)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A model and a few rows of each dataset."""
    root = tmp_path_factory.mktemp("harness")
    tiny_models.model(positions=128).save_pretrained(root / "model")
    tiny_models.tokenizer().save_pretrained(root / "model")
    full = root / "data/full_eval"
    write_rows(full / "blimp_filtered/other_name.jsonl", BLIMP)
    write_rows(full / "supplement_filtered/turns.jsonl", TURNS)
    write_rows(full / "ewok_filtered/agents.jsonl", EWOK)
    write_rows(full / "entity_tracking/regular.jsonl", BOXES)
    write_rows(full / "entity_tracking/moves.jsonl", MOVES)
    write_rows(root / "data/fast_eval/entity_tracking_fast/regular.jsonl", BOXES[::2])
    write_rows(full / "comps/comps_base.jsonl", COMPS)
    write_rows(full / "comps/comps_wugs_dist-before.jsonl", COMPS)
    return root


@pytest.fixture(scope="session")
def model(folder):
    from eval.harness.model import KitModel

    return KitModel(str(folder / "model"), device="cpu")


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A model whose positions are the rows of a table, and have an end."""
    from eval.harness.model import KitModel

    return KitModel(str(tiny_models.save(tmp_path_factory.mktemp("table"), "gpt2")), device="cpu")


def ask(*arguments, task="own", item=0):
    """A request as lm_eval makes it."""
    return SimpleNamespace(args=arguments, task_name=task, doc_id=item)


def samples(out: Path, task: str) -> list[dict]:
    return [json.loads(line) for line in (out / f"samples/{task}.jsonl").read_text().splitlines()]


def test_every_item_gets_the_numbers_of_our_own_scorer(folder, tmp_path, model):
    tasks = [f"babylm_{name}" for name in DATASETS]
    main([str(folder / "model"), "--tasks", *tasks, "--data", str(folder / "data"), "--out", str(tmp_path)])
    assert {path.stem for path in (tmp_path / "samples").iterdir()} == set(ASKED)
    found = json.loads((tmp_path / "results.json").read_text())
    for task, asked in ASKED.items():
        items = [Item(str(number), task, entry) for number, entry in enumerate(asked)]
        ours = Scorer(model.model, model.tokenizer).score(items)
        theirs = [[answer[0] for answer in row["filtered_resps"]] for row in samples(tmp_path, task)]
        assert len(theirs) == len(ours)
        for mine, other in zip(ours, theirs, strict=True):
            assert other == pytest.approx(mine, abs=1e-5)
        right = [best_choices(row)[0] == 0 for row in ours]
        assert [row["acc"] for row in samples(tmp_path, task)] == right
        assert found["results"][task]["acc,none"] == sum(right) / len(right)
    assert found["model"] == str(folder / "model") and len(found["model_sha256"]) == 64


def test_a_group_has_the_score_that_python_m_eval_gives(folder, tmp_path, model, capsys):
    names = ["entity_tracking", "blimp_filtered"]
    tasks = [f"babylm_{name}" for name in names]
    main([str(folder / "model"), "--tasks", *tasks, "--data", str(folder / "data"), "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    for name in names:
        questions = TASKS[name].load(TASKS[name].files(folder / "data"))
        ours = questions.summarise(questions.ask(Scorer(model.model, model.tokenizer), name))
        for place in (results["results"], results["groups"]):
            assert place[f"babylm_{name}"]["acc,none"] == pytest.approx(ours["official_score"])
    found = {name: cell["acc,none"] for name, cell in results["results"].items() if "entity" in name}
    leaves = [value for name, value in found.items() if name.endswith("_ops")]
    assert found["babylm_entity_tracking"] != pytest.approx(sum(leaves) / 3)  # which is lm_eval's own
    files = [found["babylm_entity_tracking_regular"], found["babylm_entity_tracking_moves"]]
    assert found["babylm_entity_tracking"] == pytest.approx(sum(files) / 2)
    errors = [
        results["groups"][f"babylm_entity_tracking_{name}"]["acc_stderr,none"]
        for name in ("regular", "moves")
    ]
    error = results["groups"]["babylm_entity_tracking"]["acc_stderr,none"]
    assert error == pytest.approx(math.hypot(*errors) / 2) and error > 0
    assert f"{found['babylm_entity_tracking']:.4f}" in capsys.readouterr().out


def test_ties_are_counted_though_lm_eval_calls_them_right(folder, tmp_path, capsys):
    constant = tiny_models.model("gptj", positions=128)
    constant.lm_head.weight.data.zero_()
    constant.lm_head.bias.data.zero_()
    constant.save_pretrained(tmp_path / "model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    rows = [pair("dog cat see", "see cat dog", "order", "x"), pair("a b c", "c a b", "order", "x"), BLIMP[0]]
    write_rows(tmp_path / "data/full_eval/blimp_filtered/order.jsonl", rows)
    command = ["--tasks", "babylm_blimp_filtered", "--data", str(tmp_path / "data"), "--limit", "2"]
    main([str(tmp_path / "model"), *command, "--out", str(tmp_path / "out")])
    assert [row["acc"] for row in samples(tmp_path / "out", "babylm_blimp_filtered_order")] == [1.0, 1.0]
    assert "\n2 of 3 items are ties" in capsys.readouterr().out


def test_a_model_of_nan_is_refused_and_no_result_is_written(folder, tmp_path):
    broken = tiny_models.model()
    broken.model.norm.weight.data.fill_(math.nan)
    broken.save_pretrained(tmp_path / "model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "model")
    command = ["--tasks", "babylm_blimp_filtered", "--data", str(folder / "data")]
    with pytest.raises(UserError, match="^5 of 5 items have non-finite scores"):
        main([str(tmp_path / "model"), *command, "--out", str(tmp_path / "out")])
    assert list((tmp_path / "out").iterdir()) == []  # so that the next try is not refused


def test_a_continuation_is_greedy_if_the_model_would_write_it(model):
    prompts = tiny_models.SENTENCES
    written = model.generate_until([ask(prompt, {"max_gen_toks": 1}) for prompt in prompts])
    # half a character is written as a question mark, which no tokenizer turns back
    whole = [(prompt, text) for prompt, text in zip(prompts, written, strict=True) if text.isascii() and text]
    said = model.loglikelihood([ask(prompt, text) for prompt, text in whole])
    assert len(said) > 2 and all(greedy for _, greedy in said)
    more = model.loglikelihood([ask(prompt, text + " sees dogs") for prompt, text in whole])
    assert not any(greedy for _, greedy in more)


def test_a_rolling_loglikelihood_is_that_of_our_perplexity(model):
    from eval.tasks.perplexity import measure
    from eval.tasks.texts import Text

    document = "\n".join(3 * tiny_models.SENTENCES)  # longer than the model reads at once
    texts = [Text("long", None, [document]), Text("short", None, ["cats"])]
    ours = measure(model.model, model.tokenizer, texts)["files"]
    found = model.loglikelihood_rolling([ask(document), ask("cats"), ask("")])
    assert found == pytest.approx([-ours["long"]["nats"], -ours["short"]["nats"], 0.0])


def test_generation_ends_at_a_stop_string_and_at_the_last_position(model):
    whole = model.generate_until([ask("The dog", {"max_gen_toks": 12})])[0]
    cut = model.generate_until([ask("The dog", {"max_gen_toks": 12, "until": [whole[3:5]]})])[0]
    assert cut == whole[: whole.index(whole[3:5])]
    before = model.cut["own"]
    model.generate_until([ask("The dog sees. " * 100, {"max_gen_toks": 500})])
    assert model.cut["own"] == before + 1


LONG = "The dog sees. " * 100


def test_a_context_too_long_is_cut_for_tasks_of_lm_eval_and_refused_for_ours(table):
    before = table.cut["own"]
    ((nats, _),) = table.loglikelihood([ask(LONG, "The cat")])
    ids = table.tokenizer(LONG + "The cat")["input_ids"][-64:]
    bare = score_without_bos(table, table.tokenizer.decode(ids), len("The cat"))
    assert table.cut["own"] == before + 1 and nats == pytest.approx(bare, abs=1e-5)
    with pytest.raises(UserError, match="babylm_x, item 3, has .* tokens, the model reads at most 64"):
        table.loglikelihood([ask(LONG, "The cat", task="babylm_x", item=3)])
    with pytest.raises(UserError, match="own, item 0, has .* tokens, the model reads at most 64"):
        table.loglikelihood([ask("Who", LONG)])


def test_positions_without_an_end_read_what_python_m_eval_reads(model):
    (ours,) = Scorer(model.model, model.tokenizer).logprobs([Choice(LONG, "The cat")])
    for task in ("long", "babylm_x"):
        ((nats, _),) = model.loglikelihood([ask(LONG, "The cat", task=task)])
        assert nats == pytest.approx(ours, abs=1e-5)
    assert "long" not in model.cut


def test_greedy_is_what_plain_argmax_says_of_a_whole_continuation(model):
    import torch

    texts = tiny_models.SENTENCES
    encoded = [model.tokenizer(text)["input_ids"] for text in texts]
    likeliest = [model.model(torch.tensor([ids])).logits[0].argmax(-1)[-1].item() for ids in encoded]
    said = [text + model.tokenizer.decode(token) for text, token in zip(texts, likeliest, strict=True)]
    pairs = [(text[:n], text[n:]) for text in [*texts, *said] for n in (0, len(text) // 2, len(text) - 1)]
    expected = []
    for context, continuation in pairs:
        one = model.tokenizer(context + continuation, return_offsets_mapping=True, return_tensors="pt")
        best, ids = model.model(one["input_ids"]).logits[0].argmax(-1), one["input_ids"][0]
        ends = one["offset_mapping"][0, :, 1]
        expected.append(all(best[n - 1] == ids[n] for n in range(1, len(ids)) if ends[n] > len(context)))
    answers = model.loglikelihood([ask(*pair) for pair in pairs])
    assert [greedy for _, greedy in answers] == expected and True in expected and False in expected


def score_without_bos(model, text: str, length: int) -> float:
    """Nats of the last `length` characters of a text that begins with no start token."""
    import torch

    from eval.scorer.logits import token_logprobs

    encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    scored = [end > len(text) - length for _, end in encoded["offset_mapping"]]
    logprobs = token_logprobs(model.model, torch.tensor([encoded["input_ids"]]))[0]
    return sum(value for value, kept in zip(logprobs.tolist(), scored[1:], strict=True) if kept)


OWN = {
    "own_written": {
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
    "own_text": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{q}}"},
    "own_word": {"output_type": "loglikelihood", "doc_to_text": "{{q}}", "metric_list": [{"metric": "acc"}]},
}


def test_tasks_of_ones_own_pass_through(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write_rows(tmp_path / "rows.jsonl", [{"q": "The dog", "a": " sees"}, {"q": "Who sees", "a": " cats"}])
    shared = {"dataset_path": "json", "test_split": "test", "doc_to_target": "{{a}}"}
    shared["dataset_kwargs"] = {"data_files": {"test": str(tmp_path / "rows.jsonl")}}
    (tmp_path / "tasks").mkdir()
    for name, config in OWN.items():
        (tmp_path / f"tasks/{name}.yaml").write_text(json.dumps(shared | config | {"task": name}))
    command = ["--tasks", *OWN, "--include-path", str(tmp_path / "tasks"), "--out", str(tmp_path / "out")]
    main([str(folder / "model"), *command, "--allow-code"])
    found = json.loads((tmp_path / "out/results.json").read_text())["results"]
    assert set(found) == set(OWN) and found["own_text"]["bits_per_byte,none"] > 0
    assert isinstance(samples(tmp_path / "out", "own_written")[0]["filtered_resps"][0], str)
    assert samples(tmp_path / "out", "own_word")[1]["acc"] in (0, 1)


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        (["babylm_blimp_filtred"], "no task 'babylm_blimp_filtred': did you mean babylm_blimp_filtered"),
        (["babylm_comps", "babylm_comps_base"], "Duplicate task 'babylm_comps_base'.*: ask for one of them"),
        (
            ["babylm_wug_past"],
            "lm_eval has no form for babylm_wug_past: use `python -m eval --tasks wug_past_tense`",
        ),
        (["reading"], "^lm_eval has no form for reading: use `python -m eval --tasks reading`"),
        (["babylm_blimp_fast"], "no \\*.jsonl files in .*fast_eval/blimp_fast"),
    ],
)
def test_faults_are_found_before_the_model_is_loaded(folder, tmp_path, monkeypatch, tasks, complaint):
    monkeypatch.setattr("eval.harness.__main__.run", lambda *_: pytest.fail("the model was loaded"))
    command = [str(folder / "model"), "--data", str(folder / "data"), "--out", str(tmp_path)]
    with pytest.raises(UserError, match=complaint):
        main([*command, "--tasks", *tasks])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (BLIMP[0] | {"sentence_bad": None}, "line 6 has no text in 'sentence_bad'"),
        (BLIMP[0] | {"sentence_good": ""}, "line 6 has no text in 'sentence_good'"),
    ],
)
def test_a_row_that_lacks_a_text_is_named(folder, tmp_path, row, complaint):
    write_rows(tmp_path / "data/full_eval/blimp_filtered/x.jsonl", [*BLIMP, row])
    command = [str(folder / "model"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match=complaint):
        main([*command, "--tasks", "babylm_blimp_filtered"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"sentence_good": "a", "sentence_bad": "b"}\n{"sentence', "x.jsonl, line 2 is not JSON"),
        (b"[1]\n", "line 1 is not a JSON object"),
        (b"\xff\n", "x.jsonl, line 1 is not UTF-8 text"),
        (b"\n", "the file has no rows"),
        (b'{"sentence_good": "a", "sentence_bad": "b", "sentence_bad": "c"}\n', "stands in it twice"),
        (b'{"sentence_good": "a", "sentence_bad": "b"}\n' * 2 + b'{"UID": "u"}\n', "no text in 'UID'"),
    ],
)
def test_a_damaged_file_is_named(folder, tmp_path, content, complaint):
    path = tmp_path / "data/full_eval/blimp_filtered/x.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    command = [str(folder / "model"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match=complaint):
        main([*command, "--tasks", "babylm_blimp_filtered"])


@pytest.mark.parametrize("name", ["results.json", "samples/mine.jsonl", "tasks/mine.yaml"])
def test_nothing_in_the_folder_of_results_is_lost(folder, tmp_path, monkeypatch, name):
    monkeypatch.setattr("eval.harness.__main__.run", lambda *_: pytest.fail("the model was loaded"))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    command = [str(folder / "model"), "--tasks", "babylm_comps", "--data", str(folder / "data")]
    with pytest.raises(UserError, match=f"{name.split('/')[0]} is there already.*name another --out"):
        main([*command, "--out", str(tmp_path)])
    assert (tmp_path / name).read_text() == "{}" and len(list(tmp_path.iterdir())) == 1


def test_with_data_the_short_names_are_ours(folder, tmp_path, capsys):
    data = str(folder / "data")
    main([str(folder / "model"), "--tasks", "supplement", "--data", data, "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out/results.json").read_text())["results"]
    assert set(found) == {"babylm_supplement_filtered", "babylm_supplement_filtered_turns"}
    assert {path.stem for path in (tmp_path / "out/tasks").iterdir()} == set(found)
    printed = capsys.readouterr().out
    taken = (
        f"supplement is taken as babylm_supplement_filtered, from {data}; without --data it is lm_eval's own"
    )
    assert f"{taken}\n" in printed
    assert "babylm_supplement_filtered is scored as it is, which is no score of the whole task" in printed
    assert "has 0 rows, the official data" in printed
    assert own_name("supplement", None) == "supplement" and own_name("hellaswag", folder) == "hellaswag"


def test_a_subtask_may_lie_in_two_files_if_it_is_told_apart_alike(tmp_path):
    at = tmp_path / "full_eval/blimp_filtered"
    write_rows(at / "a.jsonl", BLIMP[:2])
    write_rows(at / "b.jsonl", BLIMP[2:])
    found = find_subtasks(tmp_path, "babylm_blimp_filtered")["island"]
    assert read(**found.request)["test"]["sentence_good"] == [row["sentence_good"] for row in BLIMP]
    write_rows(at / "island.jsonl", [pair("a", "b")])
    with pytest.raises(UserError, match="island.jsonl, line 1 is of island, as is another file"):
        find_subtasks(tmp_path, "babylm_blimp_filtered")


def test_our_tasks_need_data_and_another_folder_than_the_models(folder, tmp_path):
    base = [str(folder / "model"), "--tasks", "babylm_comps", "--out"]
    with pytest.raises(UserError, match="babylm_comps needs --data"):
        main([*base, str(tmp_path)])
    with pytest.raises(UserError, match="the model's own folder"):
        main([*base, str(folder / "model")])


def test_help_loads_neither_torch_nor_lm_eval():
    code = (
        "import sys; from eval.harness.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(str([m for m in ('torch', 'lm_eval', 'datasets') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "python -m eval.harness" in done.stdout and done.stderr.strip() == ""

"""Pushing: every byte arrives where it belongs, or one line says which did not; the token is seen by the hub alone."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard

from babylm_data.errors import UserError
from babylm_data.sealed import SEAL, damage, seal, sealed_folder
from bench.kill.hub_server import Commit, File, Hub, serve
from eval.submission.__main__ import main
from eval.submission.bundle import build
from eval.submission.card import PARTS, Card
from eval.submission.push import send as command
from eval.submission.push.branches import planned
from eval.submission.push.repository import LONGEST_WAIT, TRIES, Repository
from eval.submission.push.send import find_token, push

CARD = Card(
    name="tiny",
    metadata="""language: en
license: mit
tags:
- babylm
model-index:
- name: tiny
  results:
  - task: {type: text-generation}
    dataset: {type: blimp, name: BLiMP}
    metrics: [{type: accuracy, value: 0.75}]""",
    caveats=["**A trial, no submission.**"],
    top="# tiny\n\n**A trial, no submission.**",
    rest="## Files\n\n| model.safetensors | `abc` |",
)
TOKEN, NAME = "hf_TheTokenThatNobodyMaySee", "someone/tiny"
MODEL = ["README.md", SEAL, "config.json", "exposure.json", "model.safetensors"]
ECHO = {"body": json.dumps({"error": f"Bearer {TOKEN}"}).encode()}
WARNING = {"X-HF-Warning": f"token; you sent {TOKEN}"}
# every address that a push asks for
ADDRESSES = ["repos/create", "/refs", "/commits/", "/branch/", "/tree/", "validate-yaml"]
ADDRESSES += ["/preupload/", "/batch", "PUT /storage/", "/verified", "/commit/"]


def write_model(folder: Path, weights: bytes, **files: str) -> None:
    with sealed_folder(folder) as inside:
        (inside / "model.safetensors").write_bytes(weights * 3000)
        (inside / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
        for name, text in files.items():
            (inside / name.replace("_json", ".json")).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("template") / "tiny"
    write_model(run / "export", b"final")
    with sealed_folder(run / "submission") as bundle:
        write_model(bundle / "export", b"final")
        (bundle / "README.md").write_text(CARD.of_bundle, encoding="utf-8")
        (bundle / PARTS).write_text(CARD.as_json(), encoding="utf-8")
        (bundle / "scores.json").write_text('{"tasks": {}}', encoding="utf-8")
        (bundle / "ledger.json").write_text('{"readings": {"student_alone": {}}}', encoding="utf-8")
        (bundle / "predictions" / "blimp").mkdir(parents=True)
        (bundle / "predictions" / "blimp" / "predictions.json").write_text("[]", encoding="utf-8")
    revisions = []
    for number in (1, 2):
        revision = {"name": f"chck_{number}M", "words_seen": 1_000_000 * number + 7}
        folder = run / "revisions" / revision["name"]
        write_model(folder, b"%d" % number, exposure_json=json.dumps(revision))
        revisions.append(revision)
    summary = {"name": "tiny", "words_seen": 2_000_009, "revisions": revisions}
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return run


@pytest.fixture
def run(template, tmp_path) -> Path:
    return shutil.copytree(template, tmp_path / "tiny")


@pytest.fixture
def hub(monkeypatch, tmp_path, capfd):
    """A hub that the library takes for the real one; after the test nothing that was written holds the token."""
    from huggingface_hub import close_session, constants

    library, log = logging.getLogger("huggingface_hub"), io.StringIO()
    monkeypatch.setattr(library, "handlers", [logging.StreamHandler(log)])
    level = library.level
    library.setLevel(logging.DEBUG)
    monkeypatch.setattr("huggingface_hub.utils._http._WARNED_TOPICS", set())
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_DEBUG"):
        monkeypatch.setattr(constants, name, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve(TOKEN) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub
        close_session()
    library.setLevel(level)
    written = [log.getvalue(), *capfd.readouterr()]
    assert "Send: curl" in written[0] or not hub.requests, "the library's own log was not watched"
    assert not [line for text in written for line in text.splitlines() if TOKEN in line]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that were waited, by the library and by us: noted, not slept."""
    found: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=found.append))
    return found


@pytest.fixture
def send(run, waits):
    """send(): push the run to the hub."""
    return lambda token=TOKEN, **options: push(planned(run, NAME), NAME, token, sleep=waits.append, **options)


def pushed(run: Path, *options: str) -> None:
    main(["push", str(run), "--repo", NAME, *options])


def message(call, *args, **options) -> str:
    """The one line of the UserError that a call raises."""
    with pytest.raises(UserError) as error:
        call(*args, **options)
    assert "\n" not in str(error.value) and TOKEN not in str(error.value)
    return str(error.value)


def assert_all_there(hub: Hub, run: Path, *, twice: str | None = None) -> None:
    """Each branch holds its files and no others, byte for byte, by one commit; branch `twice` by two."""
    expected = {branch.name: branch.files for branch in planned(run, NAME)}
    assert set(hub.repos[NAME].branches) == set(expected)
    for name, files in expected.items():
        stored = {path: file.data for path, file in hub.repos[NAME].files(name).items()}
        del stored[".gitattributes"]
        assert stored == {path: file.read() for path, file in files.items()}
        assert len(hub.repos[NAME].branches[name]) == (3 if name == twice else 2)


def test_main_is_the_bundle_and_each_revision_a_branch_that_holds_it_alone(hub, run, send):
    send()
    assert_all_there(hub, run)
    repo = hub.repos[NAME]
    for name in ("chck_1M", "chck_2M"):
        assert sorted(repo.files(name)) == [".gitattributes", *MODEL]
    assert {"scores.json", "predictions/blimp/predictions.json", "config.json"} < set(repo.files("main"))
    assert repo.files("main")["model.safetensors"].data == b"final" * 3000
    assert repo.files("chck_2M")["model.safetensors"].lfs
    assert [commits[-1].title for commits in repo.branches.values()] == [
        "tiny, final, after 2,000,009 words of exposure, with its submission",
        "tiny after 1,000,007 words of exposure",
        "tiny after 2,000,007 words of exposure",
    ]


def test_the_card_on_main_says_how_to_load_from_there(hub, run, send):
    send()
    card = hub.repos[NAME].files("main")["README.md"].data.decode()
    assert f'AutoModelForCausalLM.from_pretrained("{NAME}")' in card
    assert f'from_pretrained("{NAME}", revision="chck_2M")' in card and "chck_1M, chck_2M" in card
    assert "export" not in card and "\n| model.safetensors | `abc` |" in card
    (result,) = ModelCard(card).data.eval_results
    assert (result.dataset_type, result.metric_value) == ("blimp", 0.75)


def test_the_card_of_a_revision_is_about_it_and_claims_no_scores(hub, run, send):
    send()
    card = ModelCard(hub.repos[NAME].files("chck_1M")["README.md"].data.decode())
    assert card.text.strip().startswith("# tiny, chck_1M: after 1,000,007 words of exposure\n")
    assert f'AutoModelForCausalLM.from_pretrained("{NAME}", revision="chck_1M")' in card.text
    assert (card.data.license, card.data.eval_results) == ("mit", None)
    assert "\n**A trial, no submission.**\n" in card.text
    assert "`abc`" not in card.text and "blimp" not in card.content


def test_the_card_of_a_real_bundle_can_be_written_for_the_hub(runs_template, tmp_path):
    runs = shutil.copytree(runs_template, tmp_path / "runs")
    bundle = build(runs / "nursery")
    (main,) = planned(runs / "nursery", NAME)
    card, there = main.files["README.md"].read().decode(), (bundle / "README.md").read_text(encoding="utf-8")
    assert 'from_pretrained("export")' in there and 'from_pretrained("export")' not in card
    assert card.count(f'from_pretrained("{NAME}")') == 2
    heads = [[line for line in text.splitlines() if line.startswith("#")] for text in (there, card)]
    assert heads[0] == heads[1]


def test_what_is_downloaded_again_still_matches_its_seal(hub, send, tmp_path):
    send()
    for branch in ("main", "chck_1M"):
        for path, file in hub.repos[NAME].files(branch).items():
            (tmp_path / branch / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / branch / path).write_bytes(file.data)
        assert damage(tmp_path / branch) is None


def test_a_dry_run_says_what_would_go_where_without_token_or_network(hub, run, monkeypatch, capfd):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    pushed(run, "--dry-run")
    shown = capfd.readouterr().out
    assert not hub.requests
    assert "chck_1M: 5 files" in shown and "tiny after 1,000,007 words" in shown
    assert f"{15_000:>15,}  model.safetensors" in shown


def test_a_second_call_sends_nothing(hub, send, capfd):
    send()
    hub.requests.clear()
    capfd.readouterr()
    send()
    assert not hub.asked("PUT|/commit/|preupload|/batch|/branch/")
    assert capfd.readouterr().out.count("sent 0 (0 bytes)") == 3


def test_only_the_file_that_differs_is_sent_again(hub, send):
    send()
    hub.requests.clear()
    hub.repos[NAME].files("chck_1M")["config.json"] = File(b'{"model_type": "gpt_2"}')  # as many bytes
    send()
    assert hub.asked("/preupload/|/commit/") == [
        f"POST /api/models/{NAME}/preupload/chck_1M",
        f"POST /api/models/{NAME}/commit/chck_1M",
    ]
    assert not hub.asked("PUT")


def test_a_push_that_broke_off_is_taken_up_where_it_stopped(hub, run, send):
    hub.fail("/commit/chck_2M", 500, times=TRIES)
    assert message(send).startswith("branch chck_2M: the hub answers 500")
    assert "chck_1M" in hub.repos[NAME].branches and len(hub.repos[NAME].branches["main"]) == 1
    hub.requests.clear()
    send()
    assert_all_there(hub, run)
    assert not hub.asked("commit/chck_1M")
    assert len(hub.asked("PUT")) == 1  # of main; the weights of chck_2M had arrived before its commit failed


@pytest.mark.parametrize("how", [500, 503, 429, "cut", "lost"])
def test_each_request_may_fail_once_and_no_commit_is_made_twice(hub, run, send, how):
    for address in ADDRESSES:
        hub.fail(address, how, headers=WARNING, **ECHO)
    send()
    assert not [fault for fault in hub.faults if fault.times], "a fault that never happened"
    assert_all_there(hub, run)


@pytest.mark.parametrize("address", ["repos/create", "/commit/chck_1M", "PUT /storage/"])
def test_a_hub_that_stays_broken_is_given_up(hub, send, waits, address):
    hub.fail(address, 503, times=999, **ECHO)
    assert "push again later, what has arrived stays there" in message(send)
    assert sum(waits) < 250


@pytest.mark.parametrize("address", ["repos/create", "/preupload/"])
def test_the_server_says_how_long_to_wait(hub, run, send, waits, address):
    hub.fail(address, 429, headers={"Retry-After": "77"})
    hub.fail("/commit/main", 429, headers={"RateLimit": '"api";r=0;t=55'})
    send()
    assert waits == [78.0, 56.0]
    assert_all_there(hub, run)


@pytest.mark.parametrize("address", ["repos/create", "/preupload/", "PUT /storage/"])
def test_a_wait_of_a_day_is_refused(hub, send, waits, address):
    hub.fail(address, 429, headers={"Retry-After": "86400"})
    assert "asks to wait 86,401 s: push again later" in message(send)
    assert not waits and LONGEST_WAIT < 86400


@pytest.mark.parametrize(
    ("address", "branch"), [("/commit/chck_2M", "chck_2M"), ("PUT /storage/", "chck_1M")]
)
def test_wrong_bytes_are_found_and_sent_again(hub, run, send, address, branch):
    hub.fail(address, "wrong")
    send()
    assert_all_there(hub, run, twice=branch)


@pytest.mark.parametrize(
    ("address", "where"),
    [("/commit/chck_2M", "branch chck_2M: config.json"), ("PUT", "branch chck_1M: model.safetensors")],
)
def test_bytes_that_arrive_wrong_twice_are_named_with_their_branch(hub, send, address, where):
    hub.fail(address, "wrong", times=9)
    assert message(send) == f"{where} is not there as it is here though it was sent twice: push again later"


@pytest.mark.parametrize(
    ("address", "status", "advice"),
    [
        ("repos/create", 401, "the hub does not know the token (401): make one that may write"),
        ("/commit/main", 403, f"branch main: the token may not write to {NAME} (403): change that at"),
        ("/preupload/", 404, f"the hub has no such address (404): look at --repo {NAME} and at HF_ENDPOINT"),
        ("/tree/", 418, "branch chck_1M: the hub answers 418: Bearer <token>"),
    ],
)
def test_what_does_not_pass_is_said_at_once(hub, send, waits, address, status, advice):
    hub.fail(address, status, times=99, **ECHO)
    assert advice in message(send)
    assert not waits


def test_a_token_that_the_hub_does_not_know_sends_nothing(hub, send):
    assert "the hub does not know the token" in message(send, token="hf_another")
    assert not hub.repos


def test_a_token_may_write_to_a_repository_without_being_allowed_to_make_one(hub, run, send):
    hub.create(NAME)
    hub.fail("repos/create", 403)
    send()
    assert_all_there(hub, run)


def test_a_private_push_makes_a_private_repository_and_never_uses_a_public_one(hub, send):
    send(private=True)
    assert hub.repos[NAME].private
    hub.repos.clear()
    hub.requests.clear()
    hub.create(NAME)
    assert "exists and is public" in message(send, private=True)
    assert not hub.asked("PUT|/branch/|/commit/")


def test_what_others_put_on_main_stays_and_what_lies_on_a_revision_goes(hub, send):
    send()
    for branch in ("main", "chck_1M"):
        hub.repos[NAME].files(branch)["LICENSE"] = File(b"free")
    send()
    assert "LICENSE" in hub.repos[NAME].files("main")
    assert "LICENSE" not in hub.repos[NAME].files("chck_1M")


@pytest.mark.parametrize(
    "path",
    [
        "TRIAL_all_full_preds_and_fast_scores_causal.json",
        "INCOMPLETE_SYNTHETIC_all_full_preds_and_fast_scores_causal.json",
        "results/tiny/main/zero_shot/causal/comps/base/predictions.json",
        "predictions/gone/predictions.json",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
    ],
)
def test_what_an_older_push_left_on_main_goes(hub, send, path):
    send()
    hub.repos[NAME].files("main")[path] = File(b"{}")
    hub.repos[NAME].files("main")[f"mine/{path}"] = File(b"{}")
    send()
    there = hub.repos[NAME].files("main")
    assert path not in there and f"mine/{path}" in there and "model.safetensors" in there


def test_a_branch_made_later_does_not_begin_with_what_main_holds(hub, run, send):
    main = hub.create(NAME).branches["main"]
    main.append(
        Commit("f" * 40, "an older model", main[0].files | {"older.safetensors": File(b"x", lfs=True)})
    )
    send()
    titles = [commit.title for commit in hub.repos[NAME].branches["chck_1M"]]
    assert titles == ["initial commit", "tiny after 1,000,007 words of exposure"]


def test_a_card_that_the_hub_refuses_is_one_line(hub, send):
    hub.fail("validate-yaml", 400, times=9, body=b'{"errors": [{"message": "bad license"}], "warnings": []}')
    assert "Invalid metadata in README.md" in message(send) and "bad license" in message(send)


def retrain(run: Path) -> None:
    shutil.rmtree(run / "export")
    write_model(run / "export", b"again")


def put(run: Path, name: str, content: object = ()) -> None:
    """Put a JSON file of this name into the bundle, as `build` would have."""
    (run / "submission" / name).write_text(json.dumps(content), encoding="utf-8")
    seal(run / "submission")


def say(run: Path, **facts: object) -> None:
    """Have the run's summary say this."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps(summary | facts), encoding="utf-8")


def test_what_the_first_weights_have_read_counts_in_the_title_of_main_too(run):
    say(run, words_before=500_000)
    assert planned(run, NAME)[-1].message.startswith("tiny, final, after 2,500,009 words of exposure")


LIMITED = {"metric": "accuracy", "score": 0.5, "items": 10, "limit": 10, "partial": False}
OVER = {"within": False, "value": 11.0, "budget": 10}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: put(run, "TRIAL_x.json"), "TRIAL_x.json is no submission, as its name says"),
        (lambda run: put(run, "INCOMPLETE_x.json"), "INCOMPLETE_x.json is no submission"),
        (lambda run: say(run, words_scale=0.004), "a trial: the revisions stand at 0.004 times"),
        (lambda run: say(run, competition=False), "outside the competition: trained with"),
        (
            lambda run: put(run, "ledger.json", {"readings": {"student_alone": {"passes": OVER}}}),
            "outside the competition: passes of the student: 11.0, the track allows 10",
        ),
        (
            lambda run: put(run, "scores.json", {"tasks": {"blimp_filtered": LIMITED}}),
            "blimp_filtered: scored on 10 items, only the first 10 of each subtask",
        ),
    ],
)
def test_what_is_no_submission_is_not_sent_unasked_whatever_its_file_is_called(hub, run, spoil, said, capfd):
    spoil(run)
    assert "for the 1 reasons above: build it whole, or pass" in message(pushed, run)
    assert said in capfd.readouterr().out and not hub.requests


def test_a_bundle_that_is_no_submission_is_sent_when_asked_for(hub, run, capfd):
    put(run, "SYNTHETIC_x.json")
    pushed(run, "--dry-run", "--partial")
    assert "SYNTHETIC_x.json" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: shutil.rmtree(run / "submission"), "submission is incomplete.*eval.submission build"),
        (lambda run: (run / "submission/scores.json").write_text("{ }"), "scores.json has changed"),
        (lambda run: (run / "submission/notes.txt").write_text("me"), "notes.txt was put there after"),
        (lambda run: shutil.rmtree(run / "revisions/chck_2M"), "chck_2M is incomplete.*train the run again"),
        (lambda run: (run / "revisions/chck_1M/config.json").unlink(), "config.json is missing"),
        (lambda run: (run / "summary.json").unlink(), "summary.json is missing"),
        (lambda run: retrain(run), "submission/export is another model than .*tiny/export: build it again"),
    ],
)
def test_what_is_wrong_here_is_found_before_anything_is_sent(hub, run, spoil, said):
    spoil(run)
    with pytest.raises(UserError, match=said):
        pushed(run)
    assert not hub.requests


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "some one/tiny", "someone/ti--ny", "https://hub/someone"])
def test_a_name_that_no_repository_can_have_is_refused(hub, run, name):
    assert message(main, ["push", str(run), "--repo", name]).startswith("--repo")
    assert not hub.requests


def test_without_a_token_the_user_is_told_how_to_get_one(hub, run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "`hf auth login`, set HF_TOKEN or pass --token-file" in message(pushed, run)
    assert not hub.requests


def test_a_token_file_holds_one_word_and_is_never_quoted(tmp_path_factory):
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    assert find_token(file) == TOKEN
    for content in (f"token: {TOKEN}", f"{TOKEN}é", f"{TOKEN}\n{TOKEN}"):
        file.write_text(content, encoding="utf-8")
        assert "one word of ASCII" in message(find_token, file)
    file.write_bytes(b"\xff")
    assert "cannot be read as a token" in message(find_token, file)
    assert "cannot be read as a token" in message(find_token, file / "absent")


def test_offline_mode_is_said(hub, send, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert message(send) == "HF_HUB_OFFLINE is set: unset it to push"


def test_errors_of_the_xet_client_are_read_by_their_text(hub):
    repo = Repository(NAME, TOKEN)
    said = "Network error: HTTP status client error ({}), domain: {}/api/models/x/y/xet-write-token/main"
    absent = ConnectionError(said.format("404 Not Found", hub.url))
    assert repo.explain(absent) == f"{hub.url} has no Xet storage (404): set HF_HUB_DISABLE_XET=1"
    assert "(403)" in repo.explain(ConnectionError(said.format("403 Forbidden", hub.url)))


def test_the_program_shows_the_token_nowhere(run, tmp_path):
    """As a user starts it: HF_ENDPOINT and HF_TOKEN of the environment, all that the library can log, its cache."""
    with serve(TOKEN) as hub:
        hub.fail("/commit/main", 403, headers=WARNING, **ECHO)
        settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
        settings |= {
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_DEBUG": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "eval.submission", "push", str(run), "--repo", NAME],
            env=os.environ
            | settings
            | {"HF_HUB_VERBOSITY": "debug", "PYTHONPATH": str(Path(command.__file__).parents[2])},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: branch main: the token may not write to")
    assert "chck_2M: 5 files" in done.stdout and "Send: curl" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]

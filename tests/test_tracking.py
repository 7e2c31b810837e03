"""wandb beside metrics.jsonl: offline, disabled, refused; nothing of it stops a run, and metrics.jsonl has it all."""

import http.server
import json
import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from babylm_data.errors import UserError
from train_teachers.tracking import tracking, wandb_mode

DELAY = 20.0  # seconds: the kit gives five, wandb by itself ninety, and machines are slow at times
RECORDS = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}]


@pytest.fixture
def track(tmp_path, make_config, monkeypatch):
    """track("offline", between=…): log two records, with something between them; the folder of the run."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(mode="offline", between=lambda: None):
        folder = tmp_path / "runs/x"
        folder.mkdir(parents=True)

        def log(record):
            with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

        here = SimpleNamespace(name="x", folder=folder, log=log, tracking_id=lambda: "abcd1234")
        config = make_config(wandb={"project": "babylm", "mode": mode})
        with tracking(config, here, on=True) as record:
            record(RECORDS[0])
            between()
            record(RECORDS[1])
        assert [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] == RECORDS
        return folder

    return run


def offline_runs(folder):
    return [path for path in (folder / "wandb").glob("offline-run-*") if any(path.glob("*.wandb"))]


def test_a_run_offline_leaves_what_wandb_can_send_later(track):
    assert len(offline_runs(track("offline"))) == 1


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_the_environment_may_disable_it_and_then_wandb_is_not_loaded(track, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert not (track(mode) / "wandb").exists()


def test_the_environment_may_say_offline(track, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert len(offline_runs(track("online"))) == 1


@pytest.mark.parametrize("word", ["ofline", "", "ONLINE", "true"])
def test_another_word_in_the_environment_is_a_users_mistake_before_anything_is_loaded(
    make_config, monkeypatch, word, train_tiny
):
    monkeypatch.setenv("WANDB_MODE", word)
    with pytest.raises(UserError, match=f"WANDB_MODE is '{word}': set it to one of online, offline"):
        wandb_mode(make_config(wandb={"project": "x"}))
    with pytest.raises(UserError, match="WANDB_MODE"):
        train_tiny(wandb={"project": "x"})


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(401)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("key", ["a" * 40, "short", None])
def test_a_key_that_is_refused_or_not_there_leaves_a_run_offline(track, monkeypatch, capsys, key):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    else:
        monkeypatch.setenv("HOME", "/nonexistent")
    with server:
        folder = track("online")
        server.shutdown()
    assert len(offline_runs(folder)) == 1
    assert "warning: wandb online: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["nobody is there", "nobody answers"])
def test_a_server_that_is_not_there_or_silent_delays_a_run_by_seconds_and_not_by_minutes(
    track, monkeypatch, capsys, silent
):
    import wandb  # half a second that any mode takes

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if silent else 9
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        wandb.teardown()  # it may hold another test's environment
        began = time.monotonic()
        folder = track("online")
        assert time.monotonic() - began < DELAY
    assert len(offline_runs(folder)) == 1
    assert f"warning: wandb online: http://127.0.0.1:{port} does not answer; going on offline" in (
        capsys.readouterr().err
    )


class Accepting(Refusing):
    """What a server of wandb must answer for a run to begin."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "{}").get(
            "query", ""
        )
        owner = {"id": "p", "name": "babylm", "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": "abcd1234", "displayName": "x", "config": "{}", "project": owner}
        viewer = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        answers = {
            "upsertBucket": {"upsertBucket": {"bucket": bucket, "inserted": True}},
            "viewer": {"viewer": viewer},
        }
        data = next((answer for word, answer in answers.items() if word in asked), {})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": data}).encode())

    do_GET = do_PUT = do_POST


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["it is gone", "it answers no more"])
def test_a_server_that_vanishes_delays_the_end_of_a_run_by_seconds_and_nothing_is_lost(
    track, monkeypatch, silent
):
    import wandb

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Vanishing", (Accepting,), {}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    wandb.teardown()
    woken, since = threading.Event(), []

    def vanish():
        since.append(time.monotonic())
        if silent:
            for method in ("do_GET", "do_POST", "do_PUT"):
                setattr(server.RequestHandlerClass, method, lambda _: woken.wait())
        else:
            server.shutdown()
            server.server_close()

    folder = track("online", between=vanish)
    assert time.monotonic() - since[0] < DELAY
    woken.set()
    server.shutdown()
    server.server_close()
    wandb.teardown()  # as a process does at its end: until then a part may be in memory
    kept = b"".join(path.read_bytes() for path in folder.glob("wandb/run-*/*.wandb"))
    assert all(str(one["loss"]).encode() in kept for one in RECORDS)


def test_where_wandb_cannot_write_at_all_training_goes_on_without_it(track, monkeypatch, capsys):
    import wandb

    def full(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wandb, "init", full)
    track("online")
    said = capsys.readouterr().err
    assert "going on offline" in said and "No space left on device; going on without it" in said


@pytest.mark.parametrize("what", ["log", "finish"])
def test_a_service_that_dies_in_mid_run_is_said_once_and_stops_nothing(track, monkeypatch, capsys, what):
    import wandb

    class Dying:
        def log(self, record, step):
            self.finish() if what == "log" else None

        def finish(self):
            raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(wandb, "init", lambda **_: Dying())
    track("offline")
    assert capsys.readouterr().err.count("warning: wandb: Connection lost; going on without it") == 1

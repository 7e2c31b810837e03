"""A model by its name on a hub that is not there, refuses, is busy, breaks off or sends other bytes: one line, soon."""

import hashlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from babylm_data.errors import UserError
from babylm_data.hub import find_folder

FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"w" * 5000}
COMMIT = "c" * 40
LARGE = "model.safetensors"


def digest(name: str) -> str:
    """By which the hub knows a file: SHA-256 of a large one, else that of Git."""
    data = FILES[name]
    if name == LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's HTTP API as fetching a model needs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fault = self.server.fault
        if isinstance(fault, int):
            names = {404: "RepoNotFound", 403: "GatedRepo"}
            self.send(fault, b'{"error": "for the test"}', {"X-Error-Code": names.get(fault, "")})
        elif "/tree/" in self.path:
            listed = [
                {"type": "file", "path": name, "size": len(data), "oid": "1" * 40}
                for name, data in FILES.items()
            ]
            self.send(200, json.dumps(listed).encode())
        elif "/api/models/" in self.path:
            siblings = [{"rfilename": name} for name in FILES]
            self.send(200, json.dumps({"id": "some/model", "sha": COMMIT, "siblings": siblings}).encode())
        else:
            self.send_file(self.path.rsplit("/", 1)[1], fault)

    do_HEAD = do_GET

    def send_file(self, name, fault):
        data = FILES[name]
        if fault == f"wrong {name}":
            data = b"x" * len(data)
        headers = {"ETag": f'"{digest(name)}"', "X-Repo-Commit": COMMIT}
        self.send(200, data, headers, cut=fault == "cut" and name == LARGE)

    def send(self, status, data, headers=None, *, cut=False):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:100] if cut else data)
            self.close_connection = cut

    def log_message(self, *_):
        pass


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """fetch(fault): the folder of a model from a hub that is as told."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def run(fault):
        with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
            server.fault = fault
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}"
            monkeypatch.setattr(constants, "ENDPOINT", address)
            template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            try:
                return find_folder("some/model", absent="absent")
            finally:
                close_session()
                server.shutdown()

    return run


def test_a_model_is_fetched_once_and_found_again_without_the_hub(fetch, monkeypatch):
    folder = fetch(None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_folder("some/model", absent="absent") == folder


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (404, "Repository Not Found"),
        (403, "Cannot access gated repo"),
        (429, "429 Too Many Requests"),
        (500, "500 Internal Server Error"),
        ("wrong model.safetensors", "model.safetensors did not arrive as the hub has it: delete "),
        ("wrong config.json", "config.json did not arrive as the hub has it: delete "),
        pytest.param("cut", "received 100 bytes, expected 5000", marks=pytest.mark.slow),
    ],
)
def test_a_hub_that_does_not_give_a_model_whole_is_one_line_within_ten_seconds(fetch, fault, said):
    began = time.monotonic()
    with pytest.raises(UserError, match=said) as error:
        fetch(fault)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert time.monotonic() - began < 10


def test_a_hub_that_is_not_there_is_one_line_at_once(fetch, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(UserError, match="some/model is neither a folder nor a hub name that can be fetched"):
        find_folder("some/model", absent="absent")

"""A model hub on this machine that speaks as much of the Hub's HTTP API as pushing needs, and fails on demand.

It stores repositories in memory and never answers from a script: what a listing says is computed from what was stored.
Paths and fields are those that `huggingface_hub` asks for.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PAGE = 3  # entries of a listing in one answer: small, so that every test follows pages
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class File:
    """A file as it is stored: what its hashes are computed from."""

    data: bytes
    lfs: bool = False

    def listed(self, path: str) -> dict:
        entry = {"type": "file", "path": path, "size": len(self.data), "oid": git_sha1(self.data)}
        if self.lfs:
            digest = hashlib.sha256(self.data).hexdigest()
            pointer = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(self.data)}\n"
            )
            entry["oid"] = git_sha1(pointer.encode())
            entry["lfs"] = {"oid": digest, "size": len(self.data), "pointerSize": len(pointer)}
        return entry


@dataclass
class Commit:
    oid: str
    title: str
    files: dict[str, File]


@dataclass
class Repo:
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def files(self, revision: str) -> dict[str, File]:
        """What the newest commit of a branch holds."""
        return self.branches[revision][-1].files


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD /path" matches `pattern`.

    how: a status; "cut" (the connection ends amid the request), "lost" (all is done, but the answer never comes),
    "wrong" (other bytes are stored than were sent).
    """

    pattern: str
    how: int | str
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "for the test"}'


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """The state of the hub, and what it was asked."""

    def __init__(self, token: str) -> None:
        self.token, self.url = token, ""
        self.repos: dict[str, Repo] = {}
        self.storage: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.may_write = True
        self.lock = threading.Lock()

    def fail(self, pattern: str, how: int | str, times: int = 1, **answer: object) -> None:
        self.faults.append(Fault(pattern, how, times, **answer))

    def due(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, request):
                fault.times -= 1
                return fault
        return None

    def asked(self, pattern: str) -> list[str]:
        return [request for request in self.requests if re.search(pattern, request)]

    def create(self, name: str, *, private: bool = False) -> Repo:
        first = Commit(f"{len(self.repos):040x}", "initial commit", {".gitattributes": File(ATTRIBUTES)})
        self.repos[name] = Repo(private, {"main": [first]})
        return self.repos[name]


@contextmanager
def serve(token: str) -> Iterator[Hub]:
    """A hub that listens on a free port until the context ends."""
    hub = Hub(token)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Refusal(Exception):
    """An answer other than 200: (status, code of the error for the client, further fields as pairs)."""


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    wrong = False

    def log_message(self, *_: object) -> None:
        pass

    def answer_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        with self.hub.lock:
            self.hub.requests.append(request)
            fault = self.hub.due(request)
        how = fault.how if fault else None
        length = int(self.headers.get("Content-Length") or 0)
        if how == "cut":
            self.rfile.read(min(10, length))
            return self.hang_up()
        self.body = self.rfile.read(length)
        if isinstance(how, int):
            return self.reply(how, fault.body, fault.headers)
        self.wrong = how == "wrong"
        try:
            with self.hub.lock:
                status, content, headers = 200, self.route(request), self.links
        except Refusal as refusal:
            status, code, *more = refusal.args
            content, headers = {"error": code, **dict(more)}, {"X-Error-Code": code}
        if how == "lost":
            return self.hang_up()
        return self.reply(status, json.dumps(content).encode(), headers)

    do_GET = do_POST = do_PUT = do_DELETE = answer_any

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def route(self, request: str) -> object:
        self.links: dict[str, str] = {}
        for pattern, method in ROUTES:
            if match := re.fullmatch(pattern, request):
                if "/storage/" not in request:  # storage is another host: it is sent no token
                    self.check_token()
                return method(self, **match.groupdict())
        raise Refusal(404, "NotFound")

    def check_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            raise Refusal(401, "Unauthorized")

    def repo(self, name: str, revision: str = "main") -> Repo:
        if name not in self.hub.repos:
            raise Refusal(404, "RepoNotFound")
        if revision not in self.hub.repos[name].branches:
            raise Refusal(404, "RevisionNotFound")
        return self.hub.repos[name]

    def create_repo(self) -> dict:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if not self.hub.may_write:
            raise Refusal(403, "Forbidden")
        if name in self.hub.repos:
            raise Refusal(409, "AlreadyExists", ("url", url))
        self.hub.create(name, private=asked.get("visibility") == "private")
        return {"url": url}

    def info(self, repo: str, revision: str = "main") -> dict:
        found = self.repo(repo, revision)
        return {"id": repo, "private": found.private, "sha": found.branches[revision][-1].oid}

    def refs(self, repo: str) -> dict:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commits[-1].oid}
            for name, commits in self.repo(repo).branches.items()
        ]
        return {"branches": branches, "converts": [], "tags": []}

    def commits(self, repo: str, revision: str) -> list[dict]:
        found = self.repo(repo, revision).branches[revision]
        listed = [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": "",
                "authors": [],
                "date": "2030-01-01T00:00:00Z",
            }
            for commit in reversed(found)
        ]
        return self.page(listed)

    def create_branch(self, repo: str, branch: str) -> dict:
        found = self.repo(repo)
        if branch in found.branches:
            raise Refusal(409, "AlreadyExists")
        start = json.loads(self.body).get("startingPoint", found.branches["main"][-1].oid)
        history = found.branches["main"]
        (at,) = [number for number, commit in enumerate(history) if commit.oid == start]
        found.branches[branch] = history[: at + 1]
        return {}

    def tree(self, repo: str, revision: str) -> list[dict]:
        files = self.repo(repo, revision).files(revision)
        folders = {path.rsplit("/", 1)[0] for path in files if "/" in path}
        listed = [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in sorted(folders)]
        return self.page(listed + [file.listed(path) for path, file in sorted(files.items())])

    def page(self, entries: list[dict]) -> list[dict]:
        """One page of a listing; the Link header leads to the next."""
        match = re.search(r"cursor=(\d+)", self.path)
        start = int(match[1]) if match else 0
        if start + PAGE < len(entries):
            url = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={start + PAGE}"
            self.links = {"Link": f'<{url}>; rel="next"'}
        return entries[start : start + PAGE]

    def preupload(self, repo: str, revision: str) -> dict:
        there = self.repo(repo, revision).files(revision)
        answer = []
        for file in json.loads(self.body)["files"]:
            lfs, path = file["path"].endswith(".safetensors"), file["path"]
            listed = there[path].listed(path) if path in there else {}
            oid = listed.get("lfs", listed).get("oid")
            mode = "lfs" if lfs else "regular"
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answer}

    def batch(self, repo: str) -> dict:
        self.repo(repo)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if hashlib.sha256(self.hub.storage.get(asked["oid"], b"")).hexdigest() != asked["oid"]:
                upload = {"href": f"{self.hub.url}/storage/{asked['oid']}"}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/verified"}}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def store(self, oid: str) -> dict:
        if "Authorization" in self.headers:
            raise Refusal(400, "TokenSentToStorage")
        self.hub.storage[oid] = self.altered(self.body)
        return {}

    def altered(self, data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if self.wrong else data

    def verified(self) -> dict:
        asked = json.loads(self.body)
        if len(self.hub.storage[asked["oid"]]) != asked["size"]:
            raise Refusal(422, "WrongSize")
        return {}

    def commit(self, repo: str, revision: str) -> dict:
        if not self.hub.may_write:
            raise Refusal(403, "Forbidden")
        commits = self.repo(repo, revision).branches[revision]
        files, title = dict(commits[-1].files), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    title = value["summary"]
                case "file":
                    files[value["path"]] = File(self.altered(base64.b64decode(value["content"])))
                case "lfsFile":
                    files[value["path"]] = File(self.hub.storage[value["oid"]], lfs=True)
                case "deletedFile":
                    del files[value["path"]]
        oid = hashlib.sha1(f"{commits[-1].oid} {revision} {title}".encode()).hexdigest()
        commits.append(Commit(oid, title, files))
        return {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid}

    def validate_card(self) -> dict:
        content = json.loads(self.body)["content"]
        if not content.startswith("---\n"):
            raise Refusal(400, "no metadata")
        return {"errors": [], "warnings": []}


REPO, REVISION = r"/api/models/(?P<repo>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, Callable]] = [
    ("POST /api/repos/create", Handler.create_repo),
    ("POST /api/validate-yaml", Handler.validate_card),
    (f"GET {REPO}", Handler.info),
    (f"GET {REPO}/revision/{REVISION}", Handler.info),
    (f"GET {REPO}/refs", Handler.refs),
    (f"GET {REPO}/commits/{REVISION}", Handler.commits),
    (f"GET {REPO}/tree/{REVISION}", Handler.tree),
    (f"POST {REPO}/branch/(?P<branch>[^/]+)", Handler.create_branch),
    (f"POST {REPO}/preupload/{REVISION}", Handler.preupload),
    (f"POST {REPO}/commit/{REVISION}", Handler.commit),
    (r"POST /(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT /storage/(?P<oid>[0-9a-f]{64})", Handler.store),
    ("POST /verified", Handler.verified),
]

"""Serve a folder as a Hugging Face hub does, on this machine, with the faults that a hub can have."""

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LocalHub:
    """Hold the models of a hub by name, what it was asked, and what it does wrong."""

    models: dict[str, Path]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    token: str = ""  # needed for every answer, if given
    fault: str = ""  # "silent": never answers; "silent files", "broken files": only when asked for a file; or a status
    healed: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """Answer the few questions that a download asks."""

    hub: LocalHub

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.hub.asked.append(self.path)
        fault, is_file = self.hub.fault, "/resolve/" in self.path
        if fault == "silent" or (fault == "silent files" and is_file):
            self.hub.healed.wait(60)
        elif fault.isdigit():
            self.answer(int(fault), b"{}")
        elif self.hub.token and self.headers["authorization"] != f"Bearer {self.hub.token}":
            self.answer(401, b"{}", **{"X-Error-Code": "GatedRepo"})
        elif is_file:
            self.answer_file()
        else:
            self.answer_question()

    def answer_question(self):
        """Tell what a model holds."""
        path, tree = self.path.partition("?")[0].removeprefix("/api/models/"), f"/tree/{REVISION}"
        name = path.removesuffix("/revision/main").removesuffix(tree)
        if name not in self.hub.models:
            self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})
            return
        files = {path.name: path for path in sorted(self.hub.models[name].iterdir())}
        if path.endswith(tree):
            listed = [{"type": "file", "path": n, "size": p.stat().st_size, "oid": digest(p)} for n, p in files.items()]
            self.answer(200, json.dumps(listed).encode())
        else:
            known = {"id": name, "modelId": name, "sha": REVISION, "siblings": [{"rfilename": n} for n in files]}
            self.answer(200, json.dumps(known).encode())

    def answer_file(self):
        """Send a file, or half of it."""
        name, _, rest = self.path[1:].partition("/resolve/")
        path = self.hub.models[name] / rest.partition("/")[2]
        if not path.is_file():
            self.answer(404, b"", **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": REVISION})
            return
        self.answer(200, path.read_bytes(), **{"ETag": f'"{digest(path)}"', "X-Repo-Commit": REVISION})

    def answer(self, status, body, **headers):
        """Send a status, headers and a body, unless only the head was asked for."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            cut = self.hub.fault == "broken files" and "/resolve/" in self.path
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True

    def log_message(self, *_args):
        """Say nothing."""


def digest(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def serving(models):
    """Run a hub in a thread that serves each model from a folder of its own."""
    hub = LocalHub(models)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.healed.set()
        server.shutdown()
        server.server_close()

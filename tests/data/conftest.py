"""Serve bytes over HTTP from this machine, well or badly, the way an archive might."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    """Answer every request with `answer(handler)`; know when the test is over, and when a client hung up."""

    block_on_close = True
    daemon_threads = False

    def __init__(self, answer):
        self.answer = answer
        self.ended = threading.Event()
        self.deserted = threading.Event()
        self.requests = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/sms.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        try:
            self.server.answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.server.deserted.set()
            self.close_connection = True

    def send(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def serve():
    """Return a function that starts a server with the given way to answer."""
    servers = []

    def start(answer):
        server = Server(answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()

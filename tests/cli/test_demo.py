"""A demo works in a folder of its own, touches no other, and finds the cards of what ran there."""

import http.server
import json
import threading

import pytest

from spamctl.cli import demo
from spamctl.cli.app import main
from spamctl.errors import UnavailableError, UsageError


def test_a_folder_is_made(tmp_path):
    assert demo.prepare(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [demo.MARK]


def test_what_an_earlier_demo_left_is_cleared(tmp_path):
    folder = demo.prepare(tmp_path / "again")
    (folder / "spam.db").write_text("rows")
    demo.prepare(folder)
    assert [path.name for path in folder.iterdir()] == [demo.MARK]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_not_a_demos_is_refused_and_left_as_it_is(tmp_path, what):
    place = tmp_path / "mine"
    if what == "folder":
        place.mkdir()
    kept = place / "letter.txt" if what == "folder" else place
    kept.write_text("dear")
    with pytest.raises(UsageError, match="is not empty and was not made by a demo; choose another"):
        demo.prepare(place)
    assert kept.read_text() == "dear"


def test_the_refusal_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "spamctl-demo").write_text("mine")
    assert main(["demo"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spamctl: --folder spamctl-demo: is not empty and was not made by a demo")


@pytest.fixture
def server():
    """Answer /version as another version from the third time on."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps({"model_version": "1" if len(asked) < 3 else "2"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def test_the_story_goes_on_once_the_server_has_followed(server):
    address, asked = server
    demo._wait_for(address, "2")
    assert asked == ["/version"] * 3


def test_a_server_that_does_not_follow_ends_the_story(server, monkeypatch):
    monkeypatch.setattr(demo, "SECONDS_TO_FOLLOW", 0.0)
    with pytest.raises(UnavailableError, match="still answers as version 1"):
        demo._wait_for(server[0], "3")


def test_a_screen_is_known_by_its_variables(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    assert demo._has_screen({"DISPLAY": ":0"})
    assert demo._has_screen({"WAYLAND_DISPLAY": "wayland-0"})
    assert not demo._has_screen({"DISPLAY": ""})

"""The two pages answer on this machine only, say where, and leave no process behind."""

import http.client
import importlib.util
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from spamctl.cli.app import main
from spamctl.jobs import viewer
from tests.each import each


@pytest.fixture
def port():
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def page(tmp_path):
    """Open a page as a user would; whatever still runs in the end is killed."""
    opened = []

    def page(*words):
        command = [sys.executable, "-m", "spamctl", *words]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        opened.append(process)
        return process, process.stdout.readline()

    yield page
    for process in opened:
        process.kill()
        process.communicate()


def get(port, path="/", host="127.0.0.1"):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        with connection.getresponse() as answer:
            return answer.status, answer.read()


def listening(port):
    """Return the addresses, in the kernel's spelling, on which somebody listens at this port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}


LOOPBACK = "0100007F"


def test_cards_need_a_run(capsys):
    assert main(["cards", "train"]) == 2
    assert (
        capsys.readouterr().err == "spamctl: no train run has been started in this folder; type spamctl train first\n"
    )


def test_cards_of_what_has_none(capsys):
    assert main(["cards", "serve"]) == 2
    assert (
        capsys.readouterr().err
        == "spamctl: serve: has no cards; there are those of train, traffic, label, monitor, recalibrate, score\n"
    )


def test_cards_of_what(capsys):
    assert main(["cards"]) == 2
    assert capsys.readouterr().err == "spamctl: Missing argument 'VERB'.\n"


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        (
            "http://mlflow.example:5001",
            "MLFLOW_TRACKING_URI: http://mlflow.example:5001 has a page of its own; open it in a browser",
        ),
        (
            "file:///runs",
            "MLFLOW_TRACKING_URI: must be a database such as sqlite:///mlflow.db, got the scheme 'file'",
        ),
        ("sqlite:///other.db", "sqlite:///other.db: nothing has been tracked there yet; type spamctl train first"),
        ("", "sqlite:///mlflow.db: nothing has been tracked there yet; type spamctl train first"),
    ],
)
def test_a_store_that_no_page_can_be_put_over(capsys, monkeypatch, uri, fault):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["ui"]) == 2
    assert capsys.readouterr().err == f"spamctl: {fault}\n"


def test_a_server_that_is_there_has_its_own_page(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"http://127.0.0.1:{busy.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert main(["ui"]) == 2
    assert capsys.readouterr().err == (
        f"spamctl: MLFLOW_TRACKING_URI: {address} has a page of its own; open it in a browser\n"
    )


def test_a_port_beside_the_one_that_the_variable_says(capsys, monkeypatch, port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    assert main(["ui", "--port", str(port + 1)]) == 2
    assert "leave one of them out" in capsys.readouterr().err


@pytest.mark.slow
def test_the_tracking_server_of_this_machine_is_started_where_the_variable_says(page, port, tmp_path):
    (tmp_path / ".env").write_text(f"MLFLOW_TRACKING_URI=http://127.0.0.1:{port}\n")
    process, line = page("ui")
    assert line == f"MLflow: http://127.0.0.1:{port}  (Ctrl-C stops it)\n"
    assert get(port, "/health") == (200, b"OK")
    assert (tmp_path / "mlflow.db").is_file()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def test_a_password_in_a_store_is_not_repeated(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@mlflow.example")
    assert main(["ui"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_a_port_that_is_taken(capsys, tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"spamctl: port {port} is not available: Address already in use; choose another with --port\n"
    )


@pytest.mark.slow
def test_cards_are_shown_to_this_machine_only(run, page, port):
    assert run("train")[0] == 0
    process, line = page("cards", "train", "--port", str(port))
    assert line == f"Cards of the latest train run: http://127.0.0.1:{port}  (Ctrl-C stops it)\n"
    assert listening(port) == {LOOPBACK}
    assert get(port)[0] == 200
    assert re.search(rb'"flow": "TrainFlow"', get(port, "/runinfo")[1])
    assert get(port, "/runinfo", host=f"localhost:{port}")[0] == 200
    assert get(port, "/runinfo", host="evil.example")[0] == 403
    assert get(port, "/runinfo", host="127.0.0.1.evil.example")[0] == 403
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "Stopped. The page is closed; its data are kept.\n"
    assert listening(port) == set()


@each(
    ("given", "opened"),
    [
        (["evaluation", "loss", "depth"], "evaluation"),  # the last step first, as Metaflow gives them
        (["loss", "depth"], "loss"),
        (["classification", "monitor", "drift", "data_quality"], "monitor"),
        ([], None),
    ],
)
def test_the_viewer_opens_on_the_result(given, opened):
    cards = [(f"step/{name}", SimpleNamespace(id=name)) for name in given]
    shown = list(viewer._result_first(lambda *_, **__: iter(cards))("store", max_cards=9))
    assert sorted(place for place, _ in shown) == sorted(place for place, _ in cards)
    on_the_page = [card.id for _, card in reversed(shown)]  # which the page of the viewer does before it opens one
    assert on_the_page[:1] == ([opened] if opened else [])


def test_the_viewers_page_still_turns_the_cards_round_and_opens_the_first():
    metaflow = Path(importlib.util.find_spec("metaflow").origin).parent
    page = (metaflow / "plugins/cards/card_viewer/viewer.html").read_text()
    assert "cards.reverse().forEach" in page
    assert "handleLoadCard(runInfo.cards[0].label" in page


@pytest.mark.slow
def test_the_mlflow_page_is_shown_to_this_machine_only(page, port, tmp_path):
    (tmp_path / "mlflow.db").touch()
    process, line = page("ui", "--port", str(port))
    assert line == f"MLflow: http://127.0.0.1:{port}  (Ctrl-C stops it)\n"
    assert listening(port) == {LOOPBACK}
    assert get(port, "/health") == (200, b"OK")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    time.sleep(0.2)
    assert listening(port) == set()

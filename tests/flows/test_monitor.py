"""A window is judged through the real command: what rings, what it says, what it leaves, and what it refuses."""

import http.server
import json
import sqlite3
import threading
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from spamctl.registry import versions
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import labels, sampling, tables, truth
from spamctl.store.database import open_store
from spamctl.store.migrations import MIGRATIONS
from spamctl.store.truth import TrueRow
from tests import tiny_models, tiny_packages
from tests.canary import leaks
from tests.flows.conftest import Desk
from tests.mlflow_loaded import load_mlflow
from tests.ports import closed_port
from tests.registered import register, scored_part
from tests.store.made_rows import row

CANARY = "canarybird"
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Stand in a folder with a champion that left its test part, a challenger that left none, and no store."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("monitor")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(THRESHOLD, "champion", part=scored_part(200))
        register(THRESHOLD, "challenger")
        versions.fetch_reference(versions.fetch("spam", "champion", Path(".spamctl", "models").absolute()))
    return Desk(folder)


def answers(texts, version="1", ago=timedelta()):
    """Make the rows that the server would have stored for some texts, the oldest first."""
    made = []
    for number, text in enumerate(texts):
        probability = tiny_packages.probability(text)
        called = SPAM if probability >= THRESHOLD else NOT_SPAM
        date = datetime.now(UTC) - ago - timedelta(seconds=len(texts) - number)
        made.append(row(text, number, date=date, probability=probability, classification=called, model_version=version))
    return made


def filled(desk, name, made):
    """Put rows into a new store."""
    with open_store(str(desk.path(name)), create=True) as store:
        if made:
            with store.writing() as connection:
                connection.execute(insert(tables.data), [asdict(one) for one in made])
    return name


def monitor(desk, store, *words, **variables):
    """Run the command, and return its exit code, output and errors."""
    code = desk.ended(desk.start("-m", "spamctl", "monitor", "--datastore-uri", store, *words, **variables))
    return code, desk.out, desk.err


@contextmanager
def listening(*codes):
    """Answer posts with status codes, the last one for ever; give the address and the bodies that came."""
    heard, left = [], list(codes)

    class Door(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook?secret=hunter2", heard
        server.shutdown()


def test_a_window_that_drifted_is_failed_with_its_causes_and_its_true_accuracy(desk):
    texts = [one.text for one in tiny_models.messages(300, seed=1)[200:]]
    truths = [one.label for one in tiny_models.messages(300, seed=1)[200:]]
    drifted = [f"{text} parcel {CANARY} http://a.example/{n}" for n, text in enumerate(texts)]
    made = answers(drifted)
    store = filled(desk, "drifted.db", made)
    with open_store(str(desk.path(store))) as opened:
        known = [(one.uuid, label) for one, label in zip(made, truths, strict=True)]
        truth.remember(opened, [TrueRow(key, one, "test part", "parcel", "modern", 1.0, 0, "r") for key, one in known])
        labels.set_labels(opened, dict(known[:80]), "oracle")
        labels.set_labels(opened, dict(known[80:]), "simulated")
    right = sum(one.classification == label for one, label in zip(made[:80], truths[:80], strict=True))

    with listening(500, 204) as (address, heard):
        code, out, err = monitor(desk, store, SPAMCTL_MONITOR_WEBHOOK=address)
    assert code == 3, err
    assert err.splitlines()[-1].startswith("spamctl: monitoring: failed: messages have changed")
    assert "FAILED" in out
    assert CANARY in out  # the words that moved are named to whoever asked
    assert "SIMULATED" in out
    (told,) = desk.told("result")
    assert told["quality"]["rows"] == 80
    assert told["quality"]["accuracy"]["value"] == right / 80
    assert told["quality"]["label_sources"] == {"oracle": 80}
    assert told["simulated"]["rows"] == 20
    assert [group["name"] for group in told["quality_by"]["family"]] == ["parcel"]
    assert told["window"]["rows"] == 100
    assert told["window"]["versions"] == {"1": 100}

    # What holds words of messages stays out of logs, of the list of processes and of the webhook.
    assert len(heard) == 2
    posted = json.loads(heard[1])
    assert posted["verdict"] == "failed"
    assert posted["history"][-1]["drift_score"] > 1
    assert "causes" not in posted
    assert CANARY not in desk.log + heard[1] + err
    assert leaks(desk.folder, "hunter2") == []
    assert not list(desk.path(".spamctl").glob("monitor-*.json"))

    run = told["run_id"]
    left = {path.name for path in desk.path(f"reports/{run}").iterdir()}
    assert {"index.html", "data_quality.html", "drift.html", "classification.html", "monitor.json"} <= left
    assert json.loads(desk.path(f"reports/{run}/monitor.json").read_text())["causes"]["spam"]
    assert run in desk.path("reports/index.html").read_text()
    cards = list(desk.path(f".metaflow/mf.cards/MonitorFlow/runs/{run}").rglob("*.html"))
    assert sorted(path.name.split("-")[1] for path in cards) == ["classification", "data_quality", "drift", "monitor"]
    with open_store(str(desk.path(store))) as opened:
        (finding,) = sampling.monitoring_history(opened, "spam")
    assert (finding.run_id, finding.verdict, finding.rows, finding.model_version) == (run, "failed", 100, "1")
    assert finding.figures.accuracy.value == right / 80
    logged = desk.ask(RUN, RUN_ID=told["mlflow"]["run_id"])
    assert logged["experiment"] == "spam-monitoring"
    assert logged["metrics"]["accuracy"] == right / 80
    assert logged["tags"]["verdict"] == "failed"
    assert {"monitor.html", "drift.html", "data_quality.html", "plots"} <= set(logged["files"])


RUN = """
import json, mlflow, os
client = mlflow.MlflowClient("sqlite:///mlflow.db")
run = client.get_run(os.environ["RUN_ID"])
files = [item.path for item in client.list_artifacts(run.info.run_id)]
name = client.get_experiment(run.info.experiment_id).name
print(json.dumps({"metrics": run.data.metrics, "tags": run.data.tags, "files": files, "experiment": name}))
"""


@pytest.mark.long
def test_one_class_without_labels_without_a_registry_is_judged_all_the_same(desk):
    texts = [one.text for one in tiny_models.messages(300, seed=1) if one.label == NOT_SPAM][:12]
    store = filled(desk, "few.db", answers(texts))
    address = f"http://127.0.0.1:{closed_port()}"
    code, _, err = monitor(desk, store, "--model-version", "latest", MLFLOW_TRACKING_URI=address)
    assert (code, err.splitlines()[-1].count("no version of spam was fetched here before")) == (1, 1)
    remembered = desk.path(".spamctl/models/spam/resolved.json")
    known = json.loads(remembered.read_text())
    known[f"champion at {address}"] = known[f"champion at sqlite:///{desk.path('mlflow.db')}"]
    remembered.write_text(json.dumps(known))
    code, out, err = monitor(desk, store, "--fail-on", "warning", MLFLOW_TRACKING_URI=address)
    assert code == 3, err
    assert "too few" in err.splitlines()[-1]
    assert "the registry does not answer: judging version 1, which was champion when it did" in err
    assert "MLflow keeps nothing of this run" in " ".join(err.split())
    (told,) = desk.told("result")
    assert (told["verdict"], told["quality"], told["mlflow"]) == ("warning", None, {})
    assert "Traceback" not in desk.log + out + err


@pytest.mark.long
def test_a_calm_window_is_ok_and_a_webhook_that_fails_is_the_only_fault(desk):
    texts = [one.text for one in tiny_models.messages(300, seed=1)[200:]]
    store = filled(desk, "calm.db", answers(texts))
    with listening(404) as (address, heard):
        code, out, err = monitor(desk, store, "--samples", "90", SPAMCTL_MONITOR_WEBHOOK=address)
    assert code == 1, out
    assert err.splitlines()[-1] == (
        "spamctl: the webhook was not notified: it answers 404; check --webhook and its receiver"
    )
    assert len(heard) == 1  # which another try would not change
    (told,) = desk.told("result")
    assert (told["verdict"], told["window"]["rows"]) == ("ok", 90)
    assert "OK" in out


@pytest.fixture(scope="module")
def stores(desk):
    """Make the stores that are refused."""
    filled(desk, "empty.db", [])
    filled(desk, "others.db", answers(["hello", "you"], version="7"))
    filled(desk, "old.db", answers(["hello"], ago=timedelta(days=3)))
    filled(desk, "newer.db", [])
    filled(desk, "half.db", [])
    desk.path("text.db").write_text("no database " * 100)
    with closing(sqlite3.connect(desk.path("foreign.db"))) as foreign, foreign:
        foreign.execute("CREATE TABLE data (id INTEGER)")
    with closing(sqlite3.connect(desk.path("newer.db"))) as newer, newer:
        newer.execute("INSERT INTO spamctl_store VALUES (?, 'unheard_of', '2026-01-01')", [len(MIGRATIONS) + 1])
    with closing(sqlite3.connect(desk.path("half.db"))) as half, half:
        half.execute("DROP TABLE monitoring")
    desk.path("file").write_text("in the way")
    return replace(desk, covered=False)


# One of each kind: of the store, of its rows, of the version.
SOME = (1, 6, 8)
REFUSED = [
    ("nothing.db", [], 2, "nothing.db: there is no store yet: spamctl serve makes it, or correct the address"),
    ("text.db", [], 2, "text.db: it is not a SQLite database: move the file away, or choose another address"),
    ("foreign.db", [], 2, "foreign.db: belongs to another program (it has a table data): choose another address"),
    ("newer.db", [], 2, "newer.db: was written by a newer spamctl"),
    ("half.db", [], 2, "half.db: is damaged (monitoring.run_id is missing): put a copy in its place"),
    ("empty.db", [], 2, "empty.db: holds no answer yet: send messages to spamctl serve, or type spamctl traffic"),
    ("others.db", [], 2, "others.db: holds no answer of spam version 1, but of spam version 7 (2): name one"),
    ("old.db", ["--since", "1d"], 2, "old.db: holds no answer of spam version 1 that is so young, the newest"),
    ("old.db", ["--model-version", "9"], 2, "--model-version 9: spam has no version 9; there are the versions 1"),
    ("old.db", ["--model-version", "challenger"], 2, "--model-version 2: the training of spam version 2 left no"),
    ("old.db", ["--model-name", "ham"], 2, "--model-name ham: no model of this name is registered here"),
    ("old.db", ["--report-dir", "file"], 2, "--report-dir file: cannot be written: File exists; choose a folder"),
]


@pytest.mark.parametrize(
    ("store", "words", "code", "fault"),
    [pytest.param(*case, marks=[] if at in SOME else pytest.mark.long) for at, case in enumerate(REFUSED)],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_what_cannot_be_judged_is_one_line(stores, store, words, code, fault):
    assert monitor(stores, store, *words)[0] == code
    (last,) = stores.err.splitlines()[-1:]
    assert last.startswith(f"spamctl: {fault}")
    assert "Traceback" not in stores.out + stores.err
    assert stores.out == ""

"""Messages are scored through the real command as a server scores them, and an interrupted output continues."""

import csv
import json
import signal
import subprocess
import sys
from email import message_from_bytes

import httpx
import pytest
from pyarrow import parquet

from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_models, tiny_packages
from tests.canary import leaks
from tests.faults.processes import until
from tests.flows.conftest import Desk, kill_family
from tests.flows.test_serve import serving
from tests.hostile import PAYLOADS
from tests.mails import mail
from tests.mlflow_loaded import load_mlflow
from tests.registered import register

MESSAGES = tiny_models.messages(300)
MANY = 12_000
CANARY = "kumquat-7f3"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Stand in a folder with a champion, and messages in files."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("score")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(0.5, "champion")
    desk = Desk(folder)
    with desk.path("messages.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([one.text, one.label] for one in MESSAGES)
    desk.path("bad.jsonl").write_text(f'{{"text": "Call now {CANARY}"}}\n{{"text": 5}}\nnope {CANARY}\n')
    return desk


def start(desk, *words, **variables):
    return desk.start("-m", "spamctl", "score", *words, **variables)


def score(desk, *words, **variables):
    """Run `spamctl score` to its end; return its exit code, its output and its last line of errors."""
    code = desk.ended(start(desk, *words, **variables))
    return code, desk.out, desk.err.splitlines()[-1]


def piped(desk, content, *words):
    """Send bytes to `spamctl score` by standard input."""
    words = [sys.executable, "-m", "spamctl", "score", *words]
    done = subprocess.run(
        words, cwd=desk.folder, env=desk.environment(), input=content, capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scores_are_those_of_a_running_server_and_are_captured_as_asked(desk):
    code, out, last = score(desk, "messages.csv", "--output", "out.jsonl", SPAMCTL_SCORE_CAPTURE="scored.db")
    assert code == 0, last
    rows = rows_of(desk.path("out.jsonl"))
    with serving(desk, "--capture", "off") as (address, _):
        asked = {"inputs": [{"text": one.text} for one in MESSAGES]}
        answers = httpx.post(f"{address}/invocations", json=asked, timeout=60).json()["predictions"]
    assert len(rows) == len(answers) == len(MESSAGES)
    for row, answer, message in zip(rows, answers, MESSAGES, strict=True):
        assert row["probability"] == pytest.approx(answer["probability"], abs=1e-6)
        for name in ("classification", "model_version", "in_reach", "truncated"):
            assert row[name] == answer[name]
        assert (row["label"], row["source"], row["fault"]) == (message.label, "messages.csv", None)
    assert [row["place"] for row in rows] == list(range(2, len(MESSAGES) + 2))

    right = sum(row["classification"] == row["label"] == "spam" for row in rows)
    assert f"{right / 150:.4f}" in out
    assert "150 labelled spam" in out
    assert "300 messages in scored.db" in out
    with open_store(str(desk.path("scored.db"))) as store:
        kept = queries.find(store, [row["uuid"] for row in rows])
    assert [kept[row["uuid"]].text for row in rows] == [one.text for one in MESSAGES]
    assert not list(desk.path(".spamctl/score").glob("*/*"))
    assert not list(desk.path(".spamctl").glob("score-*"))


def test_nothing_is_captured_and_no_text_is_logged_unless_asked(desk):
    texts = [*PAYLOADS, f"Call now {CANARY}"]
    desk.path("hostile.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    code, out, last = score(desk, "hostile.jsonl", "--show", "1000", "--output", "hostile.parquet", "--with-text")
    assert code == 0, last
    assert CANARY in out
    assert not {char for char in out if not char.isprintable()} - {"\n"}
    table = parquet.read_table(desk.path("hostile.parquet")).to_pylist()
    assert [row["text"] for row in table][-1] == texts[-1]
    assert len(table) == len(texts)
    places = leaks(desk.folder, CANARY)
    assert set(places) <= {"hostile.jsonl", "hostile.parquet", "bad.jsonl", "out", "Maildir/.Junk/cur/3.c"}
    assert not desk.path("spam.db").exists()


def test_what_could_not_be_read_is_named_and_is_exit_code_1(desk):
    code, out, last = score(desk, "bad.jsonl", "--output", "bad.csv")
    assert code == 1
    assert last.startswith(
        "spamctl: 2 of 3 messages could not be read: 1 with a text that is not a string (bad.jsonl 2)"
    )
    assert "1 message scored" in out
    with desk.path("bad.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["classification"] for row in rows] == ["spam", "", ""]
    assert [row["fault"] for row in rows] == ["", "a text that is not a string", "no valid JSON"]
    assert "CANARY" not in desk.log


def test_mails_are_copied_into_a_maildir_with_their_verdicts(desk):
    mails = {
        "cur/1.a:2,S": mail("Hey, shall we eat soup after work?", X_Spam_Flag="YES"),
        "new/2.b": b"\xff\xfe no mail at all",
        ".Junk/cur/3.c": mail(f"Call now {CANARY}", X_Spam_Status="No, score=-9\n\ttests=none"),
    }
    for name, content in mails.items():
        desk.path(f"Maildir/{name}").parent.mkdir(parents=True, exist_ok=True)
        desk.path(f"Maildir/{name}").write_bytes(content)
    code, out, last = score(desk, "Maildir", "--into-maildir", "Checked", "--output", "mails.csv", "--order", "input")
    assert code == 0, last
    assert "3 mails in Checked" in out
    assert "1 labelled spam" in out
    found = [message_from_bytes(path.read_bytes()) for path in sorted(desk.path("Checked/new").iterdir())]
    with desk.path("mails.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["Maildir .Junk:3.c", "Maildir INBOX:1.a:2,S", "Maildir INBOX:2.b"]
    for one, row in zip(found, rows, strict=True):
        assert one.get_all("X-Spam-Flag") == ["YES" if row["classification"] == "spam" else "NO"]
        (status,) = one.get_all("X-Spam-Status")
        assert status.startswith("Yes, prob" if row["classification"] == "spam" else "No, prob")
        assert f"probability={float(row['probability']):.4f} threshold=0.5000" in status
    assert [one.get_payload() for one in found[:2]] == [f"Call now {CANARY}\n", "Hey, shall we eat soup after work?\n"]
    assert {path: desk.path(f"Maildir/{path}").read_bytes() for path in mails} == mails
    assert CANARY not in desk.log


def test_one_message_of_standard_input_is_explained_in_five_lines(desk):
    code, out, err = piped(desk, b"Claim a free cruise at https://bit.ly/x Call now", "-")
    assert code == 0, err
    assert len(out.splitlines()) == 5
    assert out.startswith(("✘ spam: probability", "NO spam: probability"))
    assert "Claim +" in out
    assert " links     bit.ly" in out
    assert " in reach  yes" in out
    assert " version   spam 1, the champion" in out
    assert not list(desk.path(".spamctl").glob("stdin-*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gone.csv"], "gone.csv: does not exist: name a file, a folder, or - for standard input"),
        (["messages.csv", "--output", "out.xlsx"], "--output out.xlsx: not a file of a known kind"),
        (["messages.csv", "--text-column", "body"], "messages.csv has no column 'body' (--text-column)"),
        (["messages.csv", "--model-version", "7"], "--model-version 7"),
        (["messages.csv", "--messages", "bad.jsonl"], "--messages bad.jsonl: messages.csv is given, too"),
        (["messages.csv", "--into-maildir", "box"], "--into-maildir box: messages.csv holds no mails"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(desk, words, told):
    code, out, last = score(desk, *words)
    assert (code, out) == (2, "")
    assert last.startswith(f"spamctl: {told}")
    assert not desk.path("box").exists()


def test_an_empty_standard_input_is_refused_at_once(desk):
    code, out, err = piped(desk, b"")
    assert (code, out) == (2, "")
    assert err == "spamctl: standard input: is empty; name a file, or send it at least one message\n"


@pytest.fixture(scope="module")
def many(desk):
    """Write so many messages that a scoring can be interrupted."""
    texts = [f"{MESSAGES[place % 300].text} {place}" for place in range(MANY)]
    desk.path("many.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def begun(desk, process, parts):
    """Wait until a run has finished some parts."""
    until(lambda: len(list(desk.path(".spamctl/score").glob("*/part-*.json"))) >= parts or process.poll() is not None)
    assert process.poll() is None, desk.err


def test_a_killed_run_continues_with_nothing_lost_and_nothing_twice(desk, many):
    words = ("many.jsonl", "--output", "many-out.jsonl", "--capture", "many.db")
    process = start(desk, *words)
    begun(desk, process, 1)
    kill_family(process)
    assert not desk.path("many-out.jsonl").exists()

    code, _, last = score(desk, *words)
    assert code == 2
    assert last == "spamctl: an interrupted run has left parts: add --resume, or discard them by --overwrite"

    process = start(desk, *words, "--resume")
    begun(desk, process, 4)
    process.send_signal(signal.SIGINT)
    assert desk.ended(process) == 130
    assert desk.err.splitlines()[-1] == (
        "Stopped. What was scored for an output is kept; the same command with --resume continues."
    )

    code, out, last = score(desk, *words, "--resume")
    assert code == 0, last
    assert "had been scored before the run was interrupted" in out
    rows = rows_of(desk.path("many-out.jsonl"))
    assert [row["place"] for row in rows] == list(range(1, MANY + 1))
    for place in range(0, MANY, 997):
        assert rows[place]["probability"] == pytest.approx(tiny_packages.probability(many[place]), abs=1e-6)
    with open_store(str(desk.path("many.db"))) as store:
        assert queries.count(store) == MANY
        assert len(queries.find(store, [row["uuid"] for row in rows[:2_000]])) == 2_000
    assert not list(desk.path(".spamctl/score").glob("*/*"))

    code, _, last = score(desk, *words)
    assert code == 2
    assert last.startswith("spamctl: --output many-out.jsonl: is there already")


def test_what_an_interrupted_run_has_left_is_forgotten_with_its_message(desk):
    text = f"Claim it before midnight {CANARY}-again"
    desk.path("one.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "Hey"}) + "\n")
    words = ("one.jsonl", "--output", "one-out.jsonl", "--with-text", "--capture", "one.db", "--overwrite")
    code, _, last = score(desk, *words)
    assert code == 0, last
    uuid = rows_of(desk.path("one-out.jsonl"))[0]["uuid"]
    parts = desk.path(".spamctl/score/0123456789abcdef")
    parts.mkdir()
    (parts / "part-000000.jsonl").write_bytes(desk.path("one-out.jsonl").read_bytes())
    (parts / "part-000000.json").write_text(json.dumps({"shown": [{"text": text}]}))
    for name in ("stdin-1.txt", "score-1.json"):
        desk.path(f".spamctl/{name}").write_text(json.dumps({"shown": [{"text": text}]}) if "json" in name else text)
    desk.path("one.jsonl").unlink()
    code = desk.ended(desk.start("-m", "spamctl", "forget", uuid, "--datastore-uri", "one.db"))
    assert code in {0, 1}, desk.err
    assert set(leaks(desk.folder, f"{CANARY}-again")) <= {"out", "err"}
    assert [row["text"] for row in rows_of(desk.path("one-out.jsonl"))] == ["Hey"]

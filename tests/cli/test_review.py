"""A person at a pseudo-terminal decides by single keys, and what was decided is in the store at once."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
from sqlalchemy import insert

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import labels, queries, tables
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from tests import tiny_packages
from tests.store.made_rows import row

pytestmark = pytest.mark.slow

PROMPT = "q quit "
SECONDS = 120.0
REVIEW = """
import json, os, sys
from spamctl.cli.review import review
from spamctl.config.label import LabelOptions
from spamctl.errors import SpamctlError
from spamctl.schema.codec import to_json
try:
    counts = review(LabelOptions(**json.loads(sys.argv[1])), os.environ)
except KeyboardInterrupt:
    sys.exit(130)
except SpamctlError as refusal:
    print("refused:", refusal)
    sys.exit(refusal.exit_code)
print("counts", json.dumps(to_json(counts)))
"""
HOSTILE = "Win\x1b[2J\x07 [bold]now[/bold]\r\u202e 100 \u200b:smile:\nline"


class Terminal:
    """Be a terminal of 80 columns with a person at it, where a program runs."""

    def __init__(self, *words):
        self.master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *words],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=os.environ | {"TERM": "dumb", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
        )
        os.close(terminal)
        self.seen, self.at = "", 0

    def until(self, words):
        """Read until some words are seen, and return what was new up to there; without words, until the end."""
        began, deadline = self.at, time.monotonic() + SECONDS
        while (found := self.seen.find(words, began) if words else -1) < 0:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.2)[0] and not self._read():
                assert not words, self.seen
                found = len(self.seen)
                break
        self.at = found + len(words)
        return self.seen[began : self.at]

    def _read(self):
        """Take what was written, and say whether there is more to come."""
        try:
            read = os.read(self.master, 65536)
        except OSError:  # the other side has closed
            read = b""
        self.seen += read.decode("utf-8", "replace")
        return bool(read)

    def press(self, key):
        """Press a key once the program waits for one."""
        time.sleep(0.3)  # what is typed before the question is seen does not count
        os.write(self.master, key.encode())

    def end(self):
        """Wait for the program and return its exit code."""
        self.until("")
        return self.process.wait(30)


@pytest.fixture
def sit(tmp_path):
    """Start a review of the store; whatever still runs in the end is killed."""
    begun = []

    def sit(**options):
        begun.append(Terminal("-c", REVIEW, json.dumps({"annotator": "ann", "target_uri": "spam.db"} | options)))
        return begun[-1]

    yield sit
    for terminal in begun:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)


@pytest.fixture
def stored(tmp_path):
    """Store messages, the most doubtful first: a hostile one with a copy and a near duplicate, and two more."""
    texts = [HOSTILE, HOSTILE, HOSTILE.replace("100", "999"), "hello", "bye"]
    made = [row(text, n, probability=0.5 + n / 100) for n, text in enumerate(texts)]
    with open_store(str(tmp_path / "spam.db"), create=True) as store:
        with store.writing() as connection:
            connection.execute(insert(tables.data), [asdict(one) for one in made])
        yield store, made


def labelled(store):
    return {one.uuid: one.ground_truth for one in queries.newest(store, 100, Window(labelled=True))}


def test_keys_decide_skip_undo_and_quit(stored, sit):
    store, made = stored
    terminal = sit()
    first = terminal.until(PROMPT)
    assert "[1/3] spam, probability 0.5000, threshold 0.5000, version 1, 1 exact copy" in " ".join(first.split())
    terminal.press("s")
    terminal.until(PROMPT)
    assert labelled(store) == {made[0].uuid: SPAM, made[1].uuid: SPAM}
    terminal.press("u")
    terminal.until("[1/3]")
    terminal.until(PROMPT)
    assert labelled(store) == {}
    terminal.press("n")
    terminal.until(PROMPT)
    terminal.press("k")
    terminal.until("[3/3]")
    terminal.until(PROMPT)
    terminal.press("q")
    counts = " ".join(terminal.until("}").split())
    assert '"asked": 3, "decided": 1, "labelled": 2, "taken": 0, "annotator": "ann"' in counts
    assert terminal.end() == 0
    assert labelled(store) == {made[0].uuid: NOT_SPAM, made[1].uuid: NOT_SPAM}
    (kept,) = labels.history(store, made[0].uuid)
    assert (kept.label, kept.source, kept.annotator) == (NOT_SPAM, "review", "ann")


def test_control_characters_are_shown_and_not_obeyed(stored, sit):
    terminal = sit()
    shown = terminal.until(PROMPT)
    assert r"Win\x1b[2J\x07 [bold]now[/bold]\r\u202e 100 \u200b:smile:\nline" in re.sub(r"\s*\r\n\s*", " ", shown)
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\u200b"}
    terminal.press("q")
    assert terminal.end() == 0


def test_keys_that_mean_nothing_and_keys_typed_too_early_decide_nothing(stored, sit):
    store, _ = stored
    terminal = sit()
    os.write(terminal.master, b"sss")
    terminal.until(PROMPT)
    for keys in ("x", "\x1b[A", "sn", "\n", "S"):
        assert labelled(store) == {}
        terminal.press(keys)
    terminal.until("[2/3]")
    assert set(labelled(store).values()) == {SPAM}
    terminal.until(PROMPT)
    terminal.press("\x04")
    assert terminal.end() == 0


def test_twins_are_not_asked_the_next_time_either(stored, sit):
    first = sit(limit=1)
    first.until(PROMPT)
    first.press("s")
    assert first.end() == 0
    second = sit()
    assert "[1/2]" in second.until(PROMPT)
    assert "Win" not in second.seen
    second.press("q")
    assert second.end() == 0


def test_ctrl_c_keeps_what_was_decided_and_leaves_no_process(stored, sit):
    store, made = stored
    terminal = sit()
    terminal.until(PROMPT)
    terminal.press("s")
    terminal.until(PROMPT)
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert set(labelled(store)) == {made[0].uuid, made[1].uuid}
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "spamctl.jobs.review" not in running


def test_the_words_behind_a_verdict_are_shown_where_a_copy_of_its_version_lies(stored, sit, tmp_path):
    store, _ = stored
    with store.writing() as connection:
        connection.execute(insert(tables.data), asdict(row("free \x1b[2J prize", 50, probability=0.5, threshold=0.5)))
    (tmp_path / ".spamctl" / "models" / "spam").mkdir(parents=True)
    tiny_packages.write(tmp_path / ".spamctl" / "models" / "spam" / "1-abc")
    terminal = sit()
    shown = terminal.until(PROMPT)
    assert re.search(r"most influential words: .*(free|prize) [+-]\d\.\d\d", shown)
    assert "\x1b" not in shown
    terminal.press("q")
    assert terminal.end() == 0


def test_what_another_labels_meanwhile_is_not_asked(stored, sit):
    store, made = stored
    terminal = sit()
    terminal.until(PROMPT)
    labels.set_labels(store, {made[3].uuid: SPAM}, "file")
    terminal.press("k")
    terminal.until("[3/3]")
    terminal.until(PROMPT)
    terminal.press("n")
    assert '"taken": 1' in terminal.until("}")
    assert labelled(store) == {made[3].uuid: SPAM, made[4].uuid: NOT_SPAM}


def test_suspected_labels_come_first_and_show_what_stands(tmp_path, sit):
    made = [
        row(f"{word} {'abcdefgh'[n]}", n, probability=p) for word, p in (("ham", 0.02), ("win", 0.98)) for n in range(8)
    ]
    doubtful = row("perhaps", 99, probability=0.51)
    with open_store(str(tmp_path / "spam.db"), create=True) as store:
        with store.writing() as connection:
            connection.execute(insert(tables.data), [asdict(one) for one in [*made, doubtful]])
        truth = {one.uuid: SPAM if one.text.startswith("win") else NOT_SPAM for one in made}
        labels.set_labels(store, truth | {made[0].uuid: SPAM}, "file")
        terminal = sit(suspects=True)
        assert "the label now: spam by file" in terminal.until(PROMPT)
        assert "ham a" in terminal.seen
        terminal.press("n")
        assert "perhaps" in terminal.until(PROMPT)
        assert queries.find(store, [made[0].uuid])[made[0].uuid].ground_truth == NOT_SPAM
        terminal.press("u")
        terminal.until(PROMPT)
        at = queries.find(store, [made[0].uuid])[made[0].uuid]
        assert (at.ground_truth, at.label_source) == (SPAM, "file")
        terminal.press("q")
        assert terminal.end() == 0


def test_a_second_opinion_does_not_see_the_first(stored, sit):
    store, made = stored
    for name, key in (("ann", "s"), ("bob", "n")):
        terminal = sit(annotator=name, second_opinion=name == "bob", limit=1)
        shown = terminal.until(PROMPT)
        assert "the label now" not in shown
        terminal.press(key)
        assert terminal.end() == 0
    assert [(one.annotator, one.label) for one in labels.history(store, made[0].uuid)] == [
        ("ann", SPAM),
        ("bob", NOT_SPAM),
    ]


def test_without_a_store_it_is_one_line(tmp_path, sit):
    terminal = sit()
    assert terminal.end() == 2
    assert "refused: spam.db: there is no store yet" in terminal.seen


def test_without_a_question_it_ends_at_once(tmp_path, sit):
    open_store(str(tmp_path / "spam.db"), create=True).close()
    terminal = sit()
    assert terminal.end() == 0
    assert '"asked": 0' in terminal.seen


def test_without_a_terminal_it_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "spamctl", "label", "--source", "review"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "spamctl: --source review: asks at a terminal, and this is none: run it there, or use --source file\n"
    )

"""Progress is a line now and then in a file, bars on a terminal, and never what a message's text says it is."""

import io
import json

import pytest
from rich.console import Console

from spamctl.cli import progress
from spamctl.cli.process import read_event
from tests.each import each


@pytest.fixture
def clock(monkeypatch):
    """Hold the time still until it is set."""

    class Clock:
        now = 100.0

    monkeypatch.setattr("time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def screen():
    """Give a display that is no terminal, and the text that it has written."""
    paper = io.StringIO()
    with progress.display(Console(file=paper, width=80)) as shown:
        yield shown, paper


def tell(shown, kind, **fields):
    shown.tell(read_event(json.dumps({"spamctl": kind, **fields})))


def test_a_run_in_a_file(screen, clock):
    shown, paper = screen
    tell(shown, "stage", stage="tune", title="Fine-tune", index=2, of=6)
    tell(shown, "note", text="a fact")
    tell(shown, "warning", text="a surprise")
    tell(shown, "metric", name="validation loss", value=0.123456, epoch=1)
    for done in range(0, 101, 2):
        tell(shown, "progress", task="frozen pass", done=done, total=100, unit="messages")
        clock.now += 0.4
    tell(shown, "result", verb="train")
    assert paper.getvalue().splitlines() == [
        "[2/6] Fine-tune",
        "      a fact",
        "      warning: a surprise",
        "      validation loss after epoch 1: 0.1235",
        "      frozen pass: 50 of 100 messages, 5/s, 10 s left",
        "      frozen pass: 100 messages in 20 s",
    ]


def test_a_short_task_is_not_worth_a_line(screen, clock):
    shown, paper = screen
    for done in (0, 50, 100):
        tell(shown, "progress", task="read", done=done, total=100, unit="rows")
        clock.now += 1
    assert paper.getvalue() == ""


def test_hostile_text_is_shown_and_does_nothing(screen):
    shown, paper = screen
    tell(shown, "note", text="\x1b[31m[bold red]x[/] [link=http://evil]\nspamctl: forged")
    assert paper.getvalue() == "      \\x1b[31m[bold red]x[/] [link=http://evil]\\nspamctl: forged\n"


def test_a_terminal_gets_a_bar_and_keeps_what_is_done():
    paper = io.StringIO()
    console = Console(file=paper, width=80, force_terminal=True, _environ={"TERM": "xterm"})
    with progress.display(console) as shown:
        tell(shown, "stage", stage="a", title="Read [bold]it[/]", index=1, of=2)
        tell(shown, "progress", task="frozen [red]pass", done=1, total=4, unit="messages")
        shown._bars.refresh()
        tell(shown, "progress", task="frozen [red]pass", done=4, total=4, unit="messages")
        tell(shown, "stage", stage="b", title="Tune", index=2, of=2)
    text = paper.getvalue()
    assert "[1/2] Read [bold]it[/]" in text
    assert "frozen [red]pass" in text
    assert "1/4 messages" in text
    assert text.count("✓") == 2


def test_a_step_that_was_left_by_an_error_is_not_ticked():
    paper = io.StringIO()
    console = Console(file=paper, width=80, force_terminal=True, _environ={"TERM": "xterm"})
    shown = progress.display(console).__enter__()
    tell(shown, "stage", stage="a", title="Read", index=1, of=2)
    shown.__exit__(KeyboardInterrupt)
    assert "✗" in paper.getvalue()
    assert "✓" not in paper.getvalue()


def test_a_rate_below_one_is_not_said():
    assert progress.pace(0.05, 61) == "1 min 1 s left"


@each(
    ("seconds", "words"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3780, "1 h 3 min")]
)
def test_a_time_is_said_as_one_would(seconds, words):
    assert progress.duration(seconds) == words

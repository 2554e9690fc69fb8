"""Whoever starts the server reads what it serves, where answers go, and a line that works."""

import io
import shlex

from rich.console import Console

from spamctl.reports.console import Greeting, curl, greet
from tests.each import each

PLAIN = Greeting(
    address="http://127.0.0.1:8080",
    model="spam version 3, the champion",
    engine="int8",
    threshold=0.36721,
    capture="required",
    store="spam.db",
    shadow="",
    follows="champion, when it moves to another version",
    with_token=False,
    workers=1,
)


def printed(greeting, encoding="utf-8", width=100):
    paper = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    greet(greeting, Console(file=paper, width=width))
    paper.seek(0)
    return paper.read()


def changed(**changes):
    return Greeting(**({name: getattr(PLAIN, name) for name in Greeting.__slots__} | changes))


def test_the_greeting_says_what_where_and_how_to_try():
    lines = [line.strip() for line in printed(PLAIN).splitlines()]
    assert lines[0] == "✔ Serving spam version 3, the champion on http://127.0.0.1:8080  (Ctrl-C stops it)"
    assert "engine   int8, threshold 0.3672" in lines
    assert "answers  stored in spam.db; a request is refused if storing fails" in lines
    assert "follows  champion, when it moves to another version" in lines
    assert "access   no token is required" in lines
    assert lines[-2:] == ["Try it:", curl(PLAIN)]


def test_the_line_to_try_is_one_that_a_shell_reads():
    words = shlex.split(curl(PLAIN))
    assert words[:4] == ["curl", "-X", "POST", "http://127.0.0.1:8080/invocations"]
    assert words[-1].startswith('{"inputs": [{"text": "You are a winner')


def test_it_is_never_broken_into_lines():
    assert curl(PLAIN) in printed(PLAIN, width=40).splitlines()


@each(
    ("changes", "words"),
    [
        ({"capture": "off"}, "not stored"),
        ({"capture": "best-effort"}, "a request is answered even if storing fails, and says so"),
        ({"shadow": "4"}, "version 4 scores every stored message in shadow mode"),
        ({"workers": 3}, "3 processes"),
        ({"spamd": "127.0.0.1:783"}, "mail     spamd protocol on 127.0.0.1:783"),
        ({"spamd": "127.0.0.1:783"}, "spamc -d 127.0.0.1 -p 783 -R < message.eml"),
        ({"spamd": "[::1]:783"}, "spamc -d ::1 -p 783 -R < message.eml"),
        ({"with_token": True}, "clients must send the token"),
        ({"with_token": True}, '-H "Authorization: Bearer $SPAMCTL_SERVE_TOKEN"'),
    ],
)
def test_what_is_unusual_is_said(changes, words):
    assert words in printed(changed(**changes))


def test_a_terminal_without_unicode_gets_ascii_and_no_terminal_obeys_a_name():
    told = printed(changed(model="sp\x1b[31mäm"), encoding="ascii")
    assert "OK Serving sp\\x1b[31m\\xe4m on" in told
    assert "\x1b" not in printed(changed(model="sp\x1b[31mäm"))

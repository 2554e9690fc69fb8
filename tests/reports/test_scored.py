"""Scored messages are shown harmless and bounded; a single one is explained in five lines."""

import io

import pytest
from rich.console import Console

from spamctl.reports import scoring
from spamctl.schema.codec import from_json
from spamctl.schema.score import ScoreResult
from tests.hostile import PAYLOADS

RELEASE = {"name": "spam", "version": "3", "alias": "champion", "folder": "x", "digest": "ab" * 32, "sealed": True}
RESULT = {
    "release": RELEASE,
    "threshold": 0.5,
    "input": "a.csv",
    "messages": 4,
    "counts": {"spam": 2, "not spam": 1, "unreadable": 1, "out of reach": 1, "truncated": 1},
    "scores": {
        "recall": {"value": 1.0, "low": 0.34, "high": 1.0},
        "false_positive_rate": {"value": 0.0, "low": 0.0, "high": 0.79},
    },
    "labelled": {"spam": 2, "caught": 2, "rest": 1, "flagged": 0},
    "unreadable": "1 with no text (a.csv 5)",
    "continued": 2,
    "output": "out.csv",
    "maildir": "none",
    "captured": "spam.db",
    "seconds": 1.5,
    "explained": {},
    "shown": [],
}
EXPLAINED = {
    "classification": "spam",
    "probability": 0.99712,
    "in_reach": True,
    "truncated": False,
    "words": "claim +2.10, hey -0.30",
    "hosts": ["bit.ly"],
}


def row(text, **more):
    told = {"number": 0, "source": "a.csv", "place": 2, "classification": "spam", "probability": 0.9, "in_reach": True}
    return told | {"label": None, "text": text} | more


def printed(result, **settings):
    paper = io.StringIO()
    scoring.show(from_json(ScoreResult, result), Console(file=paper, width=80, highlight=False, **settings))
    return paper.getvalue()


def test_counts_scores_and_facts_are_told():
    page = printed(RESULT | {"shown": [row("Call now", label="spam"), row("zorp", in_reach=False, label="spam")]})
    for words in (
        "3 messages scored: 2 spam (66.67 %), 1 not spam",
        "recall               1.0000  0.3400",
        "2 labelled spam",
        "1 labelled not spam",
        "spam 3, the champion, package abababababab",
        "1 unlike all that was trained on (in_reach: false)",
        "1 longer than the window",
        "1: 1 with no text (a.csv 5)",
        "2 had been scored before the run was interrupted",
        "4 messages in out.csv",
        "3 messages in spam.db",
        "spam, out of reach",
        "Call now",
    ):
        assert words in page
    assert max(map(len, page.splitlines())) <= 80


def test_what_could_not_be_read_is_one_line():
    told = scoring.missing(from_json(ScoreResult, RESULT))
    assert told == "1 of 4 messages could not be read: 1 with no text (a.csv 5); mend them"
    assert scoring.missing(from_json(ScoreResult, RESULT | {"counts": {"spam": 4}})) == ""


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_no_message_reaches_the_terminal_raw(payload):
    page = printed(RESULT | {"shown": [row(payload, source=payload)]}, force_terminal=True, color_system=None)
    page += printed(RESULT | {"explained": EXPLAINED | {"words": payload, "hosts": [payload]}})
    assert not {char for char in page if not char.isprintable()} - {"\n"}
    assert len(page.splitlines()) < 40


def test_a_message_stays_on_one_line():
    few, many = (printed(RESULT | {"shown": [row(text)]}) for text in ("a", "word\n" * 5_000))
    assert len(few.splitlines()) == len(many.splitlines())


def test_a_single_message_is_explained_in_five_lines():
    page = printed(RESULT | {"explained": EXPLAINED, "output": "none", "captured": ""})
    assert page.splitlines() == [
        "✘ spam: probability 0.9971, threshold 0.5000",
        " words     claim +2.10, hey -0.30",
        " links     bit.ly",
        " in reach  yes",
        " version   spam 3, the champion, package abababababab",
    ]


def test_a_single_message_out_of_reach_says_why_it_is_delivered():
    told = EXPLAINED | {"classification": "not spam", "in_reach": False, "hosts": [], "words": "", "truncated": True}
    page = printed(RESULT | {"explained": told, "output": "none"})
    assert "✔ not spam: probability 0.9971, threshold 0.5000, beginning and end read" in page
    assert "in reach  no: it is unlike all that was trained on, and delivered for that (--out-of-reach)" in page
    assert " links     none" in page
    assert " words     none moves it" in page
    assert " captured  3 messages in spam.db" in page


def test_the_card_holds_no_message():
    page = scoring.page(from_json(ScoreResult, {name: value for name, value in RESULT.items() if name != "shown"}))
    assert "3 messages scored: 2 spam (66.67 %), 1 not spam" in page
    assert "false-positive rate" in page
    assert "script" not in page

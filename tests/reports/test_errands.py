"""What an errand did is said in a line or two, and a hostile text does no harm."""

import io

import pytest
from rich.console import Console

from spamctl.reports.console import forgotten, rolled_back, show
from spamctl.schema.codec import from_json
from spamctl.schema.version import ForgetResult, RollbackResult, TraceResult
from tests.each import each
from tests.hostile import PAYLOADS

REMOVED = {
    "store": "spam.db",
    "date": "2026-11-26T02:25:07+00:00",
    "kind": "uuid",
    "wish": "none",
    "rows": 1,
    "already": 0,
    "unknown": [],
    "related": 3,
    "copies": 0,
    "listed": False,
    "places": {},
    "left": [],
}


def removed(told):
    return from_json(ForgetResult, told)


def shown(verb, told):
    out = io.StringIO()
    kinds = {"rollback": RollbackResult, "forget": ForgetResult, "trace": TraceResult}
    show(from_json(kinds[verb], told), Console(file=out, width=80, highlight=False))
    return out.getvalue()


def test_a_step_back_names_both_versions():
    (line,) = rolled_back(RollbackResult("spam", "4", "2"))
    assert line == "spam: version 2 is champion, version 4 before; a running server follows within seconds"
    (line,) = rolled_back(RollbackResult("spam", "", "2"))
    assert line.startswith("spam: version 2 is champion; ")


@pytest.mark.parametrize(
    ("copies", "told"), [(1, "1 other row has the same text"), (12, "12 other rows have the same text")]
)
def test_what_is_left_elsewhere_is_said(copies, told):
    first, second, third = forgotten(removed(REMOVED | {"copies": copies}))
    assert first.startswith("forgotten: the row and 3 labels, truths and shadow verdicts of it, in spam.db;")
    assert second.startswith(told)
    assert "retrain to replace it" in third
    assert len(list(forgotten(removed(REMOVED)))) == 2


def test_forgotten_twice_is_told_with_the_date():
    (line,) = forgotten(removed(REMOVED | {"already": 1, "rows": 0}))
    assert line == "already forgotten on 2026-11-26T02:25:07+00:00: spam.db has no such row"


def test_a_list_of_wishes_is_counted_and_what_was_not_found_or_reached_is_named():
    told = {"kind": "matching", "wish": "list.txt", "rows": 1200, "already": 3, "unknown": list(range(1, 13))}
    told |= {"places": {"pages of monitoring": 2, "values of runs": 5}, "left": ["mine.csv: holds it"]}
    lines = list(forgotten(removed(REMOVED | told)))
    assert lines[0].startswith("forgotten: 1,200 rows that list.txt lists and 3 labels, truths and shadow verdicts, in")
    assert lines[1:5] == [
        "3 of them had been forgotten before",
        "removed from 2 pages of monitoring, 5 values of runs",
        "NOT FOUND in spam.db: 12 lines of list.txt: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more",
        "LEFT: mine.csv: holds it",
    ]


def test_retention_promises_nothing_of_later_trainings():
    first, *_ = forgotten(removed(REMOVED | {"kind": "older_than", "wish": "90d", "rows": 7}))
    assert first == "forgotten: 7 rows older than 90d and 3 labels, truths and shadow verdicts, in spam.db"


@each("text", PAYLOADS)
def test_a_text_is_shown_harmlessly_and_only_if_asked_for(text):
    page = shown("trace", {"chain": {"row": "a", "git commit": "c0ffee"}, "text": text})
    assert "c0ffee" in page
    assert "text" in page
    assert "\x1b" not in page
    assert "text" not in shown("trace", {"chain": {"row": "a"}, "text": None})

"""Hold the slices to the messages they name, and the worst errors to their order."""

import json
import time

import pytest

from spamctl.errors import DataError
from spamctl.metrics.evaluation import LONG, SHORT, SLICES, by_slice, worst_errors
from spamctl.metrics.scores import proportion
from spamctl.schema.codec import to_json
from tests.each import each


def names(text):
    """Return the slices that a text lies in."""
    return {name for name, holds in SLICES.items() if holds(text)}


@each(
    ("name", "inside", "outside"),
    [
        ("short", "x" * (SHORT - 1), "x" * SHORT),
        ("medium", "x" * SHORT, "x" * LONG),
        ("medium", "x" * (LONG - 1), "x" * (SHORT - 1)),
        ("long", "x" * LONG, "x" * (LONG - 1)),
        ("with a URL", "see HTTP://x.example", "see you at home. me too"),
        ("with a URL", "go to www.win now", "www no dot"),
        ("with a URL", "text wap.prize-now.co.uk", "a.b.c and e.g. this"),
        ("with a phone number", "call 09061701461 now", "pin 123456"),
        ("with a phone number", "call +44 (20) 7946-0018", "1, 2, 3, 4, 5, 6, 7, 8"),
        ("with a phone number", "call 0800 505 060", "card 1234567890123456789"),
        ("with a currency", "win £1000", "win 1000"),
        ("with a currency", "only 5 pounds", "pounding heart"),
        ("with digits", "at 5", "at five"),
        ("without digits", "at five", "at 5"),
        ("mostly capitals", "WIN A prize NOW", "I am OK, see you"),
        ("mostly capitals", "ПРИЗ ДНЯ", "OK"),
        ("non-ASCII", "Ƒree", "Free"),
    ],
)
def test_a_slice_holds_what_it_names(name, inside, outside):
    assert any(name in each for each in names(inside))
    assert not any(name in each for each in names(outside))


@each("text", ["", "\u200b", "\ud800", "١٢٣٤٥٦٧", "x" * 500])
def test_every_text_has_one_length_and_either_digits_or_none(text):
    found = names(text)
    assert len([name for name in found if name.startswith(("short", "medium", "long"))]) == 1
    assert len(found & {"with digits", "without digits"}) == 1
    assert "every message" in found


@each("hostile", ["a-" * 200_000, "1 " * 200_000, "+" * 200_000, "w" * 400_000])
def test_a_hostile_text_takes_no_time(hostile):
    start = time.process_time()
    names(hostile)
    assert time.process_time() - start < 3


def test_rates_of_a_case_done_by_hand():
    texts = ["free 1", "free 2", "hi", "call 3"]
    digits = {found.name: found for found in by_slice(texts, [1, 1, 0, 0], [0.9, 0.2, 0.8, 0.1], 0.5)}["with digits"]
    assert (digits.rows, digits.spam) == (3, 2)
    assert digits.recall == proportion(1, 2)
    assert digits.false_positive_rate == proportion(0, 1)


def test_a_rate_that_no_row_can_tell_is_none():
    found = {each.name: each for each in by_slice(["free 1", "hi"], [1, 0], [0.9, 0.1], 0.5)}
    assert found["with digits"].false_positive_rate is None
    assert found["without digits"].recall is None
    assert found["with a URL"].recall is found["with a URL"].false_positive_rate is None
    assert found["with a URL"].rows == 0
    assert json.loads(json.dumps(to_json(tuple(found.values()))))[0]["rows"] == 2


def test_the_worst_errors_come_first_and_only_errors():
    texts = ["sure miss", "near miss", "right", "sure alarm", "near alarm", "calm"]
    found = worst_errors(texts, [1, 1, 1, 0, 0, 0], [0.01, 0.4, 0.9, 0.95, 0.7, 0.1], 0.5)
    assert [each.text for each in found] == ["sure miss", "sure alarm", "near alarm", "near miss"]
    assert [each.label for each in found] == ["spam", "not spam", "not spam", "spam"]
    assert to_json(found[0]) == {"text": "sure miss", "label": "spam", "probability": 0.01}
    assert worst_errors(texts, [1, 1, 1, 0, 0, 0], [0.01, 0.4, 0.9, 0.95, 0.7, 0.1], 0.5, limit=2) == found[:2]


def test_a_model_without_errors_has_no_worst():
    assert worst_errors(["a", "b"], [1, 0], [0.9, 0.1], 0.5) == ()


@pytest.mark.parametrize("look", [by_slice, worst_errors])
def test_rows_that_do_not_match_are_refused(look):
    with pytest.raises(DataError, match="1 texts do not match 2 labels"):
        look(["a"], [1, 0], [0.9, 0.1], 0.5)

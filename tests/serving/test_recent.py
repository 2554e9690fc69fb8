"""The page and the log read how busy the server was, and its last verdicts, from a bounded memory."""

import pytest

from spamctl.schema.codec import to_json
from spamctl.serving import activity as recent
from spamctl.serving.activity import MOST_VERDICTS, Activity, Figures, RecentAnswers, Shown, newest, shown
from tests.each import each


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is moved."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(recent.time, "monotonic", lambda: Clock.now)
    return Clock


def verdict(number):
    return Shown("2026-01-01T00:00:00+00:00", f"text {number}", "spam", 0.9, str(number), "1")


def test_nothing_has_no_share_and_no_latency(clock):
    figures = Figures.of([RecentAnswers().activity()])
    assert (figures.rows, figures.rows_per_second) == (0, 0)
    assert (figures.spam_share, figures.p50_ms, figures.p99_ms) == (None, None, None)


def test_a_window_counts_what_came_in_it(clock):
    memory = RecentAnswers()
    memory.add([], spam=4, rows=4, latency_ms=1)
    clock.now += 50
    for latency in range(1, 101):
        memory.add([], spam=1, rows=2, latency_ms=latency)
    clock.now += 20
    figures = Figures.of([memory.activity(60.0)])
    assert (figures.requests, figures.rows, figures.spam_share) == (100, 200, 0.5)
    assert figures.rows_per_second == pytest.approx(200 / 60)
    assert (figures.p50_ms, figures.p99_ms) == (51, 100)
    assert memory.rows == 204


def test_a_young_server_divides_by_its_age(clock):
    memory = RecentAnswers()
    clock.now += 4
    memory.add([], spam=0, rows=8, latency_ms=1)
    assert Figures.of([memory.activity(60.0)]).rows_per_second == 2


def test_when_too_much_came_the_rate_is_that_of_what_is_remembered(clock, monkeypatch):
    monkeypatch.setattr(recent, "_MOST_REQUESTS", 10)
    memory = RecentAnswers()
    for _ in range(30):
        clock.now += 0.1
        memory.add([], spam=0, rows=1, latency_ms=1)
    assert Figures.of([memory.activity(60.0)]).rows_per_second == pytest.approx(10 / 0.9)


def test_the_last_verdicts_are_kept_the_newest_first(clock):
    memory = RecentAnswers()
    for number in range(MOST_VERDICTS + 5):
        memory.add([verdict(number)], spam=1, rows=1, latency_ms=1)
    told = newest([memory.activity()])
    assert len(told) == MOST_VERDICTS
    assert told[0].uuid == str(MOST_VERDICTS + 4)
    assert to_json(told[0]).keys() == {
        "date",
        "text",
        "classification",
        "probability",
        "uuid",
        "model_version",
        "captured",
    }


def test_a_long_message_is_cut():
    assert shown("a" * 500) == "a" * 500
    assert shown("a" * 501) == "a" * 500 + "…"


def test_what_several_processes_did_is_added_up(clock):
    memories = RecentAnswers(), RecentAnswers()
    clock.now += 2
    for latency in (1, 2, 3):
        memories[0].add([], spam=1, rows=1, latency_ms=latency)
    memories[1].add([], spam=0, rows=5, latency_ms=9)
    figures = Figures.of([memory.activity() for memory in memories])
    assert (figures.requests, figures.rows, figures.rows_per_second) == (4, 8, 4)
    assert (figures.spam_share, figures.p50_ms, figures.p99_ms) == (3 / 8, 3, 9)


def test_the_newest_of_all_processes_come_first_and_no_more_than_fit():
    early, late = RecentAnswers(), RecentAnswers()
    for number in range(MOST_VERDICTS):
        for memory, second in ((early, 10), (late, 11)):
            date = f"2026-01-01T00:{number:02}:{second}+00:00"
            memory.add([Shown(date, "", "spam", 0.9, f"{number} {second}", "1")], spam=1, rows=1, latency_ms=1)
    told = [verdict.uuid for verdict in newest([early.activity(), late.activity()])]
    assert told[:4] == ["29 11", "29 10", "28 11", "28 10"]
    assert len(told) == MOST_VERDICTS


def test_what_a_process_did_goes_to_another_and_half_a_character_with_it():
    memory = RecentAnswers()
    memory.add([Shown("", "half \ud83d", "spam", 0.9, "", "1")], spam=1, rows=1, latency_ms=1.5)
    activity = memory.activity()
    assert Activity.from_json(activity.to_json()) == activity


@each("told", ["", "{", "[]", "1", '{"rows": 1}', '{"rows_ever": 1, "more": 2}'])
def test_half_a_word_is_refused(told):
    with pytest.raises((ValueError, TypeError)):
        Activity.from_json(told)

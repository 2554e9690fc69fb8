"""Whoever tells an operator goes on when nobody hears it."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spamctl.serving.log import (
    EVERY_S,
    MOST_KINDS,
    OTHERS,
    EventCounters,
    RateLimitedLog,
    rate_limited_log,
    unfailing,
)

PROGRAM = """
import sys
from rich.console import Console
from spamctl.serving.log import EVERY_S, MOST_KINDS, OTHERS, EventCounters, RateLimitedLog, unfailing, rate_limited_log
tell = unfailing(Console(stderr=True).print) if sys.argv[1] == "on" else Console(stderr=True).print
tell("now serving")
tell("again")
sys.exit(7)
"""


@pytest.mark.parametrize(("way", "code"), [("on", 7), ("out", 1)])
def test_a_pipe_that_nobody_reads_ends_nothing(way, code):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, way], stderr=pipe, stdout=subprocess.DEVNULL, check=False, timeout=60
        )
    assert ended.returncode == code


def test_what_can_be_heard_is_told(capsys):
    unfailing(print)("now serving")
    assert capsys.readouterr().out == "now serving\n"


def test_a_full_disk_and_a_closed_file_end_nothing(tmp_path):
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("w", buffering=1) as full:
        unfailing(lambda text: print(text, file=full))("now serving")
    with (tmp_path / "log").open("w") as closed:
        pass
    unfailing(lambda text: print(text, file=closed))("now serving")


def test_other_faults_are_not_hidden():
    def wrong(_text):
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        unfailing(wrong)("now serving")


class Clock:
    """Be a clock that stands until it is set."""

    now = 1000.0

    def __call__(self):
        return self.now


def test_what_happens_often_is_told_once_in_a_while_with_its_count():
    clock = Clock()
    occasions = EventCounters(10, clock)
    assert [*occasions.lines()] == []
    for seconds, often, lines in (
        (0, 8439, ["noise: 8,439"]),
        (1, 5, []),
        (8, 1, []),
        (1, 0, ["noise: 6 in 10 s"]),
        (30, 0, []),
        (1, 2, ["noise: 2"]),
    ):
        clock.now += seconds
        for _ in range(often):
            occasions.count("noise")
        assert [*occasions.lines()] == lines
    occasions.count("another")
    assert [*occasions.lines()] == ["another: 1"]


def test_of_the_records_of_one_kind_the_first_is_written_and_the_rest_is_counted(capsys):
    clock = Clock()
    occasions = EventCounters(10, clock)
    logger = logging.Logger("one")  # noqa: LOG001 - not to be known to others
    logger.addHandler(RateLimitedLog(occasions, clock))
    for number in range(1000):
        logger.warning("request %s: fault\ntrace", number)
        logger.error("request %s", number, extra={"kind": f"a trace {number % 2}"})
        logger.info("not to be written")
    assert capsys.readouterr().err == "request 0: fault\ntrace\nrequest 0\nrequest 1\n"
    assert [*occasions.lines()] == [
        "more log records like: request 0: fault: 999",
        "more log records like: request 0: 499",
        "more log records like: request 1: 499",
    ]
    clock.now += EVERY_S
    logger.warning("request %s: fault\ntrace", 1000)
    assert capsys.readouterr().err == "request 1000: fault\ntrace\n"


def test_records_of_too_many_kinds_are_counted_together(capsys):
    occasions = EventCounters()
    logger = logging.Logger("one")  # noqa: LOG001 - not to be known to others
    logger.addHandler(RateLimitedLog(occasions))
    for number in range(2 * MOST_KINDS):
        logger.warning("a fault of its own", extra={"kind": number})
    assert len(capsys.readouterr().err.splitlines()) == MOST_KINDS
    assert [*occasions.lines()] == [f"{OTHERS}: {MOST_KINDS}"]


def test_the_log_is_sparing_while_a_block_lasts(capsys):
    before = logging.root.handlers[:]
    occasions = EventCounters()
    with rate_limited_log(occasions):
        for _ in range(3):
            logging.getLogger("asyncio").warning("a connection broke")
    assert logging.root.handlers == before
    assert capsys.readouterr().err == "a connection broke\n"
    assert [*occasions.lines()] == ["more log records like: a connection broke: 2"]

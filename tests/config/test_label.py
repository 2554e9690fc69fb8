"""An option that would do nothing is refused, so that nobody believes it did something."""

from datetime import timedelta

import pytest

from spamctl.config.label import LabelOptions
from spamctl.config.options import Given, duration, is_duration
from spamctl.config.sources import validate
from spamctl.errors import OptionsError
from tests.each import each


def chosen(**given):
    return validate(LabelOptions, [{name: Given(text, f"--{name.replace('_', '-')}") for name, text in given.items()}])


@each(
    ("given", "fault"),
    [
        ({"noise": "0.1"}, "--noise: only --source truth reads it, and the source is predictions"),
        ({"delay": "1d", "source": "review"}, "--delay: only --source truth reads it, and the source is review"),
        ({"labels": "a.csv"}, "--labels: only --source file reads it, and the source is predictions"),
        ({"source": "file"}, "--source: file needs a file: name it with --labels"),
        ({"suspects": "true"}, "--suspects: only --source review reads it, and the source is predictions"),
        ({"overwrite": "true"}, "--overwrite: only truth or a file may replace labels, and the source is predictions"),
        ({"export": "a.csv", "source": "truth"}, "--export: labels nothing; leave out --source, or label first and"),
        ({"export_simulated": "true"}, "--export-simulated: only --export reads it; name a file with --export"),
        ({"since": "yesterday"}, "--since: must be always, or a time such as 45m, 12h or 7d, got 'yesterday'"),
        ({"delay": "always", "source": "truth"}, "--delay: must be a time such as 30s, 45m, 12h or 7d, got 'always'"),
        ({"annotator": "a\x1b[31m"}, "--annotator: must be at most 100 printable characters"),
        ({"ground_truth_quality": "1.1"}, "--ground-truth-quality: must be at most 1, got 1.1"),
        ({"limit": "-1"}, "--limit: must be at least 0, got -1"),
    ],
)
def test_what_would_do_nothing_or_harm_is_refused(given, fault):
    with pytest.raises(OptionsError) as refusal:
        chosen(**given)
    assert refusal.value.faults[0].startswith(fault)


def test_two_ways_to_ask_at_once_are_one_too_many():
    with pytest.raises(OptionsError, match="cannot go with --second-opinion"):
        chosen(source="review", suspects="true", second_opinion="true")


@each(
    "given",
    [
        {},
        {"source": "file", "labels": "a.csv", "overwrite": "true"},
        {"source": "truth", "noise": "0.1", "coverage": "0.5", "delay": "2d", "overwrite": "true"},
        {"export": "a.csv", "overwrite": "true", "export_simulated": "true"},
        {"source": "review", "second_opinion": "true", "limit": "5", "since": "2w"},
    ],
)
def test_what_goes_together_is_taken(given):
    items = chosen(**given).items()
    assert all(str(items[name]).lower() == text for name, text in given.items())


@each(
    ("text", "expected"),
    [("0s", timedelta()), ("45m", timedelta(minutes=45)), ("7d", timedelta(7)), ("99999w", timedelta(weeks=99999))],
)
def test_a_length_of_time_is_read(text, expected):
    assert is_duration(text)
    assert duration(text) == expected


@each("text", ["", "7", "d", "-1d", "1.5h", "1 d", "7D", "123456s", "٣d", "1d\n"])
def test_what_is_no_length_of_time(text):
    assert not is_duration(text)
    with pytest.raises(ValueError, match="no length of time"):
        duration(text)

"""A window, an address and an interval are checked before anything is read, and no secret is repeated."""

import pytest

from spamctl.config.monitor import MonitorOptions
from spamctl.config.options import Given
from spamctl.config.sources import validate
from spamctl.errors import OptionsError
from tests.each import each


def chosen(**given):
    return validate(
        MonitorOptions, [{name: Given(text, f"--{name.replace('_', '-')}") for name, text in given.items()}]
    )


@each(
    ("given", "fault"),
    [
        ({"since": "yesterday"}, "--since: must be always, or a time such as 45m, 12h or 7d, got 'yesterday'"),
        ({"watch": "always"}, "--watch: must be none, or a time such as 30s, 15m or 1d, got 'always'"),
        ({"watch": "0s"}, "--watch: must be none, or a time such as 30s, 15m or 1d, got '0s'"),
        (
            {"model_version": "newest"},
            "--model-version: must be champion, challenger, latest or a number, got 'newest'",
        ),
        ({"model_version": "0"}, "--model-version: must be champion, challenger, latest or a number, got 0"),
        ({"model_name": "../x"}, "--model-name: must be 1 to 100 letters, digits and . _ - and not begin with a dot"),
        (
            {"experiment": "../x"},
            "--experiment: must be 1 to 100 letters, digits, blanks and . _ - with / only between",
        ),
        ({"samples": "-1"}, "--samples: must be at least 0, got -1"),
        ({"false_alarm_rate": "0"}, "--false-alarm-rate: must be more than 0, got 0"),
        ({"false_alarm_rate": "0.6"}, "--false-alarm-rate: must be at most 0.5, got 0.6"),
        ({"fail_on": "ok"}, "--fail-on: must be one of failed, warning, got 'ok'"),
        ({"report_dir": " "}, "--report-dir: "),
        ({"threads": "100000"}, "--threads: must be at most "),
    ],
)
def test_what_cannot_be_meant_is_refused(given, fault):
    with pytest.raises(OptionsError) as refusal:
        chosen(**given)
    assert refusal.value.faults[0].startswith(fault)


@each(
    "address",
    ["ftp://host/x", "file:///etc/passwd", "https://", "https:///path", "host/path", "http://[::1", "http://h:x/",
     "http://host/a b", "http://host/\x1b[31m", "javascript:alert(1)"],
)  # fmt: skip
def test_an_address_that_json_cannot_be_posted_to_is_refused_and_not_repeated(address):
    with pytest.raises(OptionsError) as refusal:
        chosen(webhook=address)
    assert refusal.value.faults == ["--webhook: must be none, or an address such as https://host/path"]


def test_what_goes_together_is_taken():
    options = chosen(
        webhook="https://hooks.example/T0/B0/x?y=1", watch="15m", since="7d", samples="0", model_version="3"
    )
    assert (options.samples, options.watch, options.model_version) == (0, "15m", "3")


@each("name", ["spam", "Späm 2026", "team/spam.monitoring", "a-b_c-", "1"])
def test_an_experiment_is_named_freely_as_long_as_its_folder_stays_where_it_belongs(name):
    assert chosen(experiment=name).experiment == name


def test_what_may_hold_a_password_is_no_parameter_of_the_flow():
    assert {option.name for option in MonitorOptions.declared() if option.secret} == {"datastore_uri", "webhook"}

"""What traffic is asked for makes sense, or is refused before anything is drawn or sent."""

import pytest

from spamctl.config.options import Given
from spamctl.config.sources import validate
from spamctl.config.traffic import TrafficOptions
from spamctl.errors import OptionsError
from spamctl.traffic.drift import DRIFTS, NEW_KINDS
from tests.each import each


def chosen(**given):
    return validate(TrafficOptions, [{name: Given(text, f"--{name}") for name, text in given.items()}])


def refusal(**given):
    with pytest.raises(OptionsError) as refused:
        chosen(**given)
    return str(refused.value)


def test_every_drift_can_be_asked_for_and_no_other():
    (option,) = [option for option in TrafficOptions.declared() if option.name == "drift_type"]
    assert set(option.choices) == {*DRIFTS, NEW_KINDS}
    assert "did you mean leet?" in refusal(drift_type="lete")


def test_a_bare_call_asks_for_what_the_documentation_promises():
    options = chosen()
    assert (options.target, options.target_uri) == ("local", "http://127.0.0.1:8080/invocations")
    assert (options.samples, options.batch_size, options.drift_type, options.drift_proportion) == (200, 10, "none", 0.5)
    assert (options.truth, options.datastore_uri) == (True, "spam.db")


def test_the_store_may_hold_a_password_and_is_no_parameter():
    assert [option.name for option in TrafficOptions.declared() if option.secret] == ["datastore_uri"]


@each(
    "uri",
    [
        "http://localhost:8080/invocations",
        "https://spam.example/invocations",
        "http://[::1]:8080/invocations",
        "http://spam.example/team/a/invocations?x=1",
    ],
)
def test_the_address_of_a_server_is_taken(uri):
    assert chosen(target_uri=uri).target_uri == uri


@each(
    ("uri", "fault"),
    [
        ("spam.db", "must be the address of a server such as http://127.0.0.1:8080/invocations, got 'spam.db'"),
        ("ftp://spam.example/x", "must be the address of a server"),
        ("http:///invocations", "must be the address of a server"),
        ("http://127.0.0.1:80 80/x", "must be an address such as"),
        ("http://127.0.0.1:99999/x", "must be an address such as"),
        ("http://[::1/x", "must be an address such as"),
        ("http://spam.example/\x1b[31m", "must be the address of a server"),
        ("http://127.0.0.1:8080", "names no path"),
        ("http://127.0.0.1:8080/", "names no path"),
        ("http://me:hunter2@spam.example/x", "must hold no user and no password; give the server's token"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused_in_one_line(uri, fault):
    words = refusal(target_uri=uri)
    assert words.startswith("--target_uri: ")
    assert fault in words
    assert "hunter2" not in words
    assert words.isprintable()


@pytest.mark.parametrize("other", [{"drift_type": "leet"}, {"preview": "5"}])
def test_replayed_messages_do_not_drift(other):
    assert "cannot be given with --replay, which sends messages as they are; drop one" in refusal(
        replay="mine.csv", **other
    )


@each(
    "given",
    [
        {"target": "cloud"}, {"samples": "0"}, {"batch_size": "0"}, {"drift_proportion": "1.1"}, {"strength": "-0.1"},
        {"concurrency": "0"}, {"rate": "-1"}, {"timeout": "0"}, {"retries": "-1"}, {"truth": "maybe"},
        {"preview": "-1"},
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(given):
    ((name, value),) = given.items()
    assert refusal(**given).startswith(f"--{name}: must be ")
    assert value in refusal(**given)

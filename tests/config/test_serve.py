"""What a server is asked for makes sense, and an address that others reach is told from one that they do not."""

import pytest

from spamctl.config.options import Given
from spamctl.config.serve import ServeOptions
from spamctl.config.sources import validate
from spamctl.errors import OptionsError
from tests.each import each
from tests.hosts import ELSEWHERE, LOOPBACK


@each("host", LOOPBACK)
def test_a_loopback_address_is_local(host):
    assert ServeOptions(host=host).is_local


@each("host", ELSEWHERE)
def test_any_other_address_or_name_is_not(host):
    assert not ServeOptions(host=host).is_local


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_address_for_mail_servers_is_local(host):
    assert ServeOptions(spamd=f"[{host}]:783" if ":" in host else f"{host}:783").is_spamd_local


@pytest.mark.parametrize("host", ELSEWHERE)
def test_any_other_address_for_mail_servers_is_not(host):
    assert not ServeOptions(spamd=f"[{host}]:783" if ":" in host else f"{host}:783").is_spamd_local


def test_a_bare_call_stays_on_this_machine():
    assert ServeOptions().is_local
    assert ServeOptions().is_spamd_local
    assert not ServeOptions().insecure


@each(
    ("given", "fault"),
    [
        ({"model_version": "newest"}, "must be champion, challenger, latest or a number, got 'newest'"),
        ({"shadow": "newest"}, "must be champion, challenger, latest, none or a number, got 'newest'"),
        ({"follow_seconds": "-1"}, "must be at least 0, got -1"),
        ({"port": "0"}, "must be at least 1, got 0"),
        ({"port": "65536"}, "must be at most 65535, got 65536"),
        ({"spamd": "783"}, "must be HOST:PORT, such as 127.0.0.1:783, or none, got '783'"),
        ({"spamd": "127.0.0.1:0"}, "must be HOST:PORT, such as 127.0.0.1:783, or none, got '127.0.0.1:0'"),
        ({"spamd": "127.0.0.1:70000"}, "must be HOST:PORT, such as 127.0.0.1:783, or none, got '127.0.0.1:70000'"),
        ({"spamd": "::1:783"}, "must be HOST:PORT, such as 127.0.0.1:783, or none, got '::1:783'"),
        ({"capture": "of"}, "must be one of required, best-effort, off, got 'of'; did you mean off?"),
        ({"capture_seconds": "0"}, "must be more than 0, got 0"),
        ({"workers": "0"}, "must be at least 1, got 0"),
        ({"threads": "100000"}, "must be at most "),
        ({"cached_rows": "-1"}, "must be at least 0, got -1"),
        ({"max_body_mib": "0"}, "must be more than 0, got 0"),
        ({"max_rows": "0"}, "must be at least 1, got 0"),
        ({"max_in_flight": "0"}, "must be at least 1, got 0"),
        ({"timeout_seconds": "0"}, "must be more than 0, got 0"),
        ({"timeout_seconds": "nan"}, "must be a finite number, got nan"),
        ({"drain_seconds": "-1"}, "must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, fault):
    ((name, value),) = given.items()
    with pytest.raises(OptionsError) as refusal:
        validate(ServeOptions, [{name: Given(value, f"--{name}")}])
    assert refusal.value.faults[0].startswith(f"--{name}: {fault}")

"""Each option reaches the server, and no address that others reach is bound without a token."""

from dataclasses import replace
from pathlib import Path

import pytest

import spamctl.config.serve
from spamctl.cli import serve
from spamctl.cli.app import main
from spamctl.config.serve import ServeOptions
from spamctl.config.sources import resolve
from spamctl.errors import UsageError
from spamctl.schema.codec import from_json
from spamctl.schema.serve import Release, Releases
from spamctl.serving.state import MIB, Limits, Settings
from tests.each import each
from tests.hosts import ELSEWHERE, LOOPBACK
from tests.ports import closed_port, silent_port

TOKEN = "a-token-of-32-characters-for-this"
FOUND = {"served": {"name": "spam", "version": "7", "alias": "champion", "folder": "here"}, "shadow": None}
CORES = 8

# What is typed, and what a server is told by it beside its defaults
SETTINGS = {
    "--host=::1": {"host": "::1", "hosts": ("::1",)},
    "--port=81": {"port": 81},
    "--spamd=127.0.0.1:783": {"spamd": "127.0.0.1:783"},
    "--allowed-hosts=a.example, *.b.example,,*": {"hosts": ("127.0.0.1", "a.example", "*.b.example", "*")},
    "--capture=off": {"capture": "off"},
    "--datastore-uri=other.db": {"datastore_uri": "other.db"},
    "--capture-seconds=0.5": {"capture_seconds": 0.5},
    "--workers=3": {"workers": 3, "threads": 2},
    "--workers=9": {"workers": 9, "threads": 1},
    "--threads=5": {"threads": 5},
    "--cached-rows=0": {"cached_rows": 0},
    "--out-of-reach=judge": {"out_of_reach": "judge"},
}
LIMITS = {
    "--max-body-mib=2.5": {"body_bytes": 5 * MIB // 2, "buffered_bytes": 10 * MIB},
    "--max-rows=3": {"rows": 3},
    "--max-in-flight=2": {"in_flight": 2},
    "--timeout-seconds=1.5": {"timeout_s": 1.5},
    "--drain-seconds=0": {"drain_s": 0.0},
}
# What the flow, the follower and the door itself are told
NOT_TOLD = {"model_name", "model_version", "shadow", "follow_seconds", "token_file", "insecure"}


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    """Stand on a machine of eight cores."""
    for module in (serve, spamctl.config.serve):
        monkeypatch.setattr(module, "cores", lambda: CORES)


def chosen(*words):
    """Settle what is typed."""
    typed = {word.partition("=")[0].removeprefix("--").replace("-", "_"): word.partition("=")[2] for word in words}
    flags = {option.name: typed.pop(option.name, None) for option in ServeOptions.declared()}
    assert not typed
    return resolve(ServeOptions, flags, config=None, environ={}, folder=Path()).options


def told(*words, found=FOUND, token=""):
    return serve._settings(chosen(*words), from_json(Releases, found), token)


def usual(**changes):
    """Return what a bare call tells a server, with some changes."""
    bare = Settings(release=Release("spam", "7", "champion", "here"), hosts=("127.0.0.1",), threads=CORES)
    return replace(bare, **changes)


def test_every_option_is_tried():
    tried = {word.partition("=")[0] for word in (*SETTINGS, *LIMITS)}
    assert tried == {option.flag for option in ServeOptions.declared() if option.name not in NOT_TOLD}


@each(("word", "changes"), SETTINGS.items())
def test_an_option_reaches_the_server(word, changes):
    assert told(word) == usual(**changes)


@each(("word", "changes"), LIMITS.items())
def test_a_limit_reaches_the_server(word, changes):
    assert told(word) == usual(limits=replace(Limits(), **changes))


def test_the_defaults_of_the_options_are_those_of_the_server():
    assert told() == usual(limits=Limits())


def test_the_token_and_both_versions_reach_the_server():
    shadow = {"name": "spam", "version": "8", "alias": "challenger", "folder": "there"}
    expected = usual(token=TOKEN, shadow=Release(**shadow))
    assert told(found=FOUND | {"shadow": shadow}, token=TOKEN) == expected


def token(*words, **variables):
    return serve.read_token(chosen(*words), variables)


def test_a_token_comes_from_the_file_then_from_the_variable(tmp_path):
    (tmp_path / "token").write_text(f" {TOKEN}\n")
    variable = {"SPAMCTL_SERVE_TOKEN": TOKEN.upper()}
    assert token("--token-file=token") == TOKEN
    assert token("--token-file=token", **variable) == TOKEN
    assert token(**variable) == TOKEN.upper()
    assert token() == ""


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 15, b"two words of a length", b"\xff" * 20, b"\x1b" * 20])
def test_a_file_whose_token_protects_nothing_is_refused_without_showing_it(content, tmp_path):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UsageError, match=r"^--token-file token: [ -~]+$") as refused:
        token("--token-file=token")
    assert not content or content.decode("latin-1") not in str(refused.value)


@pytest.fixture
def refusal(capsys, tmp_path):
    """Return the one line with which a server is refused on an address: at the latest, there is no model."""
    (tmp_path / "notes.txt").write_text("milk, bread")

    def refusal(host, *words):
        code = main(["serve", "--host", host, "--port", str(closed_port()), "--datastore-uri", "notes.txt", *words])
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert (code, captured.out) == (2, "")
        return line

    return refusal


UNGUARDED = "others can reach it and no token is set"
LATER = (
    "no model of this name is registered here",
    "is not available on",
    "is no address here",
)  # the last two: IPv6 may be off


@pytest.mark.parametrize("host", ELSEWHERE)
def test_an_address_that_others_reach_is_refused_without_a_token(refusal, host):
    line = refusal(host)
    assert line.startswith(f"spamctl: --host {host}: {UNGUARDED}; give --token-file FILE or SPAMCTL_SERVE_TOKEN, or")


def is_let_on(line):
    return UNGUARDED not in line and any(words in line for words in LATER)


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_address_needs_no_token(refusal, host):
    assert is_let_on(refusal(host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
@pytest.mark.parametrize("by", ["--insecure", "--token-file", "a variable"])
def test_an_address_that_others_reach_is_bound_with_a_token_or_where_all_may(refusal, monkeypatch, tmp_path, host, by):
    (tmp_path / "token").write_text(TOKEN)
    if by == "a variable":
        monkeypatch.setenv("SPAMCTL_SERVE_TOKEN", TOKEN)
    words = {"--insecure": ["--insecure"], "--token-file": ["--token-file", "token"], "a variable": []}[by]
    assert is_let_on(refusal(host, *words))


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.7", "mail.example"])
def test_an_address_for_mail_servers_that_others_reach_is_refused(refusal, monkeypatch, host):
    monkeypatch.setenv("SPAMCTL_SERVE_TOKEN", TOKEN)  # which the protocol cannot send
    line = refusal("127.0.0.1", "--spamd", f"{host}:783")
    assert line.startswith(f"spamctl: --spamd {host}:783: others can reach it, and its protocol knows no token; use")
    insecure = refusal("127.0.0.1", "--insecure", "--spamd", f"{host}:{closed_port()}")
    assert "no token" not in insecure
    assert any(words in insecure for words in LATER)


def test_a_port_for_mail_servers_that_is_taken_is_refused(refusal):
    with silent_port() as port:
        line = refusal("127.0.0.1", "--spamd", f"127.0.0.1:{port}")
    assert line.startswith(f"spamctl: --spamd 127.0.0.1:{port}: is not available on 127.0.0.1: ")
    assert line.endswith("; choose another")

"""Blogs and forums that speak Akismet's wire get a verdict on each comment, and what they submit is learnt."""

import json
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import httpx
import pytest

from spamctl.serving.access import KEYED, Access, Refusal
from spamctl.serving.akismet import CHECK, SUBMIT, THANKS, VERIFY, comment_of
from spamctl.store import labels, queries
from tests import tiny_models
from tests.served import served

OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]
TOKEN = "a-token-of-this-test"
CLIENTS = Path(__file__).parents[1] / "clients"
SPAM_PATH, HAM_PATH = SUBMIT


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("akismet"), access=Access(TOKEN, ("*.rest.example",))) as running:
        yield running


def post(server, path, headers=None, **fields):
    form = {"api_key": TOKEN, "blog": "http://blog.example", "user_ip": "192.0.2.1"} | fields
    return httpx.post(f"{server.address}{path}", data=form, headers=headers or {}, timeout=30)


def stored(server):
    return queries.count(server.service.archive.store)


def row_of(server, guid):
    return queries.find(server.service.archive.store, [guid])[guid]


def test_the_paths_that_look_for_the_token_themselves_are_these():
    assert {VERIFY, CHECK, *SUBMIT} == KEYED


def test_a_comment_is_judged_and_kept(server):
    for text, answer in ((OFFER, "true"), (QUESTION, "false")):
        told = post(server, CHECK, comment_content=text)
        assert (told.status_code, told.text) == (200, answer)
        assert told.headers["content-type"].startswith("text/plain")
        row = row_of(server, told.headers["x-akismet-guid"])
        assert (row.text, row.source) == (text, "akismet")


def test_a_comment_that_is_checked_again_is_the_same_row(server):
    first = post(server, CHECK, comment_content=f"{OFFER} again")
    before = stored(server)
    assert (
        post(server, CHECK, comment_content=f"{OFFER} again").headers["x-akismet-guid"]
        == first.headers["x-akismet-guid"]
    )
    assert stored(server) == before


@pytest.mark.parametrize(("path", "label"), SUBMIT.items())
def test_what_is_submitted_labels_the_row_of_the_check(server, path, label):
    guid = post(server, CHECK, comment_content=f"{QUESTION} {path}").headers["x-akismet-guid"]
    before = stored(server)
    told = post(server, path, comment_content=f"{QUESTION} {path}")
    assert told.text == THANKS
    assert stored(server) == before
    row = row_of(server, guid)
    assert (row.ground_truth, row.label_source) == (label, "user")


def test_what_is_submitted_by_its_identifier_may_have_been_changed_meanwhile(server):
    guid = post(server, CHECK, comment_content=f"{QUESTION} before").headers["x-akismet-guid"]
    before = stored(server)
    assert post(server, SPAM_PATH, comment_content=f"{QUESTION} after", guid=guid).text == THANKS
    assert stored(server) == before
    assert row_of(server, guid).ground_truth == "spam"


def test_what_was_never_checked_is_stored_and_labelled(server):
    before = stored(server)
    assert post(server, HAM_PATH, comment_content=f"{OFFER} of a friend").text == THANKS
    assert stored(server) == before + 1
    (row,) = queries.newest(server.service.archive.store, 1)
    assert (row.text, row.ground_truth, row.classification) == (f"{OFFER} of a friend", "not spam", "spam")


def test_a_label_is_corrected_and_what_it_corrects_is_kept(server):
    guid = post(server, CHECK, comment_content=f"{QUESTION} twice").headers["x-akismet-guid"]
    for path in (SPAM_PATH, HAM_PATH, HAM_PATH):
        post(server, path, comment_content=f"{QUESTION} twice")
    assert row_of(server, guid).ground_truth == "not spam"
    given = labels.history(server.service.archive.store, guid)
    assert [(one.label, one.source) for one in given] == [("spam", "user"), ("not spam", "user")]


def test_a_test_is_answered_and_leaves_nothing(server):
    before = stored(server)
    told = post(server, CHECK, comment_content=f"{OFFER} test", is_test="1")
    assert told.text == "true"
    assert "x-akismet-guid" not in told.headers
    assert post(server, SPAM_PATH, comment_content=f"{OFFER} test", is_test="true").text == THANKS
    assert stored(server) == before


@pytest.mark.parametrize("path", [VERIFY, CHECK, *SUBMIT])
@pytest.mark.parametrize("key", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "ключ"])
def test_a_wrong_key_is_invalid_and_leaves_nothing(server, path, key):
    before = stored(server)
    told = post(server, path, comment_content="win", api_key=key)
    assert (told.status_code, told.text) == (200, "invalid")
    assert told.headers["x-akismet-debug-help"] == "the key is not the token that this server was started with"
    assert stored(server) == before


@pytest.mark.parametrize(
    ("fields", "headers", "answer"),
    [
        ({"api_key": TOKEN}, {}, "valid"),
        ({"key": TOKEN}, {}, "valid"),
        ({}, {"host": f"{TOKEN}.rest.example"}, "valid"),
        ({}, {"host": "rest.rest.example"}, "invalid"),
        ({}, {}, "invalid"),
        ({}, {"authorization": f"Bearer {TOKEN}"}, "invalid"),
    ],
    ids=str,
)
def test_a_key_comes_in_the_form_or_before_the_host(server, fields, headers, answer):
    told = httpx.post(f"{server.address}{VERIFY}", data=fields | {"blog": "http://blog.example"}, headers=headers)
    assert told.text == answer


def test_without_a_token_every_key_is_valid(tmp_path):
    with served(tmp_path) as open_to_all:
        assert post(open_to_all, VERIFY, api_key="any").text == "valid"
        assert post(open_to_all, CHECK, api_key="any", comment_content=OFFER).text == "true"


@pytest.mark.parametrize("path", [VERIFY, CHECK, *SUBMIT])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8080"])
def test_no_page_in_a_browser_can_teach(tmp_path, path, origin):
    with served(tmp_path) as open_to_all:
        told = post(open_to_all, path, {"origin": origin}, comment_content=OFFER)
        assert told.status_code == 403
        assert stored(open_to_all) == 0


def test_without_a_store_nothing_is_said_to_be_learnt(tmp_path):
    with served(tmp_path, capture=False) as forgetful:
        assert post(forgetful, CHECK, comment_content=OFFER).text == "true"
        told = post(forgetful, SPAM_PATH, comment_content=OFFER)
    assert told.status_code == 404
    assert "a label cannot be kept" in told.json()["message"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"comment_content": "Nice post"}, "Nice post"),
        ({"comment_content": "Nice post", "comment_author": "Cheap Watches"}, "Cheap Watches\nNice post"),
        ({"comment_content": " x ", "comment_author": "", "comment_author_url": "http://a.example"}, "x"),
        ({"comment_author_url": "http://a.example"}, "http://a.example"),
        ({"comment_content": ""}, ""),
    ],
)
def test_a_comment_is_read_with_its_author(given, text):
    assert comment_of(given) == text


def test_a_form_without_a_comment_is_refused(server):
    with pytest.raises(Refusal, match="the form has none of comment_content, comment_author, comment_author_url"):
        comment_of({"content": "x"})
    assert post(server, CHECK, content="x").status_code == 400


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("comment_content=Gr%C3%BC%C3%9Fe", "Grüße"),
        ("comment_content=Gr%FC%DFe", "Grüße"),
        ("comment_content=%C4%E0&blog_charset=windows-1251", "Да"),
        ("comment_content=%C4&blog_charset=hex", "Ä"),
        ("comment_content=%C4&blog_charset=no%00such", "Ä"),
        ("comment_content=a%00b", "a\0b"),
        ("comment_content=first&comment_content=last", "last"),
    ],
)
def test_a_form_is_decoded_as_its_blog_says(server, body, text):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    told = httpx.post(f"{server.address}{CHECK}", content=f"api_key={TOKEN}&{body}", headers=headers)
    assert row_of(server, told.headers["x-akismet-guid"]).text == text


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x=1", "", 415),
        (b"a=1&" * 1001, "application/x-www-form-urlencoded", 413),
        (b"a=" + bytes(2**20), "application/x-www-form-urlencoded", 413),
    ],
    ids=["json", "nothing", "fields", "bytes"],
)
def test_what_is_no_form_of_a_comment_is_refused(server, content, media, status):
    told = httpx.post(f"{server.address}{CHECK}", content=content, headers={"content-type": media} if media else {})
    assert told.status_code == status
    assert told.json()["message"]


@pytest.mark.node
def test_the_client_of_others_verifies_checks_and_teaches(server, node):
    told = node("akismet.mjs", server.address, TOKEN, OFFER, QUESTION)
    assert told == {"verified": True, "stranger": False, "offer": "spam", "question": "ham", "taught": True}
    (row,) = (row for row in queries.newest(server.service.archive.store, 5) if row.text == f"Ann\n{QUESTION}")
    assert (row.ground_truth, row.label_source, row.source) == ("spam", "user", "akismet")


@pytest.fixture
def node():
    """Return a call of a script under node with the clients that tests/clients/package.json names."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node on PATH: apt-get install -y nodejs npm")
    if not (CLIENTS / "node_modules" / "@cedx" / "akismet").is_dir():
        pytest.skip("the clients are not installed: make node-clients")

    def run(script, *arguments):
        command = [program, str(CLIENTS / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_field_may_hold_any_character(server):
    text = "a & b = c; %41 + d \u202e ünï \U0001f4b0"
    told = httpx.post(
        f"{server.address}{CHECK}",
        content=urllib.parse.urlencode({"api_key": TOKEN, "comment_content": text}),
        headers={"content-type": "application/x-www-form-urlencoded; charset=UTF-8"},
    )
    assert row_of(server, told.headers["x-akismet-guid"]).text == text

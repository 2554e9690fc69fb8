"""A mail as it was received is read as training reads it, classified, and told as what was read."""

import httpx
import pytest

from spamctl.data.mail import parse_mail
from spamctl.serving.access import Access
from spamctl.store import queries
from tests import tiny_models
from tests.served import served

OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]
MAIL = (
    "Received: from mx.example (mx.example [192.0.2.7])\r\nFrom: Prize Office <win@prizes.example>\r\n"
    "Reply-To: box@elsewhere.example\r\nSubject: A letter\r\nX-Spam-Status: No, score=-5\r\n"
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    f"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>{OFFER}</p><p hidden>shall we walk</p>"
    '<a href="http://claim.example/now">here</a>\r\n'
    "--b\r\nContent-Type: application/pdf; name=invoice.pdf\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n"
).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("mail")) as running:
        yield running


def post(server, raw, media="message/rfc822", **params):
    return httpx.post(f"{server.address}/mail", content=raw, headers={"content-type": media}, params=params)


def test_a_mail_gets_the_verdict_of_its_text_and_is_kept(server):
    told = post(server, MAIL).json()
    read = parse_mail(MAIL)
    assert told["mail"]["text"] == read.text
    body = {"inputs": [{"text": read.text}], "params": {"data_capture": False}}
    (same,) = httpx.post(f"{server.address}/invocations", json=body).json()["predictions"]
    assert told["prediction"]["probability"] == same["probability"]
    (row,) = queries.find(server.service.archive.store, [told["prediction"]["uuid"]]).values()
    assert (row.text, row.source) == (read.text, "mail")


def test_it_tells_what_was_read(server):
    mail = post(server, MAIL).json()["mail"]
    assert (mail["subject"], mail["from_name"], mail["from_domain"]) == ("A letter", "Prize Office", "prizes.example")
    assert mail["reply_domain"] == "elsewhere.example"
    assert mail["hosts"] == ["claim.example"]
    assert mail["attachments"] == ["invoice.pdf"]
    assert mail["hidden"] > 0
    assert mail["notes"]
    assert "score=-5" not in str(mail)


def test_the_query_chooses_whether_it_is_kept_and_explained(server):
    before = queries.count(server.service.archive.store)
    told = post(server, MAIL, data_capture="false", explain="true").json()["prediction"]
    assert told["captured"] is False
    assert told["explanation"]
    assert queries.count(server.service.archive.store) == before
    assert "explanation" not in post(server, MAIL, data_capture="false").json()["prediction"]


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"no header at all", b"\xff\xfe\x00" * 99, b"Subject: =?bogus?q?=FF?=\n\nx"]
)
def test_any_bytes_get_a_verdict(server, raw):
    answer = post(server, raw)
    assert answer.status_code == 200
    assert answer.json()["prediction"]["classification"] in {"spam", "not spam"}


@pytest.mark.parametrize("media", ["text/plain", "application/json", "application/x-www-form-urlencoded", ""])
def test_what_a_page_of_another_site_could_send_is_refused(server, media):
    answer = post(server, MAIL, media)
    assert answer.status_code == 415
    assert "send message/rfc822" in answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("explain=yes", "explain: send true or false, once"),
        ("explain=true&explain=true", "explain: send true or false, once"),
        ("data_capture=", "data_capture: send true or false, once"),
        ("explian=true", "there is no parameter 'explian': did you mean explain?"),
    ],
)
def test_an_odd_query_is_refused(server, query, words):
    headers = {"content-type": "message/rfc822"}
    answer = httpx.post(f"{server.address}/mail?{query}", content=MAIL, headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (400, words)


def test_a_token_is_needed(tmp_path):
    with served(tmp_path, access=Access("s3cret")) as server:
        assert post(server, MAIL).status_code == 401

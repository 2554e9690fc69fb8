"""Clients of SpamAssassin's protocol that nobody here wrote work with spamctl, by the very files of configs/mail."""

import contextlib
import imaplib
import json
import re
import signal
import smtplib
import subprocess
import urllib.request

import pytest

from spamctl.engine.engine import GOLDEN
from spamctl.serving.state import Limits
from tests import mail_programs, tiny_models, tiny_packages
from tests.mail_served import mail_process, mail_served
from tests.ports import closed_port, silent_port

OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]
STATUS = re.compile(rb"^X-Spam-Status: (Yes|No), score=(-?\d+\.\d) required=5\.0\b", re.MULTILINE)

pytestmark = pytest.mark.mail


def mail(text, identifier="1"):
    """Return a mail whose sender claims that a filter has passed it."""
    lines = [
        "From: Ann <ann@shop.example>",
        "To: jo@home.example",
        "Subject: hello",
        f"Message-ID: <{identifier}@shop.example>",
        "Date: Mon, 30 Nov 2026 10:00:00 +0000",
        "X-Spam-Status: No, score=-99.0 required=5.0",
        "",
        text,
        "",
    ]
    return "\r\n".join(lines).encode()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return tiny_packages.write(tmp_path_factory.mktemp("package") / "package", "", *GOLDEN)


@pytest.fixture
def server(tmp_path, package):
    with mail_process(tmp_path, package) as running:
        yield running


@pytest.fixture
def folder():
    with mail_programs.a_folder() as one:
        yield one


def spamc(port, raw, *words):
    command = [mail_programs.program("spamc"), "-d", "127.0.0.1", "-p", str(port), *words]
    return subprocess.run(command, input=raw, capture_output=True, timeout=60, check=False)


def test_spamc_gets_verdicts_rules_reports_and_marked_mails(server):
    assert spamc(server.port, b"", "-K").returncode == 0
    spam, rest = spamc(server.port, mail(OFFER), "-c"), spamc(server.port, mail(QUESTION, "2"), "-c")
    assert (spam.returncode, rest.returncode) == (1, 0)
    assert re.fullmatch(rb"\d+\.\d/5\.0\n", spam.stdout)
    assert float(rest.stdout.split(b"/")[0]) < 5
    assert spamc(server.port, mail(OFFER), "-y").stdout.startswith(b"SPAMCTL_SPAM,")
    report = spamc(server.port, mail(OFFER), "-R").stdout
    assert b"SPAMCTL_SPAM" in report
    assert not [word for word in OFFER.split() if len(word) > 6 and word.encode() in report]
    assert spamc(server.port, mail(QUESTION, "2"), "-r").stdout == b""
    marked = spamc(server.port, mail(OFFER), "-x")
    assert marked.returncode == 0
    assert STATUS.findall(marked.stdout)[0][0] == b"Yes"
    assert b"score=-99.0" not in marked.stdout
    assert marked.stdout.endswith(mail(OFFER).partition(b"\r\n\r\n")[2])
    assert spamc(server.port, mail(OFFER), "--headers").stdout == marked.stdout
    assert len(server.labels()) == 2  # a mail that comes again is the same row


def test_spamc_teaches_what_was_answered_and_what_is_new(server):
    spamc(server.port, mail(OFFER), "-c")
    outcomes = [spamc(server.port, mail(OFFER), "-u", "jo", "-L", word) for word in ("ham", "ham", "spam", "forget")]
    told = [outcome.stdout.decode().strip() for outcome in outcomes]
    done, before = "Message successfully un/learned", "Message was already un/learned"
    assert told == [done, before, done, done]
    assert server.labels() == [(None, None, "spamd")]
    assert spamc(server.port, mail(QUESTION, "2"), "-L", "ham").stdout.decode().strip() == done
    assert server.labels()[1] == ("not spam", "user", "spamd tell")


def test_spamc_lets_mail_pass_where_nobody_answers():
    passed = spamc(closed_port(), mail(OFFER), "--connect-retries=1")
    assert (passed.returncode, passed.stdout) == (0, mail(OFFER))
    assert spamc(closed_port(), mail(OFFER), "-c", "--connect-retries=1").returncode == 0
    assert spamc(closed_port(), mail(OFFER), "-x", "--connect-retries=1").returncode != 0


def test_overload_lets_mail_pass(tmp_path, folder):
    with mail_served(tmp_path, limits=Limits(in_flight=0)) as server:
        passed = spamc(server.port, mail(OFFER))
        assert (passed.returncode, passed.stdout) == (0, mail(OFFER))
        assert spamc(server.port, mail(OFFER), "-x").returncode != 0
        assert spamc(server.port, mail(OFFER), "-L", "spam").returncode != 0
        with mail_programs.exim(folder, server.port) as exim:
            send(exim.port, mail(OFFER))
            assert b"X-Spam-" not in exim.delivered()[0]


def rspamd_says(port, raw):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/checkv2", data=raw, timeout=30) as answer:
        return json.load(answer)


def test_rspamd_counts_our_score(server, folder):
    with mail_programs.rspamd(folder, server.port) as port:
        spam, rest = rspamd_says(port, mail(OFFER)), rspamd_says(port, mail(QUESTION, "2"))
    assert spam["symbols"]["SPAMD"]["score"] >= 5.0
    assert spam["score"] >= 5.0
    assert spam["symbols"]["SPAMD"]["options"] == ["SPAMCTL_SPAM,SPAMCTL_PROBABILITY_99,SPAMCTL_MEDIUM_MAIL"]
    assert "SPAMD" not in rest["symbols"]


def test_rspamd_goes_on_without_us(folder):
    with mail_programs.rspamd(folder, closed_port()) as port:
        answer = rspamd_says(port, mail(OFFER))
    assert answer["action"] == "no action"
    assert answer["score"] == 0


def send(port, raw):
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.sendmail("ann@shop.example", ["jo@home.example"], raw)


def test_exim_delivers_with_our_verdict_in_the_head(server, folder):
    with mail_programs.exim(folder, server.port) as exim:
        send(exim.port, mail(OFFER))
        (spam,) = exim.delivered()
        send(exim.port, mail(QUESTION, "2"))
        rest = exim.delivered(2)[1]
    assert [verdict for verdict, _ in STATUS.findall(spam)] == [b"Yes"]
    assert b"X-Spam-Flag: YES" in spam
    assert [verdict for verdict, _ in STATUS.findall(rest)] == [b"No"]
    assert b"X-Spam-Flag" not in rest
    assert [source for _, _, source in server.labels()] == ["spamd", "spamd"]


def test_exim_delivers_unmarked_without_us(folder):
    with mail_programs.exim(folder, closed_port()) as exim:
        send(exim.port, mail(OFFER))
        (passed,) = exim.delivered()
    assert OFFER.encode() in passed
    assert b"X-Spam-" not in passed


def test_exim_delivers_unmarked_where_nobody_says_a_word(folder):
    with silent_port() as port, mail_programs.exim(folder, port, patience="1s") as exim:
        send(exim.port, mail(OFFER))
        (passed,) = exim.delivered()
    assert b"X-Spam-" not in passed


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=lambda number: number.name)
def test_exim_delivers_unmarked_when_we_stop_in_the_middle(server, folder, number):
    with mail_programs.exim(folder, server.port, patience="2s") as exim:
        send(exim.port, mail(OFFER))
        assert STATUS.search(exim.delivered()[0])
        server.process.send_signal(number)
        send(exim.port, mail(OFFER, "2"))
        passed = exim.delivered(2)[1]
    assert b"<2@shop.example>" in passed
    assert b"X-Spam-" not in passed


def bare(raw):
    """Return a mail without what its sender claims."""
    return raw.replace(b"X-Spam-Status: No, score=-99.0 required=5.0\r\n", b"")


def test_a_milter_as_of_postfix_adds_our_headers(server, folder):
    with mail_programs.milter(folder, server.port) as place:
        spam = mail_programs.said_by_milter(folder, place, bare(mail(OFFER)))
        rest = mail_programs.said_by_milter(folder, place, bare(mail(QUESTION, "2")))
    assert spam["X-Spam-Flag"] == "YES"
    assert re.match(r"Yes, score=\d+\.\d required=5\.0 tests=SPAMCTL_SPAM,", spam["X-Spam-Status"])
    assert rest["X-Spam-Status"].startswith("No, score=")
    assert [(said["body changed"], said["reply"]) for said in (spam, rest)] == [("false", "c")] * 2
    assert [source for _, _, source in server.labels()] == ["spamd", "spamd"]


def test_a_milter_lets_mail_pass_without_us(folder):
    with mail_programs.milter(folder, closed_port()) as place:
        said = mail_programs.said_by_milter(folder, place, bare(mail(OFFER)))
    assert said == {"X-Spam-Flag": "nil", "X-Spam-Status": "nil", "body changed": "false", "reply": "c"}


@contextlib.contextmanager
def mailbox(port):
    """Lend Jo's mailbox."""
    with imaplib.IMAP4("127.0.0.1", port, timeout=60) as client:
        client.login("jo", "any")
        yield client


def test_dovecot_teaches_by_moving_a_mail_to_junk_and_back(server, folder):
    spamc(server.port, mail(QUESTION), "-c")  # as the mail server did when it arrived
    received = b"Received: from shop.example by home.example; Mon, 30 Nov 2026 10:00:02 +0000\r\n" + mail(QUESTION)
    with mail_programs.dovecot(folder, server.port) as port, mailbox(port) as client:
        assert client.append("INBOX", None, None, received)[0] == "OK"
        client.select("INBOX")
        assert client.copy("1", "Junk")[0] == "OK"
        mail_programs.until(lambda: server.labels() == [("spam", "user", "spamd")], server.labels)
        client.select("Junk")
        assert client.copy("1", "Trash")[0] == "OK"
        assert server.labels() == [("spam", "user", "spamd")]
        assert client.copy("1", "INBOX")[0] == "OK"
        mail_programs.until(lambda: server.labels() == [("not spam", "user", "spamd")], server.labels)


def test_dovecot_moves_mail_without_us(folder):
    with mail_programs.dovecot(folder, closed_port()) as port, mailbox(port) as client:
        client.append("INBOX", None, None, mail(OFFER))
        client.select("INBOX")
        assert client.copy("1", "Junk")[0] == "OK"
        assert client.select("Junk") == ("OK", [b"1"])

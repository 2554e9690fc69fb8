"""The spamd protocol is answered within bounds, whatever is sent; what is asked and taught is stored as over HTTP."""

import contextlib
import re
import socket
import sqlite3
import threading
import time
import zlib

import pytest

from spamctl.serving.limits import Timeouts
from spamctl.serving.state import Limits
from spamctl.store import labels, queries
from tests import tiny_models, tiny_packages
from tests.faults.processes import a_server, locked
from tests.mail_served import mail_served
from tests.ports import closed_port

OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]
FOREIGN = "bihar arratsaldean elkartuko gara plazan"
OK = "SPAMD/1.5 0 EX_OK"
BAD = "SPAMD/1.5 76 Bad header line"


def mail(text, identifier="1", subject="hello"):
    head = f"From: Ann <ann@shop.example>\r\nSubject: {subject}\r\nMessage-ID: <{identifier}@shop.example>\r\n"
    return f"{head}\r\n{text}\r\n".encode()


def ask(port, command, body=b"", *, version="1.5", length=None, **headers):
    """Send a request and return its first line, its headers and its body."""
    lines = [f"{command} SPAMC/{version}", f"Content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return parted(exchange(port, "\r\n".join([*lines, "", ""]).encode() + body))


def exchange(port, sent, *, ends=True, timeout=30):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(sent)
            if ends:
                client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def parted(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").rstrip("\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert "Content-length" not in headers or int(headers["Content-length"]) == len(body)
    return first, headers, body


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mail_served(tmp_path_factory.mktemp("spamd")) as running:
        yield running


def stored(server):
    return queries.count(server.service.archive.store)


def test_a_check_is_what_the_engine_says_and_what_the_store_keeps(server):
    first, headers, body = ask(server.port, "CHECK", mail(OFFER, "check"))
    assert (first, body) == (OK, b"")
    row = server.rows()[-1]
    text = f"From: Ann <shop.example>\nSubject: hello\n\n{OFFER}"
    assert (row.text, row.classification, row.source) == (text, "spam", "spamd")
    assert row.probability == pytest.approx(tiny_packages.probability(text), abs=1e-6)
    assert re.fullmatch(r"True ; \d+\.\d / 5\.0", headers["Spam"])
    assert ask(server.port, "CHECK", mail(QUESTION, "question"))[1]["Spam"].startswith("False ; ")


def test_a_mail_that_comes_again_is_one_row(server):
    before = stored(server)
    first = ask(server.port, "CHECK", mail(OFFER, "again"))
    changed = b"Received: by other.example\r\nX-Spam-Status: Yes\r\n" + mail(OFFER, "again").replace(b"\r\n", b"\n")
    assert ask(server.port, "CHECK", changed) == first
    assert stored(server) == before + 1


def test_symbols_and_reports_name_rules_and_no_words(server):
    _, headers, body = ask(server.port, "SYMBOLS", mail(OFFER))
    assert body == b"SPAMCTL_SPAM,SPAMCTL_PROBABILITY_99,SPAMCTL_MEDIUM_MAIL\r\n"
    assert headers["Spam"].startswith("True")
    report = ask(server.port, "REPORT", mail(OFFER))[2]
    assert b"SPAMCTL_SPAM" in report
    assert ask(server.port, "REPORT_IFSPAM", mail(OFFER))[2] == report
    assert ask(server.port, "REPORT_IFSPAM", mail(QUESTION))[2] == b""
    assert not [word for word in OFFER.split() if len(word) > 6 and word.encode() in report]


def test_old_clients_find_the_score_in_the_body(server):
    first, headers, body = ask(server.port, "REPORT", mail(OFFER), version="1.2")
    assert (first, set(headers)) == (OK, {"Content-length"})
    assert re.match(rb"\d+\.\d/5\.0\r\nspamctl ", body)


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_a_processed_mail_has_our_headers_and_else_its_own_bytes(server, newline):
    claims = "X-Spam-Status: No, score=-9\n\tautolearn=ham\nx-spam-flag: NO\n"
    sent = (claims + mail(OFFER).decode().replace("\r\n", "\n") + "\n \0ÿ\n").replace("\n", newline).encode()
    processed = ask(server.port, "PROCESS", sent)[2]
    own = sent[len(claims.replace("\n", newline)) :]
    assert processed.endswith(own)
    ours = processed.removesuffix(own).decode("ascii")
    assert [line.split(":")[0] for line in ours.split(newline) if line] == [
        "X-Spam-Flag", "X-Spam-Checker-Version", "X-Spam-Level", "X-Spam-Status",
    ]  # fmt: skip
    assert ours.count("autolearn") == 1
    assert ask(server.port, "HEADERS", sent)[2] == ours.encode() + own.partition(2 * newline.encode())[0] + (
        2 * newline.encode()
    )


def test_a_compressed_mail_is_the_same_mail(server):
    plain, packed = mail(OFFER, "packed"), zlib.compress(mail(OFFER, "packed"))
    assert ask(server.port, "CHECK", packed, Compress="zlib") == ask(server.port, "CHECK", plain)
    assert ask(server.port, "CHECK", plain, Compress="zlib")[0].startswith("SPAMD/1.5 65 ")
    assert ask(server.port, "CHECK", packed[:-9], Compress="zlib")[0].startswith("SPAMD/1.5 65 ")
    assert ask(server.port, "CHECK", plain, Compress="gzip")[0].startswith("SPAMD/1.5 76 ")


def test_a_bomb_is_refused(server):
    bomb = zlib.compress(bytes(64 * 2**20))
    first, _, _ = ask(server.port, "CHECK", bomb, Compress="zlib")
    assert first.startswith("SPAMD/1.5 65 EX_DATAERR the mail is too long")


def test_a_compressed_mail_counts_by_its_whole_length(tmp_path):
    packed = zlib.compress(bytes(2**20))
    with mail_served(tmp_path, limits=Limits(buffered_bytes=2**19)) as server:
        assert ask(server.port, "CHECK", packed, Compress="zlib")[0].startswith(
            "SPAMD/1.5 75 EX_TEMPFAIL too many long"
        )
        assert ask(server.port, "CHECK", zlib.compress(mail(OFFER)), Compress="zlib")[0] == OK


def test_ping_needs_no_headers(server):
    assert exchange(server.port, b"PING SPAMC/1.2\r\n", ends=False) == b"SPAMD/1.5 0 PONG\r\n"
    assert exchange(server.port, b"SKIP SPAMC/1.2\r\n\r\n") == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\nCHECK SPAMC/1.5\r\n\r\n",
        b"CHECK\r\n\r\n",
        b"CHECK SPAMC/\r\n\r\n",
        b"CHECK SPAMC/1.5 more\r\n\r\n",
        b"check SPAMC/1.5\r\n\r\n",
        b"LEARN SPAMC/1.5\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"CHECK SPAMC/1.5",
        b"CHECK SPAMC/1.5\r\nUser: jo",
        b"CHECK SPAMC/1.5\r\nContent-length 3\r\n\r\nabc",
        b"CHECK SPAMC/1.5\r\nContent-length: three\r\n\r\nabc",
        b"CHECK SPAMC/1.5\r\nContent-length: -1\r\n\r\nabc",
        b"CHECK SPAMC/1.5\r\nContent-length: 3\r\nContent-length: 4\r\n\r\nabc",
        b"CHECK SPAMC/1.5\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        b"CHECK SPAMC/1.5\r\nA: " + b"b" * 10_000 + b"\r\n\r\n",
        b"C" * 100_000,
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_is_no_request_is_refused_with_76(server, sent):
    before = stored(server)
    answer = exchange(server.port, sent)
    assert answer.startswith(BAD.encode())
    assert answer.count(b"\n") == 1
    assert stored(server) == before


def test_a_mail_that_is_cut_off_gets_no_verdict(server):
    before = stored(server)
    assert ask(server.port, "CHECK", mail(OFFER, "cut"), length=10_000)[0].startswith("SPAMD/1.5 76 Content-length")
    assert stored(server) == before


def test_without_a_length_the_end_of_what_is_sent_is_the_end_of_the_mail(server):
    answer = exchange(server.port, b"CHECK SPAMC/1.5\r\n\r\n" + mail(OFFER, "check"))
    assert parted(answer) == ask(server.port, "CHECK", mail(OFFER, "check"))


def test_odd_bytes_get_a_verdict(server):
    for body in (b"", b"\n", b"\0", bytes(range(256)) * 8, b"Subject: \xff\xfe\r\n\r\n\xff", b": x\n" * 1000):
        for command in ("CHECK", "PROCESS"):
            assert ask(server.port, command, body)[0] == OK, body[:20]


def test_a_message_out_of_reach_scores_less_than_the_threshold(tmp_path):
    with mail_served(tmp_path, reach=0.5, threshold=0.01) as server:
        _, headers, body = ask(server.port, "SYMBOLS", mail(FOREIGN, subject=""))
    assert headers["Spam"] == "False ; 4.9 / 5.0"
    assert body.startswith(b"SPAMCTL_HAM,SPAMCTL_PROBABILITY_20,")
    assert b"SPAMCTL_OUT_OF_REACH" in body


def test_a_mail_is_taught_and_taken_back_with_its_history(server):
    store = server.service.archive.store
    ask(server.port, "CHECK", mail(OFFER, "taught"))
    row = server.rows()[-1].uuid
    tell = {"User": "jo", "Set": "local", "Message_class": "spam"}
    assert ask(server.port, "TELL", mail(OFFER, "taught"), **tell)[1].get("DidSet") == "local"
    assert ask(server.port, "TELL", mail(OFFER, "taught"), **tell) == (OK, {"Content-length": "0"}, b"")
    assert ask(server.port, "TELL", mail(OFFER, "taught"), **tell | {"Message_class": "ham"})[1]["DidSet"] == "local"
    found = queries.find(store, [row])[row]
    assert (found.ground_truth, found.label_source) == ("not spam", "user")
    assert ask(server.port, "TELL", mail(OFFER, "taught"), User="jo", Remove="local")[1]["DidRemove"] == "local"
    assert "DidRemove" not in ask(server.port, "TELL", mail(OFFER, "taught"), Remove="local")[1]
    found = queries.find(store, [row])[row]
    assert (found.ground_truth, found.label_source, found.labeled_at) == (None, None, None)
    given = [(one.label, one.source, one.annotator) for one in labels.history(store, row)]
    assert given == [("spam", "user", "jo"), ("not spam", "user", "jo"), ("not spam", "withdrawn", "jo")]


def test_a_label_of_another_source_is_not_taken_back(server):
    ask(server.port, "CHECK", mail(OFFER, "file"))
    row = server.rows()[-1].uuid
    labels.set_labels(server.service.archive.store, {row: "spam"}, "file")
    assert "DidRemove" not in ask(server.port, "TELL", mail(OFFER, "file"), Remove="local")[1]
    assert server.rows()[-1].ground_truth == "spam"


def test_a_mail_that_was_never_asked_about_is_stored_and_labelled(server):
    ask(server.port, "TELL", mail(QUESTION, "new"), Set="local", Message_class="ham")
    row = server.rows()[-1]
    assert (row.ground_truth, row.label_source, row.source) == ("not spam", "user", "spamd tell")


def test_the_answer_of_an_earlier_version_is_found(tmp_path):
    with mail_served(tmp_path) as server:
        ask(server.port, "CHECK", mail(OFFER))
        with contextlib.closing(sqlite3.connect(server.database)) as other, other:  # its id names version 1
            other.execute("UPDATE data SET model_version = '1'")
        current = server.service.deployments.current
        current.release = type(current.release)("spam", "2", "champion", current.release.folder)
        ask(server.port, "TELL", mail(OFFER), Set="local", Message_class="spam")
        assert [row.ground_truth for row in server.rows()] == ["spam"]
        ask(server.port, "CHECK", mail(OFFER))
        assert len(server.rows()) == 2  # the new version gives its own verdict


def test_a_mail_that_got_its_identifier_on_the_way_is_found(server):
    bare = b"Subject: hello\r\n\r\nwe met on the way\r\n"
    before = stored(server)
    ask(server.port, "CHECK", bare)
    ask(server.port, "TELL", b"Message-ID: <x@mail.example>\r\n" + bare, Set="local", Message_class="ham")
    assert stored(server) == before + 1
    assert server.rows()[-1].ground_truth == "not spam"


@pytest.mark.parametrize("headers", [{"Set": "local"}, {"Set": "local", "Message_class": "junk"}], ids=str)
def test_teaching_needs_a_class(server, headers):
    assert ask(server.port, "TELL", mail(OFFER), **headers)[0].startswith("SPAMD/1.5 64 EX_USAGE TELL: to learn")


def test_remote_databases_are_not_for_us(server):
    before = server.rows()
    assert ask(server.port, "TELL", mail(OFFER), Set="remote", Message_class="spam")[1] == {"Content-length": "0"}
    assert server.rows() == before


def test_nothing_is_taught_where_nothing_is_captured(tmp_path):
    with mail_served(tmp_path, capture=False) as server:
        assert ask(server.port, "CHECK", mail(OFFER))[0] == OK
        assert ask(server.port, "TELL", mail(OFFER), Set="local", Message_class="spam")[0].startswith(
            "SPAMD/1.5 69 EX_UNAVAILABLE TELL: nothing is captured here"
        )


def test_overload_and_a_store_that_is_down_are_told_as_temporary(tmp_path):
    with mail_served(tmp_path, limits=Limits(in_flight=0)) as server:
        assert ask(server.port, "CHECK", mail(OFFER))[0].startswith("SPAMD/1.5 75 EX_TEMPFAIL too many requests")
        assert exchange(server.port, b"PING SPAMC/1.5\r\n\r\n") == b"SPAMD/1.5 0 PONG\r\n"


def test_a_mail_that_is_too_long_is_refused_before_it_is_read(tmp_path):
    with mail_served(tmp_path, limits=Limits(body_bytes=1000)) as server:
        refused = "SPAMD/1.5 65 EX_DATAERR the mail is too long"
        assert ask(server.port, "CHECK", b"x" * 1001)[0].startswith(refused)
        assert exchange(server.port, b"CHECK SPAMC/1.5\r\n\r\n" + b"x" * 1001).decode().startswith(refused)
        assert ask(server.port, "CHECK", b"x" * 1000)[0] == OK


@pytest.mark.parametrize("sent", [b"", b"CHECK SPAMC/1.5\r\nUser: jo\r\n"], ids=["nothing", "half a head"])
def test_who_does_not_ask_in_time_is_told(tmp_path, sent):
    with mail_served(tmp_path, patience=Timeouts(request_s=0.2)) as server:
        assert exchange(server.port, sent, ends=False).startswith(b"SPAMD/1.5 79 EX_TIMEOUT")


def test_who_does_not_send_the_mail_in_time_is_told(tmp_path):
    with mail_served(tmp_path, limits=Limits(timeout_s=0.3)) as server:
        sent = b"CHECK SPAMC/1.5\r\nContent-length: 9\r\n\r\nx"
        assert exchange(server.port, sent, ends=False).startswith(b"SPAMD/1.5 79 EX_TIMEOUT the mail did not come")


def test_who_does_not_take_the_answer_is_left(tmp_path):
    with mail_served(tmp_path, patience=Timeouts(answer_s=0.5)) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        body = mail("x " * 3_000_000)
        client.sendall(b"PROCESS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(body) + body)
        time.sleep(3)
        client.settimeout(10)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(2**20):
                taken += len(piece)
    assert taken < len(body)


def test_who_waits_longest_makes_room_for_the_next(tmp_path):
    with mail_served(tmp_path, most=8) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
        assert ask(server.port, "CHECK", mail(OFFER))[0] == OK
        idle[0].settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""
        for one in idle:
            one.close()


def test_many_clients_are_answered_each(server):
    found = {}

    def client(number):
        text = (OFFER, QUESTION)[number % 2]
        found[number] = ask(server.port, "CHECK", mail(text, f"many-{number}"))[1]["Spam"].split()[0]

    threads = [threading.Thread(target=client, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: ("True", "False")[number % 2] for number in range(40)}


def test_answers_are_counted_by_command_and_code(server):
    ask(server.port, "CHECK", mail(OFFER))
    exchange(server.port, b"NOISE\r\n")
    page = server.service.metrics.page().decode()
    assert re.search(r'spamctl_requests_total\{route="spamd CHECK",status="0"\} \d', page)
    assert re.search(r'spamctl_requests_total\{route="spamd other",status="76"\} \d', page)


def test_what_fails_inside_is_logged_without_the_mail(server, monkeypatch, caplog):
    def fail(raw):
        raise ValueError(raw)

    monkeypatch.setattr("spamctl.serving.spamd.parse_mail", fail)
    assert ask(server.port, "CHECK", mail(OFFER))[0].startswith("SPAMD/1.5 70 EX_SOFTWARE internal error")
    assert "ValueError" in caplog.text
    assert OFFER not in caplog.text


def test_a_locked_store_is_a_temporary_failure(tmp_path):
    with mail_served(tmp_path) as server, locked(str(server.database)):
        first = ask(server.port, "CHECK", mail(OFFER))[0]
    assert first.startswith("SPAMD/1.5 75 EX_TEMPFAIL the answer could not be stored")


def test_a_stop_answers_what_is_under_way(tmp_path):
    with mail_served(tmp_path) as server:
        slow = socket.create_connection(("127.0.0.1", server.port))
        slow.sendall(b"CHECK SPAMC/1.5\r\nContent-length: 9\r\n\r\nx")
        time.sleep(0.2)
    with slow:
        slow.settimeout(10)
        assert slow.recv(1000).startswith(b"SPAMD/1.5 75 EX_TEMPFAIL the server is stopping")


def test_several_workers_share_the_port_and_end_in_good_order(tmp_path):
    package, port = tiny_packages.write(tmp_path / "package"), closed_port()
    with a_server(package, "tests.faults.several", workers=2, spamd=f"127.0.0.1:{port}"):
        answers = [ask(port, "CHECK", mail(OFFER, f"worker-{number}"))[0] for number in range(20)]
    assert answers == [OK] * 20
    with pytest.raises(ConnectionRefusedError):
        ask(port, "CHECK", mail(OFFER))

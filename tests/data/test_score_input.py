"""Every message of an input comes in its order, with its place and its label, or with what keeps it from being read."""

import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from spamctl.data.mail import parse_mail
from spamctl.data.score_input import InputRequest, described, hosts_of, read, survey
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM
from tests.mails import mail

ROWS = [("win gold", "spam"), ("see you", "ham"), ("=1+1, \u200b\u00e9", "spam")]
LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)
TABLE = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
FILES = {
    "a.csv": TABLE.encode(),
    "a.csv.gz": gzip.compress(TABLE.encode(), mtime=0),
    "a.tsv": TABLE.replace(",spam", "\tspam").replace(",ham", "\tham").replace("text,", "text\t").encode(),
    "a.jsonl": LINES.encode(),
    "a.ndjson": LINES.encode(),
    "a.json": json.dumps([{"text": text, "label": label} for text, label in ROWS], indent=1).encode(),
    "a.parquet": None,
}


def lay(folder, name, content=None):
    path = folder / name
    if content is None:
        texts, labels = zip(*ROWS, strict=True)
        parquet.write_table(pa.table({"text": texts, "label": labels}), path)
    else:
        path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("name", FILES)
def test_every_format_of_training_is_read_in_order(tmp_path, name):
    request = InputRequest(lay(tmp_path, name, FILES[name]))
    found = survey(request)
    assert (found.rows, found.unreadable, found.mails) == (3, 0, 0)
    assert (found.meanings["spam"], found.meanings["ham"]) == (SPAM, NOT_SPAM)
    assert [(one.text, one.label) for one in read(request)] == ROWS
    assert {one.source for one in read(request)} == {request.messages}
    places = [one.place for one in read(request)]
    assert places == sorted(set(places))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,n\nwin,1\nsee,2\n"),
        ("a.jsonl", b'{"text": "win"}\n{"text": "see"}\n'),
        ("a.jsonl", b'{"text": "win", "tags": []}'),
        ("a.parquet", pa.table({"text": ["win", "see"]})),
    ],
    ids=["csv", "jsonl", "one object", "parquet"],
)
def test_a_file_needs_no_labels(tmp_path, name, content):
    if isinstance(content, pa.Table):
        parquet.write_table(content, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    request = InputRequest(str(tmp_path / name))
    assert survey(request).meanings == {}
    assert next((one.text, one.label) for one in read(request)) == ("win", None)


def test_labels_that_somebody_asked_for_must_be_there(tmp_path):
    path = lay(tmp_path, "a.csv", b"text,n\nwin,1\n")
    with pytest.raises(DataError, match="has no column 'kind'"):
        survey(InputRequest(path, label_column="kind"))
    with pytest.raises(DataError, match="which labels mean spam is not clear"):
        survey(InputRequest(lay(tmp_path, "b.csv", b"text,label\na,x\nb,y\nc,z\n"), spam_label="w"))


def test_labels_that_are_not_clear_are_noted_and_not_used(tmp_path):
    found = survey(InputRequest(lay(tmp_path, "a.csv", b"text,label\na,x\nb,y\nc,z\n")))
    assert found.meanings == {}
    assert found.notes[-1] == "the column 'label' is not read as labels: name those of spam by --spam-label"


def test_what_cannot_be_read_keeps_its_place_and_is_named(tmp_path):
    path = lay(tmp_path, "a.jsonl", b'{"text": "a"}\n{"text": 5}\nnope\n{"n": 1}\n{"text": ""}\n')
    found = survey(InputRequest(path))
    assert (found.rows, found.unreadable) == (5, 3)
    assert [bool(one.fault) for one in read(InputRequest(path))] == [False, True, True, True, False]
    told = described(found.counts, found.faults)
    assert f"1 with a text that is not a string ({path} 2)" in told
    assert f"1 with no valid JSON ({path} 3)" in told
    assert f"1 with no text ({path} 4)" in told


def test_of_many_faults_the_first_are_named(tmp_path):
    found = survey(InputRequest(lay(tmp_path, "a.jsonl", b"nope\n" * 9)))
    told = described(found.counts, found.faults)
    assert told.startswith("9 with no valid JSON (")
    assert told.endswith("a.jsonl 5, …)")


def test_a_folder_is_read_file_after_file(tmp_path):
    lay(tmp_path, "b.csv", b"text\nsecond\n")
    lay(tmp_path, "a.jsonl", b'{"text": "first"}\n')
    lay(tmp_path, ".hidden.csv", b"text\nnone\n")
    request = InputRequest(str(tmp_path))
    assert [one.text for one in read(request)] == ["first", "second"]
    assert survey(request).rows == 2


def test_a_file_of_text_is_one_message(tmp_path):
    for name, content in (("a.txt", b"one\ntwo\n"), ("b.txt.gz", gzip.compress(b"one\ntwo\n"))):
        assert [one.text for one in read(InputRequest(lay(tmp_path, name, content)))] == ["one\ntwo"]
    (one,) = read(InputRequest(lay(tmp_path, "c.txt", b"\xff\xfe\xfa")))
    assert one.fault == "bytes that are not utf-8 (--encoding)"
    (one,) = read(InputRequest(lay(tmp_path, "d.txt", "caf\u00e9".encode("cp1252")), encoding="cp1252"))
    assert one.text == "caf\u00e9"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty: give it a file with a row for each message"),
        ("a.csv", b"text,label\n", "holds no message"),
        ("a.csv", b"body,label\na,ham\n", "has no column 'text' (--text-column), but 'body', 'label'"),
        ("a.jsonl", b'{"body": "a"}\n', "has no column 'text' (--text-column), but 'body'"),
        ("a.xlsx", b"PK", "is not of a known kind"),
        ("a.parquet", b"no parquet", "is no parquet file that can be read"),
        ("a.csv", b"PK\x03\x04", "is a zip archive or a spreadsheet, whatever its name says"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(tmp_path, name, content, words):
    with pytest.raises(DataError) as refusal:
        survey(InputRequest(lay(tmp_path, name, content)))
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv does not exist"):
        survey(InputRequest(str(tmp_path / "gone.csv")))
    with pytest.raises(DataError, match="holds no message: name"):
        survey(InputRequest(str(tmp_path)))


MAIL = mail("Call now https://evil.example/x", subject="You won")
READ = parse_mail(MAIL).text


def maildir(folder):
    for name, content in (
        ("Maildir/cur/1.a:2,S", mail("See you")),
        ("Maildir/new/2.b", gzip.compress(mail("Soup?"), mtime=0)),
        ("Maildir/.Junk/cur/3.c", MAIL),
        ("Maildir/.Sent/cur/4.d", mail("Yes")),
        ("Maildir/tmp/5.e", b"half a ma"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder / "Maildir")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.eml", MAIL),
        ("a.eml.gz", gzip.compress(MAIL, mtime=0)),
        ("1701.M1P2.host:2,S", MAIL),
        ("a.mbox", b"From a@b.example Mon Nov 30 09:00:00 2026\n" + MAIL),
        ("inbox", b"From a@b.example Mon Nov 30 09:00:00 2026\n" + MAIL),
        ("folder/a.eml", MAIL),
    ],
)
def test_a_mail_is_read_wherever_it_lies_as_the_model_reads_it(tmp_path, name, content):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    request = InputRequest(str(tmp_path / ("folder" if "folder" in name else name)))
    assert (survey(request).rows, survey(request).mails) == (1, 1)
    (one,) = read(request)
    assert (one.text, one.is_mail) == (READ, True)
    assert one.raw.rstrip() == MAIL.rstrip()
    assert hosts_of(one) == ("evil.example",)


def test_the_folders_of_a_maildir_are_its_labels(tmp_path):
    request = InputRequest(maildir(tmp_path))
    found = survey(request)
    assert (found.rows, found.mails, found.meanings) == (4, 4, {SPAM: SPAM, NOT_SPAM: NOT_SPAM})
    labels = {one.source.rpartition(" ")[2]: one.label for one in read(request)}
    assert labels == {
        "INBOX:1.a:2,S": NOT_SPAM,
        "INBOX:2.b": NOT_SPAM,
        ".Junk:3.c": SPAM,
        ".Sent:4.d": None,
    }
    without = InputRequest(request.messages, spam_folder="Elsewhere")
    assert survey(without).meanings == {}


def test_mails_and_files_of_rows_are_not_mixed(tmp_path):
    maildir(tmp_path)
    lay(tmp_path / "Maildir", "a.csv", TABLE.encode())
    with pytest.raises(DataError, match=r"holds mails and files of rows \(a\.csv\): score one after the other"):
        survey(InputRequest(str(tmp_path / "Maildir")))


def test_a_mail_that_cannot_be_unpacked_is_named_and_the_others_are_read(tmp_path):
    maildir(tmp_path)
    (tmp_path / "Maildir/new/2.b").write_bytes(b"\x1f\x8bbroken")
    request = InputRequest(str(tmp_path / "Maildir"))
    found = survey(request)
    assert (found.rows, found.mails, found.unreadable) == (4, 4, 1)
    assert "1 with damaged gzip file (" in described(found.counts, found.faults)
    assert sum(bool(one.text) for one in read(request)) == 3


def test_another_content_has_another_digest(tmp_path):
    path = lay(tmp_path, "a.csv", b"text\na\n")
    before = survey(InputRequest(path)).sha256
    assert survey(InputRequest(path)).sha256 == before
    lay(tmp_path, "a.csv", b"text\nb\n")
    assert survey(InputRequest(path)).sha256 != before


def test_hosts_of_links_are_named_once_and_not_what_stands_before_an_at_sign(tmp_path):
    text = "http://bank.example@evil.example:80/a HTTPS://Shop.Example/ see bit.ly/x, shop.example and e.g. this"
    (one,) = read(InputRequest(lay(tmp_path, "a.txt", text.encode())))
    assert hosts_of(one) == ("evil.example", "shop.example", "bit.ly")

"""Mails are found wherever mail programs keep them, and what cannot be read is named."""

import gzip
import os

import pytest

from spamctl.data import mime
from spamctl.data.mail import parse_mail
from spamctl.data.mailboxes import is_mailbox, read_mails
from tests import mails

ONE, TWO, THREE = (mails.mail(f"text {number}", subject=f"mail {number}") for number in (1, 2, 3))


def subjects(path):
    """Return (folder, subject or fault) of every mail."""
    return [(one.folder, one.fault or parse_mail(one.raw).subject) for one in read_mails(path)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["one.eml", "one.EML", "saved"])
def test_a_file_is_one_mail(tmp_path, name, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(ONE) if packed else ONE)
    assert [subject for _, subject in subjects(path)] == ["mail 1"]
    assert is_mailbox(path) is name.lower().endswith(".eml")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["Archive.mbox", "Archive.mbx", "Archive"])
def test_an_mbox_is_several_mails(tmp_path, name, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    tricky = mails.mail("From here on it rains.\n\nFrom bob\n> From quoted", subject="tricky")
    raw = mails.mbox(ONE, tricky, TWO)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert is_mailbox(path)
    folder = "Archive" if "." in name else path.name.removesuffix(".gz")
    assert subjects(path) == [(folder, "mail 1"), (folder, "tricky"), (folder, "mail 2")]
    assert parse_mail(list(read_mails(path))[1].raw).text.endswith("From here on it rains.\n\nFrom bob\n> From quoted")
    assert [one.location for one in read_mails(path)] == [f"{folder}:1", f"{folder}:2", f"{folder}:3"]


def test_a_maildir_has_folders(tmp_path):
    mails.maildir(tmp_path, INBOX=[ONE, TWO], **{"Junk": [THREE], "Archive.2023": [ONE], "Empty": []})
    (tmp_path / "tmp" / "unfinished").write_bytes(TWO)
    for beside in ("dovecot.index", "dovecot-uidlist", "subscriptions", "maildirsize", "Inbox.msf", ".hidden"):
        (tmp_path / beside).write_bytes(b"A: b\nC: d\n")
    found = subjects(tmp_path)
    assert found == [(".Archive.2023", "mail 1"), (".Junk", "mail 3"), ("INBOX", "mail 2"), ("INBOX", "mail 1")]
    assert is_mailbox(tmp_path)


def test_folders_may_lie_within_folders(tmp_path):
    mails.maildir(tmp_path / "user" / "Junk", INBOX=[ONE])
    (tmp_path / "Inbox").write_bytes(mails.mbox(TWO, THREE))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.eml.gz").write_bytes(gzip.compress(ONE))
    (tmp_path / "letters" / "17").write_bytes(TWO)
    (tmp_path / "letters" / "README.txt").write_bytes(b"Note: these are letters.\nThey are old.\n")
    (tmp_path / "letters" / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    assert subjects(tmp_path) == [
        ("Inbox", "mail 2"),
        ("Inbox", "mail 3"),
        ("letters", "mail 2"),
        ("letters", "mail 1"),
        ("user/Junk", "mail 1"),
    ]


def test_flags_say_what_was_discarded(tmp_path):
    mails.maildir(tmp_path, INBOX=[])
    for flags in ("S", "ST", "DS", ""):
        (tmp_path / "cur" / f"1.host:2,{flags}").write_bytes(ONE)
    assert {one.key.partition(",")[2]: one.is_discarded for one in read_mails(tmp_path)} == {
        "S": False,
        "ST": True,
        "DS": True,
        "": False,
    }


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "cut.eml.gz").write_bytes(gzip.compress(ONE * 100)[:60])
    (tmp_path / "good.eml").write_bytes(TWO)
    (tmp_path / "gone.eml").symlink_to(tmp_path / "nowhere")
    found = list(read_mails(tmp_path))
    assert [(one.location, one.fault) for one in found] == [
        ("INBOX:cut.eml.gz", "damaged gzip file"),
        ("INBOX:gone.eml", "unreadable file (No such file or directory)"),
        ("INBOX:good.eml", ""),
    ]
    (tmp_path / "cut.mbox.gz").write_bytes(gzip.compress(mails.mbox(ONE, os.urandom(50_000)))[:20_000])
    assert [one.fault for one in read_mails(tmp_path / "cut.mbox.gz")][-1] == "damaged gzip file"
    (tmp_path / "imap.mbx").write_bytes(b"*mbx*\r\n")
    assert "convert it to mbox" in next(read_mails(tmp_path / "imap.mbx")).fault


def test_names_of_files_cannot_write_to_a_terminal(tmp_path):
    (tmp_path / "a\x1b[31m.eml").write_bytes(ONE)
    assert next(read_mails(tmp_path)).location == "INBOX:a?[31m.eml"


def test_a_packed_bomb_is_read_only_as_far_as_a_mail_may_go(tmp_path):
    (tmp_path / "bomb.eml.gz").write_bytes(gzip.compress(b"Subject: bomb\n\n" + b"\0" * (60 * 2**20)))
    (tmp_path / "bomb.mbox.gz").write_bytes(gzip.compress(mails.mbox(b"Subject: bomb\n\n" + b"\0" * (60 * 2**20))))
    for name in ("bomb.eml.gz", "bomb.mbox.gz"):
        (found,) = read_mails(tmp_path / name)
        assert len(found.raw) <= mime.MOST_BYTES + 2 * 2**20
        assert parse_mail(found.raw).subject == "bomb"


def test_what_is_no_mail_is_no_mailbox(tmp_path):
    (tmp_path / "rows.txt").write_text("hello")
    assert not is_mailbox(tmp_path / "rows.txt")
    assert not is_mailbox(tmp_path / "nowhere")
    assert not is_mailbox(tmp_path / "\0")

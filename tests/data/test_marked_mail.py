"""A mail is delivered once with its verdict, and no header of the kind that somebody else has put there."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.score_output import Maildir, marked, unmarked
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Verdict

SPAMMY, FINE = Verdict(SPAM, 0.99712, truncated=False, in_reach=True), Verdict(NOT_SPAM, 0.01, False, True)
HEAD = b"From: a@example.org\nX-Spam-Flag: NO\nSubject: hi\nx-spam-status : No,\n score=-5\n\ttests=none\nTo: b\n"
MAIL = HEAD + b"\nX-Spam-Flag: in the body\n"


def test_the_headers_of_others_are_replaced():
    found = message_from_bytes(marked(MAIL, SPAMMY, 0.5, "3"), policy=policy.default)
    assert found.get_all("X-Spam-Flag") == ["YES"]
    assert found.get_all("X-Spam-Status") == ["Yes, probability=0.9971 threshold=0.5000 version=3"]
    assert (found["Subject"], found["From"], found["To"]) == ("hi", "a@example.org", "b")
    assert found.get_content() == "X-Spam-Flag: in the body\n"
    assert marked(MAIL, FINE, 0.5, "3").startswith(b"X-Spam-Flag: NO\nX-Spam-Status: No, probability=0.0100 ")


def test_the_rest_of_a_mail_is_not_changed_by_a_byte():
    raw = b"From someone Mon Nov 30\nReceived: x\r\n\tfolded\r\nSubject: \xff\xfe\r\n\r\nbody\r\n\x00\xff"
    assert unmarked(raw) == raw.partition(b"\n")[2]
    assert marked(raw, FINE, 0.5, "3").endswith(raw.partition(b"\n")[2])
    assert b"version=3\r\nReceived" in marked(raw, FINE, 0.5, "3")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"no header at all",
        b"X-Spam-Flag: NO",
        b"X-SPAM-FLAG:NO\r\rbody",
        b"Subject: x\rX-Spam-Flag: NO\r\n\r\nbody",
        b"not a header\nX-Spam-Flag: NO\n\nbody",
        b"From x\nX-Spam-Flag: NO\n\nbody",
        b"X-Spam-Flag\t: NO\n\nbody",
    ],
)
def test_no_trick_leaves_a_second_flag(raw):
    head = marked(raw, SPAMMY, 0.5, "3").replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n\n")[0]
    flags = [line for line in head.split(b"\n") if line.lower().startswith(b"x-spam-flag")]
    assert flags == [b"X-Spam-Flag: YES"]


@given(
    st.lists(
        st.sampled_from([b"X-Spam-Flag: NO", b"x-spam-status:a", b" more", b"Subject: a", b"\r", b"\n", b"\r\n", b"x"])
    )
)
def test_whatever_a_mail_is_made_of_its_flag_is_ours(pieces):
    found = message_from_bytes(marked(b"".join(pieces), SPAMMY, 0.5, "3"))
    assert found.get_all("X-Spam-Flag") == ["YES"]
    assert len(found.get_all("X-Spam-Status")) == 1


def test_a_mail_is_delivered_once_also_if_its_reader_has_moved_it(tmp_path):
    Maildir(tmp_path / "box", "run").deliver(7, b"a")
    (new,) = (tmp_path / "box" / "new").iterdir()
    new.rename(tmp_path / "box" / "cur" / f"{new.name}:2,S")
    again = Maildir(tmp_path / "box", "run")
    again.deliver(7, b"a")
    again.deliver(8, b"b")
    assert [path.read_bytes() for path in (tmp_path / "box" / "new").iterdir()] == [b"b"]
    Maildir(tmp_path / "box", "other").deliver(7, b"c")
    assert len(list((tmp_path / "box" / "new").iterdir())) == 2
    assert list((tmp_path / "box" / "tmp").iterdir()) == []


def test_what_can_be_no_maildir_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"--into-maildir .*file: cannot be made"):
        Maildir(tmp_path / "file", "run")

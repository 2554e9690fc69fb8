"""A user's own mail becomes a corpus: labels from folders, threads on one side, the newest kept for the test."""

import gzip

import pytest

from spamctl.data.cleaning import leakage
from spamctl.data.corpus import OWN, CorpusRequest, ReplayRequest, read_datasets, read_replay
from spamctl.data.label_file import LabelRequest, read_label_file
from spamctl.data.mail import parse_mail
from spamctl.data.mail_corpus import Source, find_threads, read_mailboxes
from spamctl.data.split import split
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, from_rows, to_rows, to_traits
from spamctl.schema.train import Leakage
from tests import mails

WORDS = ("garden", "kitchen", "winter", "meeting", "school", "bridge", "harbour")
WORDS += ("violin", "summer", "letter", "market", "doctor", "window", "orchard")


def words(number):
    """Return a few words that no other number has."""
    return " ".join(WORDS[number // len(WORDS) ** place % len(WORDS)] for place in range(4))


def good(number, **fields):
    return mails.sent(
        f"g{number}", f"About the {words(number)}", f"See you at the {words(number)}.", day=number, **fields
    )


def bad(number, **fields):
    return mails.sent(f"s{number}", f"Prize {words(number)}", f"Claim your {words(number)} now!", day=number, **fields)


@pytest.fixture
def mailbox(tmp_path):
    """Return a Maildir with 40 good mails and 20 of spam, and folders that say nothing of either."""
    return mails.maildir(
        tmp_path / "Maildir",
        INBOX=[good(number) for number in range(30)],
        Archive=[good(number) for number in range(30, 40)],
        Junk=[bad(number) for number in range(20)],
        Sent=[mails.sent("x1", "Re: garden", "My own words")],
        Trash=[mails.sent("x2", "old", "Thrown away")],
        Drafts=[mails.sent("x3", "not yet", "Unfinished")],
    )


def read(path, **more):
    return read_datasets(CorpusRequest(str(path), **more), may_ask=False)


def test_folders_label_the_mails_and_are_counted(mailbox):
    found = read(mailbox)
    labels = [message.label for message in found.messages]
    assert (labels.count(NOT_SPAM), labels.count(SPAM)) == (40, 20)
    assert {(one.traits.dataset, one.traits.medium) for one in found.messages} == {(OWN, "mail")}
    assert found.notes == (
        "spam by folder: .Junk 20",
        "not spam by folder: INBOX 30, .Archive 10",
        "left out, sent, draft or deleted: .Drafts 1, .Sent 1, .Trash 1",
    )
    assert parse_mail(bad(3)).text in {one.text for one in found.messages if one.is_spam}
    assert len(found.sha256) == 64


@pytest.mark.parametrize("asked", ["junk", ".JUNK", "Spam, .junk", "Nowhere,Junk"])
def test_folders_of_spam_are_named_in_any_spelling(mailbox, asked):
    assert sum(one.is_spam for one in read(mailbox, spam_folder=asked).messages) == 20


def test_a_folder_within_a_folder_of_spam_is_spam_and_imap_spells_letters_its_own_way(tmp_path):
    mails.maildir(
        tmp_path,
        INBOX=[good(number) for number in range(12)],
        **{"Werbem&APw-ll.2024": [bad(number) for number in range(12)], "Entw&APw-rfe": [good(99)]},
    )
    found = read(tmp_path, spam_folder="Werbemüll")
    assert sum(one.is_spam for one in found.messages) == 12
    assert "left out, sent, draft or deleted: .Entw&APw-rfe 1" in found.notes


def test_a_mailbox_without_a_folder_of_spam_is_refused_with_the_folders_it_has(mailbox):
    with pytest.raises(
        DataError, match=r"Maildir has no mail in a folder 'Phish' .*INBOX 30, \.Junk 20.*--spam-folder"
    ):
        read(mailbox, spam_folder="Phish")


def test_a_folder_without_mail_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no mail"):
        read(tmp_path)


def test_files_of_mail_are_one_corpus(tmp_path):
    (tmp_path / "Inbox.mbox").write_bytes(mails.mbox(*(good(number) for number in range(12))))
    (tmp_path / "Spam.mbox.gz").write_bytes(gzip.compress(mails.mbox(*(bad(number) for number in range(11)))))
    found = read(f"{tmp_path}/Inbox.mbox,{tmp_path}/Spam.mbox.gz")
    assert sum(one.is_spam for one in found.messages) == 11
    assert found.notes == ("spam by folder: Spam 11", "not spam by folder: Inbox 12")


def test_good_and_spam_are_read_whatever_their_folders(tmp_path):
    for name, write in (("ham", good), ("waste", bad)):
        (tmp_path / name / "Sent").mkdir(parents=True)
        for number in range(12):
            (tmp_path / name / "Sent" / f"{number}.eml").write_bytes(write(number))
    sides = {"good": str(tmp_path / "ham"), "spam": str(tmp_path / "waste")}
    found = read("none", **sides)
    assert sum(one.is_spam for one in found.messages) == 12
    assert len(found.messages) == 24
    both = read("everyday", **sides)
    assert {one.traits.dataset for one in both.messages} == {OWN, "everyday"}
    with pytest.raises(DataError, match=r"--spam .*nowhere does not exist"):
        read("none", good=str(tmp_path / "ham"), spam=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="--dataset none"):
        read("none")


def test_what_cannot_be_read_or_says_nothing_is_left_out_and_named(mailbox):
    (mailbox / ".Archive" / "cur" / "broken.gz").write_bytes(gzip.compress(good(1))[:20])
    (mailbox / ".Archive" / "cur" / "empty").write_bytes(b"From: a@b.example\n\n\n")
    (mailbox / "cur" / "deleted:2,ST").write_bytes(good(77))
    found = read(mailbox)
    assert len(found.messages) == 60
    assert "left out, marked as deleted or draft: INBOX 1" in found.notes
    assert "left out, without text: .Archive 1" in found.notes
    assert "left out: 1 row with damaged gzip file (.Archive:broken.gz)" in found.notes


def test_copies_and_mails_with_both_labels_are_left_out(mailbox):
    (mailbox / ".Archive" / "cur" / "copy").write_bytes(good(1))
    (mailbox / "cur" / "moved").write_bytes(bad(2))
    found = read(mailbox)
    assert len(found.messages) == 59
    assert "left out: 1 exact copy" in found.notes
    assert any("both labels" in note for note in found.notes)


def test_threads_are_found_by_identifiers_and_lists():
    def known(number, text="Thanks!", **fields):
        return parse_mail(mails.mail(text, Message_ID=f"<{number}@x>", **fields))

    found = find_threads(
        [
            known(1),
            known(2, In_Reply_To="<1@X>"),
            known(3, References="<0@x> <9@x>"),
            known(4, References="<9@x>"),
            known(5, List_Id="<choir.x.example>"),
            known(6, List_Id="Choir <choir.x.example>"),
            known(7),
            parse_mail(mails.mail()),
            known(18, text="Your parcel 4711 is waiting. Pay the fee of 1.99 today.", subject="Parcel"),
            known(19, text="Your parcel 0815 is waiting.  PAY the fee of 1.99 today.", subject="Delivery failed"),
        ]
    )
    assert found[0] == found[1] != found[2]
    assert found[2] == found[3]
    assert found[4] == found[5]
    assert found[6:8] == ["", ""]
    assert found[8] == found[9]
    assert len({*found}) == 5


def test_a_thread_or_list_never_sits_on_both_sides_of_the_split(tmp_path):
    inbox = [good(number) for number in range(100)]
    for thread in range(20):
        for answer in range(4):
            number = 100 + 4 * thread + answer
            fields = {"References": f"<g{100 + 4 * thread}@x.example>"} if answer else {}
            inbox.append(good(number, **fields))
    inbox += [good(number, List_Id=f"<list{number % 8}.x.example>") for number in range(180, 220)]
    mails.maildir(tmp_path, INBOX=inbox, Junk=[bad(number) for number in range(60)])
    found = read(tmp_path)
    divided = split(found.messages)
    places = {}
    for name in ("train", "validation", "test"):
        for message in getattr(divided, name):
            if message.traits.thread:
                places.setdefault(message.traits.thread, set()).add(name)
    assert len(places) == 28
    assert all(len(sides) == 1 for sides in places.values())
    assert {name for sides in places.values() for name in sides} == {"train", "validation", "test"}
    assert leakage(divided) == Leakage(exact=0, masked=0)


def test_the_newest_mails_are_kept_for_the_test(mailbox):
    divided = split(read(mailbox).messages)
    for label, count in ((SPAM, 20), (NOT_SPAM, 40)):
        train, validation, test = (
            sorted(int(one.traits.received) for one in part if one.label == label)
            for part in (divided.train, divided.validation, divided.test)
        )
        assert max(train) < min(validation)
        assert max(validation) < min(test)
        assert (len(train), len(validation), len(test)) == (0.7 * count, 0.1 * count, 0.2 * count)


def test_traits_pass_between_steps(mailbox):
    messages = read(mailbox).messages
    again = from_rows(to_rows(messages), to_traits(messages))
    assert [one.traits for one in again] == [one.traits for one in messages]
    assert all(one.traits.received for one in again)


def test_a_mailbox_is_replayed_with_its_folders_as_truth(mailbox, tmp_path):
    found = read_replay(ReplayRequest(str(mailbox)))
    assert [label for _, label in found.rows].count(SPAM) == 20
    assert (parse_mail(bad(3)).text, SPAM) in found.rows
    assert "spam by folder: .Junk 20" in found.notes
    (tmp_path / "one.eml").write_bytes(good(1))
    with pytest.raises(DataError, match="--no-truth"):
        read_replay(ReplayRequest(str(tmp_path / "one.eml")))
    assert read_replay(ReplayRequest(str(tmp_path / "one.eml"), truth=False)).rows == (
        (parse_mail(good(1)).text, None),
    )


def test_a_mailbox_labels_by_the_text_that_the_model_reads(mailbox):
    found = read_label_file(LabelRequest(str(mailbox)))
    assert (found.key, found.rows) == ("text", 60)
    asked = [parse_mail(bad(3)).text, parse_mail(good(4)).text, "Subject: else\n\nelse"]
    assert found.labels_of(asked) == [SPAM, NOT_SPAM, None]
    assert len(found.unmet()) == 58
    assert any(str(place).startswith(".Junk:") for place in found.unmet())


def test_a_description_of_folders_is_refused_without_mail():
    with pytest.raises(DataError, match="--spam-folder"):
        read("everyday", spam_folder="Bulk")


def test_reading_tells_how_much_of_a_mailbox_is_done(mailbox):
    told = []
    read_mailboxes([Source(mailbox)], "Junk", told.append)
    assert len(told) == sum(path.is_file() for path in mailbox.rglob("*")) - 1  # all but the last, which is the end
    assert all(tick.done < tick.total for tick in told)
    assert [tick.done for tick in told] == sorted(tick.done for tick in told)
    assert {(tick.task, tick.unit) for tick in told} == {("mail", "kB")}

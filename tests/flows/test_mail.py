"""A filter is trained on a mailbox by the real command, and the mailbox is replayed and labels what was answered."""

import pytest

from spamctl.data.mail import parse_mail
from tests import mails, tiny_models

TRAIN = ("--base-model", "./tiny-gpt2", "--threads", "1", "--epochs", "1", "--engine", "float32", "--depth", "2")
ANSWERS = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/spam@champion")
answers = model.predict([{"text": text} for text in TEXTS], params={"data_capture": False})
print(json.dumps([answer["classification"] for answer in answers]))
"""


def mailbox(path):
    """Write a Maildir of the tiny messages, with all that a server adds to what it calls spam."""
    folders = {"INBOX": [], "Archive": [], "Junk": [], "Sent": []}
    for number, message in enumerate(tiny_models.messages(200)):
        subject = f"***SPAM*** Number {number}" if message.is_spam else f"Number {number}"
        fields = {"X_Spam_Flag": "YES", "X_Spam_Status": "Yes, score=9"} if message.is_spam else {}
        folder = "Junk" if message.is_spam else ("INBOX", "Archive")[number % 3 == 0]
        folders[folder].append(mails.sent(number, subject, message.text, day=number, **fields))
    folders["Sent"].append(mails.sent("own", "My answer", "What I wrote myself."))
    return mails.maildir(path, **folders), folders


@pytest.fixture(scope="module")
def trained(lay):
    """Train on a mailbox; return the desk, and the mails by folder."""
    desk = lay("mailbox")
    _, folders = mailbox(desk.path("Maildir"))
    assert desk.ended(desk.train("--dataset", "Maildir", *TRAIN)) == 0, desk.err
    return desk, folders


def test_a_mailbox_trains_a_filter_and_its_folders_are_counted(trained):
    desk, _ = trained
    said = " ".join((desk.out + desk.err).split())
    assert "spam by folder: .Junk 100 not spam by folder: INBOX 67, .Archive 33" in said
    assert "left out, sent, draft or deleted: .Sent 1" in said


def test_the_filter_reads_mails_and_not_what_other_filters_wrote(trained):
    desk, folders = trained
    texts = [parse_mail(raw).text for folder in ("INBOX", "Junk") for raw in folders[folder][:10]]
    assert not any("SPAM***" in text or "X-Spam" in text for text in texts)
    answers = desk.ask(f"TEXTS = {texts!r}\n{ANSWERS}")
    assert answers[10:].count("spam") > answers[:10].count("spam")


def test_traffic_draws_the_same_test_part(trained):
    desk, _ = trained
    process = desk.start("-m", "spamctl", "traffic", "--dataset", "Maildir", "--drift-type", "leet", "--preview", "3")
    assert desk.ended(process) == 0, desk.err


def test_folders_and_mailboxes_of_one_label_are_read_as_the_options_say(lay):
    desk = lay("told")
    found = list(tiny_models.messages(200))
    of = {
        spam: [
            mails.sent(number, f"Number {number}", one.text, day=number)
            for number, one in enumerate(found)
            if one.is_spam == spam
        ]
        for spam in (False, True)
    }
    desk.path("good.mbox").write_bytes(mails.mbox(*of[False][:80]))
    desk.path("spam.mbox").write_bytes(mails.mbox(*of[True][:80]))
    mails.maildir(desk.path("Maildir"), INBOX=of[False][80:], Bulk=of[True][80:])
    told = ("--dataset", "Maildir", "--spam-folder", "Bulk", "--good", "good.mbox", "--spam", "spam.mbox")
    assert desk.ended(desk.train(*told, *TRAIN)) == 0, desk.err
    said = " ".join((desk.out + desk.err).split())
    assert "spam by folder: spam 80, .Bulk 20 not spam by folder: good 80, INBOX 20" in said
    process = desk.start("-m", "spamctl", "traffic", *told, "--drift-type", "leet", "--preview", "3")
    assert desk.ended(process) == 0, desk.err
    assert "spam by folder: spam 80, .Bulk 20" in " ".join((desk.out + desk.err).split())

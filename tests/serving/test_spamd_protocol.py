"""A verdict is one score for clients that compare it with 5.0, and headers that replace what a sender claims."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.serving.spamd_protocol import MailTraits, SpamdVerdict, marked, word_families

PROBABILITIES = st.floats(0, 1)


def verdict(probability=0.9, threshold=0.5, *, in_reach=True, **more):
    is_spam = probability >= threshold and in_reach
    about = {"model": "spam", "version": "3", "truncated": False} | more
    return SpamdVerdict(
        classification=SPAM if is_spam else NOT_SPAM,
        probability=probability,
        threshold=threshold,
        in_reach=in_reach,
        **about,
    )


@pytest.mark.parametrize(
    ("probability", "threshold", "score"),
    [
        (0.5, 0.5, 5.0),
        (0.97, 0.97, 5.0),
        (math.nextafter(0.97, 0), 0.97, 4.9),
        (1 / (1 + math.exp(-1)), 0.5, 6.0),
        (0.0, 0.5, -99.9),
        (1.0, 0.5, 41.7),
        (1.0, 1.0, 5.0),
        (0.0, 0.0, 5.0),
    ],
)
def test_the_score_is_the_distance_from_the_threshold_in_log_odds(probability, threshold, score):
    assert verdict(probability, threshold).score == pytest.approx(score, abs=1e-9)


@given(PROBABILITIES, PROBABILITIES)
def test_a_score_of_5_is_the_verdict(probability, threshold):
    found = verdict(probability, threshold)
    assert (found.score >= 5.0) == found.is_spam
    assert f"{found.score:.1f}" == str(found.score)
    assert abs(found.score) <= 99.9


@given(PROBABILITIES, PROBABILITIES, PROBABILITIES)
def test_the_score_rises_with_the_probability(one, other, threshold):
    low, high = sorted((one, other))
    assert verdict(low, threshold).score <= verdict(high, threshold).score


@given(PROBABILITIES, PROBABILITIES)
def test_what_is_out_of_reach_and_delivered_is_under_the_threshold(probability, threshold):
    assert verdict(probability, threshold, in_reach=False).score <= 4.9


def test_the_rules_tell_all_that_is_known():
    traits = MailTraits(hidden_text=True, hosts=True, attachments=True)
    found = verdict(0.0499, in_reach=False, truncated=True, traits=traits, families=("MONEY",))
    assert found.rules == (
        *("SPAMCTL_HAM", "SPAMCTL_PROBABILITY_00", "SPAMCTL_MEDIUM_MAIL", "SPAMCTL_OUT_OF_REACH", "SPAMCTL_TRUNCATED"),
        *("SPAMCTL_HIDDEN_TEXT", "SPAMCTL_LINKS", "SPAMCTL_ATTACHMENTS", "SPAMCTL_WORDS_MONEY"),
    )
    report = found.report().decode("ascii")
    assert all(rule in report for rule in found.rules)
    assert "probability 0.0499, threshold 0.5000: 2.0 points, 5.0 required" in report


@pytest.mark.parametrize(
    ("words", "families"),
    [
        ([], ()),
        (["tuesday", "weather"], ()),
        (["winner", "€", "claim", "0900"], ("MONEY", "PRIZE", "NUMBERS")),
        (["konto", "sofort"], ("URGENCY", "ACCOUNT")),
        (["unpaid", "nowhere"], ()),  # whole words only
    ],
)
def test_words_are_told_by_their_families(words, families):
    assert word_families(words) == families


def test_the_status_has_one_autolearn_and_lines_are_short():
    headers = verdict(1 - 1e-9, traits=MailTraits(True, True, True), truncated=True).mail_headers()
    status = headers[-1]
    assert status.startswith("X-Spam-Status: Yes, score=25.7 required=5.0 tests=SPAMCTL_SPAM,SPAMCTL_PROBABILITY_99,")
    assert status.count("autolearn") == 1
    assert " autolearn=no version=" in status
    assert max(map(len, headers)) < 300
    assert headers[2] == "X-Spam-Level: " + "*" * 25
    assert not [header for header in verdict(0.1).mail_headers() if header.startswith("X-Spam-Flag")]


OURS = ["X-Spam-Flag: YES"]


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        (b"A: b\r\n\r\nc", b"X-Spam-Flag: YES\r\nA: b\r\n\r\nc"),
        (b"A: b\n\nc", b"X-Spam-Flag: YES\nA: b\n\nc"),
        (b"From x\nA: b\n\nc", b"From x\nX-Spam-Flag: YES\nA: b\n\nc"),
        (b"A: b\nX-Spam-Flag: NO\n more\n\tof it\nC: d\n\n", b"X-Spam-Flag: YES\nA: b\nC: d\n\n"),
        (b"x-SPAM-anything : 1\nA: b\n\n", b"X-Spam-Flag: YES\nA: b\n\n"),
        (b"A: b\n\nX-Spam-Flag: NO\n", b"X-Spam-Flag: YES\nA: b\n\nX-Spam-Flag: NO\n"),
        (b"A: b\nno header\n\nc", b"X-Spam-Flag: YES\nA: b\nno header\n\nc"),
        (b"A: b", b"X-Spam-Flag: YES\nA: b\n\n"),
        (b"\nc", b"X-Spam-Flag: YES\n\nc"),
        (b"\r\nc", b"X-Spam-Flag: YES\r\n\r\nc"),
        (b"", b"X-Spam-Flag: YES\n\n"),
        (b"A: b\n \nc", b"X-Spam-Flag: YES\nA: b\n \nc"),
    ],
    ids=repr,
)
def test_a_mail_is_marked_and_else_untouched(mail, expected):
    assert b"".join(marked(mail, OURS)) == expected


@given(st.binary(max_size=200))
def test_any_bytes_can_be_marked(mail):
    head, rest = marked(mail, OURS)
    assert b"X-Spam-Flag: YES" in head
    assert mail.endswith(rest) or rest in {b"\n", b"\r\n"}

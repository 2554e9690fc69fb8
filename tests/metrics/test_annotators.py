"""Agreement beyond chance is what Cohen defined."""

import pytest

from spamctl.metrics.label_quality import Agreement, agreements
from spamctl.schema.message import NOT_SPAM, SPAM


def said(word):
    return {str(place): SPAM if letter == "s" else NOT_SPAM for place, letter in enumerate(word) if letter != "-"}


def test_kappa_of_the_textbook_table():
    # 20 both yes, 5 and 10 that differ, 15 both no: observed 0.7, by chance 0.5, so 0.4
    ann, bob = said("s" * 25 + "n" * 25), said("s" * 20 + "n" * 5 + "s" * 10 + "n" * 15)
    (pair,) = agreements({"bob": bob, "ann": ann})
    assert (pair.first, pair.second, pair.rows, pair.agreeing) == ("ann", "bob", 50, 35)
    assert pair.kappa == pytest.approx(0.4)


def test_only_rows_that_both_judged_count():
    assert agreements({"ann": said("ssn-"), "bob": said("-snn")}) == [Agreement("ann", "bob", 2, 2, 1.0)]


def test_who_never_met_does_not_disagree():
    assert agreements({"ann": said("ss--"), "bob": said("--nn")}) == []
    assert agreements({"ann": said("ss")}) == agreements({}) == []


def test_one_word_alone_has_no_kappa():
    assert agreements({"ann": said("sss"), "bob": said("sss")}) == [Agreement("ann", "bob", 3, 3, None)]


def test_every_pair_is_compared():
    trio = {name: said("snsn") for name in ("cleo", "ann", "bob")}
    assert [(pair.first, pair.second) for pair in agreements(trio)] == [
        ("ann", "bob"),
        ("ann", "cleo"),
        ("bob", "cleo"),
    ]

"""What was learnt from labelled answers is told in counts, and both versions stand beside each other on both parts."""

import io

import pytest
from rich.console import Console

from spamctl.reports import train, train_cards
from spamctl.reports.train import facts
from spamctl.schema.codec import from_json
from spamctl.schema.rates import Comparison
from spamctl.schema.train import LearntAnswers, NoAnswers
from tests.reports.conftest import score

TOLD = {
    "forgotten": 2,
    "store": "spam.db",
    "sources": {"user": 10, "oracle": 550},
    "rows": 900,
    "left_out": {"known from the dataset": 251, "with both labels": 1},
    "passed_over": {"from simulated": 40},
    "train": {"rows": 318, "spam": 76},
    "validation": {"rows": 56, "spam": 16},
    "recent": {"rows": 187, "spam": 66},
    "set_aside": [
        {"uuid": f"05e442b9-5aea-5404-9bd5-63a3f808fa7{n}", "label": "spam", "source": "user", "probability": 0.01}
        for n in range(4)
    ],
    "doubtful": 4,
    "doubt": 0.0105,
    "newest": "2026-11-26T02:25:07+00:00",
    "sha256": "ef" * 32,
}


def learnt(**changes):
    """Return what a training took from labelled answers, with some of it changed."""
    return from_json(LearntAnswers, TOLD | changes)


def scores(accuracy, recall, rate):
    values = {"accuracy": accuracy, "recall": recall, "false_positive_rate": rate}
    return {name: score(value, value - 0.01, value + 0.01) for name, value in values.items()}


COMPARISON = {
    "champion": "1",
    "parts": {
        "test": {"rows": 925, "challenger": scores(0.98, 0.94, 0.01), "champion": scores(0.99, 0.94, 0.02)},
        "recent": {"rows": 187, "challenger": scores(0.97, 0.95, 0.01), "champion": scores(0.85, 0.6, 0.01)},
    },
}


def test_notes_count_what_was_added_left_out_and_set_aside():
    forgotten, added, *left_out, aside = train.feedback_notes(learnt())
    assert forgotten == "left out: 2 forgotten messages of the dataset (spamctl forget)"
    assert added.startswith("feedback from spam.db: 318 training (76 spam), 56 validation (16 spam), 187 held out as")
    assert added.endswith("recent (66 spam); the newest from 2026-11-26T02:25:07+00:00")
    assert left_out == [
        "feedback left out: 251 labels known from the dataset",
        "feedback left out: 1 label with both labels",
        "feedback left out: 40 labels from simulated",
    ]
    assert aside.startswith("feedback excluded: 4 doubtful labels, 1% of them (05e442b9-5aea-5404-9bd5-63a3f808fa70, ")
    assert aside.endswith("05e442b9-5aea-5404-9bd5-63a3f808fa72, …)")
    assert list(train.feedback_warnings(learnt())) == []


def test_without_feedback_there_is_nothing_to_tell(result):
    assert list(train.feedback_notes(NoAnswers())) == list(train.feedback_warnings(NoAnswers())) == []
    assert list(facts(result(feedback={"forgotten": 0}))) == list(facts(result()))


@pytest.mark.parametrize(("spam", "kind"), [(0, "not spam"), (318, "spam")])
def test_labels_of_one_kind_are_warned_of(spam, kind):
    (told,) = train.feedback_warnings(learnt(train={"rows": 318, "spam": spam}))
    assert told.startswith(f"all labelled answers for training are {kind}:")


def test_labels_made_from_verdicts_are_warned_of():
    (told,) = train.feedback_warnings(learnt(sources={"simulated": 1}))
    assert told == "1 label simulated from verdicts: the model learns its own predictions"


def test_the_better_of_both_versions_is_marked():
    rows = list(train.comparison_rows(from_json(Comparison, COMPARISON).parts))
    assert [row[0] for row in rows] == ["frozen test part", "", "", "recent messages", "", ""]
    assert [row[7] for row in rows] == ["old", "", "new", "new", "new", ""]
    assert rows[3][1:7] == ("187", "accuracy", "0.9700", "0.9600\N{EN DASH}0.9800", "0.8500", "0.8400\N{EN DASH}0.8600")


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_both_parts(result, width):
    out = io.StringIO()
    told = result(alias="challenger", reason="not better", feedback=TOLD, comparison=COMPARISON)
    train.show(told, Console(file=out, width=width, highlight=False))
    shown = out.getvalue()
    for word in ("frozen test part", "recent messages", "version 1", "* 0.9700", "* 0.9900", "318 training"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_card_shows_both_parts_and_what_was_set_aside_without_a_text(result):
    told = result(feedback=TOLD, comparison=COMPARISON)
    page = train_cards.evaluation_page(told, plots={}, slices=[], mistakes=[])
    for word in ("Comparison with the champion, version 1", "<strong>0.9700</strong>", "4 doubtful labels", "05e442b9"):
        assert word in page
    plain = train_cards.evaluation_page(result(), plots={}, slices=[], mistakes=[])
    assert "Comparison with the champion" not in plain
    assert "doubtful" not in plain

"""What a filter does is told by kind, and none of it is guessed."""

from types import SimpleNamespace

import numpy as np
import pytest

from spamctl.data.bundled_sets import OWN_LINE
from spamctl.metrics import evaluation, scores
from spamctl.metrics.evaluation import by_kind, group_score, kinds_side_by_side
from spamctl.schema.message import NOT_SPAM, SPAM, Message, Traits
from spamctl.training import linear_expert


def message(text, label=NOT_SPAM, **traits):
    return Message(text, label, Traits(**{"dataset": "everyday", "medium": "sms", "language": "en"} | traits))


MESSAGES = (
    message("code 1", kind="otp", family="otp"),
    message("code 2", kind="otp", family="otp"),
    message("send me the code", SPAM, kind="otp_relay", family="otp"),
    message("Subject: hi", kind="mail_personal", family="mail", medium="mail", language="de"),
    Message("of a file", SPAM),
)
PROBABILITIES = (0.1, 0.9, 0.8, 0.2, 0.3)


def test_each_view_counts_what_it_knows():
    found = {(one.view, one.name): one for one in by_kind(MESSAGES, PROBABILITIES, 0.5)}
    sms = found["medium", "sms"]
    assert (sms.rows, sms.spam, sms.recall.value, sms.false_positive_rate.value) == (3, 1, 1.0, 0.5)
    assert sms.roc_auc == pytest.approx(0.5)
    assert found["language", "de"].recall is None
    assert found["language", "de"].roc_auc is None
    assert ("medium", "") not in found
    assert [one.name for one in by_kind(MESSAGES, PROBABILITIES, 0.5) if one.view == "family"] == ["otp", "mail"]


def test_an_interval_holds_its_rate():
    truth = np.array([True] * 10 + [False] * 30)
    score = group_score("view", "name", truth, np.linspace(1, 0, 40), 0.8)
    for rate in (score.recall, score.false_positive_rate):
        assert rate.low <= rate.value <= rate.high
    assert score.roc_auc == 1.0


def test_filters_are_told_side_by_side():
    measured = SimpleNamespace(probabilities=PROBABILITIES, score=SimpleNamespace(threshold=0.5))
    found = kinds_side_by_side(MESSAGES, measured, measured)
    assert found.model == found.baseline
    assert found.model[0].name == "everyday"


def suite(flagged):
    """Check two lines of 48 messages with a filter that calls spam what `flagged` says."""
    lines = {
        "must-deliver": tuple(message(f"your code is {n}{n}", kind="codes") for n in range(48)),
        "must-catch": tuple(message(f"you won {n} pounds", SPAM, kind="prizes") for n in range(48)),
    }
    return evaluation.check_suites(lines, lambda texts: [flagged(text) for text in texts])


def test_a_good_filter_has_no_fault():
    report = suite(lambda text: "won" in text.lower())
    assert report.faults == ()
    assert [line.called_spam.value for line in report.lines] == [0.0, 1.0]
    assert {one.change for one in report.invariances} == set(evaluation.CHANGES) - {"without capitals"}


@pytest.mark.parametrize(
    ("flagged", "said"),
    [(lambda _: True, "must-deliver, codes, is called spam"), (lambda _: False, "must-catch, prizes, is caught")],
)
def test_a_bad_filter_may_not_lead(flagged, said):
    report = suite(flagged)
    assert len(report.faults) == 1
    assert said in report.faults[0]
    assert evaluation.deciding_faults(report, "lead", knows_today=False) == report.faults
    assert evaluation.deciding_faults(report, "auto", knows_today=True) == report.faults
    assert evaluation.deciding_faults(report, "auto", knows_today=False) == ()
    assert evaluation.deciding_faults(report, "show", knows_today=True) == ()


def test_lines_of_ones_own_always_decide():
    row = Message("the match is at nine", NOT_SPAM, Traits("must-deliver", f"club{OWN_LINE}"))
    report = evaluation.check_suites({"must-deliver": (row,) * 20}, lambda texts: [True] * len(texts))
    assert evaluation.deciding_faults(report, "auto", knows_today=False) == report.faults != ()
    assert evaluation.deciding_faults(report, "show", knows_today=False) == ()


def test_few_errors_may_be_chance():
    assert suite(lambda text: "won" in text or text == "your code is 11").faults == ()


def test_a_change_that_matters_is_told():
    report = suite(lambda text: text.startswith("you won"))
    changed = {one.change: one.unchanged.value for one in report.invariances}
    assert changed["with a greeting before it"] < 1
    assert changed["with other numbers"] == 1


def test_unseen_kinds_are_scored_by_who_never_saw_them():
    """The label follows from the family alone: whoever saw it knows, and nobody else can."""
    rows = [
        message(
            f"topic {'abcdefghijklmnopqrstuvwxyz'[n % 26]}{n // 26} text",
            SPAM if n % 2 else NOT_SPAM,
            family=f"f{n % 40}",
        )
        for n in range(400)
    ]
    chance = np.random.default_rng(0)
    found = {
        (one.expert, one.medium): one
        for one in linear_expert.measure_unseen(rows, chance.normal(size=400).tolist(), seed=0)
    }
    assert {expert for expert, _ in found} == set(linear_expert.EXPERTS)
    assert found["both", linear_expert.EVERY_MEDIUM].rows == 400


def test_media_are_counted_apart():
    truth = [False] * 300 + [True] * 50
    p = [*np.linspace(0.01, 0.4, 299), 0.95, *[0.9] * 50]
    media = ["sms"] * 200 + ["mail"] * 100 + ["sms"] * 50
    point = scores.choose_threshold(truth, p, 0.005, media=media)
    assert {name: (rate.false_positives, rate.rows) for name, rate in point.by_medium.items()} == {
        "sms": (0, 200),
        "mail": (1, 100),
    }
    assert any("mail (1 of 100" in note for note in point.notes)
    assert not scores.choose_threshold(truth, p, 0.05, media=media).by_medium["sms"].upper > 0.05

"""A package gets the calibration and threshold that labelled answers ask for; its other files stay as they are."""

import numpy as np
import pytest

from spamctl.engine import calibration, manifest
from spamctl.engine.engine import GOLDEN, Engine
from spamctl.engine.manifest import MANIFEST
from spamctl.errors import DataError, NothingLearntError
from spamctl.metrics import scores
from spamctl.registry import recalibration
from spamctl.registry.recalibration import Setting
from spamctl.schema.message import NOT_SPAM, SPAM, Message
from tests import tiny_models, tiny_packages
from tests.each import each
from tests.ticks import last

ANSWERS = [
    Message(f"{spam.text} {plan.text} {plan.text}", SPAM) if number % 2 else plan
    for number, (spam, plan) in enumerate(
        zip(
            [one for one in tiny_models.messages(240) if one.is_spam],
            [one for one in tiny_models.messages(240) if not one.is_spam],
            strict=True,
        )
    )
]
TRUTH = [message.is_spam for message in ANSWERS]
BUDGET = 0.05


def package(**changes):
    return tiny_packages.files("", *GOLDEN, **({"threshold": 0.9, "about": {"depth": 2}} | changes))


def recalibrated(files, answers=tuple(ANSWERS)):
    return last(recalibration.recalibrate(files, answers, BUDGET, {"recalibrated": {"from_version": "1"}}))


def test_a_threshold_that_is_wrong_for_the_answers_is_put_right(tmp_path):
    files = package()
    made = recalibrated(files)
    engine = Engine(manifest.write(made.files, tmp_path))
    raw = engine.logits(engine.tokenize([message.text for message in ANSWERS]))
    scale = calibration.fit(TRUTH, raw)
    point = scores.choose_threshold(TRUTH, scale.apply(raw), BUDGET)
    assert (made.after.slope, made.after.intercept) == pytest.approx((scale.slope, scale.intercept))
    assert made.after.threshold == engine.threshold == made.point.threshold == pytest.approx(point.threshold)
    assert made.before == Setting(1.0, 0.0, 0.9)

    found = recalibration.beside(TRUTH, raw, made.before, made.after)
    assert found.champion.recall.value < 0.5
    assert found.challenger.recall.value > 0.9
    assert found.challenger.false_positive_rate.value <= BUDGET
    assert found.roc_auc > 0.95
    assert (found.rows, found.spam) == (120, 60)


def test_every_file_but_the_manifest_stays_byte_for_byte(tmp_path):
    files = package()
    made = recalibrated(files)
    assert {name for name in files if made.files[name] != files[name]} == {MANIFEST}
    assert made.files.keys() == files.keys()
    engine = Engine(manifest.write(made.files, tmp_path))
    assert engine.manifest.about == {
        "depth": 2,
        "recalibrated": {"from_version": "1"},
        "max_false_positive_rate": BUDGET,
    }
    assert engine.replay_golden() == 0.0
    assert [row.text for row in engine.manifest.golden][: len(GOLDEN)] == list(GOLDEN)


def test_it_calls_what_the_engine_calls(tmp_path):
    made = recalibrated(package())
    engine = Engine(manifest.write(made.files, tmp_path))
    texts = [message.text for message in ANSWERS]
    raw = last(recalibration.logits(engine, texts, "messages"))
    assert raw.tolist() == engine.logits(engine.tokenize(texts)).tolist()
    assert made.after.calls_spam(raw).tolist() == engine.calls_spam(texts)
    assert last(recalibration.logits(engine, [], "messages")).shape == (0,)


def test_what_is_out_of_reach_is_counted_with_the_new_threshold(tmp_path):
    made = recalibrated(package(reach=0.0))
    engine = Engine(manifest.write(made.files, tmp_path))
    assert engine.manifest.reach == 0.0
    raw = last(recalibration.logits(engine, [message.text for message in ANSWERS], "messages"))
    counts = recalibration.out_of_reach(engine, ANSWERS, raw)
    assert counts.caught == sum(
        called and one.is_spam for called, one in zip(made.after.calls_spam(raw), ANSWERS, strict=True)
    )
    assert (counts.good, counts.spam, counts.lost) == (60, 60, 0)
    (tmp_path / "whole").mkdir()
    whole = Engine(manifest.write(package(), tmp_path / "whole"))
    assert not recalibration.out_of_reach(whole, ANSWERS, raw).is_measured


def test_a_threshold_is_told_on_the_scale_of_before():
    before, after = Setting(2.0, -1.0, 0.9), Setting(0.5, 3.0, 0.4)
    raw = (calibration.logit(0.4) - 3.0) / 0.5
    assert after.threshold_in(before) == pytest.approx(float(calibration.sigmoid(2.0 * raw - 1.0)))
    assert after.threshold_in(after) == pytest.approx(0.4)


def test_answers_that_say_the_contrary_teach_nothing():
    contrary = [Message(one.text, NOT_SPAM if one.is_spam else SPAM) for one in ANSWERS]
    with pytest.raises(NothingLearntError):
        recalibrated(package(), contrary)


@each(
    ("spam", "good", "fault"),
    [
        (20, 20, ""),
        (19, 20, "19 spam and 20 not spam labelled answers are left to fit to (2 forgotten), and a threshold needs 20"),
        (12, 8, "label at least 8 more spam and 12 more not spam with spamctl label, or lower --recent-share"),
        (0, 400, "label at least 20 more spam with spamctl label"),
    ],
)
def test_too_few_of_a_class_are_refused_with_what_is_missing(spam, good, fault):
    answers = [Message("a", SPAM)] * spam + [Message("b", NOT_SPAM)] * good
    if not fault:
        recalibration.require_enough(answers, "spam.db")
        return
    with pytest.raises(DataError) as refusal:
        recalibration.require_enough(answers, "spam.db", " (2 forgotten)")
    assert str(refusal.value).startswith("--feedback spam.db: ")
    assert fault in str(refusal.value)


@pytest.mark.parametrize(("good", "proven"), [(597, False), (598, True)])
def test_a_budget_that_so_few_good_answers_cannot_show_is_told(good, proven):
    truth = np.array([True] * 30 + [False] * good)
    point = scores.choose_threshold(truth, np.where(truth, 0.9, np.linspace(0.1, 0.2, truth.size)), 0.005)
    answers = [Message("a", SPAM if spam else NOT_SPAM) for spam in truth]
    said = recalibration.unproven(point, answers)
    assert bool(said) is not proven
    if said:
        assert said.startswith("the budget of 0.50% is not proven: of 597 good answers")
        assert "598 good answers with none called spam would show it: label more with spamctl label" in said

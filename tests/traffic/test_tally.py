"""What came back is counted right, whatever the server does."""

import math
import uuid

import pytest

from spamctl.schema.codec import to_json
from spamctl.schema.message import NOT_SPAM, SPAM, Prediction
from spamctl.traffic.client import Outcome
from spamctl.traffic.results import Known, Tally, Verdicts


def answer(classification=SPAM, **changes):
    return Prediction(**({"classification": classification, "probability": 0.5, "uuid": str(uuid.uuid4()),
                      "model_version": "3", "captured": True} | changes))  # fmt: skip


def told(number, verdicts, latency_s=0.01, **changes):
    answers = tuple(answer(verdict, **changes) for verdict in verdicts)
    return Outcome(number, "answered", "", answers, latency_s, 1)


def labels(*truth, group="test part"):
    return [Known(label, group) for label in truth]


def summary(known, *outcomes, size=2, seconds=1.0):
    tally = Tally(known, size)
    for outcome in outcomes:
        tally.add(outcome)
    return to_json(tally.summary(seconds))


def test_truth_against_verdicts():
    counted = Verdicts.of([(SPAM, SPAM), (SPAM, NOT_SPAM), (SPAM, SPAM), (NOT_SPAM, SPAM), (NOT_SPAM, NOT_SPAM)])
    assert counted == Verdicts(spam=3, caught=2, rest=2, flagged=1)
    scores = to_json(counted.scores())
    assert {name: score["value"] for name, score in scores.items()} == {
        "accuracy": pytest.approx(3 / 5), "recall": pytest.approx(2 / 3), "false_positive_rate": pytest.approx(1 / 2),
    }  # fmt: skip
    for score in scores.values():
        assert 0 <= score["low"] < score["value"] < score["high"] <= 1


def test_the_interval_is_wilsons():
    accuracy = Verdicts.of([(SPAM, SPAM)] * 81 + [(SPAM, NOT_SPAM)] * 19).scores().accuracy
    z, share, rows = 1.959964, 0.81, 100
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    assert (accuracy.low, accuracy.high) == (
        pytest.approx(centre - reach, abs=1e-5),
        pytest.approx(centre + reach, abs=1e-5),
    )


def test_without_a_class_its_rate_is_not_made_up():
    assert set(to_json(Verdicts.of([(SPAM, SPAM)]).scores())) == {"accuracy", "recall"}
    assert set(to_json(Verdicts.of([(NOT_SPAM, SPAM)]).scores())) == {"accuracy", "false_positive_rate"}
    assert to_json(Verdicts.of([]).scores()) == {}


def test_a_server_that_always_says_spam_scores_the_base_rate():
    known = labels(*([SPAM] * 13 + [NOT_SPAM] * 87))
    result = summary(known, *(told(number, [SPAM] * 10) for number in range(10)), size=10)
    assert result["scores"]["accuracy"]["value"] == pytest.approx(0.13)
    assert result["scores"]["recall"]["value"] == result["scores"]["false_positive_rate"]["value"] == 1
    assert (result["spam_share"], result["true_spam_share"]) == (1, pytest.approx(0.13))


def test_answers_are_matched_to_their_messages_in_whatever_order_batches_come_back():
    known = labels(SPAM, NOT_SPAM, NOT_SPAM, SPAM, SPAM)
    tally = Tally(known, 2)
    places = [place for batch in (told(2, [SPAM]), told(0, [SPAM, NOT_SPAM]), told(1, [NOT_SPAM, SPAM]))
              for place, _ in tally.add(batch)]  # fmt: skip
    assert places == [4, 0, 1, 2, 3]
    assert tally.summary(1.0).scores.accuracy.value == 1


def test_every_message_has_one_fate():
    known = labels(*[SPAM] * 11)
    result = summary(
        known,
        told(0, [SPAM, SPAM]),
        Outcome(1, "refused", "500 Internal Server Error", latency_s=9.0, tries=1),
        Outcome(2, "garbled", "1 predictions for 2 messages", latency_s=9.0, tries=1),
        Outcome(3, "unanswered", "no connection", tries=6),
        Outcome(4, "refused", "429 BUSY", tries=3),
        Outcome(5, "unanswered", "not sent, the server is gone"),
    )
    assert (result["samples"], result["sent"], result["answered"], result["judged"]) == (11, 10, 2, 2)
    assert result["refused"] == {"500 Internal Server Error": 2, "429 BUSY": 2}
    assert result["garbled"] == {"1 predictions for 2 messages": 2}
    assert result["unanswered"] == {"no connection": 2, "not sent, the server is gone": 1}
    assert result["repeated"] == 7
    lost = sum(sum(result[fate].values()) for fate in ("refused", "garbled", "unanswered"))
    assert result["answered"] + lost == result["samples"]
    assert result["latency_ms"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}


def test_nothing_came_back():
    result = summary(labels(SPAM, SPAM), Outcome(0, "unanswered", "no connection", tries=1))
    assert result["scores"] == result["latency_ms"] == result["versions"] == {}
    assert result["groups"] == []
    assert result["spam_share"] is None


def test_percentiles_are_of_answered_requests_in_milliseconds():
    outcomes = [told(number, [SPAM], latency_s=(number + 1) / 1000) for number in range(100)]
    found = summary(labels(*[SPAM] * 100), *outcomes, size=1)["latency_ms"]
    assert found == {"p50": pytest.approx(50.5), "p95": pytest.approx(95.05), "p99": pytest.approx(99.01)}


def test_what_is_not_captured_is_counted():
    result = summary(labels(SPAM, SPAM, SPAM), told(0, [SPAM, SPAM]), told(1, [SPAM], captured=False))
    assert (result["answered"], result["captured"]) == (3, 2)


def test_versions_are_counted():
    known = labels(SPAM, SPAM, SPAM)
    assert summary(known, told(0, [SPAM, SPAM]), told(1, [SPAM], model_version="4"))["versions"] == {"3": 2, "4": 1}


def test_groups_are_judged_apart_and_sum_up_to_the_whole():
    known = labels(SPAM, NOT_SPAM) + labels(SPAM, NOT_SPAM, group="synthetic, leet")
    result = summary(known, told(0, [SPAM, NOT_SPAM]), told(1, [NOT_SPAM, NOT_SPAM]))
    first, second = result["groups"]
    assert (first["name"], first["rows"], first["spam"], first["called_spam"]) == ("synthetic, leet", 2, 1, 0)
    assert (second["name"], second["scores"]["accuracy"]["value"]) == ("test part", 1)
    assert first["scores"]["recall"]["value"] == 0
    assert first["rows"] + second["rows"] == result["judged"] == 4


def test_messages_without_a_label_are_answered_and_not_judged():
    result = summary([Known(None, "replay"), Known(SPAM, "replay")], told(0, [SPAM, SPAM]))
    assert (result["answered"], result["judged"], result["true_spam_share"]) == (2, 1, 1)
    nothing = summary([Known(None, "replay")], told(0, [SPAM]), size=1)
    assert (nothing["judged"], nothing["scores"], nothing["true_spam_share"]) == (0, {}, None)


def test_a_server_with_many_excuses_is_summed_up():
    outcomes = [Outcome(number, "garbled", f"{number} predictions for 1 messages", tries=1) for number in range(40)]
    result = summary(labels(*[SPAM] * 40), *outcomes, size=1)
    assert len(result["garbled"]) == 11
    assert result["garbled"]["other reasons"] == 30
    assert sum(result["garbled"].values()) == 40

"""What is known of the training behind a version's weights decides what it is fitted to and held to."""

from datetime import UTC, datetime

from spamctl.registry.recalibration import Origin
from tests.each import each


@each(
    ("params", "knows"),
    [
        ({"dataset": "sms-spam,everyday"}, True),
        ({"dataset": "sms-spam,everyday", "hold_out_kinds": "0"}, True),
        ({"dataset": "sms-spam,everyday", "hold_out_kinds": "1"}, False),
        ({"dataset": "sms-spam"}, False),
        ({}, False),
    ],
)
def test_suites_of_today_bind_who_learnt_from_the_corpus_of_today(params, knows):
    assert Origin("run", params, {}).knows_today is knows


def test_answers_up_to_the_newest_that_was_learnt_from_may_be_known_to_the_weights():
    assert Origin("run", {}, {}).learnt_until is None
    origin = Origin("run", {}, {"data.feedback_newest": "2026-11-26T02:25:07+00:00"})
    assert origin.learnt_until == datetime(2026, 11, 26, 2, 25, 8, tzinfo=UTC)

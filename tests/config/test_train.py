"""What only a feedback reads is refused without one, and what holds a password is not written down."""

import pytest

from spamctl.config.options import Given
from spamctl.config.sources import validate
from spamctl.config.train import TrainOptions
from spamctl.errors import OptionsError
from tests.each import each


def chosen(**given):
    return validate(TrainOptions, [{name: Given(text, f"--{name.replace('_', '-')}") for name, text in given.items()}])


@each(
    ("given", "fault"),
    [
        ({"feedback_sources": "review"}, "--feedback-sources: only --feedback reads it; name a store such as"),
        ({"recent_share": "0.5"}, "--recent-share: only --feedback reads it; name a store such as"),
        ({"feedback_weight": "2"}, "--feedback-weight: only --feedback reads it; name a store such as"),
        ({"feedback": "spam.db", "feedback_weight": "0"}, "--feedback-weight: must be more than 0, got 0"),
        ({"feedback_max_age": "7d"}, "--feedback-max-age: only --feedback reads it; name a store such as"),
        (
            {"feedback": "spam.db", "feedback_sources": "oracle,truth"},
            "--feedback-sources: must be of oracle, file, review, user, simulated, separated by commas, got 'truth'",
        ),
        ({"feedback": "spam.db", "feedback_sources": "file, user"}, "--feedback-sources: must be of oracle, file"),
        ({"feedback": "spam.db", "feedback_max_age": "old"}, "--feedback-max-age: must be always, or a time such as"),
        ({"feedback": "spam.db", "recent_share": "1"}, "--recent-share: must be less than 1, got 1"),
    ],
)
def test_what_would_do_nothing_or_harm_is_refused(given, fault):
    with pytest.raises(OptionsError) as refusal:
        chosen(**given)
    assert refusal.value.faults[0].startswith(fault)


def test_simulated_labels_count_only_if_they_are_named():
    assert "simulated" not in TrainOptions().feedback_sources.split(",")
    assert chosen(feedback="spam.db", feedback_sources="oracle,simulated").feedback_sources == "oracle,simulated"


def test_addresses_of_stores_are_not_recorded():
    options = chosen(feedback="postgresql://ada:secret@db/spam", forgotten="postgresql://ada:secret@db/spam")
    assert "secret" not in repr(options.recorded())
    assert options.items().keys() - options.recorded().keys() == {"feedback", "forgotten"}

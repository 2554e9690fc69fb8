"""A recalibration takes what a training takes under the same names, and refuses what it could not work with."""

import pytest

from spamctl.config.options import Given
from spamctl.config.sources import validate
from spamctl.config.train import RecalibrateOptions, TrainOptions
from spamctl.errors import OptionsError
from tests.each import each

SAID_ANEW = {"feedback", "feedback_max_age", "recent_share", "model_name", "seed", "threads"}  # in words of its own


@each(
    ("given", "fault"),
    [
        ({"feedback": "none"}, "--feedback: must name a store such as spam.db"),
        ({"feedback_sources": "oracle,guess"}, "--feedback-sources: must be of oracle, file, review, user, simulated"),
        (
            {"feedback_max_age": "old"},
            "--feedback-max-age: must be always, or a time such as 12h, 7d or 90d, got 'old'",
        ),
        ({"recent_share": "1"}, "--recent-share: must be less than 1, got 1"),
        ({"max_false_positive_rate": "0"}, "--max-false-positive-rate: must be more than 0, got 0"),
        ({"model_version": "newest"}, "--model-version: must be champion, challenger, latest or a number"),
        ({"threads": "100000"}, "--threads: must be at most "),
    ],
)
def test_what_cannot_be_meant_is_refused(given, fault):
    with pytest.raises(OptionsError) as refusal:
        validate(
            RecalibrateOptions,
            [{name: Given(text, f"--{name.replace('_', '-')}") for name, text in given.items()}],
        )
    assert refusal.value.faults[0].startswith(fault)


def test_what_a_training_has_too_is_the_same_option():
    ours, theirs = ({option.name: option for option in verb.declared()} for verb in (RecalibrateOptions, TrainOptions))
    shared = ours.keys() & theirs.keys()
    assert ours.keys() - shared == {"model_version"}
    for name in shared:
        assert (ours[name].kind, ours[name].bounds, ours[name].choices, ours[name].secret) == (
            theirs[name].kind,
            theirs[name].bounds,
            theirs[name].choices,
            theirs[name].secret,
        )
        if name not in SAID_ANEW:
            assert (ours[name].help, ours[name].default) == (theirs[name].help, theirs[name].default)

"""A scoring takes a model as a server does and files as traffic does, and refuses what could not be meant."""

import pytest

from spamctl.config.options import Given
from spamctl.config.score import ScoreOptions
from spamctl.config.serve import ServeOptions
from spamctl.config.sources import validate
from spamctl.config.traffic import TrafficOptions
from spamctl.errors import OptionsError


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"with_text": "true"}, "--with-text: only --output reads it; name a file with --output"),
        ({"resume": "true"}, "--resume: only an interrupted --output or --into-maildir can be continued"),
        (
            {"resume": "true", "overwrite": "true", "output": "a.csv"},
            "--overwrite: cannot go with --resume: one discards what the other continues",
        ),
        ({"label_column": "text"}, "--label-column: names the column of --text-column; name two columns"),
        ({"stdin_format": "xml"}, "--stdin-format: must be one of auto, text, mail, mbox, csv, tsv, jsonl, parquet"),
        ({"model_version": "newest"}, "--model-version: must be champion, challenger, latest or a number"),
        ({"encoding": "utf-9"}, "--encoding: must be auto or an encoding such as utf-8"),
        ({"show": "1001"}, "--show: must be at most 1000, got 1001"),
        ({"threads": "100000"}, "--threads: must be at most "),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(given, fault):
    with pytest.raises(OptionsError) as refusal:
        validate(ScoreOptions, [{name: Given(text, f"--{name.replace('_', '-')}") for name, text in given.items()}])
    assert refusal.value.faults[0].startswith(fault)


def test_a_model_is_named_as_for_a_server_and_a_file_described_as_for_traffic():
    ours = {option.name: option for option in ScoreOptions.declared()}
    for verb, names in {
        ServeOptions: ("model_name", "model_version", "out_of_reach"),
        TrafficOptions: ("text_column", "label_column", "spam_label", "spam_folder", "header", "encoding"),
    }.items():
        theirs = {option.name: option for option in verb.declared()}
        for name in names:
            assert (ours[name].kind, ours[name].default, ours[name].choices) == (
                theirs[name].kind,
                theirs[name].default,
                theirs[name].choices,
            )


def test_an_address_that_may_hold_a_password_is_no_parameter():
    assert "capture" not in ScoreOptions().recorded()

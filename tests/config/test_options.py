"""One declaration gives the flag, the variable, the key and the parameter of every option of every verb."""

import dataclasses
import re
import typing

import pytest

from spamctl.config.options import Option
from spamctl.config.verbs import OTHER_VARIABLES, VERBS, known_variables
from tests.each import each

EVERY = [option for options in VERBS.values() for option in options.declared()]
# What Metaflow drops in silence, refuses, or needs for itself.
RESERVED = {
    *("name", "index", "input", "cmd", "foreach_stack", "script_name", "next", "params", "with", "tag", "tags"),
    *("namespace", "obj", "decospecs", "run_id", "task_id", "max_workers", "max_num_splits", "max_log_size"),
}


def by_name(options):
    return {option.name: option for option in options.declared()}


@each("option", EVERY)
def test_every_option_is_a_scalar_with_a_default_that_explains_itself(option):
    assert option.kind in {str, int, float, bool}
    assert type(option.default) is option.kind
    assert option.default != ""
    assert not option.choices or option.default in option.choices
    assert re.fullmatch(r"[A-Z].*[a-z).0-9%]\.", option.help), option.help
    assert option.group
    assert option.name not in RESERVED


@each("verb", VERBS)
def test_an_option_is_spelled_in_four_ways(verb):
    for option in VERBS[verb].declared():
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.variable == f"SPAMCTL_{verb.upper()}_{option.name.upper()}"


def test_the_declaration_is_read_whole():
    learning_rate = by_name(VERBS["train"])["learning_rate"]
    assert learning_rate.kind is float
    assert learning_rate.default == 1.5e-4
    assert learning_rate.group == "Training"
    assert learning_rate.allowed == "more than 0 and at most 1"


@each(
    ("name", "allowed"),
    [("epochs", "1 to 100"), ("gate", "point or lower-bound"), ("device", "auto, cpu or cuda"), ("dataset", "")],
)
def test_what_is_allowed_is_said_in_words(name, allowed):
    assert by_name(VERBS["train"])[name].allowed == allowed


def test_options_are_frozen_and_named():
    options = VERBS["train"]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.epochs = 4
    assert options.items() == {option.name: option.default for option in options.declared()}


def test_no_two_variables_are_one():
    known = known_variables()
    assert len(known) == len(set(known))
    assert set(OTHER_VARIABLES) < set(known)


def test_literals_are_choices():
    hints = typing.get_type_hints(VERBS["train"])
    assert by_name(VERBS["train"])["tune"].choices == typing.get_args(hints["tune"])
    assert isinstance(by_name(VERBS["train"])["tune"], Option)

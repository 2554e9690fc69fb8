"""No verb takes an attack for the name of a model, or for a version of one."""

import pytest

from spamctl.cli.app import main
from spamctl.config.options import Given, Options
from spamctl.config.sources import validate
from spamctl.errors import OptionsError
from tests.each import each
from tests.security.test_injection import ATTACKS

NAMES = ("model_name", "model_version", "shadow", "to")
VERBS = [
    (verb, option)
    for verb in Options.__subclasses__()
    for option in verb.declared()
    if option.name in NAMES and (verb.verb, option.name) != ("deploy", "to")  # a folder
]
PLAIN = {"sqlite_master"}  # an attack in the place of a table, and a fine name


def verb_and_flag(case):
    verb, option = case
    return f"{verb.verb} {option.flag}"


def test_every_verb_that_names_a_model_is_tried():
    assert {verb_and_flag(case) for case in VERBS} == {
        *(f"{verb} --model-name" for verb in ("train", "serve", "monitor", "recalibrate", "rollback", "score")),
        "serve --model-version",
        "score --model-version",
        "serve --shadow",
        "monitor --model-version",
        "recalibrate --model-version",
        "rollback --to",
    }


@each("case", VERBS)
def test_an_attack_is_refused_in_one_line(case):
    verb, option = case
    taken = set()
    for attack in (*ATTACKS, *(f"1{attack}" for attack in ATTACKS)):
        try:
            validate(verb, [{option.name: Given(attack, option.flag)}])
        except OptionsError as refusal:
            (fault,) = refusal.faults
            assert fault.startswith(f"{option.flag}: must be ")
            assert fault.isprintable()
        else:
            taken.add(attack)
    assert taken == (
        {f"{start}{name}" for name in PLAIN for start in ("", "1")} if option.name == "model_name" else set()
    )


@pytest.mark.parametrize("case", VERBS, ids=verb_and_flag)
def test_an_attack_that_is_typed_ends_the_command(case, capsys, tmp_path):
    verb, option = case
    assert main([verb.verb, option.flag, "1' OR name LIKE '%"]) == 2
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith(f"spamctl: {option.flag}: must be ")
    assert told.out == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

"""What stands in a file is read as it was written, and a file that cannot be read says why."""

import os

import pytest

from spamctl.config.sources import from_flags, from_yaml, read_dotenv, validate
from spamctl.config.verbs import VERBS
from spamctl.errors import OptionsError

TRAIN = VERBS["train"]


@pytest.fixture
def recipe(tmp_path):
    """Read a recipe of the given text or bytes."""

    def recipe(content):
        path = tmp_path / "fast.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return from_yaml(TRAIN, path)

    return recipe


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("learning_rate: 5e-5", "learning_rate", 5e-5),  # YAML 1.1 reads this as text
        ("learning_rate: 1", "learning_rate", 1.0),
        ("spam_label: no", "spam_label", "no"),  # and this as false
        ("spam_label: 1", "spam_label", "1"),
        ("spam_label: 007", "spam_label", "007"),
        ("spam_label: '1'", "spam_label", "1"),
        ("epochs: 010", "epochs", 10),  # and this as eight
        ("depth: 9", "depth", "9"),
        ("fallback_base_model: none", "fallback_base_model", "none"),
        ("text_column: >-\n  two\n  words", "text_column", "two words"),
    ],
)
def test_a_value_means_what_it_says(recipe, line, name, value):
    source = recipe(line + "\n")
    assert source.faults == ()
    chosen = getattr(validate(TRAIN, [source.values]), name)
    assert chosen == value
    assert type(chosen) is type(value)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_recipe_changes_nothing(recipe, text):
    assert recipe(text).values == {}
    assert recipe(text).faults == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("epochs: 1\nepochs: 2\n", "epochs in fast.yaml: is given twice, again in line 2; keep one"),
        ("epoch: 1\n", "epoch in fast.yaml: there is no such option; did you mean epochs?"),
        ("learning-rate: 1\n", "learning-rate in fast.yaml: there is no such option; did you mean learning_rate?"),
        ("zzz: 1\n", "zzz in fast.yaml: there is no such option; spamctl train --help-all lists them"),
        ("epochs:\n", "epochs in fast.yaml: has no value; give one or take the line out"),
        ("epochs: ~\n", "epochs in fast.yaml: has no value; give one or take the line out"),
        ("epochs: [1, 2]\n", "epochs in fast.yaml: must be one value, not a list or a mapping"),
        ("train:\n  epochs: 1\n", "train in fast.yaml: there is no such option; spamctl train --help-all lists them"),
        ("- epochs\n", "fast.yaml: must hold lines like `epochs: 3`"),
        ("epochs\n", "fast.yaml: must hold lines like `epochs: 3`"),
        ("seed: 1\nepochs: [1\n", "fast.yaml, line 3: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("seed: 1\n\tepochs: 2\n", "fast.yaml, line 2: is not YAML: found character '\\t' that cannot start any token"),
        ("a: 1\n---\nb: 2\n", "fast.yaml, line 2: is not YAML: but found another document"),
        ("seed: \x07\n", "fast.yaml: is not YAML: special characters are not allowed"),
        (b"seed: \xff\xfe\n", "--config {path}: cannot be read: it is not UTF-8 text"),
    ],
)
def test_a_trap_is_refused(recipe, tmp_path, text, fault):
    assert recipe(text).faults == (fault.format(path=tmp_path / "fast.yaml"),)


def test_a_value_in_quotes_is_no_number(recipe):
    source = recipe('epochs: "3"\n')
    with pytest.raises(OptionsError) as refusal:
        validate(TRAIN, [source.values])
    assert str(refusal.value) == "epochs in fast.yaml: must be a whole number, got the text '3'; leave out the quotes"


def test_a_recipe_that_is_missing_or_a_folder_is_refused(tmp_path):
    assert from_yaml(TRAIN, tmp_path / "nil.yaml").faults == (
        f"--config {tmp_path / 'nil.yaml'}: there is no such file",
    )
    assert from_yaml(TRAIN, tmp_path).faults == (f"--config {tmp_path}: cannot be read: Is a directory",)


def test_no_tag_of_yaml_runs_anything(recipe, tmp_path):
    recipe(f"dataset: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    assert not (tmp_path / "made").exists()


def test_flags_that_were_not_typed_are_not_there():
    flags = {"epochs": "3", "seed": None}
    assert {name: value.where for name, value in from_flags(TRAIN, flags).values.items()} == {"epochs": "--epochs"}


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"A=1\nB\n", (".env, line 2: cannot be understood; write NAME=value",)),
        (b"A=1\n\n=2\n", (".env, line 3: cannot be understood; write NAME=value",)),
        (b"A='1\n", (".env, line 1: cannot be understood; write NAME=value",)),
        (b"\xff\n", (".env: cannot be read: it is not UTF-8 text",)),
        (b"# only words\n\n", ()),
    ],
)
def test_a_dotenv_file_is_read_whole_or_refused(tmp_path, content, faults):
    (tmp_path / ".env").write_bytes(content)
    assert read_dotenv(tmp_path / ".env") == ({}, faults)


def test_dotenv_may_be_absent_but_no_folder(tmp_path):
    assert read_dotenv(tmp_path / ".env") == ({}, ())
    (tmp_path / ".env").mkdir()
    assert read_dotenv(tmp_path / ".env") == ({}, (".env: cannot be read: Is a directory",))


def piped(path):
    os.mkfifo(path)


def pressed(path):
    path.write_bytes(b"x" * (2**20 + 1))


@pytest.mark.parametrize(
    ("make", "told"), [(piped, "a pipe or a device, not a file"), (pressed, "it is larger than 1 MiB")]
)
def test_what_is_no_file_of_settings_is_refused_at_once(tmp_path, make, told):
    make(tmp_path / "odd")
    assert told in from_yaml(TRAIN, tmp_path / "odd").faults[0]
    variables, (fault,) = read_dotenv(tmp_path / "odd")
    assert variables == {}
    assert told in fault


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_recipe_that_is_nested_too_deeply_is_refused_in_one_line(recipe, opening):
    (fault,) = recipe(opening * 20_000).faults
    assert fault.startswith("fast.yaml")
    assert "\n" not in fault


def test_a_nul_in_the_variables_is_refused_with_its_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"A=1\nB=\0\n")
    assert read_dotenv(tmp_path / ".env") == ({}, (".env, line 2: holds a NUL character; write NAME=value",))

"""Every topic of `spamctl help` can be read, and names what there is: options, variables, files, tables, routes."""

import re
import subprocess
import sys

import pytest

from spamctl import __version__
from spamctl.cli.app import TOPICS, main, text, titles
from spamctl.config.verbs import OTHER_VARIABLES, VERBS
from spamctl.data.files import EXTENSIONS
from spamctl.errors import GateRefusedError, SpamctlError, UsageError
from spamctl.serving.openapi import document
from spamctl.store.tables import metadata
from spamctl.traffic.drift import DRIFTS, NEW_KINDS
from tests.each import each

FLAGS = {
    flag for verb in VERBS.values() for option in verb.declared() for flag in (option.flag, f"--no-{option.flag[2:]}")
}
FLAGS |= {"--help", "--config", "--with", "--datastore", "--metadata"}


def test_the_list_names_every_topic(capsys):
    assert main(["help"]) == 0
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        [topic, line] for topic, line in titles().items()
    ]
    assert {"files", "store", "settings", "promises", "drift", "changes"} <= set(TOPICS)


@each("topic", TOPICS)
def test_a_topic_is_printed_as_it_is(capsys, topic):
    assert main(["help", topic]) == 0
    page = capsys.readouterr().out
    assert page == text(topic)
    assert page.isascii()
    assert max(map(len, page.splitlines())) <= 80
    assert 10 < len(page.splitlines()) <= 60
    assert not [line for line in page.splitlines() if line != line.rstrip()]


@each("topic", TOPICS)
def test_a_topic_names_options_and_verbs_that_there_are(topic):
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text(topic)))
    assert flags <= FLAGS
    assert set(re.findall(r"spamctl ([a-z]+)", text(topic))) <= VERBS.keys()


@each("verb", VERBS)
def test_help_of_a_verb_is_its_help_page(capsys, verb):
    assert main(["help", verb]) == 0
    page = capsys.readouterr().out
    assert main([verb, "--help"]) == 0
    assert page == capsys.readouterr().out


@pytest.mark.parametrize(
    ("topic", "fault"),
    [
        ("drfit", "there is no such topic; did you mean drift?"),
        ("trian", "there is no such topic; did you mean train?"),
        ("\x1b[31m/etc/passwd", f"there is no such topic; there are {', '.join(TOPICS)}"),
    ],
)
def test_a_topic_that_there_is_not(capsys, topic, fault):
    assert main(["help", topic]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(fault)
    assert "\x1b" not in line


def test_settings_names_every_variable_and_exit_code():
    page = text("settings")
    assert not [name for name in OTHER_VARIABLES if name not in page]
    codes = dict(re.findall(r"^  (\d+) +(\S.+)$", page, re.MULTILINE))
    assert set(codes) == {"0", "1", "2", "3", "130"}
    assert (SpamctlError.exit_code, UsageError.exit_code, GateRefusedError.exit_code) == (1, 2, 3)


def test_files_names_every_kind():
    assert not [kind for kind in EXTENSIONS if kind not in text("files")]


def test_store_names_every_table_and_column():
    page = text("store")
    assert set(re.findall(r"^  (\w+) {3,}\S", page.partition("Columns of")[0], re.MULTILINE)) == set(metadata.tables)
    columns = page.partition("Columns of `data`:\n")[2]
    assert not [
        name
        for name in [column.name for column in metadata.tables["data"].columns]
        if not re.search(rf"\b{name}\b", columns)
    ]


def test_server_names_every_route():
    page = text("server")
    assert not [path for path in document(__version__)["paths"] if not re.search(rf"(?<=\s){path}(?=[\s;])", page)]


def test_drift_names_every_type():
    assert re.findall(r"^  ([a-z-]+) {2,}\S", text("drift"), re.MULTILINE) == [
        *(name for name in DRIFTS[1:] if name not in {"prior", "mixed"}),
        *(NEW_KINDS, "prior", "mixed"),
    ]


def test_a_topic_costs_nothing():
    probe = (
        "import sys; from spamctl.cli.app import main; main(['help', 'files']); "
        "sys.exit(','.join({'rich', 'torch', 'mlflow', 'metaflow', 'pandas', 'numpy'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False).stderr == ""

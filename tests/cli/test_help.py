"""Help shows every option, fits the terminal, is plain where nobody reads colours, and costs nothing."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from spamctl.cli.app import main
from spamctl.config.verbs import OTHER_VARIABLES, VERBS
from tests.each import each

END_OF_PAGE = "end of page"
PAGES = [["--help"], *([verb, "--help"] for verb in VERBS), *([verb, "--help-all"] for verb in VERBS)]
PROBE = """
import json, sys
from spamctl.cli.app import main
for words in json.loads(sys.argv[1]):
    main(words)
heavy = {"torch", "mlflow", "metaflow", "transformers", "evidently", "pandas", "sqlalchemy", "pydantic", "numpy"}
sys.exit(",".join(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def on_terminal(words, columns, **variables):
    """Return what a terminal of so many columns receives."""
    master, slave = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm-256color", "LANG": "C.UTF-8"} | variables
    with subprocess.Popen([sys.executable, *words], stdout=slave, stderr=slave, env=environment) as it:
        os.close(slave)
        received = b""
        while chunk := read(master):
            received += chunk
        assert it.wait() == 0
    os.close(master)
    return received.decode().replace("\r\n", "\n")


def read(master):
    try:
        return os.read(master, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@each("verb", VERBS)
def test_every_option_is_there_with_its_default_and_its_variable(capsys, verb):
    assert main([verb, "--help-all"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    for option in VERBS[verb].declared():
        off = f", --no-{option.flag[2:]}" if option.kind is bool else ""
        assert f"{option.flag}{off} {option.help}" in page
        assert re.search(rf"default \S+; {option.variable}\b", page)
        assert option.allowed in page
    assert VERBS[verb].summary in page
    assert VERBS[verb].example in page
    assert page.endswith(VERBS[verb].example)


@each("verb", VERBS)
def test_the_first_page_leaves_out_the_advanced_options_and_says_so_in_the_end(capsys, verb):
    assert main([verb, "--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    advanced = [option for option in VERBS[verb].declared() if option.advanced]
    for option in VERBS[verb].declared():
        assert (f"; {option.variable} " in page) != option.advanced
    more = f"{len(advanced)} advanced options are not shown: spamctl {verb} --help-all lists every option."
    assert page.endswith(more) if advanced else "advanced options are not shown" not in page
    assert "--help-all Show every option" in page


@each("verb", VERBS)
def test_advanced_options_stand_in_panels_of_their_own_after_the_others(capsys, verb):
    assert main([verb, "--help-all"]) == 0
    page = capsys.readouterr().out
    declared = VERBS[verb].declared()
    titles = re.findall(r"^(\S.*):$", page, re.MULTILINE)
    assert {f"{option.group} (advanced)" if option.advanced else option.group for option in declared} <= set(titles)
    at = {option.name: page.index(f" {option.flag}") for option in declared}
    for title in titles:
        if title.endswith(" (advanced)"):
            assert page.index(f"{title}:") > max(at[option.name] for option in declared if not option.advanced)


@each(
    ("typed", "completed"),
    [
        ("spamctl train --head-u", "--head-units"),
        ("spamctl train --help-a", "--help-all"),
        ("spamctl train --help-all --head-u", "--head-units"),
        ("spamctl train --suites sh", "show"),
    ],
)
def test_a_shell_completes_the_advanced_options_too(typed, completed):
    """Completion parses the line, and must not print the help that the line asks for."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_SPAMCTL_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-m", "spamctl"], env=os.environ | words, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [completed]


def test_the_front_page_lists_every_verb_with_what_it_does(capsys):
    assert main(["--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    for verb, options in VERBS.items():
        assert f"{verb} {options.summary}" in page
    for name, purpose in OTHER_VARIABLES.items():
        assert f"{name} {purpose}" in page


@each("words", PAGES)
def test_a_pipe_gets_plain_text(capsys, words):
    main(words)
    page = capsys.readouterr().out
    assert page.isascii()
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) <= 80
    assert not [line for line in page.splitlines() if line != line.rstrip()]


EVERY_PAGE = f"""
from spamctl.cli.app import main
for words in {PAGES!r}:
    assert main(words) == 0
    print("{END_OF_PAGE}")
"""


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_a_terminal_gets_panels_of_its_own_width(columns):
    *pages, rest = on_terminal(["-c", EVERY_PAGE], columns).split(f"{END_OF_PAGE}\n")
    assert (len(pages), rest) == (len(PAGES), "")
    for page in pages:
        assert "\x1b[" in page
        lines = without_colours(page).splitlines()
        frames = {len(line) for line in lines if line.startswith(("╭", "╰"))}
        assert frames == {min(columns, 110)}
        assert max(map(len, lines)) <= columns


def test_no_color_keeps_the_panels_and_drops_the_colours():
    page = on_terminal(["-m", "spamctl", "--help"], 80, NO_COLOR="1")
    assert "╭" in page
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", page)


def test_a_dumb_terminal_gets_plain_text():
    page = on_terminal(["-m", "spamctl", "--help"], 80, TERM="dumb")
    assert page.isascii()
    assert "\x1b" not in page


def test_help_imports_nothing_heavy():
    words = [*PAGES, ["--version"]]
    began = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words)], capture_output=True, text=True, check=False
    )
    assert answer.stderr.strip() == ""
    assert time.perf_counter() - began < 5

"""Bare make lists the targets, and a machine that cannot do it says so in one line."""

import os
import re
import shutil
import subprocess

import pytest

TOOLS = ("awk", "bash", "cp", "env", "git", "make", "sh", "sort", "test", "touch")


@pytest.fixture
def make(root, tmp_path):
    """Return a way to run make with an empty folder of programs in front, and nothing behind but a few tools."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def run(*words, python=None):
        if python:
            (programs / "python3").write_text(python, encoding="utf-8")
            (programs / "python3").chmod(0o755)
        return subprocess.run(
            ["make", "-C", root, *words], env={"PATH": str(programs)}, capture_output=True, text=True, check=False
        )

    return run


def test_bare_make_lists_every_target_with_a_phrase(make, root):
    listed = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", make().stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    assert set(listed) == set(phony) - {"new-python"}
    assert {"demo", "test", "test-more", "check"} <= set(listed)


def test_an_old_python_is_named_in_one_line(make):
    done = make("-B", "set-up", python='#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 || exit 1\n')
    assert done.returncode == 2
    assert "spamctl needs Python 3.11 or newer; here is Python 3.9.2" in done.stdout


def test_no_python_is_said_in_one_line(make):
    assert "spamctl needs Python 3.11 or newer; here is no python3" in make("-B", "set-up").stdout


def test_ci_calls_check_and_all_tests(root):
    script = root / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("make ")] == ["check", "test", "test-more"]
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0

"""Start a module of the package as a child process that is told its settings by a pipe."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence


def start(
    module: str,
    arguments: Sequence[str],
    settings: str,
    environment: Mapping[str, str],
    *,
    holds: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Run `python -m module arguments`, and send `settings` as the first line of its standard input.

    They may contain secrets, so they go by a pipe and not by arguments, which every user of the machine can list.
    A child that `holds` open files keeps them, and is heard on its standard output. Ctrl-C does not reach the child: it
    is for its parent, which ends it. One that dies at once hears nothing; its exit code says so.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if holds else None,
        text=True,
        pass_fds=holds,
        start_new_session=True,
    )
    assert child.stdin  # noqa: S101 - for the type checker
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(f"{settings}\n")
        child.stdin.flush()
    return child

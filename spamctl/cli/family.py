"""Run a child process with all its descendants, read their output, and leave none of them behind."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

GRACE_SECONDS = 8.0  # Metaflow itself gives its steps five to clean up
AFTERMATH_SECONDS = 2.0
# Where we are killed, nobody is left to stop the family: a shell waits for our end of a pipe to close, and does.
# It is named with the group to stop as $1 and the seconds of grace as $2.
WATCH = 'read word && exit; kill -s INT -- "-$1"; sleep "$2"; kill -s KILL -- "-$1"'
SHELL = "/bin/sh"


class Terminated(KeyboardInterrupt):
    """KeyboardInterrupt raised by SIGTERM or SIGHUP."""


class Family:
    """Child process in a session of its own; whatever of the session still runs is stopped on leaving."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: IO[str] | None = None,
        listens: bool = False,
        holds: Sequence[int] = (),
    ) -> None:
        """Prepare the command; what it says goes to the file `output`, or else to `lines()`; it may listen to `say`.

        It `holds` these open files, and whatever they lock, for as long as it runs.
        """
        self._holds = tuple(holds)
        self._command, self._environment, self._folder, self._output = command, environment, folder, output
        self._stdin = subprocess.PIPE if listens else subprocess.DEVNULL
        self._heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._handlers = {name: signal.signal(name, _terminate) for name in (signal.SIGTERM, signal.SIGHUP)}
        self._child = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._folder,
            stdin=self._stdin,
            stdout=self._output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,  # Ctrl-C reaches us alone, and we pass it on once
            umask=0o077,  # what it writes may hold messages: it is for its owner alone
            pass_fds=self._holds,
        )
        self._watch = self._watched()
        if self._child.stdout:
            threading.Thread(target=self._listen, args=(self._child.stdout,), daemon=True).start()
        return self

    def _watched(self) -> subprocess.Popen[bytes] | None:
        """Start a shell that stops the session if we are killed; a machine without one goes without."""
        try:
            return subprocess.Popen(
                [SHELL, "-c", WATCH, SHELL, str(self._child.pid), f"{GRACE_SECONDS:g}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return None

    def __exit__(self, *_: object) -> None:
        try:
            if self._child.poll() is None:
                self._send(signal.SIGINT)
                self._wait_until_gone(GRACE_SECONDS)
            else:
                self._wait_until_gone(AFTERMATH_SECONDS)
        except KeyboardInterrupt:
            pass  # asked twice: no more patience
        finally:
            self._send(signal.SIGKILL)
            self._child.wait()
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self._watch:
                    self._watch.communicate(b"done\n", timeout=AFTERMATH_SECONDS)
            for name, handler in self._handlers.items():
                signal.signal(name, handler)

    def lines(self) -> Iterator[str]:
        """Yield each line as it is written, until the child has ended and said its last."""
        while (line := self._next(AFTERMATH_SECONDS)) is not None:
            yield line

    def say(self, line: str) -> None:
        """Send one line to a child that listens; one that has ended hears nothing."""
        with contextlib.suppress(BrokenPipeError):
            assert self._child.stdin  # noqa: S101 - for the type checker
            self._child.stdin.write(f"{line}\n")
            self._child.stdin.flush()

    def exit_code(self) -> int:
        """Wait for the child to end; negative is the signal that killed it."""
        return self._child.wait()

    def is_running(self) -> bool:
        """Return whether the child still runs."""
        return self._child.poll() is None

    def _next(self, patience: float) -> str | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._heard.get(timeout=patience)
            if self._child.poll() is not None:  # a grandchild holds the pipe open and says nothing
                return None

    def _listen(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._heard.put(line.rstrip("\n"))
        self._heard.put(None)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._is_there():
            time.sleep(0.05)

    def _is_there(self) -> bool:
        self._child.poll()  # reap it: a dead leader would still count as one of the group
        try:
            os.killpg(self._child.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM and SIGHUP, also while no child runs."""
    handlers = {name: signal.signal(name, _terminate) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)


def _terminate(*_: object) -> None:
    raise Terminated

"""Copy mails into a Maildir with their verdicts as headers, each once, however often a run is interrupted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from spamctl.errors import DataError
from spamctl.message import SPAM, Verdict

# Line ends as mail parsers take them: a lone carriage return ends a line for some, so none may hide a header.
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_OURS = re.compile(rb"x-spam-(?:flag|status)[ \t]*:", re.IGNORECASE)
_FROM_LINE = b"From "  # that an mbox puts before each mail
_FOLDERS = ("tmp", "new", "cur")


def marked(raw: bytes, verdict: Verdict, threshold: float, version: str) -> bytes:
    """Return a mail with the headers X-Spam-Flag and X-Spam-Status before its others; those that it had are removed."""
    end = b"\r\n" if b"\r\n" in raw[:4096] else b"\n"
    is_spam = verdict.classification == SPAM
    status = f"{'Yes' if is_spam else 'No'}, probability={verdict.probability:.4f} threshold={threshold:.4f}"
    lines = [f"X-Spam-Flag: {'YES' if is_spam else 'NO'}", f"X-Spam-Status: {status} version={version}"]
    return b"".join([*(line.encode("ascii", "replace") + end for line in lines), unmarked(raw)])


def unmarked(raw: bytes) -> bytes:
    """Return a mail without the two headers, whoever has set them, and without the line that an mbox puts before it."""
    head, body = _divided(raw)
    return b"".join([*_without_ours(head), body])


def _divided(raw: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines of a mail's head, and the rest from the empty line on."""
    lines: list[bytes] = []
    at = 0
    for found in _LINE.finditer(raw):
        line = found[0]
        if not line.strip(b"\r\n"):
            break
        at = found.end()
        if lines or not line.startswith(_FROM_LINE):
            lines.append(line)
    return lines, raw[at:]


def _without_ours(lines: Iterable[bytes]) -> Iterable[bytes]:
    """Yield header lines without those of the two headers, and without what continues them."""
    dropped = False
    for line in lines:
        if not (dropped and line[:1] in (b" ", b"\t")):
            dropped = _OURS.match(line) is not None
        if not dropped:
            yield line


class Maildir:
    """Maildir into which each mail of a run is delivered once."""

    def __init__(self, folder: Path, run: str) -> None:
        """Make the Maildir if it is missing; raise DataError if it cannot be made.

        `run` names the run, the same when it is continued.
        """
        self._folder, self._run = folder, run
        try:
            for name in _FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._there = {_number_of(path.name, run) for name in _FOLDERS[1:] for path in (folder / name).iterdir()}
        except OSError as error:
            raise DataError(f"--into-maildir {folder}: cannot be made ({error.strerror}): name another") from error

    def deliver(self, number: int, content: bytes) -> None:
        """Deliver the mail of a number, unless an earlier try has; it is on the disk when this returns."""
        if number in self._there:
            return
        name = f"{self._run}.{number}.spamctl"
        draft = self._folder / "tmp" / name
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._folder / "new" / name)
        except OSError as error:
            raise DataError(
                f"--into-maildir {self._folder}: cannot be written ({error.strerror}): make room"
            ) from error
        self._there.add(number)


def _number_of(name: str, run: str) -> int:
    """Return the number of a mail that this run has delivered, -1 of any other: its reader adds flags behind it."""
    found = re.match(rf"{re.escape(run)}\.(\d+)\.spamctl", name)
    return int(found[1]) if found else -1

"""Score messages at the command line, standard input among them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from spamctl.cli.options import Flags
from spamctl.cli.process import STATE, working_folder
from spamctl.cli.remote import Words
from spamctl.cli.run import Config, Debug, Start, run_verb
from spamctl.config.score import ScoreOptions
from spamctl.errors import SpamctlError, UsageError

STDIN = "-"

Messages = Annotated[str, typer.Argument(metavar="FILE", help="File or folder of messages; - reads standard input.")]


def score(flags: Flags, *, words: Words, file: Messages = "", config: Config = None, debug: Debug = False) -> int:
    """Score, show, and say in the exit code whether every message could be read."""
    from rich.console import Console

    from spamctl.config.sources import resolve
    from spamctl.reports.scoring import missing, show
    from spamctl.schema.codec import from_json
    from spamctl.schema.score import ScoreResult

    if file and flags["messages"] is not None:
        raise UsageError(f"--messages {flags['messages']}: {file} is given, too; name the messages once")
    typed = {**flags, "messages": file or flags["messages"]}
    options = resolve(ScoreOptions, typed, config=config, environ=os.environ, folder=Path.cwd()).options
    with _input(options) as place:
        _, told = run_verb(ScoreOptions, typed | {"messages": place}, Start(config, None, debug, words))
    result = from_json(ScoreResult, told | _fetched(working_folder() / told["left"]))
    show(result, Console(highlight=False))
    if fault := missing(result):
        raise SpamctlError(fault)
    return 0


@contextlib.contextmanager
def _input(options: ScoreOptions) -> Iterator[str]:
    """Yield the path of the messages; standard input is kept in a file of its own while the block runs."""
    if options.messages != STDIN:
        if not Path(options.messages).exists():
            raise UsageError(f"{options.messages}: does not exist: name a file, a folder, or - for standard input")
        yield options.messages
        return
    if sys.stdin.isatty():
        raise UsageError("nothing to score: name a file or a folder, or send messages to standard input")
    from spamctl.cli.process import terminable

    with terminable():
        path = spool(working_folder() / STATE, options.stdin_format, options.text_column)
        try:
            yield os.path.relpath(path)
        finally:
            path.unlink(missing_ok=True)


def _fetched(path: Path) -> Any:
    """Return what a run left in a file for us alone, and remove the file."""
    left = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return left


# Keep standard input in a file, for its owner alone, whose suffix tells the format of the messages in it.

SUFFIXES: Final = {
    "text": ".txt",
    "mail": ".eml",
    "mbox": ".mbox",
    "csv": ".csv",
    "tsv": ".tsv",
    "jsonl": ".jsonl",
    "parquet": ".parquet",
}
_HEAD = 65_536
_GZIP = b"\x1f\x8b"
# A first line that mail begins with: most have one of these, and a message of plain text hardly ever has.
_HEADER = re.compile(
    rb"(?:return-path|received|delivered-to|from|to|subject|date|message-id|mime-version|dkim-signature|arc-[a-z-]+|x-[a-z-]+"
    rb"|content-type|reply-to|list-id|authentication-results):[ \t]",
    re.IGNORECASE,
)


def spool(folder: Path, stated: str, text_column: str) -> Path:
    """Copy standard input into a new file below `folder` and return its path.

    `stated` is the format, or auto. Raises UsageError if nothing comes.
    """
    _sweep(folder)
    draft = folder / f"stdin-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return draft.rename(draft.with_name(draft.name + _suffix(draft, stated, text_column)))
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove what commands have left that were killed."""
    for left in folder.glob("stdin-*"):
        owner = left.name.split("-")[1].partition(".")[0]
        try:
            os.kill(int(owner), 0)
        except ValueError:
            continue
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except PermissionError:  # another user's process has that number now
            continue


def _suffix(path: Path, stated: str, text_column: str) -> str:
    """Return the suffix of the format that a file is in."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise UsageError("standard input: is empty; name a file, or send it at least one message")
    plain = _unpacked(head)
    kind = stated if stated != "auto" else detect(plain, text_column)
    return SUFFIXES[kind] + (".gz" if plain is not head else "")


def detect(head: bytes, text_column: str) -> str:
    """Name the format that messages begin as: what looks like no other is one message of plain text."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first = text.partition(b"\n")[0].strip()
    if head.startswith(b"PAR1"):
        return "parquet"
    if text.startswith((b"{", b"[{")) or (text.startswith(b"[") and text[1:].lstrip().startswith(b"{")):
        return "jsonl"
    if text.startswith(b"From "):
        return "mbox"
    if _HEADER.match(text):
        return "mail"
    cells = re.split(rb"[,;\t|]", first)
    if text_column.encode() in {cell.strip(b" \"'") for cell in cells} and b"\n" in text:
        return "tsv" if b"\t" in first else "csv"
    return "text"


def _unpacked(head: bytes) -> bytes:
    """Return the beginning of what gzip has packed; anything else as it is."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD)
    except zlib.error:
        return head

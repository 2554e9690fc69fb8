"""Review messages at the terminal, one after the other, by single keys."""

from __future__ import annotations

import json
import os
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from spamctl.cli.process import child_environment, reporting_stop, working_folder
from spamctl.config.label import LabelOptions
from spamctl.display import ascii_only, visible
from spamctl.errors import SpamctlError, UsageError

if TYPE_CHECKING:
    from spamctl.schema.codec import JsonObject
    from spamctl.schema.message import ReviewCounts, ReviewQuestion

KEYS = {"s": "spam", "n": "not spam", " ": "skip", "k": "skip", "u": "undo", "q": "quit"}
PROMPT = "s spam · n not spam · k skip · u undo · q quit "
LONGEST_SHOWN = 2_000  # characters of a message; more would push the question off the screen


def review(options: LabelOptions, variables: Mapping[str, str]) -> ReviewCounts:
    """Ask until the person or the questions come to an end, and return the counts; what was decided is kept.

    Raises UsageError where no terminal is, or there is no store.
    """
    from spamctl.cli.process import ProcessGroup
    from spamctl.schema.codec import from_json
    from spamctl.schema.event import Refusal
    from spamctl.schema.message import ReviewCounts, ReviewQuestion

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--source review: asks at a terminal, and this is none: run it there, or use --source file")
    console, folder = Console(stderr=True, highlight=False), working_folder()
    command = [sys.executable, "-m", "spamctl.jobs.review"]
    with (
        reporting_stop(lambda: "Earlier decisions are kept; the same command continues with the rest."),
        ProcessGroup(command, environment=child_environment(variables, folder), folder=folder, listens=True) as family,
    ):
        family.say(json.dumps(options.items()))
        last = ""
        for line in family.lines():
            last, told = line, _read(line)
            if told.get("review") == "question":
                family.say(json.dumps({"answer": _ask(from_json(ReviewQuestion, told), console)}))
            elif told.get("review") == "refusal":
                refusal = from_json(Refusal, told)
                raise (UsageError if refusal.exit_code == UsageError.exit_code else SpamctlError)(refusal.text)
            elif told.get("review") == "end":
                return from_json(ReviewCounts, told)
    raise SpamctlError(f"the review ended unexpectedly: {visible(last)}; earlier decisions are kept")


def _read(line: str) -> JsonObject:
    """Read a line of the other process; whatever a library prints there is none of ours."""
    if not line.startswith('{"review"'):
        return {}
    told: JsonObject = json.loads(line)
    return told


def _ask(question: ReviewQuestion, console: Console) -> str:
    """Show a message and return what the person says of it."""
    console.print()
    console.print(_shown(_head(question), console, "bold"))
    if question.stands:
        console.print(_shown(f"the label now: {question.stands}", console, "yellow"))
    console.print(Padding(_shown(_cut(question.text), console), (0, 0, 0, 4)))
    if question.words:
        console.print(_shown(f"most influential words: {question.words}", console, "dim"))
    console.print(_shown(PROMPT, console, "dim"), end="")
    with _single_keys() as keys:
        answer = next(KEYS[key] for key in keys if key in KEYS)
    console.print(_shown(answer, console, "bold"))
    return answer


def _head(question: ReviewQuestion) -> str:
    """Describe the model's verdict on a message, and how many rows the answer is for."""
    parts = [
        f"[{question.number}/{question.of}] {question.classification}",
        f"probability {question.probability:.4f}",
        f"threshold {question.threshold:.4f}",
        f"version {question.model_version}",
    ]
    if question.in_reach is False:
        parts.append("out of reach: unlike the training data")
    if question.copies:
        parts.append(f"{question.copies:,} exact {'copy' if question.copies == 1 else 'copies'} with it")
    if question.twins:
        parts.append(f"{question.twins:,} near duplicates not asked")
    return ", ".join(parts)


def _cut(text: str) -> str:
    """Keep the beginning of a long message, and say what is missing."""
    left = len(text) - LONGEST_SHOWN
    return text if left <= 0 else f"{text[:LONGEST_SHOWN]} … {left:,} characters more"


def _shown(text: str, console: Console, style: str = "") -> Text:
    """Return hostile text with its control characters written out; markup in it is not read."""
    return Text(ascii_only(text) if console.options.ascii_only else visible(text), style)


@contextmanager
def _single_keys() -> Iterator[Iterator[str]]:
    """Read keys without Enter; what was typed before the question was seen does not count."""
    terminal = sys.stdin.fileno()
    settings = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSAFLUSH)
        yield iter(lambda: _key(terminal), "")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, settings)


def _key(terminal: int) -> str:
    """Return one key in lower case; an arrow or a paste, which send several characters, is none; none at all: quit."""
    read = os.read(terminal, 64).decode("utf-8", "replace")
    return "q" if not read or read == "\x04" else read.lower() if len(read) == 1 else "?"

"""Declare the options of `spamctl score`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from spamctl.config.options import (
    Fault,
    Options,
    encoding_faults,
    mail_faults,
    name_faults,
    option,
    same,
    version_faults,
)
from spamctl.config.serve import ServeOptions
from spamctl.config.traffic import TrafficOptions
from spamctl.config.train import thread_faults


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Options):
    """Options of a scoring."""

    verb: ClassVar[str] = "score"
    summary: ClassVar[str] = "Classify the messages of a file, a folder or standard input, without a server."
    example: ClassVar[str] = "spamctl score inbox.csv --output verdicts.csv"

    messages: str = option(
        "-",
        "Messages to score, if not given as the argument: a file, a folder, s3://BUCKET/PATH, or - for standard input.",
        group="Messages",
    )
    stdin_format: Literal["auto", "text", "mail", "mbox", "csv", "tsv", "jsonl", "parquet"] = option(
        "auto",
        "Format of standard input; auto detects it, and text takes all of it as one message.",
        group="Messages",
        advanced=True,
    )
    text_column: str = same(TrafficOptions, "text_column")
    label_column: str = option(
        "label",
        "Column of your file with the label, if it has one: then recall and false-positive rate are shown.",
        group="Messages",
        advanced=True,
    )
    spam_label: str = same(TrafficOptions, "spam_label")
    spam_folder: str = same(TrafficOptions, "spam_folder")
    header: bool = same(TrafficOptions, "header")
    encoding: str = same(TrafficOptions, "encoding")

    model_name: str = option("spam", "Name of the model in the registry.", group="Model")
    model_version: str = option(
        "champion", "Version to score with: champion, challenger, latest, or its number.", group="Model"
    )
    out_of_reach: Literal["deliver", "judge"] = same(ServeOptions, "out_of_reach")

    output: str = option(
        "none",
        "File for the verdicts, one row per message: csv, jsonl or parquet, by its suffix; or a folder for parts, "
        "whose name ends in a slash.",
        group="Output",
    )
    into_maildir: str = option(
        "none",
        "Maildir to copy each mail into, with the headers X-Spam-Flag and X-Spam-Status; it is made if missing.",
        group="Output",
    )
    with_text: bool = option(False, "Write the text of each message into --output, too.", group="Output")
    resume: bool = option(
        False, "Continue an interrupted --output or --into-maildir, given the same input and options.", group="Output"
    )
    overwrite: bool = option(False, "Replace an existing --output, or discard an interrupted one.", group="Output")
    order: Literal["probability", "input"] = option(
        "probability", "Which messages to show: those most probably spam, or the first ones.", group="Output"
    )
    show: Annotated[int, Ge(0), Le(1000)] = option(10, "Number of messages to show in the terminal.", group="Output")

    capture: str = option(
        "none",
        "Store to capture the verdicts in, as spamctl serve does: a SQLite file, or the URL of a database.",
        group="Capture",
        secret=True,
    )

    workers: Annotated[int, Ge(1), Le(1000)] = option(
        1, "Processes that score side by side into an --output that is a folder.", group="Run"
    )
    part_size: Annotated[float, Gt(0), Le(1024)] = option(
        16.0, "MiB of input for each part of an --output that is a folder.", group="Run", advanced=True
    )
    threads: Annotated[int, Ge(0)] = option(
        0, "CPU threads, of each worker; 0 shares every core.", group="Run", advanced=True
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from encoding_faults("encoding", self.encoding)
        yield from mail_faults(self.spam_folder)
        yield from name_faults("model_name", self.model_name)
        yield from version_faults("model_version", self.model_version)
        yield from thread_faults(self.threads)
        if self.text_column == self.label_column:
            yield Fault(("label_column", "text_column"), "names the column of --text-column; name two columns")
        if self.with_text and self.output == "none":
            yield Fault(("with_text",), "only --output reads it; name a file with --output")
        if self.resume and not self.writes:
            yield Fault(("resume",), "only an interrupted --output or --into-maildir can be continued; name it again")
        if self.resume and self.overwrite:
            yield Fault(("overwrite", "resume"), "cannot go with --resume: one discards what the other continues")
        yield from self._part_faults()

    def _part_faults(self) -> Iterator[Fault]:
        """Yield what does not go with an output that is one file, or one that is a folder."""
        folder = "name an --output folder, which ends in /"
        if self.workers > 1 and not self.writes_parts:
            yield Fault(("workers",), f"only parts are written by several; {folder}")
        if is_remote(self.messages) and not self.writes_parts:
            yield Fault(("messages",), f"messages of a bucket are scored into parts; {folder}")
        if self.writes_parts and self.resume and self.messages == "-":
            yield Fault(("resume",), "parts of standard input cannot be continued; keep the messages in a file")
        if self.writes_parts and self.into_maildir != "none":
            yield Fault(("into_maildir",), "cannot go with an --output that is a folder; name a file")
        if is_remote(self.output) and self.with_text:
            yield Fault(("with_text",), "spamctl forget reaches no text in a bucket; name an --output on this machine")

    @property
    def writes_parts(self) -> bool:
        """Return whether the output is a folder, or in a bucket: then the input is scored in shards."""
        return self.output.endswith("/") or is_remote(self.output)

    @property
    def writes(self) -> bool:
        """Return whether verdicts are written anywhere but to the terminal."""
        return (self.output, self.into_maildir) != ("none", "none")


def is_remote(place: str) -> bool:
    """Return whether a place is in a bucket of S3."""
    return place.startswith("s3://")

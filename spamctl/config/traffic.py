"""Declare the options of `spamctl traffic`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le

from spamctl.config.encodings import encoding_faults
from spamctl.config.options import Fault, Options, option
from spamctl.config.words import shown


@dataclass(frozen=True, kw_only=True)
class TrafficOptions(Options):
    """Options of simulated traffic."""

    verb: ClassVar[str] = "traffic"
    summary: ClassVar[str] = "Send messages whose labels are known to the server, and count what it makes of them."
    example: ClassVar[str] = "spamctl traffic --samples 1000 --drift-type vocabulary --strength 0.8"

    target: Literal["local"] = option(
        "local",
        "Where the model is hosted; local means a server that answers at --target-uri.",
        group="Target",
        advanced=True,
    )
    target_uri: str = option(
        "http://127.0.0.1:8080/invocations",
        "Address that takes the messages, as spamctl serve names it.",
        group="Target",
    )
    token_file: str = option(
        "none", "File that holds the server's token; else the variable SPAMCTL_SERVE_TOKEN counts.", group="Target"
    )

    samples: Annotated[int, Ge(1), Le(1_000_000)] = option(200, "Messages to send.", group="Messages")
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(
        0, "Seed of every random choice; the same seed sends the same messages.", group="Messages"
    )
    dataset: str = option(
        "sms-spam,everyday",
        "Where real messages come from, as in training: only its test part is sent, never what a model learnt from.",
        group="Messages",
    )
    text_column: str = option(
        "text",
        "Column of your file that holds the message; message.text is text inside message.",
        group="Messages",
        advanced=True,
    )
    label_column: str = option("label", "Column of your file that holds the label.", group="Messages", advanced=True)
    spam_label: str = option(
        "spam",
        "Label that means spam, or several by commas; any other means not spam.",
        group="Messages",
        advanced=True,
    )
    header: bool = option(
        True,
        "The first line of your csv or tsv file names its columns; else they are called 1, 2, 3.",
        group="Messages",
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "How your file spells characters, such as cp1252; auto finds out and says so.",
        group="Messages",
        advanced=True,
    )
    bad_rows: Literal["refuse", "skip"] = option(
        "refuse",
        "Stop at rows of your file that cannot be used, or leave them out and count them.",
        group="Messages",
        advanced=True,
    )
    hold_out_kinds: Annotated[int, Ge(0), Le(4)] = option(
        0,
        "As in the training: its test part depends on it, and --drift-type new-kinds sends what was held out.",
        group="Messages",
        advanced=True,
    )
    balance: Literal["none", "undersample"] = option(
        "none",
        "How the dataset was balanced in training, since its test part depends on that.",
        group="Messages",
        advanced=True,
    )
    replay: str = option(
        "none",
        "File of your own messages to send instead, as they are and in their order; without labels add --no-truth.",
        group="Messages",
    )

    drift_type: Literal[
        "none",
        "vocabulary",
        "homoglyph",
        "zero-width",
        "leet",
        "good-words",
        "url-rotation",
        "length",
        "modern",
        "new-kinds",
        "prior",
        "mixed",
    ] = option("none", "How a share of the messages differs from what the model learnt from.", group="Drift")
    drift_proportion: Annotated[float, Ge(0), Le(1)] = option(
        0.5, "Share of the messages that is subject to the drift; the rest is sent as it is.", group="Drift"
    )
    strength: Annotated[float, Ge(0), Le(1)] = option(
        0.5, "Dose of the drift: 0 changes nothing, 1 all that it can.", group="Drift"
    )
    preview: Annotated[int, Ge(0), Le(1000)] = option(
        0, "Show so many messages before and after the drift, and send nothing.", group="Drift"
    )

    batch_size: Annotated[int, Ge(1), Le(1000)] = option(10, "Messages in one request.", group="Sending", advanced=True)
    concurrency: Annotated[int, Ge(1), Le(256)] = option(
        4, "Requests under way at once.", group="Sending", advanced=True
    )
    rate: Annotated[float, Ge(0), Le(1_000_000)] = option(
        0.0, "Messages a second, at most; 0 sends as fast as the server answers.", group="Sending"
    )
    timeout: Annotated[float, Gt(0), Le(3600)] = option(
        60.0, "Seconds that a request may take, with all its retries.", group="Sending", advanced=True
    )
    retries: Annotated[int, Ge(0), Le(100)] = option(
        5, "How often a request that got no answer, or was told to wait, is sent again.", group="Sending", advanced=True
    )

    truth: bool = option(True, "Keep the true labels in the store, in a table of their own.", group="Truth")
    datastore_uri: str = option(
        "spam.db",
        "Store that the server captures to: a SQLite file, or the URL of a PostgreSQL database.",
        group="Truth",
        secret=True,
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        if wrong := _fault_of(self.target_uri):
            yield Fault(("target_uri",), wrong)
        yield from encoding_faults("encoding", self.encoding)
        if self.drift_type == "new-kinds" and not self.hold_out_kinds:
            yield Fault(("drift_type",), "new-kinds needs --hold-out-kinds, as the filter was trained with it")
        if self.drift_type == "new-kinds" and self.preview:
            yield Fault(("preview",), "shows what is done to a message, and new-kinds sends others; drop one")
        if self.replay != "none" and self.drift_type != "none":
            yield Fault(("drift_type",), "cannot be given with --replay, which sends messages as they are; drop one")
        if self.replay != "none" and self.preview:
            yield Fault(("preview",), "cannot be given with --replay, which sends messages as they are; drop one")


def _fault_of(uri: str) -> str:
    """Describe what is wrong with the address of a server, or return an empty string."""
    example = "http://127.0.0.1:8080/invocations"
    try:
        parts = urlsplit(uri)
        user, host, _ = parts.username, parts.hostname, parts.port
    except ValueError:
        return f"must be an address such as {example}, got {shown(uri)}"
    if user is not None:
        return "must hold no user and no password; give the server's token with --token-file"
    if parts.scheme not in {"http", "https"} or not host or not uri.isprintable() or " " in uri:
        return f"must be the address of a server such as {example}, got {shown(uri)}; spamctl label takes a store"
    if parts.path in {"", "/"}:
        return f"names no path; write {parts._replace(path='/invocations').geturl()}"
    return ""

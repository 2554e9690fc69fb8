"""Declare the options of `spamctl traffic`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le

from spamctl.config.options import Fault, Options, encoding_faults, mail_faults, option, shown


@dataclass(frozen=True, kw_only=True)
class TrafficOptions(Options):
    """Options of simulated traffic."""

    verb: ClassVar[str] = "traffic"
    summary: ClassVar[str] = "Send simulated traffic with known labels to a server, and score its verdicts."
    example: ClassVar[str] = "spamctl traffic --samples 1000 --drift-type vocabulary --strength 0.8"

    target: Literal["local"] = option(
        "local",
        "Where the model is hosted; local is a server at --target-uri.",
        group="Target",
        advanced=True,
    )
    target_uri: str = option(
        "http://127.0.0.1:8080/invocations",
        "URL of the server's invocations endpoint, as printed by spamctl serve.",
        group="Target",
    )
    token_file: str = option(
        "none", "File with the server's token; or set the variable SPAMCTL_SERVE_TOKEN instead.", group="Target"
    )

    samples: Annotated[int, Ge(1), Le(1_000_000)] = option(200, "Number of messages to send.", group="Messages")
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(
        0, "Random seed; the same seed sends the same messages.", group="Messages"
    )
    dataset: str = option(
        "sms-spam,everyday",
        "Source of the messages, as in training; only the test part is sent, never training data.",
        group="Messages",
    )
    text_column: str = option(
        "text",
        "Column of your file with the message text; message.text reads the field text inside message.",
        group="Messages",
        advanced=True,
    )
    label_column: str = option("label", "Column of your file with the label.", group="Messages", advanced=True)
    spam_label: str = option(
        "spam",
        "Labels that mean spam, separated by commas; any other label means not spam.",
        group="Messages",
        advanced=True,
    )
    header: bool = option(
        True,
        "Read column names from the first line of your csv or tsv file; without it they are 1, 2, 3.",
        group="Messages",
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "Character encoding of your file, such as cp1252; auto detects and reports it.",
        group="Messages",
        advanced=True,
    )
    bad_rows: Literal["refuse", "skip"] = option(
        "refuse",
        "Invalid rows of your file: refuse stops with an error, skip drops and counts them.",
        group="Messages",
        advanced=True,
    )
    spam_folder: str = option(
        "Junk,Spam",
        "Folders of your mail that hold spam, separated by commas; all others are good, without sent and deleted mail.",
        group="Messages",
        advanced=True,
    )
    good: str = option(
        "none",
        "As in training, since the test part depends on it: mail that is all good.",
        group="Messages",
        advanced=True,
    )
    spam: str = option(
        "none",
        "As in training, since the test part depends on it: mail that is all spam.",
        group="Messages",
        advanced=True,
    )
    hold_out_kinds: Annotated[int, Ge(0), Le(4)] = option(
        0,
        "As in training, since the test part depends on it; --drift-type new-kinds sends the held-out kinds.",
        group="Messages",
        advanced=True,
    )
    balance: Literal["none", "undersample"] = option(
        "none",
        "As in training, since the test part depends on it.",
        group="Messages",
        advanced=True,
    )
    replay: str = option(
        "none",
        "File or mailbox of your own messages to send instead, in order; without labels add --no-truth.",
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
    ] = option("none", "Kind of drift to apply to a share of the messages.", group="Drift")
    drift_proportion: Annotated[float, Ge(0), Le(1)] = option(
        0.5, "Share of the messages that drift; the rest is sent unchanged.", group="Drift"
    )
    strength: Annotated[float, Ge(0), Le(1)] = option(
        0.5, "Strength of the drift, from 0 (no change) to 1 (maximum).", group="Drift"
    )
    preview: Annotated[int, Ge(0), Le(1000)] = option(
        0, "Number of messages to show before and after the drift, without sending any.", group="Drift"
    )

    batch_size: Annotated[int, Ge(1), Le(1000)] = option(10, "Messages per request.", group="Requests", advanced=True)
    concurrency: Annotated[int, Ge(1), Le(256)] = option(
        4, "Number of concurrent requests.", group="Requests", advanced=True
    )
    rate: Annotated[float, Ge(0), Le(1_000_000)] = option(
        0.0, "Maximum messages per second; 0 means no limit.", group="Requests"
    )
    timeout: Annotated[float, Gt(0), Le(3600)] = option(
        60.0, "Request timeout in seconds, including retries.", group="Requests", advanced=True
    )
    retries: Annotated[int, Ge(0), Le(100)] = option(
        5, "Maximum number of retries of a request that failed or was rate-limited.", group="Requests", advanced=True
    )

    truth: bool = option(True, "Save the true labels in the store, in a separate table.", group="Truth")
    datastore_uri: str = option(
        "spam.db",
        "Store of the server: a SQLite file, or the URL of a PostgreSQL database.",
        group="Truth",
        secret=True,
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        if wrong := _fault_of(self.target_uri):
            yield Fault(("target_uri",), wrong)
        yield from encoding_faults("encoding", self.encoding)
        yield from mail_faults(self.spam_folder, self.good, self.spam)
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

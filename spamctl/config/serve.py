"""Declare the options of `spamctl serve`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from spamctl.config.models import VERSIONS, name_faults, version_faults
from spamctl.config.options import Fault, Options, option
from spamctl.cores import cores


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """Options of a server."""

    verb: ClassVar[str] = "serve"
    summary: ClassVar[str] = "Answer messages over HTTP with the champion, and keep every answer."
    example: ClassVar[str] = "spamctl serve --port 8080 --datastore-uri spam.db"

    model_name: str = option("spam", "Name in the model registry.", group="Model")
    model_version: str = option(
        "champion",
        "Version to serve: champion, challenger, latest or a number; the server follows the first three as they move.",
        group="Model",
    )
    shadow: str = option(
        "none", "Version to score beside it without serving it: challenger, latest, a number, or none.", group="Model"
    )
    follow_seconds: Annotated[float, Ge(0), Le(86_400)] = option(
        5.0,
        "Seconds between two looks at the registry; 0 stays with the version that was found first.",
        group="Model",
        advanced=True,
    )

    out_of_reach: Literal["deliver", "judge"] = option(
        "deliver",
        "Call a message that is unlike all that was trained on not spam, or what its probability says.",
        group="Model",
    )

    host: str = option("127.0.0.1", "Address to listen on.", group="Door")
    port: Annotated[int, Ge(1), Le(65535)] = option(8080, "Port to listen on.", group="Door")
    token_file: str = option(
        "none",
        "File that holds the token that callers must send; the variable SPAMCTL_SERVE_TOKEN may hold it instead.",
        group="Door",
    )
    allowed_hosts: str = option(
        "none", "More host names to answer to, with commas between them; * answers to all.", group="Door", advanced=True
    )
    insecure: bool = option(False, "Listen on an address that others can reach, without a token.", group="Door")

    capture: Literal["required", "best-effort", "off"] = option(
        "required", "Refuse answers that cannot be stored, give them all the same, or store none.", group="Capture"
    )
    datastore_uri: str = option(
        "spam.db",
        "Where answers are kept: a SQLite file, or the URL of a PostgreSQL database.",
        group="Capture",
        secret=True,
    )
    capture_seconds: Annotated[float, Gt(0), Le(600)] = option(
        5.0, "Seconds that an answer may wait to be stored.", group="Capture", advanced=True
    )

    workers: Annotated[int, Ge(1), Le(256)] = option(1, "Processes that answer.", group="Work")
    threads: Annotated[int, Ge(0)] = option(
        0, "CPU threads of one process's engine; 0 shares every core.", group="Work", advanced=True
    )
    cached_rows: Annotated[int, Ge(0), Le(10_000_000)] = option(
        10_000,
        "Verdicts to remember by their tokens, for campaigns that repeat themselves; 0 remembers none.",
        group="Work",
        advanced=True,
    )

    max_body_mib: Annotated[float, Gt(0), Le(1024)] = option(
        8.0, "Largest request, in mebibytes.", group="Limits", advanced=True
    )
    max_rows: Annotated[int, Ge(1), Le(1_000_000)] = option(
        1000, "Most messages in one request.", group="Limits", advanced=True
    )
    max_in_flight: Annotated[int, Ge(1), Le(100_000)] = option(
        64,
        "Requests that a process answers at once; one more is told to come again (429).",
        group="Limits",
        advanced=True,
    )
    timeout_seconds: Annotated[float, Gt(0), Le(3600)] = option(
        60.0, "Seconds until a request that has no answer yet is given up (504).", group="Limits", advanced=True
    )
    drain_seconds: Annotated[float, Ge(0), Le(3600)] = option(
        30.0, "Seconds that requests have to end when the server is stopped.", group="Limits", advanced=True
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from name_faults("model_name", self.model_name)
        yield from version_faults("model_version", self.model_version)
        yield from version_faults("shadow", self.shadow, (*VERSIONS, "none"))
        if self.threads > cores():
            yield Fault(("threads",), f"must be at most {cores()}, the cores free to use here, got {self.threads}")

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach the address to listen on."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

"""Declare the options of `spamctl serve`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from spamctl.config.options import VERSIONS, Fault, Options, name_faults, option, version_faults
from spamctl.cores import cores

MOST_PORT = 65_535
_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """Options of a server."""

    verb: ClassVar[str] = "serve"
    summary: ClassVar[str] = "Classify messages over HTTP with the champion, and store every answer."
    example: ClassVar[str] = "spamctl serve --port 8080 --datastore-uri spam.db"

    model_name: str = option("spam", "Name of the model in the registry.", group="Model")
    model_version: str = option(
        "champion",
        "Version to serve: champion, challenger, latest or a number; aliases are followed as they move.",
        group="Model",
    )
    shadow: str = option(
        "none",
        "Version to run in shadow mode, scored but not served: challenger, latest, a number, or none.",
        group="Model",
    )
    follow_seconds: Annotated[float, Ge(0), Le(86_400)] = option(
        2.0,
        "Interval in seconds for polling the registry; 0 keeps the version found at the start.",
        group="Model",
        advanced=True,
    )

    out_of_reach: Literal["deliver", "judge"] = option(
        "deliver",
        "Verdict on messages unlike the training data: deliver calls them not spam, judge goes by their probability.",
        group="Model",
    )

    host: str = option("127.0.0.1", "Address to listen on.", group="Network")
    port: Annotated[int, Ge(1), Le(65535)] = option(8080, "Port to listen on.", group="Network")
    spamd: str = option(
        "none",
        "Address for mail servers, which ask over SpamAssassin's protocol, such as 127.0.0.1:783; none: HTTP alone.",
        group="Network",
    )
    token_file: str = option(
        "none",
        "File with the token that clients must send; or set the variable SPAMCTL_SERVE_TOKEN instead.",
        group="Network",
    )
    allowed_hosts: str = option(
        "none", "Further host names to accept, separated by commas; * accepts all.", group="Network", advanced=True
    )
    insecure: bool = option(False, "Allow listening on a non-local address without a token.", group="Network")

    capture: Literal["required", "best-effort", "off"] = option(
        "required",
        "Storing of answers: required refuses to answer if storing fails, best-effort answers anyway, off stores none.",
        group="Capture",
    )
    datastore_uri: str = option(
        "spam.db",
        "Store for the answers: a SQLite file, or the URL of a PostgreSQL database.",
        group="Capture",
        secret=True,
    )
    capture_seconds: Annotated[float, Gt(0), Le(600)] = option(
        5.0, "Maximum time in seconds to wait for an answer to be stored.", group="Capture", advanced=True
    )

    workers: Annotated[int, Ge(1), Le(256)] = option(1, "Worker processes.", group="Resources")
    threads: Annotated[int, Ge(0)] = option(
        0, "CPU threads per worker; 0 divides all cores among the workers.", group="Resources", advanced=True
    )
    cached_rows: Annotated[int, Ge(0), Le(10_000_000)] = option(
        10_000,
        "Size of the cache of verdicts, which speeds up repeated messages; 0 disables it.",
        group="Resources",
        advanced=True,
    )

    max_body_mib: Annotated[float, Gt(0), Le(1024)] = option(
        8.0, "Maximum request size, in mebibytes.", group="Limits", advanced=True
    )
    max_rows: Annotated[int, Ge(1), Le(1_000_000)] = option(
        1000, "Maximum number of messages per request.", group="Limits", advanced=True
    )
    max_in_flight: Annotated[int, Ge(1), Le(100_000)] = option(
        64,
        "Maximum number of concurrent requests per worker; more are rejected with status 429.",
        group="Limits",
        advanced=True,
    )
    timeout_seconds: Annotated[float, Gt(0), Le(3600)] = option(
        60.0, "Request timeout in seconds (status 504).", group="Limits", advanced=True
    )
    drain_seconds: Annotated[float, Ge(0), Le(3600)] = option(
        30.0, "Grace period in seconds for open requests at shutdown.", group="Limits", advanced=True
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from name_faults("model_name", self.model_name)
        yield from version_faults("model_version", self.model_version)
        yield from version_faults("shadow", self.shadow, (*VERSIONS, "none"))
        if self.spamd != "none" and not _address(self.spamd):
            yield Fault(("spamd",), f"must be HOST:PORT, such as 127.0.0.1:783, or none, got {self.spamd!r}")
        if self.threads > cores():
            yield Fault(("threads",), f"must be at most {cores()}, the cores free to use here, got {self.threads}")

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach the address to listen on."""
        return _is_local(self.host)

    @property
    def is_spamd_local(self) -> bool:
        """Return whether only this machine can reach the address for mail servers, if there is one."""
        return self.spamd == "none" or _is_local(_address(self.spamd))


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(given: str) -> str:
    """Return the host of HOST:PORT, or nothing if it is none."""
    found = _HOST_AND_PORT.fullmatch(given)
    return (found[1] or found[2]) if found and 1 <= int(found[3]) <= MOST_PORT else ""

"""Define the settings of a server as values that reach a worker process as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from spamctl.message import OutOfReach
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.serve import Release
from spamctl.serving.service import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a server: release, address, access, capture, and share of the machine."""

    release: Release
    shadow: Release | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    spamd: str = ""  # HOST:PORT that answers mail servers, or nothing
    token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()
    capture: Literal["required", "best-effort", "off"] = "required"
    datastore_uri: str = field(default="spam.db", repr=False)
    capture_seconds: float = 5.0
    workers: int = 1
    threads: int = 0
    cached_rows: int = 10_000
    out_of_reach: OutOfReach = "deliver"
    limits: Limits = field(default_factory=Limits)
    releases: str = ""  # the file where the follower writes what is to be served, or nothing

    @property
    def address(self) -> str:
        """Return the URL of the server."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def following(self, releases: Path) -> Settings:
        """Return the same settings with a file to follow."""
        return replace(self, releases=str(releases))

    def to_json(self) -> str:
        """Write all of it, secrets included, on one line."""
        return json.dumps(to_json(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what `to_json` wrote."""
        return from_json(Settings, json.loads(text))

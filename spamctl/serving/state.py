"""Share one server's settings, deployments, capture and limits among its routes and processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from spamctl.schema.codec import from_json, to_json
from spamctl.schema.message import OutOfReach
from spamctl.schema.serve import Release
from spamctl.serving.activity import Metrics, RecentAnswers
from spamctl.serving.deployment import Deployments
from spamctl.store.capture import Capture
from spamctl.store.database import Store

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one request, and of all of them together."""

    body_bytes: int = 8 * MIB
    buffered_bytes: int = 32 * MIB
    rows: int = 1_000
    in_flight: int = 64
    timeout_s: float = 60.0
    drain_s: float = 30.0
    shadow_rows: int = 1_000  # that may wait for the shadow version
    explained_rows: int = 10
    explained_words: int = 64
    reason_s: float = 0.2  # for the words in a reply of a chat; without them its reason is plain


@dataclass(frozen=True, slots=True)
class Archive:
    """Where answers are stored: the writer of captures, a store for labels, and the name to show."""

    capture: Capture
    store: Store
    name: str


@dataclass(slots=True)
class Service:
    """Context that the routes share; used from the event loop only."""

    deployments: Deployments
    archive: Archive | None
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)
    recent: RecentAnswers = field(default_factory=RecentAnswers)
    siblings: Path | None = None  # the folder in which the workers of a server find each other
    in_flight: int = 0
    stopping: bool = False
    _background: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @property
    def unready(self) -> str:
        """Return why no message can be answered and stored now, or nothing; may be shown to anyone."""
        stats = self.archive.capture.stats() if self.archive else None
        if self.stopping:
            return "it is stopping"
        return f"the store: {stats.fault}" if stats and not stats.reachable else ""

    def in_background(self, work: Coroutine[None, None, None]) -> None:
        """Run a task that no answer waits for."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settle(self) -> None:
        """Wait for the background tasks."""
        while self._background:
            await asyncio.wait(self._background)


# Define the settings of a server as values that reach a worker process as JSON.


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

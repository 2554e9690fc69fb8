"""Share one server's deployments, capture, limits and metrics among its routes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from spamctl.serving.deployment import Deployments
from spamctl.serving.metrics import Metrics
from spamctl.serving.recent import Recent
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
    recent: Recent = field(default_factory=Recent)
    siblings: Path | None = None  # the folder in which the workers of a server find each other
    in_flight: int = 0
    stopping: bool = False
    _background: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def in_background(self, work: Coroutine[None, None, None]) -> None:
        """Run a task that no answer waits for."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settle(self) -> None:
        """Wait for the background tasks."""
        while self._background:
            await asyncio.wait(self._background)

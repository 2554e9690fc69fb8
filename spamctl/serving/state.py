"""Share one server's settings, capture and limits, and swap the version it serves without a failed request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from spamctl.engine.engine import Engine
from spamctl.engine.manifest import Manifest
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.message import OutOfReach
from spamctl.schema.serve import Release
from spamctl.serving.activity import Metrics, RecentAnswers
from spamctl.serving.batcher import Scored, Scorer
from spamctl.store.capture import Capture
from spamctl.store.database import Store

# Swap the served version and its shadow without a failed request.

WARM_WIDTHS = (16, 32, 64)  # tokens: the lengths of most messages
OnBatch = Callable[[int, float], None]


class Deployment:
    """A served release with its own engine and scorer, from construction until it is closed."""

    manifest: Manifest
    digest: str
    golden_delta: float  # the largest change of a golden message's probability on this processor

    def __init__(
        self,
        release: Release,
        *,
        threads: int = 0,
        cached_rows: int = 0,
        out_of_reach: OutOfReach = "deliver",
        on_batch: OnBatch | None = None,
    ) -> None:
        """Verify, compile and warm the release; `out_of_reach` says what becomes of messages unlike its training.

        Raises ArtefactError if it is damaged, or if a golden message gets another verdict on this processor.
        """
        self.release = release

        def load() -> Engine:
            folder = Path(release.folder)
            engine = Engine(folder, threads=threads, registered=release.digest, out_of_reach=out_of_reach)
            self.manifest, self.digest = engine.manifest, engine.digest
            self._expert = engine.tokenizer.expert
            self.golden_delta = engine.replay_golden()
            for width in WARM_WIDTHS:
                engine.logits(engine.tokenize([""]), pad=min(width, engine.manifest.max_tokens))
            return engine

        self._scorer = Scorer(load, cached_rows=cached_rows, on_batch=on_batch)
        self.since = datetime.now(UTC)

    @property
    def threshold(self) -> float:
        """Return the probability from which a message is called spam."""
        return self.manifest.threshold

    @property
    def waiting(self) -> int:
        """Count the rows that have no verdict yet."""
        return self._scorer.waiting

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a short text; call it while the deployment is held."""
        return self._scorer.count_tokens(text)

    def words_for_spam(self, text: str, most: int) -> list[str]:
        """Return the words that count most for spam with the second expert; none where there is no second expert."""
        return self._expert.words_for_spam(text, most) if self._expert else []

    def submit(self, texts: Sequence[str]) -> Future[list[Scored]]:
        """Score the texts of one request; see `Scorer.submit`."""
        return self._scorer.submit(texts)

    def close(self) -> None:
        """Score what waits, then let the engine go."""
        self._scorer.close()


class Deployments:
    """The served release and its shadow; a request keeps the deployment that it began with."""

    def __init__(
        self,
        served: Release,
        shadow: Release | None,
        *,
        threads: int,
        cached_rows: int,
        out_of_reach: OutOfReach = "deliver",
        on_batch: OnBatch | None = None,
    ) -> None:
        """Load what is served first; raise as `Deployment` does."""
        self._out_of_reach = out_of_reach
        self._load = functools.partial(
            Deployment, threads=threads, cached_rows=cached_rows, out_of_reach=out_of_reach, on_batch=on_batch
        )
        self._users: Counter[Deployment] = Counter()
        self._lock = threading.Condition()
        self._exchanging = threading.Lock()
        self.current = self._load(served)
        self.shadow = self._load_shadow(shadow)

    @contextlib.contextmanager
    def hold(self, deployment: Deployment | None = None) -> Iterator[Deployment]:
        """Yield a deployment, the current one if none is named; it is not closed before the block ends."""
        with self._lock:
            held = deployment or self.current
            self._users[held] += 1
        try:
            yield held
        finally:
            with self._lock:
                self._users[held] -= 1
                if not self._users[held]:
                    del self._users[held]
                    self._lock.notify_all()

    def exchange(self, served: Release, shadow: Release | None) -> bool:
        """Load new releases, serve them from then on, and close the old ones once idle; return whether any was new.

        May last seconds: call it in a thread. If a new release cannot be loaded, it raises as `Deployment` does, and
        what could be loaded before stays.
        """
        old: list[Deployment | None] = []
        try:
            with self._exchanging:
                if served != self.current.release:
                    new = self._load(served)
                    with self._lock:
                        old, self.current = [self.current], new
                if shadow != (self.shadow and self.shadow.release):
                    new_shadow = self._load_shadow(shadow)
                    with self._lock:
                        old, self.shadow = [*old, self.shadow], new_shadow
        finally:
            for deployment in filter(None, old):
                self._close(deployment)
        return bool(old)

    def close(self) -> None:
        """Score what waits, and end."""
        for deployment in filter(None, (self.current, self.shadow)):
            deployment.close()

    def _load_shadow(self, release: Release | None) -> Deployment | None:
        """Load a shadow on one thread, without a cache and without metrics: the served version has priority."""
        return Deployment(release, threads=1, out_of_reach=self._out_of_reach) if release else None

    def _close(self, deployment: Deployment) -> None:
        """Wait until nobody uses a retired deployment, and close it."""
        with self._lock:
            self._lock.wait_for(lambda: deployment not in self._users)
        deployment.close()


# Share one server's settings, deployments, capture and limits among its routes and processes.

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

"""Poll the registry in a process of its own: fetch the version that an alias resolves to, and write down its folder.

MLflow takes seconds to import and hundreds of megabytes; the server has none of it, and reads one small file.

A move is served within `seconds` and 30 s more, also on a machine with five times as much to do as it has cores: MLflow
is imported at the start and not when something moves, and the follower is no nicer than the server. Where that does not
hold, the server says so; a follower that dies is replaced.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl import folders
from spamctl.errors import ArtefactError, SpamctlError, UsageError
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.serve import Release, Releases
from spamctl.serving import child
from spamctl.serving.log import Tell, unfailing

if TYPE_CHECKING:
    from spamctl.registry.versions import Found

NONE = "none"
STOP_S = 1.0
AGAIN_S = 1.0
BEAT_S = 2.0
LATE_S = 30.0  # a follower that has not stirred for so long is late, and the server says so
BEAT = "beat"  # beside the releases: a file that is touched while the registry is being followed


@dataclass(frozen=True, slots=True)
class FollowRequest:
    """What to follow: version and shadow of a model, the folder for copies, and the polling interval."""

    name: str
    version: str
    shadow: str
    cache: str
    seconds: float

    @property
    def moves(self) -> bool:
        """Return whether the version that is followed can change."""
        return self.seconds > 0 and not (self.version.isdigit() and (self.shadow == NONE or self.shadow.isdigit()))


@contextlib.contextmanager
def following(wish: FollowRequest, environment: Mapping[str, str], tell: Tell) -> Iterator[Path | None]:
    """Run the follower while the block lasts, and give the file that it writes; None if there is nothing to follow."""
    if not wish.moves:
        yield None
        return
    with folders.temporary_folder("follow") as folder:
        releases = folder / "releases.json"
        kept = _Kept(wish, releases, environment, tell)
        try:
            yield releases
        finally:
            kept.end()


class _Kept:
    """Supervised follower process: it is replaced when it dies, until it is ended."""

    def __init__(self, wish: FollowRequest, releases: Path, environment: Mapping[str, str], tell: Tell) -> None:
        self._wish, self._releases, self._environment, self._tell = wish, releases, environment, tell
        self._ending = threading.Event()
        self._child = self._start()
        self._watch = threading.Thread(target=self._replace, name="follower-watch", daemon=True)
        self._watch.start()

    def end(self) -> None:
        """Close the follower's pipe: nobody listens any more."""
        self._ending.set()
        self._watch.join()
        try:
            self._child.communicate(timeout=STOP_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._child.kill()
            self._child.wait()

    def _start(self) -> subprocess.Popen[str]:
        """Start a follower; one that dies at once is replaced by another."""
        wish = json.dumps(to_json(self._wish))
        return child.start("spamctl.serving.registry_watcher", [str(self._releases)], wish, self._environment)

    def _replace(self) -> None:
        while not self._ending.wait(AGAIN_S):
            if (code := self._child.poll()) is not None:
                self._tell(f"the follower of the registry ended (exit code {code}); another one takes its place")
                with contextlib.suppress(BrokenPipeError):
                    self._child.communicate()
                self._child = self._start()


class Pulse:
    """Liveness check of the follower, made by the server."""

    def __init__(self, releases: Path) -> None:
        self._beat = releases.with_name(BEAT)
        self._seen, self._since, self._late = 0, time.monotonic(), False

    def told(self) -> str:
        """Return a note that the follower is late, or that it recovered; an empty string while nothing changed."""
        seen = self._beat.stat().st_mtime_ns if self._beat.is_file() else 0
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        late = time.monotonic() - self._since > LATE_S
        if late == self._late:
            return ""
        self._late = late
        if late:
            return f"nobody has followed the registry for {LATE_S:g} s: this machine is busy, a move is served late"
        return "the registry is followed again"


def read_releases(path: Path) -> Releases | None:
    """Return what is to be served and its shadow, or None while nothing has been written.

    Raises ArtefactError if it cannot be read.
    """
    try:
        return from_json(Releases, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path.name}: names no version ({type(error).__name__})") from error


def find_releases(wish: FollowRequest) -> tuple[Found, Found | None]:
    """Fetch the version to serve and its shadow; no shadow if there is none, or if it is the served one.

    Raises as `model.versions.fetch` does for what is to be served.
    """
    from spamctl.registry.versions import fetch  # the server reads this module, too, and starts sooner without

    cache = Path(wish.cache)
    served = fetch(wish.name, wish.version, cache)
    shadow = None
    if wish.shadow != NONE:
        with contextlib.suppress(UsageError):  # an alias that nothing has yet
            shadow = fetch(wish.name, wish.shadow, cache)
    return served, shadow if shadow and shadow.folder != served.folder else None


def release(found: Found) -> Release:
    """Return a version that was found as one that can be served."""
    return Release(found.name, found.version, found.alias, found.folder, found.digest, found.sealed)


class Follower:
    """Process that polls the registry and writes down the wanted release whenever it changes."""

    def __init__(self, wish: FollowRequest, releases: Path) -> None:
        self._wish, self._releases = wish, releases
        self._meant: Sequence[str] | None = None  # the versions, as the registry told them last
        self._state = ""  # of a registry in a file, when it was looked at last
        self._wrote = False

    def look(self) -> None:
        """See what is meant, and write it down if it changed; all stays as it is if the registry does not answer.

        A registry in a file that has not changed is not asked.
        """
        from spamctl.registry.tracking import state_of, tracking_uri
        from spamctl.registry.versions import meant

        state = state_of(tracking_uri())  # before it is asked: what changes meanwhile makes it ask again
        if state and state == self._state:
            return
        wanted = [one for one in (self._wish.version, self._wish.shadow) if one != NONE]
        now = meant(self._wish.name, wanted) if self._wrote else None
        if now is None or now != self._meant:
            served, shadow = find_releases(self._wish)
            if served.remembered:
                return
            self._write(served, shadow)
        self._meant, self._state = now, state

    def _write(self, served: Found, shadow: Found | None) -> None:
        told = to_json(Releases(release(served), release(shadow) if shadow else None))
        draft = self._releases.with_suffix(".draft")
        draft.write_text(json.dumps(told), encoding="utf-8")
        draft.replace(self._releases)
        self._wrote = True


def main(releases: Path) -> None:
    """Poll until nobody holds the other end of standard input."""
    wish = from_json(FollowRequest, json.loads(sys.stdin.readline()))
    tell = unfailing(lambda text: sys.stderr.write(f"following {wish.name} {wish.version}: {text}\n"))
    told, follower, due = "", Follower(wish, releases), 0.0
    while not _hung_up(min(BEAT_S, max(0.0, due - time.monotonic()))):
        releases.with_name(BEAT).touch()
        if time.monotonic() < due:
            continue
        trouble = _trouble(follower)
        if trouble != told:
            tell(trouble or "the registry answers again")
            told = trouble
        if not due:
            _import_mlflow()
        due = time.monotonic() + wish.seconds


def _hung_up(within_s: float) -> bool:
    """Wait, and return whether standard input has ended meanwhile."""
    return bool(select.select([sys.stdin], [], [], within_s)[0])


def _trouble(follower: Follower) -> str:
    """Poll the registry, and return what is wrong, if anything is."""
    try:
        follower.look()
    except SpamctlError as error:
        return str(error)
    except Exception as error:  # a full disk, a registry in the midst of a change: it may be well the next time
        return f"{type(error).__name__}: {error}"
    return ""


def _import_mlflow() -> None:
    """Import MLflow before it is needed: on a busy machine that takes a while."""
    from spamctl.registry.versions import meant

    with contextlib.suppress(Exception):  # the next look says what is wrong
        meant("", [])


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Follow the registry in a process of its own: fetch the version that an alias means now, and write down where it lies.

MLflow takes seconds to import and hundreds of megabytes; the server has none of it, and reads one small file.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.errors import ArtefactError, SpamctlError, UsageError
from spamctl.serving.deployment import Release
from spamctl.serving.telling import heard_or_not

if TYPE_CHECKING:
    from spamctl.model.versions import Found

NICENESS = 10
NONE = "none"
STOP_S = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Say what to follow: a model's wanted version and shadow, where to copy them, and how often to look."""

    name: str
    version: str
    shadow: str
    cache: str
    seconds: float

    @property
    def moves(self) -> bool:
        """Tell whether what it means can change."""
        return self.seconds > 0 and not (self.version.isdigit() and (self.shadow == NONE or self.shadow.isdigit()))


@contextlib.contextmanager
def following(wish: Wish, environment: Mapping[str, str]) -> Iterator[Path | None]:
    """Run the follower while the block lasts, and give the file that it writes; None if there is nothing to follow."""
    if not wish.moves:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="spamctl-follow-") as folder:
        releases = Path(folder, "releases.json")
        child = subprocess.Popen(
            [sys.executable, "-m", "spamctl.serving.follow", str(releases)],
            env=environment,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the server, which ends it
        )
        assert child.stdin  # noqa: S101 - for the type checker
        child.stdin.write(json.dumps(asdict(wish)) + "\n")
        child.stdin.flush()
        try:
            yield releases
        finally:
            _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """Let the follower see that nobody listens any more."""
    try:
        child.communicate(timeout=STOP_S)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        child.kill()
        child.wait()


def read_releases(path: Path) -> tuple[Release, Release | None] | None:
    """Return what is to be served and its shadow, or None while nothing has been written.

    Raises ArtefactError if it cannot be read.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Release(**told["served"]), Release(**told["shadow"]) if told["shadow"] else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path.name}: names no version ({type(error).__name__})") from error


def find(wish: Wish) -> tuple[Found, Found | None]:
    """Fetch what is to be served and what shadows it; no shadow if there is none, or if it is what is served.

    Raises as `model.versions.fetch` does for what is to be served.
    """
    from spamctl.model.versions import fetch  # the server reads this module, too, and starts sooner without

    cache = Path(wish.cache)
    served = fetch(wish.name, wish.version, cache)
    shadow = None
    if wish.shadow != NONE:
        with contextlib.suppress(UsageError):  # an alias that nothing has yet
            shadow = fetch(wish.name, wish.shadow, cache)
    return served, shadow if shadow and shadow.version != served.version else None


def plain(found: Found) -> dict[str, str]:
    """Return a version that was found as the plain values of a Release."""
    return asdict(Release(found.name, found.version, found.alias, found.folder))


class Follower:
    """Look at the registry again and again, and write down what is meant whenever that is something else."""

    def __init__(self, wish: Wish, releases: Path) -> None:
        self._wish, self._releases = wish, releases
        self._meant: Sequence[str] | None = None  # the versions, as the registry told them last
        self._state = ""  # of a registry in a file, when it was looked at last
        self._wrote = False

    def look(self) -> None:
        """See what is meant, and write it down if it changed; all stays as it is if the registry does not answer.

        A registry in a file that has not changed is not asked: until it does, this process never imports MLflow.
        """
        from spamctl.model.tracking import state_of, tracking_uri
        from spamctl.model.versions import meant

        state = state_of(tracking_uri())  # before it is asked: what changes meanwhile makes it ask again
        if state and state == self._state:
            return
        wanted = [one for one in (self._wish.version, self._wish.shadow) if one != NONE]
        now = meant(self._wish.name, wanted) if self._wrote else None
        if now is None or now != self._meant:
            served, shadow = find(self._wish)
            if served.remembered:
                return
            self._write(served, shadow)
        self._meant, self._state = now, state

    def _write(self, served: Found, shadow: Found | None) -> None:
        told = {"served": plain(served), "shadow": plain(shadow) if shadow else None}
        draft = self._releases.with_suffix(".draft")
        draft.write_text(json.dumps(told), encoding="utf-8")
        draft.replace(self._releases)
        self._wrote = True


def main(releases: Path) -> None:
    """Look again and again until nobody holds the other end of standard input."""
    _step_aside()
    wish = Wish(**json.loads(sys.stdin.readline()))
    tell = heard_or_not(lambda text: sys.stderr.write(f"{text}\n"))
    told: str = ""
    follower = Follower(wish, releases)
    while not select.select([sys.stdin], [], [], wish.seconds)[0]:  # the server begins with what has just been found
        trouble = ""
        try:
            follower.look()
        except SpamctlError as error:
            trouble = str(error)
        except Exception as error:  # a full disk, a registry in the midst of a change: it may be well the next time
            trouble = f"{type(error).__name__}: {error}"
        if trouble != told:
            tell(f"following {wish.name} {wish.version}: {trouble or 'the registry answers again'}")
            told = trouble


def _step_aside() -> None:
    """Let whatever else runs here go first; where Linux shares its time out by sessions, the session must be nice."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

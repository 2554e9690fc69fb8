"""Define the version that a server serves, and the result of the serve flow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """A version that can be served: `folder` holds its package, `alias` is what it was found by, if anything.

    `digest` is the package's, by which it is known even if its number is given to another one; `sealed` tells whether
    the registry knows it too.
    """

    name: str
    version: str
    alias: str
    folder: str
    digest: str = ""
    sealed: bool = True


@dataclass(frozen=True, slots=True)
class Releases:
    """The version to serve, and the one that shadows it, if any."""

    served: Release
    shadow: Release | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeResult(Releases):
    """Releases that were verified: the served one's threshold (a probability of spam) and engine.

    `golden_delta` is the largest change of a golden message's probability on this processor, `seconds` the time that
    verifying took.
    """

    threshold: float
    engine: str
    golden_delta: float
    seconds: float

"""Store the answers of a model loaded by MLflow, in a store that each process opens once."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from spamctl.errors import OptionsError, SpamctlError, UnavailableError, UsageError
from spamctl.message import OutOfReach
from spamctl.store.address import parse
from spamctl.store.capture import Capture, Mode
from spamctl.store.rows import CapturedRow

ADDRESS_VARIABLE, MODE_VARIABLE = "SPAMCTL_SERVE_DATASTORE_URI", "SPAMCTL_SERVE_CAPTURE"
OUT_OF_REACH_VARIABLE = "SPAMCTL_SERVE_OUT_OF_REACH"
DEFAULT_ADDRESS = "spam.db"
OFF = "off"
MODES: dict[str, Mode | None] = {"required": "required", "best-effort": "best-effort", OFF: None}
AGAIN_S = 5.0  # as long as a locked store is waited for: a thread that comes meanwhile need not wait anew

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where answers are stored, and whether an answer requires its row; None: they are not stored."""

    address: str = field(repr=False)  # it may hold a password
    mode: Mode | None

    @classmethod
    def of_environment(cls) -> Target:
        """Read the two variables that `spamctl serve` reads; a file is relative to the working folder.

        Nothing is opened. Raises OptionsError that names both if both are wrong.
        """
        address = os.environ.get(ADDRESS_VARIABLE, DEFAULT_ADDRESS)
        wanted = os.environ.get(MODE_VARIABLE, "required")
        faults = [] if wanted in MODES else [f"{MODE_VARIABLE}: must be required, best-effort or off, got {wanted!r}"]
        try:
            file = parse(address).file
        except UsageError as error:
            faults.append(f"{ADDRESS_VARIABLE}: {error}")
        if faults:
            raise OptionsError(faults)
        return cls(str(file or address), MODES[wanted])


def out_of_reach() -> OutOfReach:
    """Read the setting for messages unlike the training data; raise OptionsError if it is neither word."""
    match os.environ.get(OUT_OF_REACH_VARIABLE, "deliver"):
        case "deliver" | "judge" as word:
            return word
        case other:
            raise OptionsError([f"{OUT_OF_REACH_VARIABLE}: must be deliver or judge, got {other!r}"])


class Captures:
    """Writers of this process, each opened at its first answer, and anew after a fork."""

    def __init__(self) -> None:
        self._inherited: list[Capture] = []
        self._hooked = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Target, Capture] = {}
        self._refusals: dict[Target, tuple[float, str]] = {}

    def keep(self, target: Target, rows: Sequence[CapturedRow]) -> bool:
        """Return True once the rows are on the disk; False if they are not kept, or may be missing (best-effort).

        Raises UnavailableError if they are not known to be stored, within ten seconds (mode required).
        """
        if target.mode is None or not rows:
            return False
        try:
            return self._opened(target).submit(rows).result()
        except UnavailableError:
            if target.mode == "required":
                raise
            return False

    def close(self) -> None:
        """Close the stores; the next answer opens its own again."""
        with self._lock:
            left, self._open = [*self._open.values()], {}
        for capture in left:
            capture.close()

    def _opened(self, target: Target) -> Capture:
        """Return the target's capture; raise UnavailableError if its store cannot be used now."""
        with self._lock:
            if target in self._open:
                return self._open[target]
            when, words = self._refusals.get(target, (-AGAIN_S, ""))
            if time.monotonic() - when < AGAIN_S:
                raise UnavailableError(words)
            try:
                capture = Capture(target.address, mode=target.mode or "required")
            except SpamctlError as error:
                words = f"the answer could not be stored: {error}"
                self._refusals[target] = time.monotonic(), words
                logger.warning("%s", words)
                raise UnavailableError(words) from error
            self._hook()
            return self._open.setdefault(target, capture)

    def _hook(self) -> None:
        """Register the stores for closing at exit, and for being dropped in a forked child."""
        if not self._hooked:
            self._hooked = True
            atexit.register(self.close)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """Drop the parent's captures after a fork, without closing them: that would close the parent's too."""
        self._inherited += self._open.values()
        self._begin()


of_this_process = Captures()

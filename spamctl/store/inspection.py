"""Check a store's file periodically while it is written: a failing disk or another program may damage it.

What writes holds its pages in memory, and SQLite's log hides those of the file, so no write needs to notice.
"""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy.exc import DBAPIError

from spamctl.errors import SpamctlError
from spamctl.store.address import Address
from spamctl.store.database import examine
from spamctl.store.faults import Fault, fault_of

EVERY_S = 15.0  # between two looks
SHARE = 50  # the times that a look's duration is waited for until the next: it takes 2 % of a core at most
LONGEST_S = 45.0

_DAMAGES = {Fault.DAMAGED, Fault.FOREIGN, Fault.BROKEN}

logger = logging.getLogger(__name__)


class Inspector:
    """Periodic integrity check of the SQLite file in its own thread, until closed; servers check their own databases.

    A file that takes longer than a second and a half is looked at for as long: `database.examine` says how.
    """

    def __init__(self, address: Address) -> None:
        self._address, self._every_s = address, EVERY_S
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="store-inspector", daemon=True)
        self.fault = ""  # may be shown to anyone
        if address.file:
            self._thread.start()

    def close(self) -> None:
        """Stop checking; a check that has begun ends by itself."""
        self._closed.set()

    def _look_on(self) -> None:
        pause_s = self._every_s
        while not self._closed.wait(pause_s):
            began = time.monotonic()
            self._tell(self._look())
            pause_s = max(self._every_s, min(LONGEST_S, SHARE * (time.monotonic() - began)))

    def _look(self) -> tuple[str, str]:
        """Return what is wrong with the file, for anyone and for the log; nothing if it is sound or cannot be read."""
        file = self._address.file
        assert file  # noqa: S101 - for the type checker
        try:
            if file.stat().st_size == 0:
                return "it was emptied", f"its file was emptied: {Fault.DAMAGED.cure}"
            examine(self._address, 1.0, create=False, check_pages=True)
        except DBAPIError as error:
            fault = fault_of(error)
            return (fault.words, f"{fault.words}: {fault.cure}") if fault in _DAMAGES else ("", "")
        except SpamctlError as error:
            return Fault.DAMAGED.words, str(error)
        except OSError:  # it is gone, which the next write notices
            return "", ""
        return "", ""

    def _tell(self, found: tuple[str, str]) -> None:
        before, (self.fault, why) = self.fault, found
        if self.fault and not before:
            logger.error("the store is not sound, and nothing more is written into it: %s", why)
        elif before and not self.fault:
            logger.warning("the store is sound again")

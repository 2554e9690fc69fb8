"""Tell an operator who may have stopped listening, and go on."""

import contextlib
from collections.abc import Callable

Tell = Callable[[str], object]


def heard_or_not(tell: Tell) -> Tell:
    """Return `tell` as one that never fails: no full disk and no pipe that nobody reads may stop what serves.

    Rich ends the whole program when a pipe breaks, hence SystemExit.
    """

    def told(text: str) -> None:
        with contextlib.suppress(OSError, ValueError, SystemExit):
            tell(text)

    return told

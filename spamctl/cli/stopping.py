"""Report once, on Ctrl-C or SIGTERM, what a verb has done and how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import typer

TOLD = "told"


@contextlib.contextmanager
def telling(what: Callable[[], str], *, again: bool = False) -> Iterator[None]:
    """Report what a stop leaves, if it comes while the block runs and no inner block has reported it, or `again`."""
    try:
        yield
    except KeyboardInterrupt as stop:
        tell(stop, what, again=again)
        raise


def tell(stop: BaseException, what: Callable[[], str], *, again: bool = False) -> None:
    """Write one line to standard error, unless this stop has been told."""
    if is_told(stop) and not again:
        return
    mark(stop)
    with contextlib.suppress(OSError):
        typer.echo(f"Stopped. {what()}".rstrip(), err=True)


def mark(stop: BaseException) -> None:
    """Note that a stop has been told."""
    stop.add_note(TOLD)


def is_told(stop: BaseException) -> bool:
    """Return whether a stop has been reported."""
    return TOLD in getattr(stop, "__notes__", ())

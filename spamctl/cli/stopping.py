"""Say what was done and what goes on when a verb is stopped by Ctrl-C or SIGTERM, once, by who knows it best."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import typer

TOLD = "told"


@contextlib.contextmanager
def telling(what: Callable[[], str], *, again: bool = False) -> Iterator[None]:
    """Tell what a stop leaves, if it comes while the block runs and nobody further in has told it, or all the same."""
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
    """Tell whether a stop has been told."""
    return TOLD in getattr(stop, "__notes__", ())

"""Time work, tell how far it is, and print tables, for every benchmark."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.cores import cores
from spamctl.sqlite_url import url_of

if TYPE_CHECKING:
    from spamctl.registry.versions import Found

GIB = 2**30


def seconds_each(work: Callable[[], object], *, repeats: int, warm_up: int = 1) -> list[float]:
    """Run `work` a few times, and return the seconds of each run that is not warm-up."""
    seconds = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds[warm_up:]


def median_seconds(work: Callable[[], object], *, repeats: int, warm_up: int = 1) -> float:
    """Return the median seconds of `repeats` runs after warm-up."""
    return statistics.median(seconds_each(work, repeats=repeats, warm_up=warm_up))


def say(text: str) -> None:
    """Tell progress to whoever watches a terminal; a record of the output holds the tables alone."""
    if sys.stderr.isatty():
        print(f"… {text}", file=sys.stderr, flush=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned lines: names on the left, numbers on the right, a rule beneath the headings."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [list(headings), ["─" * width for width in widths], *rows]
    return "\n".join(_aligned(line, widths) for line in lines)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([name, *numbers]).rstrip()


def circumstances(threads: int, packages: Sequence[str]) -> str:
    """Return two lines that name the time, the machine and the versions."""
    now = dt.datetime.now(tz=dt.UTC)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    busy = "1 thread" if threads == 1 else f"{threads} threads"
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{now:%Y-%m-%d %H:%M} UTC, {_processor()}, {busy} on {cores()} cores, {memory:.0f} GiB\n"
        f"Python {platform.python_version()}, {versions}"
    )


def fetched(folder: Path, wanted: str) -> Found:
    """Return the version of spam that a number or an alias means in a folder, or end the program with the reason."""
    from spamctl.errors import SpamctlError
    from spamctl.registry.versions import fetch

    if not (folder / "mlflow.db").is_file():
        sys.exit(f"nothing is registered in {folder}: run `make demo`, or name another folder with --folder")
    os.environ["MLFLOW_TRACKING_URI"] = url_of((folder / "mlflow.db").resolve())
    try:
        return fetch("spam", wanted, folder.resolve() / ".spamctl" / "models")
    except SpamctlError as error:
        sys.exit(str(error))


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", lines.read_text(encoding="utf-8")) if lines.exists() else None
    return found[1] if found else platform.processor() or platform.machine()

"""Explain how a process ended that reported no reason, as far as it is known."""

from __future__ import annotations

import re
import signal
from pathlib import Path

COUNTERS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")  # of this container, else of this machine


def kills_for_memory() -> int:
    """Count the processes that were killed because memory ran out; 0 where the system does not tell."""
    for place in COUNTERS:
        try:
            found = re.search(r"^oom_kill (\d+)$", Path(place).read_text(encoding="ascii"), re.MULTILINE)
        except (OSError, ValueError):
            continue
        if found:
            return int(found[1])
    return 0


def end_of(exit_code: int, kills_before: int) -> str:
    """Explain how a flow ended by itself; `kills_before` were counted at its start."""
    if kills_for_memory() > kills_before:
        return "the system ran out of memory and killed a process; provide more memory, or give it less to do at a time"
    if exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"a process ended without giving a reason (exit code {exit_code})"

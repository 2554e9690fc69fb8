"""Count the cores that this process may use: in a container they are often a few of many."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS, MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # control groups, where Linux shows them
_QUOTAS = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))  # of version 2 and of version 1


def cores() -> int:
    """Count the cores that this process may use, by its affinity and by the time that its control groups allow it."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *_quotas()])


def _quotas() -> Iterator[int]:
    """Yield how many cores each control group around this process may keep busy, rounded up, where that is bounded."""
    try:
        lines = MINE.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)  # version 2 names no kinds
        if kinds and "cpu" not in kinds.split(","):
            continue
        top = GROUPS / kinds
        group = top / path.strip("/")  # inside a container, a path of outside may be told, which is not there
        for folder in (group, *group.parents):
            yield from _quota(folder)
            if folder == top:
                break


def _quota(folder: Path) -> Iterator[int]:
    for names in _QUOTAS:
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and int(quota) and int(period):  # else "max" or -1: unbounded
            yield math.ceil(int(quota) / int(period))

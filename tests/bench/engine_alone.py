"""Time the packaged engine without a server: one message at a time, and 32 at a time.

    python tests/bench/engine_alone.py TEXTS.json PACKAGE THREADS SECONDS

A program of its own, so that its threads are gone when a server is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spamctl.model.engine import Engine

TOGETHER = 32


def main() -> None:
    """Print messages a second, and the milliseconds of a call by percentile, for both."""
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    engine = Engine(Path(sys.argv[2]), threads=int(sys.argv[3]))
    print(json.dumps([timed(engine, texts, size, float(sys.argv[4])) for size in (1, TOGETHER)]))


def timed(engine: Engine, texts: Sequence[str], size: int, seconds: float) -> dict[str, Any]:
    """Classify for some seconds, the same texts again and again; a few calls beforehand are warm-up."""
    groups = [texts[start : start + size] for start in range(0, len(texts) - size + 1, size)]
    for group in groups[:5]:
        engine.classify(group)
    calls: list[float] = []
    begin = time.perf_counter()
    while not calls or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        engine.classify(groups[len(calls) % len(groups)])
        calls.append(time.perf_counter() - start)
    ordered = sorted(calls)
    times = {which: 1000 * ordered[len(ordered) * which // 100] for which in (50, 95, 99)}
    return {"together": size, "rate": size * len(calls) / sum(calls), "times": times, "timed": size * len(calls)}


if __name__ == "__main__":
    main()

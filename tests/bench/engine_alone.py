"""Time the packaged engine without a server: one message at a time, and 32 at a time in as many streams as served.

    python tests/bench/engine_alone.py TEXTS.json PACKAGE THREADS SECONDS

A program of its own, so that its threads are gone when a server is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from spamctl.engine.engine import Engine, by_length

TOGETHER = 32


def main() -> None:
    """Print messages a second, and the milliseconds of a call by percentile, for both."""
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    engine, seconds = Engine(Path(sys.argv[2]), threads=int(sys.argv[3])), float(sys.argv[4])
    engine.open_streams()
    with ThreadPoolExecutor(engine.most_streams) as threads:
        found = (
            timed(engine.classify, texts, 1, seconds),
            timed(side_by_side(engine, threads), texts, TOGETHER, seconds),
        )
    print(json.dumps(found))


def side_by_side(engine: Engine, threads: ThreadPoolExecutor) -> Callable[[Sequence[str]], object]:
    """Return what classifies messages in batches of one width, several of them at a time."""

    def classify(texts: Sequence[str]) -> object:
        rows, logits = engine.tokenize(texts), np.empty(len(texts))

        def score(batch: list[int]) -> None:
            logits[batch] = engine.logits([rows[index] for index in batch], batches=[range(len(batch))])

        list(threads.map(score, by_length(np.array([len(row.ids) for row in rows]), engine.step)))
        return engine.verdicts(rows, logits)

    return classify


def timed(
    classify: Callable[[Sequence[str]], object], texts: Sequence[str], size: int, seconds: float
) -> dict[str, Any]:
    """Classify for some seconds, the same texts again and again; a few calls beforehand are warm-up."""
    groups = [texts[start : start + size] for start in range(0, len(texts) - size + 1, size)]
    for group in groups[:5]:
        classify(group)
    calls: list[float] = []
    begin = time.perf_counter()
    while not calls or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        classify(groups[len(calls) % len(groups)])
        calls.append(time.perf_counter() - start)
    ordered = sorted(calls)
    times = {which: 1000 * ordered[len(ordered) * which // 100] for which in (50, 95, 99)}
    return {"together": size, "rate": size * len(calls) / sum(calls), "times": times, "timed": size * len(calls)}


if __name__ == "__main__":
    main()

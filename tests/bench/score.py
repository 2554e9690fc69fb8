"""Measure what a message costs in `spamctl score` with one process and with two, and on Spark, beside its engine alone.

    python tests/bench/score.py [--folder demo] [--rows 2000] [--rounds 1] [--ways engine,engines,file,1,2,spark]

The folder holds a registered model in its mlflow.db. Each way scores some messages, and four times as many: the
difference is what a message costs, and what is left is what a start does. Cost is processor time of every process of
a way; seconds by the clock stand beside it. A neighbour that shares caches with them makes both larger, never smaller:
all ways take turns in each round, and the least of each way counts. Scores of all ways are compared bit by bit. It
prints tables and asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import circumstances, fetched, say, table

ROOT = Path(__file__).resolve().parents[2]
MARK = "BENCH_MARK"
MORE = 4
CHUNK = 1_000
FULL = (10**8, 10**9)
TICKS = os.sysconf("SC_CLK_TCK")
POLL_S = 0.2
PAGE = os.sysconf("SC_PAGE_SIZE")
WAYS = {
    "engine": "the engine alone, one thread",
    "engines": "two engines alone, at once",
    "file": "score, one file",
    "1": "score --workers 1",
    "2": "score --workers 2",
    "spark": "Spark, local-cluster[2,1,1024]",
}
BESIDE = {"2": "engines", "spark": "engines"}  # what else a way is compared with: two cores at work slow each other
ENGINE = """
import json, os, sys
from spamctl.engine.engine import Engine
texts, package, processes = json.loads(open(sys.argv[1]).read()), sys.argv[2], int(sys.argv[4])
number = 0 if processes == 1 or os.fork() else 1
texts = texts[number::processes]
engine = Engine(__import__("pathlib").Path(package), threads=1, out_of_reach="deliver")
found = [one.probability for at in range(0, len(texts), 1000) for one in engine.classify(texts[at : at + 1000])]
json.dump(found, open(f"{sys.argv[3]}.{number}", "w"))
if processes == 2 and not number:
    os.wait()
"""
SPARK = """
import sys, mlflow
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spam = mlflow.pyfunc.spark_udf(spark, "models:/spam@champion")
rows = spark.read.parquet(sys.argv[1]).repartition(8)
rows.select("place", spam("text").alias("a")).select("place", "a.probability").write.parquet(sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of all processors, seconds by the clock, and the most memory in bytes that one process held."""

    cpu: float
    clock: float
    peak: int

    def least(self, other: Cost) -> Cost:
        """Return what two rounds have cost at least; memory is what either held."""
        return Cost(min(self.cpu, other.cpu), min(self.clock, other.clock), max(self.peak, other.peak))


class Family(threading.Thread):
    """Watch of every process that inherits a mark in its environment: their processor time and their memory."""

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self._mark, self._ours, self._others = f"{MARK}={mark}".encode(), dict[str, tuple[float, int]](), set[str]()
        self.over = threading.Event()

    def run(self) -> None:
        """Look a few times a second, until it is over."""
        while not self.over.wait(POLL_S):
            self.look()

    def look(self) -> None:
        """Read how much each process has used so far."""
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                if place.name in self._others:
                    continue
                if place.name not in self._ours and self._mark not in (place / "environ").read_bytes().split(b"\0"):
                    self._others |= {place.name} if (place / "cmdline").read_bytes() else set()
                    continue
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                peak = max(int(fields[21]) * PAGE, self._ours.get(place.name, (0.0, 0))[1])
                self._ours[place.name] = (int(fields[11]) + int(fields[12])) / TICKS, peak

    @property
    def cpu(self) -> float:
        """Return the processor seconds of all."""
        return sum(cpu for cpu, _ in self._ours.values())

    @property
    def peak(self) -> int:
        """Return the most memory that one of them held at a time."""
        return max((peak for _, peak in self._ours.values()), default=0)


def measured(words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Cost:
    """Run a program to its end, and return what it has cost."""
    mark = secrets.token_hex(8)
    family = Family(mark)
    environment = os.environ | {"PYTHONPATH": str(ROOT), MARK: mark} | variables
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    family.start()
    told = child.communicate()[0].decode(errors="replace")
    clock = time.monotonic() - began
    family.over.set()
    family.join()
    if child.returncode:
        sys.exit(f"{' '.join(words)[:80]}: exit code {child.returncode}\n{told[-2000:]}")
    return Cost(family.cpu, clock, family.peak)


@dataclass(frozen=True, slots=True)
class Bench:
    """Folder of the model, its package, and a folder for what is made."""

    folder: Path
    package: str
    scratch: Path

    def lay(self, rows: int) -> Path:
        """Write so many messages, no two alike, as parquet and for the engine; return the parquet file."""
        import pyarrow as pa
        from pyarrow import parquet

        from spamctl.data.bundled_sets import read_everyday

        texts = [one.text for one in read_everyday()[1] if not one.traits.border]
        random.Random(7).shuffle(texts)
        chosen = [texts[place % len(texts)] + f" {place}" * (place >= len(texts)) for place in range(rows)]
        path = self.scratch / f"{rows}.parquet"
        parquet.write_table(pa.table({"place": range(1, rows + 1), "text": chosen}), path)
        path.with_suffix(".json").write_text(json.dumps(chosen), encoding="utf-8")
        return path

    def run(self, way: str, messages: Path) -> tuple[Cost, list[float]]:
        """Score messages one way; return what that costs, and their probabilities in order."""
        out = Path(tempfile.mkdtemp(dir=self.scratch), f"{way}-{messages.stem}")
        if way.startswith("engine"):
            processes = 1 + (way == "engines")
            words = ["-c", ENGINE, str(messages.with_suffix(".json")), self.package, str(out), str(processes)]
            cost = measured(words, self.folder, {"OMP_NUM_THREADS": "1"})
            parts = [json.loads(Path(f"{out}.{number}").read_text()) for number in range(processes)]
            return cost, [one for row in itertools.zip_longest(*parts) for one in row if one is not None]
        if way == "spark":
            settings = "--conf spark.ui.enabled=false --conf spark.sql.session.timeZone=UTC"
            spark = {
                "PYSPARK_PYTHON": sys.executable,
                "PYSPARK_SUBMIT_ARGS": f"--master local-cluster[2,1,1024] {settings} pyspark-shell",
                "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
                "SPARK_LOCAL_IP": "127.0.0.1",
            }
            from tests.scale.spark import spark_package

            with spark_package():
                return measured(["-c", SPARK, str(messages), str(out)], self.folder, spark), in_order(out)
        target = f"{out}.parquet" if way == "file" else f"{out}/"
        workers = [] if way == "file" else ["--workers", way, "--part-size", "0.25"]
        words = ["-m", "spamctl", "score", str(messages), "--output", target, "--show", "0", "--threads", "1", *workers]
        return measured(words, self.folder, {}), in_order(Path(target))


def in_order(path: Path) -> list[float]:
    """Return the probabilities of a file or a folder of parquet in the order of the messages."""
    from pyarrow import parquet

    rows = parquet.read_table(path, columns=["place", "probability"]).sort_by("place")
    return [float(one) for one in rows["probability"].to_pylist()]


def show(found: Mapping[str, tuple[Cost, Cost]], rows: int) -> None:
    """Print what a message and a start cost, how much more than the engine, and what full inputs would."""
    each = {way: (more.cpu - few.cpu) / (rows * (MORE - 1)) for way, (few, more) in found.items()}
    lines = []
    for way, (few, more) in found.items():
        clock = (more.clock - few.clock) / (rows * (MORE - 1))
        alone = each.get(BESIDE.get(way, "engine"))
        beside = f"{each[way] / alone - 1:+.1%}" if alone and not way.startswith("engine") else ""
        start = f"{max(0.0, few.cpu - each[way] * rows):.1f}"
        memory = f"{few.peak / 2**20:,.0f} to {more.peak / 2**20:,.0f}"
        hours = [f"{each[way] * count / 3600:,.0f}" for count in FULL]
        lines.append([WAYS[way], f"{1000 * each[way]:.2f}", beside, f"{1 / clock:,.0f}", start, memory, *hours])
    heads = ("", "ms of a core", "over engine", "messages/s", "start, core s", "MiB", "core h 10^8", "core h 10^9")
    print(table(heads, lines))


def same(probabilities: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Yield how the scores of each way compare with those of the first."""
    first, *others = probabilities
    for way in others:
        pairs = list(zip(probabilities[first], probabilities[way], strict=True))
        differ = [abs(one - other) for one, other in pairs if one != other]
        most = f", by {max(differ):.1e} at most" if differ else ""
        yield f"{WAYS[way]}: {len(differ):,} of {len(pairs):,} scores differ from {WAYS[first]}{most}"


def main() -> None:
    """Measure each way, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file is watched as a terminal is
    version = fetched(options.folder, "champion")
    print(circumstances(int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1, ("onnxruntime", "mlflow")))
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        bench = Bench(options.folder.resolve(), str(Path(version.folder).resolve()), Path(scratch))
        few, many = (bench.lay(options.rows * times) for times in (1, MORE))
        found: dict[str, tuple[Cost, Cost]] = {}
        scores: dict[str, list[float]] = {}
        for turn, way in itertools.product(range(options.rounds), options.ways.split(",")):
            say(f"{WAYS[way]}, round {turn + 1}")
            (first, _), (second, scores[way]) = bench.run(way, few), bench.run(way, many)
            before = found.get(way, (first, second))
            found[way] = first.least(before[0]), second.least(before[1])
        counts = f"{options.rows:,} and {options.rows * MORE:,} messages of everyday, no two alike"
        print(f"\n{counts}; the least of {options.rounds} rounds\n")
        show(found, options.rows)
        print("\n" + "\n".join(same(scores)))


if __name__ == "__main__":
    main()

"""Time a monitoring, part by part, over stores of several sizes.

    python tests/bench/monitor.py [--folder demo] [--rows 2000,1000000] [--database sqlite|postgresql]

The folder is one in which `spamctl train` has registered a champion; runs are added to its MLflow store. The rows are
the champion's own test messages with other numbers in them, so that the engine, the words and the tests see real text.
It prints tables and asserts nothing. A million rows need 500 MB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from measuring import circumstances, say, table
from sqlalchemy import insert

from spamctl.cores import cores
from spamctl.store import labels, tables
from spamctl.store.database import open_store
from spamctl.store.tables import CapturedRow, row_uuid, values

HEADINGS = ("", "seconds")
A_WRITE = 5_000
START = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
ASK = """
import json, sys
from pathlib import Path
from dataclasses import asdict
from spamctl.engine import manifest
from spamctl.registry import versions
found = versions.fetch("spam", "champion", Path(".spamctl", "models").absolute())
part = [asdict(row) for row in versions.fetch_reference(found).rows]
print(json.dumps({"version": found.version, "part": part, "threshold": manifest.verify(Path(found.folder)).threshold}))
"""


def main() -> None:
    """Make each store, monitor it, and print where the time went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "demo")
    parser.add_argument("--rows", default="2000,1000000")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    sys.path.append(str(ROOT))
    from tests.store.servers import a_server

    print(circumstances(int(os.environ["OMP_NUM_THREADS"]), ("evidently", "metaflow", "mlflow", "onnxruntime")))
    champion = ask(options.folder)
    for rows in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as held:
            postgres = options.database == "postgresql"
            address = held.enter_context(a_server()).new_database() if postgres else str(Path(scratch, "spam.db"))
            began = time.perf_counter()
            fill(address, rows, champion)
            say(f"{rows:,} rows made in {time.perf_counter() - began:.0f} s")
            show(options.folder, address, rows)


def ask(folder: Path) -> dict[str, Any]:
    """Return the champion's version and test part."""
    done = subprocess.run([sys.executable, "-c", ASK], cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def fill(address: str, rows: int, champion: dict[str, Any]) -> None:
    """Store rows, a second apart, and label one in ten as it is in truth."""
    with open_store(address, create=True, patience_s=60) as store:
        for start in range(0, rows, A_WRITE):
            made = [answer(number, champion) for number in range(start, min(start + A_WRITE, rows))]
            with store.writing() as connection:
                connection.execute(insert(tables.data), [values(row) for row, _ in made])
            labels.set_labels(store, {row.uuid: label for row, label in made if row.uuid < "1a"}, "oracle")


def answer(number: int, champion: dict[str, Any]) -> tuple[CapturedRow, Any]:
    """Make one row, with the label that it has in truth."""
    chance = random.Random(number)
    row = chance.choice(champion["part"])
    text = re.sub(r"\d", lambda _: str(chance.randrange(10)), row["text"]) + f" {number}" * (number % 3 == 0)
    spam = row["probability"] >= champion["threshold"]
    captured = CapturedRow(
        uuid=row_uuid("bench", number, text),
        date=START + timedelta(seconds=number),
        text=text,
        classification="spam" if spam else "not spam",
        probability=row["probability"],
        model_name="spam",
        model_version=champion["version"],
        threshold=champion["threshold"],
        request_id="bench",
        latency_ms=7.5,
        source="bench",
    )
    return captured, row["label"]


def show(folder: Path, address: str, rows: int) -> None:
    """Monitor a store, and print the parts of the run."""
    environment = os.environ | {"SPAMCTL_MONITOR_DATASTORE_URI": address}
    with tempfile.TemporaryDirectory() as reports:
        command = [sys.executable, "-m", "spamctl", "monitor", "--report-dir", reports, "--samples", "0"]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    log = max((folder / ".spamctl" / "logs").glob("monitor-*.log"), key=lambda path: path.stat().st_mtime)
    lines = [(what, f"{took:.1f}") for what, took in parts(log.read_text().splitlines())]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{rows:,} rows, exit code {done.returncode}\n{table(HEADINGS, [*lines, ('all', f'{seconds:.1f}')])}")
    print(f"Peak memory of a process: {children.ru_maxrss >> 10} MiB, of all runs so far.")


def parts(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield what was going on between two lines of a log, and for how long."""
    stamp = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \[\d+/(\w+)/\d+ [^]]*\] (.*)")
    last = 0.0
    for line in lines:
        if not (found := stamp.match(line)):
            continue
        at = datetime.fromisoformat(f"{found[1]}+00:00").timestamp()
        event = json.loads(found[3]) if found[3].startswith('{"spamctl"') else {}
        name = f"{found[2]}: {event.get('task') or event.get('spamctl') or found[3]}"
        if event.get("spamctl") == "progress" and event["done"] < event["total"]:
            continue
        if last:
            yield f"until {name}"[:60], at - last
        last = at


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    main()

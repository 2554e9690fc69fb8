"""Time the labelling of a million stored rows: from verdicts, from a kept truth, from a file, and their export.

    python tests/bench/label.py [--rows 1000000] [--database sqlite|postgresql|both]

It prints tables and asserts nothing. A million rows need 2 GB of disk in each database.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from measuring import circumstances, say, table
from sqlalchemy import insert, update

from spamctl.data import export, label_file
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import labels, queries, tables, truth
from spamctl.store.database import Store, open_store
from spamctl.store.queries import Window
from spamctl.store.tables import CapturedRow, row_uuid, values
from spamctl.traffic import labels as drawn

HEADINGS = ("", "rows", "seconds", "rows/s", "CPU s", "peak MB")
A_WRITE = 5_000
START = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award. Call 08712300220"
UNLABELLED = Window(labelled=False)


def main() -> None:
    """Run every figure in the databases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    options = parser.parse_args()
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.store.servers import MISSING, a_server, server_programs

    print(circumstances(1, ("sqlalchemy", "psycopg")))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        if options.database != "postgresql":
            show("SQLite", str(Path(folder, "spam.db")), options.rows, Path(folder))
        if options.database != "sqlite" and server_programs() is None:
            say(MISSING)
        elif options.database != "sqlite":
            show("PostgreSQL", held.enter_context(a_server()).new_database(), options.rows, Path(folder))


def show(name: str, address: str, rows: int, folder: Path) -> None:
    """Print the table of one database."""
    lines = []
    with open_store(address, create=True, patience_s=60) as store:
        for what, done, seconds, work in figures(store, rows, folder):
            say(f"{name}: {what}: {seconds:.1f} s")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            lines.append((what, f"{done:,}", f"{seconds:.1f}", f"{done / seconds:,.0f}", f"{work:.1f}", f"{peak:,}"))
    print(f"\n{name}\n{table(HEADINGS, lines)}")


def figures(store: Store, rows: int, folder: Path) -> Iterator[tuple[str, int, float, float]]:
    """Yield what was done, with how many rows, in how many seconds, of the clock and of this process."""
    file, out = folder / "labels.csv", folder / "labelled.csv"
    yield timed("stored, with their truth", lambda: stored(store, rows))
    yield timed("labelled from their verdicts", lambda: last(imitate(store, rows)))
    yield timed("counted by source", lambda: sum(one.rows for one in queries.by_source(store)))
    yield timed("truth instead, --overwrite", lambda: last(reveal(store, rows)))
    yield timed("exported to csv", lambda: exported(store, out))
    yield timed("unlabelled again", lambda: forget(store, 1))
    yield timed("labelled from a file, by uuid", lambda: copied(store, out, rows))
    yield timed("a hundredth unlabelled", lambda: forget(store, 100))
    yield timed("labelled from a file, by text", lambda: copied(store, texts(out, file), rows))
    yield timed("a hundredth unlabelled", lambda: forget(store, 100))
    yield timed("the 20,000 most doubtful", lambda: len(labels.most_doubtful(store, UNLABELLED, 20_000)))


def timed(what: str, action: Callable[[], int]) -> tuple[str, int, float, float]:
    """Run an action that returns its number of rows, by two clocks."""
    started, worked = time.perf_counter(), time.process_time()
    rows = action()
    return what, rows, time.perf_counter() - started, time.process_time() - worked


def last(ticking: Iterator[Any]) -> int:
    """Run a task to its end, and return how many rows it was done with."""
    done = 0
    for tick in ticking:
        done = tick.done
    return done


def stored(store: Store, rows: int) -> int:
    """Store rows and their truth, a row a second."""
    for start in range(0, rows, A_WRITE):
        made = [answer(number, rows) for number in range(start, min(start + A_WRITE, rows))]
        with store.writing() as connection:
            connection.execute(insert(tables.data), [values(row) for row in made])
        truth.remember(
            store,
            [truth.TrueRow(one.uuid, one.classification, "test part", "", "none", 0.0, 0, "bench") for one in made],
        )
    return rows


def answer(number: int, rows: int) -> CapturedRow:
    """Make one row."""
    return CapturedRow(
        uuid=row_uuid("bench", number, TEXT),
        date=START + timedelta(seconds=number),
        text=f"{TEXT} {number}",
        classification=SPAM if number % 7 else NOT_SPAM,
        probability=number / rows,
        model_name="spam",
        model_version=str(1 + number % 3),
        threshold=0.5,
        request_id="bench",
        latency_ms=7.5,
        source="invocations",
    )


def imitate(store: Store, rows: int) -> Iterator[Any]:
    """Label from verdicts."""
    return drawn.label_by_verdict(store, UNLABELLED, drawn.Imitation(0.9, 0), rows)


def reveal(store: Store, rows: int) -> Iterator[Any]:
    """Label with the truth."""
    return drawn.label_by_truth(store, Window(), drawn.Revelation(0.0, 1.0, 0), rows, overwrite=True)


def exported(store: Store, path: Path) -> int:
    """Write all labelled rows."""
    pages = ([export.LabelledRow(*row) for row in page] for page in queries.labelled_rows(store))
    return [counts.rows for counts in export.export(path, pages)][-1]


def copied(store: Store, path: Path, rows: int) -> int:
    """Label from a file."""
    given = label_file.read_label_file(label_file.LabelRequest(str(path)))
    assignment = labels.Assignment(rows, overwrite=False)
    if given.key == "uuid":
        last(labels.assign_by_uuid(store, Window(), given.chunks(), assignment, given.rows))
    else:
        last(labels.assign_by_text(store, Window(), given.labels_of, assignment))
    return assignment.written + assignment.standing


def forget(store: Store, every: int) -> int:
    """Take labels away, of one row in so many."""
    with store.writing() as connection:
        gone = {"ground_truth": None, "label_source": None, "labeled_at": None}
        some = [] if every == 1 else [tables.data.c.uuid < str(uuid.UUID(int=2**128 // every))]
        return connection.execute(update(tables.data).where(*some).values(gone)).rowcount


def texts(path: Path, other: Path) -> Path:
    """Copy a file of labels without its uuids."""
    with path.open(newline="", encoding="utf-8") as source, other.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(["text", "label"])
        writer.writerows([row["text"], row["label"]] for row in csv.DictReader(source))
    return other


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

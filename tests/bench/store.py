"""Time the store: commits, and a million rows written, counted, read and labelled, in SQLite and in PostgreSQL.

    python tests/bench/store.py [--rows 1000000] [--database sqlite|postgresql|both] [--window-only]

It prints tables and asserts nothing. A million rows need 1 GB of disk in each database. PostgreSQL is started for it,
where its programs are. With --window-only the rows are made in PostgreSQL itself, ten million in some minutes, and only
what a monitoring reads of its window is timed, with the plans of it.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measuring import circumstances, say, table
from sqlalchemy import event, text

from spamctl.store import deletion, labels, queries, sampling
from spamctl.store.capture import Capture
from spamctl.store.database import Store, open_store
from spamctl.store.queries import Window
from spamctl.store.tables import CapturedRow, row_uuid

HEADINGS = ("", "rows", "seconds", "rows/s", "peak MB")
A_REQUEST, IN_FLIGHT = 1000, 8
START = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award. Call 08712300220"


def main() -> None:
    """Run every figure in the databases that are asked for."""
    options = parsed()
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.store.servers import MISSING, a_server, server_programs

    print(circumstances(1, ("sqlalchemy", "psycopg")))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        if options.database != "postgresql":
            show("SQLite", str(Path(folder, "spam.db")), options.rows)
        if options.database != "sqlite" and server_programs() is None:
            say(MISSING)
        elif options.window_only:
            show_window(held.enter_context(a_server("shared_buffers = 1GB")).new_database(), options.rows)
        elif options.database != "sqlite":
            show("PostgreSQL", held.enter_context(a_server()).new_database(), options.rows)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--window-only", action="store_true", help="in PostgreSQL: time a window of that many rows")
    found = parser.parse_args()
    if found.window_only:
        found.database = "postgresql"
    return found


def show(name: str, address: str, rows: int) -> None:
    """Print the table of one database."""
    lines, file, log, longest_log = [], Path(address), Path(f"{address}-wal"), 0
    for what, done, seconds in figures(address, rows):
        say(f"{name}: {what}: {seconds:.1f} s")
        longest_log = max(longest_log, log.stat().st_size if log.exists() else 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        lines.append((what, f"{done:,}", f"{seconds:.2f}", f"{done / seconds:,.0f}", f"{peak:,}"))
    print(f"\n{name}\n{table(HEADINGS, lines)}")
    if file.exists():
        print(f"The file has {file.stat().st_size >> 20} MiB; its write-ahead log had {longest_log >> 20} MiB.")


def figures(address: str, rows: int) -> Iterator[tuple[str, int, float]]:
    """Yield what was done, with how many rows, in how many seconds."""
    with closing(Capture(address, timeout_s=600)) as capture:
        yield timed("one client, a row a request", lambda: clients(capture, 1, 200))
        yield timed("32 clients, a row a request", lambda: clients(capture, 32, 100))
        yield timed("captured, 1,000 rows a request", lambda: captured(capture, rows))
        yield timed("the same again, by retry", lambda: captured(capture, min(rows, 100_000)))
    with open_store(address, patience_s=60) as store:
        month = Window(since=START + timedelta(seconds=rows // 2), until=START + timedelta(seconds=rows))
        yield timed("counted", lambda: queries.count(store))
        yield timed("counted, the newer half", lambda: queries.count(store, month))
        yield timed("tallied by version, verdict and label", lambda: tallied(store))
        yield timed("newest 200, of one version", lambda: len(queries.newest(store, 200, Window(model_version="2"))))
        yield timed("read in pages", lambda: sum(map(len, queries.pages(store))))
        yield timed("figures and sample of a window", lambda: surveyed(store))
        yield timed("labelled, page by page", lambda: labelled(store))
        yield timed("counted, labelled", lambda: queries.count(store, Window(labelled=True)))
        yield timed("the oldest hundredth forgotten", lambda: forgotten(store, rows))
    if "://" not in address:
        yield timed("opened, with a look at its pages", lambda: opened(address))


def timed(what: str, action: Callable[[], int]) -> tuple[str, int, float]:
    """Run an action that returns its number of rows, by the clock."""
    started = time.perf_counter()
    rows = action()
    return what, rows, time.perf_counter() - started


def request(number: int | str, start: int, rows: int) -> list[CapturedRow]:
    """Make the rows of one request, one message a second."""
    name = f"request {number}"
    return [
        CapturedRow(
            uuid=row_uuid(name, index, TEXT),
            date=START + timedelta(seconds=start + index),
            text=f"{TEXT} {start + index}",
            classification="not spam" if index % 7 else "spam",
            probability=index / rows,
            model_name="spam",
            model_version=str(1 + index % 3),
            threshold=0.5,
            request_id=name,
            latency_ms=7.5,
            source="invocations",
        )
        for index in range(rows)
    ]


def clients(capture: Capture, number: int, requests: int) -> int:
    """Have clients submit one row after the other, each waiting for its commit."""

    def client(name: int) -> None:
        for turn in range(requests):
            capture.submit(request(f"{number}-{name}-{turn}", turn, 1)).result()

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(client, range(number)))
    return number * requests


def captured(capture: Capture, rows: int) -> int:
    """Submit large requests, a few of them at a time."""

    def submit(number: int) -> int:
        made = request(number, number * A_REQUEST, A_REQUEST)
        return len(made) * capture.submit(made).result()

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return sum(pool.map(submit, range(rows // A_REQUEST)))


def tallied(store: Store) -> int:
    """Count all rows by what they say."""
    return sum(tally.rows for tally in queries.tally(store))


def labelled(store: Store) -> int:
    """Label every row with its prediction, as `spamctl label` does."""
    return sum(labels.set_labels(store, dict(page), "simulated") for page in queries.unlabelled(store))


EVERY = Window(until=datetime(2027, 1, 1, tzinfo=UTC), model_name="spam")
NEWER = replace(EVERY, model_version="2", package="ab" * 32)


def surveyed(store: Store, window: Window = EVERY) -> int:
    """Read a window as `spamctl monitor` does."""
    reading = sampling.survey(store, window, sampling.SampleRequest())
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return int(end.value.rows)


def forgotten(store: Store, rows: int) -> int:
    """Remove the oldest rows, as `spamctl forget --older-than` does."""
    *_, last = deletion.forget_before(store, START + timedelta(seconds=rows // 100))
    return last.done


# Time a window in PostgreSQL alone, of rows that it makes itself.

FILL = """
INSERT INTO data (uuid, date, text, classification, probability, ground_truth, label_source, labeled_at, model_name,
    model_version, threshold, request_id, latency_ms, source, in_reach, package_sha256, twin_digest)
SELECT gen_random_uuid(), '2026-01-01Z'::timestamptz + n * interval '0.1 s', :text || n, verdict, random(),
    label, CASE WHEN label IS NOT NULL THEN 'review' END, CASE WHEN label IS NOT NULL THEN now() END, 'spam',
    CASE WHEN n % 10 = 0 THEN '1' ELSE '2' END, 0.5, 'request ' || n, 7.5, 'serve', n % 50 > 0, repeat('ab', 32),
    hashtextextended(:text || n % 1000000, 0)
FROM generate_series(CAST(:first AS bigint), :last) AS n,
    LATERAL (SELECT CASE WHEN n % 7 = 0 THEN 'spam' ELSE 'not spam' END AS verdict) AS one,
    LATERAL (SELECT CASE WHEN n % 100 = 0 THEN verdict END AS label) AS two
"""
A_FILL = 1_000_000
MOST_SHOWN, MOST_LINES = 120, 16  # of a plan, which says the same of each partition


def show_window(address: str, rows: int) -> None:
    """Print what reading a window takes, and how PostgreSQL plans it."""
    with open_store(address, create=True, patience_s=60) as store:
        lines = [timed("made in the database", lambda: filled(store, rows))]
        lines.append(timed("counted (require_rows)", lambda: sampling.require_rows(store, NEWER)))
        lines.append(timed("of other packages", lambda: sampling.count_others(store, NEWER).of_another))
        reading = timed("figures and sample of a window", lambda: surveyed(store, NEWER))
        lines += [reading, timed("the same once more", lambda: surveyed(store, NEWER))]
        for what, done, seconds in lines:
            say(f"{what}: {done:,} rows, {seconds:.1f} s")
        print(table(HEADINGS[:4], [(what, f"{n:,}", f"{s:.2f}", f"{n / s:,.0f}") for what, n, s in lines]))
        for statement in seen(store):
            print(f"\n{statement}")


def filled(store: Store, rows: int) -> int:
    """Make rows, and let the planner know them."""
    for first in range(0, rows, A_FILL):
        with store.writing() as connection:
            last = min(rows, first + A_FILL) - 1
            connection.execute(text(FILL), {"text": TEXT, "first": first, "last": last})
        say(f"{last + 1:,} rows")
    with store.bare.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE data")
    return rows


def seen(store: Store) -> Iterator[str]:
    """Yield the plan of each statement that reads the window."""
    said: list[tuple[str, object]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        said.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", hear)
    surveyed(store, NEWER)
    event.remove(store.engine, "before_cursor_execute", hear)
    with store.reading() as connection:
        for statement, parameters in said:
            plan = connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", parameters)  # type: ignore[arg-type]
            lines = [str(row[0])[:MOST_SHOWN] for row in plan]
            yield "\n".join([*lines[:MOST_LINES], *(["..."] if len(lines) > MOST_LINES else [])])


def opened(address: str) -> int:
    """Open and close the store."""
    open_store(address).close()
    return 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

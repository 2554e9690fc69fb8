"""Measure how mails are parsed, and spamctl's server over the spamd protocol beside the same texts over HTTP.

    python tests/bench/mail.py [--folder demo] [--threads 2] [--quick]

The folder holds a registered model in its mlflow.db. Mails are the corpus' own, in the forms that mail has; the hostile
ones are generated. It prints tables and asserts nothing, and takes about four minutes. `--quick` only shows that
everything runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

from load_client import OK, Load, Plan
from made_mails import hostile, usual
from measuring import circumstances, fetched, say, table
from servers import PROGRAMS, Start, free_port, running

from spamctl.data.mail import parse_mail

HERE, ROOT = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
PACKAGES = ("openvino", "uvicorn")
MANY = 32
SLOW_S = 1.0
PATIENCE_S = 300
HTTP, SPAMD = "/invocations", "spamd"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Effort:
    """Say how much is done; both ways in are measured in turns, since a shared machine is not equally fast for long."""

    mails: int = 1_000
    hostile: int = 10_000
    rounds: int = 4
    seconds: float = 6.0
    warm_up: float = 1.0


QUICK = Effort(mails=100, hostile=200, rounds=1, seconds=2.0, warm_up=0.5)


def main() -> None:
    """Run everything in order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where a model is registered")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of the engine")
    parser.add_argument("--quick", action="store_true", help="run everything for a moment")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file is watched as a terminal is
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops what was started, as Ctrl-C does
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    effort = QUICK if options.quick else Effort()
    print(circumstances(options.threads, PACKAGES))
    if options.quick:
        print("quick: these numbers only show that everything runs")
    mails = made(effort.mails)
    package = Path(fetched(options.folder, "champion").folder)
    print("", parsing(mails, package, options.threads), sep="\n")
    print("", attacked(effort.hostile), sep="\n")
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        print("", *served(options.folder, Path(scratch), options.threads, mails, effort), sep="\n")


def made(count: int) -> list[bytes]:
    """Return mails with the texts of the corpus."""
    from spamctl.data.bundled_sets import read_everyday

    texts = [message.text for message in read_everyday()[1] if message.traits.medium == "mail"]
    return [usual(texts[number * 7 % len(texts)], number) for number in range(count)]


def parsing(mails: Sequence[bytes], package: Path, threads: int) -> str:
    """Parse and score mails one at a time, and return what each costs."""
    from spamctl.engine.engine import Engine

    engine = Engine(package, threads=threads)
    parsed, scored = list[float](), list[float]()
    for raw in mails:
        began = time.perf_counter()
        text = parse_mail(raw).text
        between = time.perf_counter()
        engine.classify([text])
        scored.append(time.perf_counter() - between)
        parsed.append(between - began)
    share = sum(parsed) / (sum(parsed) + sum(scored))
    rows = [
        (what, f"{len(times) / sum(times):,.0f}", f"{1000 * median(times):.2f}", f"{1000 * max(times):.1f}")
        for what, times in (("parse", parsed), ("score", scored))
    ]
    both = len(mails) / (sum(parsed) + sum(scored))
    head = f"{len(mails):,} mails of {median(map(len, mails)) / 1000:.1f} kB in the middle, one at a time"
    end = f"parsed and scored: {both:,.0f} mails/s; parsing takes {share:.0%} of it (goal: at most 20 %)"
    return "\n".join((head, table(("", "mails/s", "median ms", "longest ms"), rows), end))


def attacked(count: int) -> str:
    """Parse hostile mails, and return how many were too much."""
    say(f"{count} hostile mails")
    before, crashes, slow, longest, sizes = _peak_bytes(), 0, 0, 0.0, 0
    for raw in hostile(count):
        sizes = max(sizes, len(raw))
        began = time.perf_counter()
        try:
            parse_mail(raw)
        except Exception as error:
            crashes += 1
            print(f"crash: {type(error).__name__}")
        took = time.perf_counter() - began
        slow += took > SLOW_S
        longest = max(longest, took)
    grown = (_peak_bytes() - before) / MIB
    return (
        f"{count:,} hostile mails of up to {sizes / MIB:.1f} MiB: {crashes} crashes, {slow} over {SLOW_S:g} s "
        f"(goals: 0 and 0); the longest took {1000 * longest:.0f} ms, memory grew by {grown:.0f} MiB at most"
    )


def served(folder: Path, scratch: Path, threads: int, mails: Sequence[bytes], effort: Effort) -> list[str]:
    """Measure the server over both protocols in turns, and return a table and the ratios."""
    files = {HTTP: scratch / "texts.json", SPAMD: scratch / "mails.json"}
    files[HTTP].write_text(json.dumps([parse_mail(raw).text for raw in mails]), encoding="utf-8")
    files[SPAMD].write_text(json.dumps([raw.decode("latin-1") for raw in mails]), encoding="utf-8")
    mail_port = free_port()
    words = ["serve", "--port", "{port}", "--spamd", f"127.0.0.1:{mail_port}", "--cached-rows", "0"]
    words += ["--datastore-uri", f"sqlite:///{scratch}/spam.db", "--threads", str(threads)]
    registry = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder.resolve()}/mlflow.db"}
    start = Start([str(PROGRAMS / "spamctl"), *words], scratch, registry)
    found: dict[tuple[str, int], list[Load]] = {(way, clients): [] for way in files for clients in (1, MANY)}
    with running(start) as server:
        for number in range(effort.rounds):
            say(f"round {number + 1} of {effort.rounds}")
            for (way, clients), loads in found.items():
                port = mail_port if way == SPAMD else server.port
                plan = Plan(port, plain=False, clients=clients, seconds=effort.seconds, spamd=way == SPAMD)
                loads.append(under_load(files[way], plan, effort.warm_up))
    rows = [line(f"{way}, {clients} at a time", loads) for (way, clients), loads in found.items()]
    ends = [compared(clients, found[SPAMD, clients], found[HTTP, clients]) for clients in (1, MANY)]
    return [table(("", "messages/s", "p50 ms", "p99 ms", "timed", "no verdict"), rows), *ends]


def compared(clients: int, ours: Sequence[Load], http: Sequence[Load]) -> str:
    """Return how the two ways in compare, round by round."""
    ratios = [one.rate / two.rate for one, two in zip(ours, http, strict=True) if two.rate]
    if not ratios:
        return f"{clients:>2} at a time: no answer in time to compare"
    spread = f"from {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
    return f"{clients:>2} at a time: spamd answers {fmean(ratios):.2f} of {HTTP} (goal: .90; {spread})"


def under_load(texts: Path, plan: Plan, warm_up_s: float) -> Load:
    """Run the load client, a program of its own."""
    told = json.dumps(asdict(plan) | {"warm_up_s": warm_up_s})
    done = subprocess.run(
        [sys.executable, HERE / "load_client.py", texts],
        input=told, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"load_client.py failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout)
    return Load(**found | {name: _by_number(found[name]) for name in ("times", "statuses")})


def line(name: str, loads: Sequence[Load]) -> tuple[str, ...]:
    """Return the figures of one way in by one number of clients."""
    refused = sum(count for load in loads for status, count in load.statuses.items() if status != OK)
    found = [[load.times[which] for load in loads if which in load.times] for which in (50, 99)]
    times = [f"{fmean(each):.1f}" if each else "none" for each in found]
    timed = sum(load.timed for load in loads)
    broken = sum(load.broken for load in loads)
    return (name, f"{fmean(load.rate for load in loads):.0f}", *times, f"{timed:,}", f"{refused + broken}")


def _by_number(told: Mapping[str, float]) -> dict[int, float]:
    return {int(key): value for key, value in told.items()}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

"""Send messages to a server from a number of clients, each on a connection of its own, and time the answers.

Over the spamd protocol each message, a whole mail, has a connection and an identifier of its own.

    python tests/bench/load_client.py TEXTS.json < PLAN.json

A program of its own, on one thread, so that it takes as little as it can from the server that it measures: a request's
bytes are made beforehand, and of an answer only its status, its length and what it says of its capture are read.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

import uvloop

OK = 200
AGAIN_S = 0.05
CAPTURED = b'"captured": true'


@dataclass(frozen=True, slots=True)
class Plan:
    """Say where to send messages, in which spelling, from how many clients, and for how long."""

    port: int
    plain: bool  # a list of texts, not of rows with the column text
    clients: int
    seconds: float
    warm_up_s: float = 0.0  # answers of so many seconds do not count
    patience_s: float = 15.0  # for answers that are under way at the end, which do not count in rate and times
    spamd: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Hold what a load found: times are in milliseconds, `captured` counts every answer that says so."""

    rate: float
    times: dict[int, float]  # by percentile
    timed: int
    statuses: dict[int, int]
    captured: int
    broken: int
    cpu_ms: float  # of the client itself, an answer


@dataclass(slots=True)
class Tally:
    """Gather answers as they come."""

    begin: float
    end: float
    last: float = 0.0
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    captured: int = 0
    broken: int = 0

    def add(self, sent: float, status: int, body: bytes) -> None:
        """Take in an answer that has just come."""
        now = time.perf_counter()
        self.statuses[status] += 1
        self.captured += CAPTURED in body
        if status == OK and self.begin <= now <= self.end:
            self.times.append(now - sent)
            self.last = now

    def load(self, cpu_s: float) -> Load:
        """Sum up; the rate is taken up to the last answer, so that an answer half made counts for neither side."""
        ordered, count = sorted(self.times), len(self.times)
        percentiles = {which: 1000 * ordered[min(count - 1, count * which // 100)] for which in (50, 95, 99) if count}
        rate = count / (self.last - self.begin) if count else 0.0
        every = sum(self.statuses.values())
        return Load(
            rate, percentiles, count, dict(self.statuses), self.captured, self.broken, 1000 * cpu_s / max(1, every)
        )


def main() -> None:
    """Read texts and plan, send, and print what was found."""
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    plan = Plan(**json.load(sys.stdin))
    found = uvloop.run(load(plan, texts))
    print(json.dumps(asdict(found)))


async def load(plan: Plan, texts: Sequence[str]) -> Load:
    """Run all clients to the end."""
    make, ask = (mail_request, mail_client) if plan.spamd else (request, client)
    requests = [make(text, plan) for text in texts]
    used = _cpu_s()
    begin = time.perf_counter() + plan.warm_up_s
    tally = Tally(begin, begin + plan.seconds)
    clients = [asyncio.create_task(ask(plan.port, shuffled(requests, seed), tally)) for seed in range(plan.clients)]
    await asyncio.wait(clients, timeout=plan.warm_up_s + plan.seconds + plan.patience_s)
    for one in clients:
        one.cancel()
    results = await asyncio.gather(*clients, return_exceptions=True)
    for failed in (one for one in results if isinstance(one, Exception)):
        raise failed
    return tally.load(_cpu_s() - used)


async def client(port: int, requests: Iterator[bytes], tally: Tally) -> None:
    """Send one request after the other over one connection; make another when it breaks."""
    while time.perf_counter() < tally.end:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while (sent := time.perf_counter()) < tally.end:
                writer.write(next(requests))
                tally.add(sent, *await answer(reader))
        except (OSError, EOFError):
            tally.broken += 1
            await asyncio.sleep(AGAIN_S)
        finally:
            if writer:
                writer.close()


async def mail_client(port: int, requests: Iterator[bytes], tally: Tally) -> None:
    """Ask about one mail after the other over the spamd protocol; each has a new identifier and is a new row."""
    number, seed = 0, random.getrandbits(40)
    while (sent := time.perf_counter()) < tally.end:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            number += 1
            writer.write(next(requests) % (seed, number))
            head = await reader.readuntil(b"\r\n\r\n")
            tally.add(sent, OK if head.startswith(b"SPAMD/1.5 0 EX_OK\r\n") else int(head.split(b" ", 2)[1]), b"")
            writer.close()
        except (OSError, EOFError):
            tally.broken += 1
            await asyncio.sleep(AGAIN_S)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read the status and the body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def request(text: str, plan: Plan) -> bytes:
    """Write the request of one message."""
    body = json.dumps({"inputs": [text if plan.plain else {"text": text}]}).encode()
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def mail_request(mail: str, _plan: Plan) -> bytes:
    """Write the request of one mail, with two places for the numbers of its identifier."""
    raw = mail.encode("latin-1").replace(b"%", b"%%")
    identifier = b"Message-ID: <%013d.%09d@bench.example>\r\n"
    length = len(identifier % (0, 0)) + len(mail)
    return b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % length + identifier + raw


def shuffled(requests: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield all requests for ever, in an order of one's own."""
    return cycle(random.Random(seed).sample(requests, len(requests)))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

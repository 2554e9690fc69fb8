"""Post messages from many clients at once, each on a connection of its own, and keep all that came back."""

import asyncio
import itertools
import json
import threading
import time
from dataclasses import dataclass, field

from tests import tiny_models
from tests.faults.processes import PATIENCE_S

ROWS = 3
BROKEN = 0  # the status of a request that got no answer
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Asked:
    """Hold a request: its id and its texts."""

    request_id: str
    texts: tuple[str, ...]

    def body(self):
        """Return it in JSON, ASCII only, which holds any text."""
        return json.dumps({"inputs": [{"text": text} for text in self.texts]}).encode("ascii")


@dataclass(frozen=True)
class Reply:
    """Hold what came back: a status, headers, a body."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self):
        """Read the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """Hold a request with its reply, and when it left and came, by time.monotonic()."""

    asked: Asked
    reply: Reply
    left: float
    came: float

    @property
    def status(self):
        return self.reply.status

    @property
    def predictions(self):
        return self.reply.json()["predictions"] if self.status == 200 else []

    @property
    def is_captured(self):
        """Tell whether it says of every row that it is stored."""
        return bool(self.predictions) and all(prediction["captured"] for prediction in self.predictions)


class Line:
    """Be one connection that is kept, and made anew when it breaks."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def open(self):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def request(self, method, path, body=b"", headers=None):
        """Send a request and return its reply, BROKEN if the connection broke; raise TimeoutError if nothing comes."""
        lines = {"host": "localhost", "content-length": str(len(body))} | (headers or {})
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.open()
                self.writer.write(f"{head}\r\n".encode("ascii") + body)
                await self.writer.drain()
                return await self.reply()
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Reply(BROKEN)
        except BaseException:
            self.close()
            raise

    async def reply(self):
        """Read one reply."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(head[0].split()[1]), headers, body)

    async def ask(self, asked):
        """Send texts to be classified."""
        left = time.monotonic()
        headers = JSON | {"x-request-id": asked.request_id}
        reply = await self.request("POST", "/invocations", asked.body(), headers)
        return Answer(asked, reply, left, time.monotonic())


def in_turn(port, every):
    """Send requests one after the other on one connection, and return their answers."""

    async def send():
        line = Line(port)
        try:
            return [await line.ask(asked) for asked in every]
        finally:
            line.close()

    return asyncio.run(send())


def once(port, *texts, request_id="once"):
    """Send one request and return its answer."""
    return in_turn(port, [Asked(request_id, texts)])[0]


def get(port, path):
    """Return the reply of a route."""

    async def send():
        line = Line(port)
        try:
            return await line.request("GET", path)
        finally:
            line.close()

    return asyncio.run(send())


def waited_s(answers, share):
    """Return how long a share of the answers was waited for at most, in seconds."""
    waits = sorted(answer.came - answer.left for answer in answers)
    return waits[min(len(waits) - 1, int(share * len(waits)))]


def figure(port, name):
    """Return one of the server's figures."""
    lines = get(port, "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


class Load:
    """Post from many clients while the block lasts; each waits for its answer before it asks again."""

    def __init__(self, port, clients=16, *, rows=ROWS, long=0, name="load", most=None, keep=True):
        """Prepare; texts are as long as `long`, each client stops after `most` requests, `keep` keeps also the 200."""
        self.port, self.clients, self.rows, self.long, self.name = port, clients, rows, long, name
        self.most, self.keep = most, keep
        self.answers, self.count, self.stopping, self.error = [], 0, False, None
        self.messages = [message.text for message in tiny_models.messages()]
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Begin."""
        self.thread.start()

    def wait(self):
        """Wait until each client has sent as many requests as it should."""
        self.thread.join()
        if self.error:
            raise self.error

    def stop(self):
        """Wait for the answers that are still to come, and for none after them."""
        self.stopping = True
        self.wait()

    def run(self):
        try:
            asyncio.run(self.all_clients())
        except BaseException as error:
            self.error = error

    async def all_clients(self):
        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self.client(number))

    async def client(self, number):
        line = Line(self.port)
        for turn in itertools.islice(itertools.count(), self.most):
            if self.stopping:
                break
            answer = await line.ask(self.next(number, turn))
            self.count += 1
            if self.keep or answer.status != 200:
                self.answers.append(answer)
            if answer.status == BROKEN:
                await asyncio.sleep(0.05)
        line.close()

    def next(self, number, turn):
        """Make a request of texts that no other one has."""
        first = (number + turn) * self.rows
        texts = (self.messages[(first + row) % len(self.messages)] for row in range(self.rows))
        return Asked(
            f"{self.name}-{number}-{turn}", tuple(f"{text} {number}.{turn}".ljust(self.long, "!") for text in texts)
        )

    def of(self, status):
        """Return the answers of a status so far."""
        return [answer for answer in list(self.answers) if answer.status == status]

    def statuses(self):
        """Return which statuses came so far."""
        return {answer.status for answer in list(self.answers)}

    def captured(self):
        """Return the ids of the requests that are said to be stored."""
        return {answer.asked.request_id for answer in list(self.answers) if answer.is_captured}

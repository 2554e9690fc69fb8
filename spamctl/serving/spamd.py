"""Answer SPAMC/SPAMD 1.5 beside HTTP: connections, visits, and what users teach."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from spamctl.data.mail import Mail, parse_mail
from spamctl.errors import UnavailableError
from spamctl.schema.message import USER, Label
from spamctl.serving.access import Refusal, trace_of
from spamctl.serving.limits import ConnectionLimiter, Timeouts
from spamctl.serving.protocol import Intake, ScoringRequest
from spamctl.serving.routes import Arrival, Classified, Classifier
from spamctl.serving.spamd_protocol import (
    BAD_DATA,
    BAD_HEADER,
    CHECK,
    HEADERS,
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_WORDS,
    OK,
    PING,
    PROCESS,
    PROTOCOL,
    REPORT,
    SOFTWARE,
    SYMBOLS,
    TELL,
    TIMEOUT,
    TOO_LONG,
    TRY_AGAIN,
    UNAVAILABLE,
    WITHOUT_MAIL,
    MailTraits,
    SpamcRequest,
    SpamdRefusal,
    SpamdVerdict,
    inflate,
    marked,
    pong,
    read_first_line,
    read_head,
    refusal,
    response,
    word_families,
)
from spamctl.serving.state import Service
from spamctl.store import labels, queries
from spamctl.store.database import Store
from spamctl.store.tables import row_uuid

# Read one request of the spamd protocol from a connection, and write its response, each within a time limit.
#
# A client that is waited for has a limit in every state: to send a head, to send its mail, to take its answer, and to
# read a refusal while it still sends. The door closes whoever has been waited for longest when all places are taken.

UNKNOWN = "other"  # the command of a request that has none
LINGER_S = 2.0
LINGER_BYTES = 2**24
_PIECE = 2**16


class Visit:
    """A connection with its one request and its one response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: Timeouts) -> None:
        self._reader, self._writer, self._patience = reader, writer, patience
        self._since: float | None = asyncio.get_running_loop().time()
        self._unread = False
        self.command = UNKNOWN
        self.code = OK

    # What the door asks

    def waiting_since(self) -> float | None:
        """Return since when the client is waited for, by the loop's clock; None while it waits for us."""
        return self._since

    def look(self, _now: float) -> bool:
        """Return False: each wait ends by a timeout of its own, which answers the client."""
        return False

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    # What the server asks

    @property
    def is_idle(self) -> bool:
        """Return whether nothing has been asked yet."""
        return self.command == UNKNOWN

    async def read_request(self) -> SpamcRequest:
        """Return the head of the request; raise SpamdRefusal for a bad or slow one, EOFError if none comes."""
        try:
            async with asyncio.timeout(self._patience.request_s):
                self._unread = True
                request = read_first_line(await self._line())
                self.command = request.command
                if request.command not in WITHOUT_MAIL:
                    request = read_head(request, await self._lines())
        except TimeoutError:
            raise SpamdRefusal(TIMEOUT, "the request did not come in time") from None
        except OSError as error:
            raise EOFError from error
        self._since = None
        return request

    async def read_mail(self, length: int | None, most_bytes: int, seconds: float) -> bytes:
        """Return the mail, up to its announced length or to the end of what is sent; raise as `read_request` does."""
        self._since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                raw = await (self._up_to_the_end(most_bytes) if length is None else self._reader.readexactly(length))
        except asyncio.IncompleteReadError:
            raise SpamdRefusal(PROTOCOL, "Content-length: the mail is shorter than announced") from None
        except TimeoutError:
            raise SpamdRefusal(TIMEOUT, "the mail did not come in time") from None
        except OSError as error:
            raise EOFError from error
        self._since, self._unread = None, False
        return raw

    def refuse(self, refused: SpamdRefusal) -> bytes:
        """Return the response of a refusal, and note its code."""
        self.code = refused.code
        return refusal(refused)

    async def say(self, answer: bytes) -> None:
        """Write the response and close; raise OSError or TimeoutError if the client does not take it.

        If we closed while the client still sends, its system would throw the response away: so what it sends is read
        and discarded for a moment.
        """
        self._since = asyncio.get_running_loop().time()
        async with asyncio.timeout(self._patience.answer_s):
            self._writer.write(answer)
            await self._writer.drain()
            if self._unread:
                self._writer.write_eof()
                await self._hear_out()
            self._writer.close()
            await self._writer.wait_closed()

    async def _line(self) -> bytes:
        """Return the next line with its end; raise SpamdRefusal if it is none, EOFError at the end."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise SpamdRefusal(PROTOCOL, BAD_HEADER) from None
            raise EOFError from None
        except asyncio.LimitOverrunError:
            raise SpamdRefusal(PROTOCOL, BAD_HEADER) from None
        if len(line) > MOST_HEAD_BYTES:
            raise SpamdRefusal(PROTOCOL, BAD_HEADER)
        return line

    async def _lines(self) -> list[bytes]:
        """Return the header lines up to the blank one."""
        lines: list[bytes] = []
        size = 0
        while (line := await self._line()).strip(b"\r\n"):
            lines.append(line)
            size += len(line)
            if size > MOST_HEAD_BYTES or len(lines) > MOST_HEADERS:
                raise SpamdRefusal(PROTOCOL, f"{BAD_HEADER}: too much before the mail")
        return lines

    async def _up_to_the_end(self, most_bytes: int) -> bytes:
        whole = bytearray()
        while piece := await self._reader.read(_PIECE):
            whole += piece
            if len(whole) > most_bytes:
                raise SpamdRefusal(BAD_DATA, TOO_LONG)
        return bytes(whole)

    async def _hear_out(self) -> None:
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while heard <= LINGER_BYTES and (piece := await self._reader.read(_PIECE)):
                    heard += len(piece)


# Find the stored answer to a mail that comes again, and label it or take its label back, for TELL.


def mail_id(mail: Mail, version: str) -> str:
    """Return the id under which a version's answer to a mail is stored: the same whenever that mail comes again.

    A mail is known by its Message-ID and its text as the model reads it. What mail servers and filters add on its way
    into a folder changes neither.
    """
    return _id(mail.message_id, mail.text, version)


def find(store: Store, mail: Mail, served: str) -> str | None:
    """Return the uuid of the newest answer to a mail, by whichever version; `served` is the one of today.

    A mail that came without a Message-ID may have got one on its way. Raises UnavailableError if the database fails, as
    all functions here do.
    """
    return _newest(store, mail, [served]) or _newest(store, mail, queries.versions(store))


def learn(store: Store, uuid: str, label: Label, user: str) -> bool:
    """Label an answer as a person's, and return whether that changed anything."""
    return labels.feedback(store, uuid, label, source=USER, annotator=user) == "recorded"


def forget(store: Store, uuid: str, user: str) -> bool:
    """Take back a person's label of an answer, and return whether there was one."""
    return labels.withdraw(store, uuid, source=USER, annotator=user)


def _newest(store: Store, mail: Mail, versions: Sequence[str]) -> str | None:
    every = [_id(known, mail.text, version) for version in versions for known in {mail.message_id, ""}]
    rows = queries.find(store, [row_uuid(one, 0, mail.text) for one in every])
    return max(rows.values(), key=lambda row: row.date).uuid if rows else None


def _id(message_id: str, text: str, version: str) -> str:
    digest = hashlib.sha256(f"{message_id}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"mail-{digest[:40]}-{version}"


SOURCE = "spamd"
TOLD = "spamd tell"  # the source of a mail that was never asked about before it was taught
PARSERS = 2  # threads: a hostile mail takes up to a second, and must not hold up what shares the loop's own threads

_CODES = {408: TIMEOUT, 413: BAD_DATA, 429: TRY_AGAIN, 504: TIMEOUT}
_SERVER_FAULT = 500
Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class Spamd:
    """Server of one listening socket; used from the event loop only."""

    def __init__(self, service: Service, door: ConnectionLimiter) -> None:
        self._service, self._door = service, door
        limits = service.limits
        self._classifier = Classifier(service)
        self._intake = Intake(
            body_bytes=limits.body_bytes, total_bytes=limits.buffered_bytes, patience_s=limits.timeout_s
        )
        self._parsers = ThreadPoolExecutor(PARSERS, "mail-parser")
        self._visits: dict[asyncio.Task[None], Visit] = {}
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._receive, sock=listener, limit=2**16)

    async def stop(self, patience_s: float) -> None:
        """Accept no more, answer what is complete or on its way, and end the rest after `patience_s` seconds."""
        if self._server:
            self._server.close()
        for visit in self._visits.values():
            if visit.is_idle:
                visit.abort()
        if self._visits:
            _, late = await asyncio.wait(list(self._visits), timeout=patience_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._parsers.shutdown(wait=False, cancel_futures=True)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a connection."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        visit = Visit(reader, writer, self._door.patience)
        assert task  # noqa: S101 - for the type checker
        self._visits[task] = visit
        self._door.enter(visit, loop)
        try:
            answer = await self._answer(visit)
            self._service.metrics.requests.labels(f"spamd {visit.command}", str(visit.code)).inc()
            await visit.say(answer)
        except (OSError, EOFError, TimeoutError):
            logger.debug("spamd: the client has gone, or does not take its answer")
        finally:
            self._door.leave(visit)
            del self._visits[task]
            visit.abort()

    async def _answer(self, visit: Visit) -> bytes:
        """Return the response, whatever happens; raise EOFError if the client has gone."""
        try:
            return await self._respond(visit)
        except SpamdRefusal as refused:
            return visit.refuse(refused)
        except Refusal as refused:
            code = TRY_AGAIN if refused.status > _SERVER_FAULT else BAD_DATA
            return visit.refuse(SpamdRefusal(_CODES.get(refused.status, code), refused.message))
        except UnavailableError as error:
            return visit.refuse(SpamdRefusal(TRY_AGAIN, str(error)))
        except EOFError:
            raise
        except asyncio.CancelledError:
            return visit.refuse(SpamdRefusal(TRY_AGAIN, "the server is stopping: try again soon"))
        except Exception as error:
            _log(visit.command, error)
            return visit.refuse(SpamdRefusal(SOFTWARE, "internal error: see the server's log"))

    async def _respond(self, visit: Visit) -> bytes:
        """Read a request and answer it."""
        request = await visit.read_request()
        if request.command in WITHOUT_MAIL:
            return pong() if request.command == PING else b""
        self._classifier.refuse_overload()
        limits = self._service.limits
        if (request.length or 0) > limits.body_bytes:
            raise SpamdRefusal(BAD_DATA, TOO_LONG)
        with self._intake.room(limits.body_bytes if request.length is None else request.length):
            raw = await visit.read_mail(request.length, limits.body_bytes, limits.timeout_s)
            with self._classifier.slot():
                if not request.compressed:
                    return await self._respond_about(request, raw)
                plain = await self._in_thread(lambda: inflate(raw, limits.body_bytes))
                with self._intake.room(len(plain)):
                    return await self._respond_about(request, plain)

    async def _respond_about(self, request: SpamcRequest, raw: bytes) -> bytes:
        """Do with a mail what is asked."""
        mail = await self._in_thread(lambda: parse_mail(raw))
        if request.command == TELL:
            return await self._teach(request, mail)
        return await self._judge(request, raw, mail)

    async def _judge(self, request: SpamcRequest, raw: bytes, mail: Mail) -> bytes:
        """Score and store a mail, and return what is asked about it."""
        classified = await self._classify(mail, SOURCE)
        verdict = _verdict(classified, mail)
        command, spam_header = request.command, verdict.spam_header()
        if command == CHECK:
            return response([spam_header])
        words = classified.answered.deployment.words_for_spam(mail.text, MOST_WORDS)
        verdict = replace(verdict, families=word_families(words))
        if command in {HEADERS, PROCESS}:
            head, rest = await self._in_thread(lambda: marked(raw, verdict.mail_headers()))
            body = head + (rest if command == PROCESS else rest[: 1 + rest.startswith(b"\r")])
            return response([spam_header], body)
        if command == SYMBOLS:
            body = verdict.symbols()
        else:
            body = verdict.report() if command == REPORT or verdict.is_spam else b""
        if request.is_old:
            return response((), verdict.old_score() + body)
        return response([spam_header], body)

    async def _teach(self, request: SpamcRequest, mail: Mail) -> bytes:
        """Label the stored answer to a mail, or take its label back; a mail that is new is scored and stored first."""
        archive = self._service.archive
        if archive is None:
            raise SpamdRefusal(UNAVAILABLE, "TELL: nothing is captured here (--capture off)")
        store = archive.store
        served = self._service.deployments.current.release.version
        row = await asyncio.to_thread(find, store, mail, served)
        if request.learns and request.label is not None:
            row = row or await self._store(mail)
            if await asyncio.to_thread(learn, store, row, request.label, request.user):
                return response(["DidSet: local"])
        elif request.forgets and row and await asyncio.to_thread(forget, store, row, request.user):
            return response(["DidRemove: local"])
        return response()

    async def _store(self, mail: Mail) -> str:
        """Score and store a mail, and return the uuid of its row."""
        classified = await self._classify(mail, TOLD)
        if not classified.captured:
            raise SpamdRefusal(TRY_AGAIN, "TELL: the mail could not be stored")
        return classified.told[0].uuid

    async def _classify(self, mail: Mail, source: str) -> Classified:
        version = self._service.deployments.current.release.version
        return await self._classifier.classify(ScoringRequest([mail.text]), Arrival(mail_id(mail, version), source))

    async def _in_thread(self, work: Callable[[], Made]) -> Made:
        try:
            async with asyncio.timeout(self._service.limits.timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._parsers, work)
        except TimeoutError:
            raise SpamdRefusal(TIMEOUT, "too many mails are being read; try again soon") from None


def _log(command: str, error: Exception) -> None:
    """Log where an exception came from; its text may contain a mail."""
    trace = trace_of(error)
    logger.error("spamd %s: %s", command, trace, extra={"kind": trace})


def _verdict(classified: Classified, mail: Mail) -> SpamdVerdict:
    """Return what is told of a mail: the stored answer if it was asked before."""
    answered, told = classified.answered, classified.told[0]
    return SpamdVerdict(
        classification=told.classification,
        probability=told.probability,
        threshold=answered.deployment.threshold,
        in_reach=told.in_reach is not False,
        truncated=answered.scores[0].verdict.truncated,
        model=answered.deployment.release.name,
        version=told.model_version,
        traits=MailTraits(bool(mail.hidden), bool(mail.hosts), bool(mail.attachments)),
    )

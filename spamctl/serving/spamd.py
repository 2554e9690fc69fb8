"""Answer mail servers over the spamd protocol, beside HTTP: the same engine, queue, limits, store and metrics."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from spamctl.data.mail import Mail, parse_mail
from spamctl.errors import UnavailableError
from spamctl.serving import spamd_protocol as protocol
from spamctl.serving import spamd_teaching as teaching
from spamctl.serving.door import Door
from spamctl.serving.guard import trace_of
from spamctl.serving.intake import Intake
from spamctl.serving.invocations import Arrival, Classified, Classifier
from spamctl.serving.protocol import Ask
from spamctl.serving.refusal import Refusal
from spamctl.serving.service import Service
from spamctl.serving.spamd_protocol import SpamcRequest, SpamdRefusal
from spamctl.serving.spamd_verdict import MailTraits, SpamdVerdict, marked
from spamctl.serving.spamd_visit import Visit

SOURCE = "spamd"
TOLD = "spamd tell"  # the source of a mail that was never asked about before it was taught
PARSERS = 2  # threads: a hostile mail takes up to a second, and must not hold up what shares the loop's own threads

_CODES = {408: protocol.TIMEOUT, 413: protocol.BAD_DATA, 429: protocol.TRY_AGAIN, 504: protocol.TIMEOUT}
_SERVER_FAULT = 500
Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class Spamd:
    """Server of one listening socket; used from the event loop only."""

    def __init__(self, service: Service, door: Door) -> None:
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
            code = protocol.TRY_AGAIN if refused.status > _SERVER_FAULT else protocol.BAD_DATA
            return visit.refuse(SpamdRefusal(_CODES.get(refused.status, code), refused.message))
        except UnavailableError as error:
            return visit.refuse(SpamdRefusal(protocol.TRY_AGAIN, str(error)))
        except EOFError:
            raise
        except asyncio.CancelledError:
            return visit.refuse(SpamdRefusal(protocol.TRY_AGAIN, "the server is stopping: try again soon"))
        except Exception as error:
            _log(visit.command, error)
            return visit.refuse(SpamdRefusal(protocol.SOFTWARE, "internal error: see the server's log"))

    async def _respond(self, visit: Visit) -> bytes:
        """Read a request and answer it."""
        request = await visit.read_request()
        if request.command in protocol.WITHOUT_MAIL:
            return protocol.pong() if request.command == protocol.PING else b""
        self._classifier.refuse_overload()
        limits = self._service.limits
        if (request.length or 0) > limits.body_bytes:
            raise SpamdRefusal(protocol.BAD_DATA, protocol.TOO_LONG)
        with self._intake.room(limits.body_bytes if request.length is None else request.length):
            raw = await visit.read_mail(request.length, limits.body_bytes, limits.timeout_s)
            with self._classifier.slot():
                if not request.compressed:
                    return await self._respond_about(request, raw)
                plain = await self._in_thread(lambda: protocol.inflate(raw, limits.body_bytes))
                with self._intake.room(len(plain)):
                    return await self._respond_about(request, plain)

    async def _respond_about(self, request: SpamcRequest, raw: bytes) -> bytes:
        """Do with a mail what is asked."""
        mail = await self._in_thread(lambda: parse_mail(raw))
        if request.command == protocol.TELL:
            return await self._teach(request, mail)
        return await self._judge(request, raw, mail)

    async def _judge(self, request: SpamcRequest, raw: bytes, mail: Mail) -> bytes:
        """Score and store a mail, and return what is asked about it."""
        verdict = _verdict(await self._classify(mail, SOURCE), mail)
        command, spam_header = request.command, verdict.spam_header()
        if command == protocol.CHECK:
            return protocol.response([spam_header])
        if command in {protocol.HEADERS, protocol.PROCESS}:
            head, rest = await self._in_thread(lambda: marked(raw, verdict.mail_headers()))
            body = head + (rest if command == protocol.PROCESS else rest[: 1 + rest.startswith(b"\r")])
            return protocol.response([spam_header], body)
        if command == protocol.SYMBOLS:
            body = verdict.symbols()
        else:
            body = verdict.report() if command == protocol.REPORT or verdict.is_spam else b""
        if request.is_old:
            return protocol.response((), verdict.old_score() + body)
        return protocol.response([spam_header], body)

    async def _teach(self, request: SpamcRequest, mail: Mail) -> bytes:
        """Label the stored answer to a mail, or take its label back; a mail that is new is scored and stored first."""
        archive = self._service.archive
        if archive is None:
            raise SpamdRefusal(protocol.UNAVAILABLE, "TELL: nothing is captured here (--capture off)")
        store = archive.store
        served = self._service.deployments.current.release.version
        row = await asyncio.to_thread(teaching.find, store, mail, served)
        if request.learns and request.label is not None:
            row = row or await self._store(mail)
            if await asyncio.to_thread(teaching.learn, store, row, request.label, request.user):
                return protocol.response(["DidSet: local"])
        elif request.forgets and row and await asyncio.to_thread(teaching.forget, store, row, request.user):
            return protocol.response(["DidRemove: local"])
        return protocol.response()

    async def _store(self, mail: Mail) -> str:
        """Score and store a mail, and return the uuid of its row."""
        classified = await self._classify(mail, TOLD)
        if not classified.captured:
            raise SpamdRefusal(protocol.TRY_AGAIN, "TELL: the mail could not be stored")
        return classified.told[0].uuid

    async def _classify(self, mail: Mail, source: str) -> Classified:
        version = self._service.deployments.current.release.version
        return await self._classifier.classify(Ask([mail.text]), Arrival(teaching.mail_id(mail, version), source))

    async def _in_thread(self, work: Callable[[], Made]) -> Made:
        try:
            async with asyncio.timeout(self._service.limits.timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._parsers, work)
        except TimeoutError:
            raise SpamdRefusal(protocol.TIMEOUT, "too many mails are being read; try again soon") from None


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

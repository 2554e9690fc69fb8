"""Answer POST /invocations, /feedback and /mail: read, score, capture, label."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spamctl.data.mail import Mail, parse_mail
from spamctl.errors import SpamctlError, UnavailableError
from spamctl.schema.message import NOT_SPAM, SPAM, USER, Label, Prediction, WordPush, canonical_uuid, encode
from spamctl.serving import explain
from spamctl.serving.access import UNKNOWN, WRONG_VALUE, Refusal, of_status, quoted
from spamctl.serving.activity import MOST_VERDICTS, Shown, shown
from spamctl.serving.batcher import Scored
from spamctl.serving.protocol import PARAMS, Intake, ScoringRequest, read, read_object, refuse_unknown
from spamctl.serving.state import Deployment, Service
from spamctl.store import labels
from spamctl.store.tables import CapturedRow, Earlier, Kept, ShadowVerdict, row_uuid

# Answer POST /invocations and POST /feedback: read, score, capture, label.

SERVER = "serve"
LEAST_WORDS = 4  # in fewer runs of words than these, none is told apart from the rest of a message
RETRY_SOON = {"Retry-After": "1"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """Texts of one request with their scores, and the version that gave them."""

    texts: Sequence[str]
    scores: Sequence[Scored]
    deployment: Deployment
    request_id: str
    came: datetime
    latency_ms: float
    source: str

    def uuids(self) -> list[str]:
        """Return a row's uuid for each text: the same when the request is sent again."""
        return [row_uuid(self.request_id, index, text) for index, text in enumerate(self.texts)]

    def told(self, uuids: Sequence[str], earlier: Earlier) -> list[Kept]:
        """Return what is answered: of a row that was there already, what the store keeps, whatever is served by now."""
        version = self.deployment.release.version
        return [
            earlier.get(row) or Kept(row, verdict.classification, verdict.probability, version, verdict.in_reach)
            for row, verdict in zip(uuids, (scored.verdict for scored in self.scores), strict=True)
        ]

    def rows(self, uuids: Sequence[str]) -> list[CapturedRow]:
        """Return what is stored."""
        release, threshold = self.deployment.release, self.deployment.threshold
        return [
            CapturedRow(
                uuid=row,
                date=self.came,
                text=text,
                classification=scored.verdict.classification,
                probability=scored.verdict.probability,
                model_name=release.name,
                model_version=release.version,
                threshold=threshold,
                request_id=self.request_id,
                latency_ms=self.latency_ms,
                source=self.source,
                package_sha256=self.deployment.digest,
                in_reach=scored.verdict.in_reach,
            )
            for row, text, scored in zip(uuids, self.texts, self.scores, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Request to classify: its id, when it came, and the way in that its rows name as their source."""

    request_id: str
    source: str = SERVER
    came: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True)
class Classified:
    """Answer to a request: what was scored, what is told of each text, and whether it is stored."""

    answered: Answered
    told: list[Kept]
    captured: bool
    explanations: list[list[WordPush]]

    def predictions(self) -> list[Prediction]:
        """Return one prediction a text; one that was given before is not explained anew."""
        predictions = [
            Prediction(
                one.classification,
                one.probability,
                one.uuid,
                one.model_version,
                self.captured,
                scored.verdict.truncated,
                one.in_reach is not False,
            )
            for scored, one in zip(self.answered.scores, self.told, strict=True)
        ]
        for place, (scored, words) in enumerate(zip(self.answered.scores, self.explanations, strict=False)):
            if predictions[place].probability == scored.verdict.probability:  # else these words are not behind it
                predictions[place] = predictions[place]._replace(explanation=words)
        return predictions


class Invocations:
    """Route that classifies messages."""

    def __init__(self, service: Service, intake: Intake) -> None:
        self._service = service
        self._intake = intake
        self._classifier = Classifier(service)

    async def __call__(self, request: Request) -> Response:
        """Answer one request; raise Refusal if it cannot be."""
        arrival = Arrival(request.state.request_id)
        self._classifier.refuse_overload()
        async with self._intake.body(request) as body:
            with self._classifier.slot():
                ask = read(request.headers.get("content-type"), body, most_rows=self._service.limits.rows)
                classified = await self._classifier.classify(ask, arrival)
        return Response(encode(classified.predictions()), media_type="application/json")


class Classifier:
    """Scoring and capture that all ways in share, with the limits and metrics of the service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def classify(self, ask: ScoringRequest, arrival: Arrival) -> Classified:
        """Score, explain and capture texts; the version that is served now does all of it.

        Raises Refusal: 504 if it takes too long, 503 if the answer must be stored and cannot be, 400 if more rows are
        to be explained than may be.
        """
        limits = self._service.limits
        with self._service.deployments.hold() as deployment:
            try:
                async with asyncio.timeout(limits.timeout_s):
                    began = time.perf_counter()
                    scores = await self._score(deployment, ask.texts)
                    explanations = await self._explain(deployment, ask, scores, time.perf_counter() - began)
            except TimeoutError:
                raise of_status(504, f"not answered within {limits.timeout_s:g} s") from None
        latency_ms = (time.perf_counter() - arrival.began) * 1000
        answered = Answered(ask.texts, scores, deployment, arrival.request_id, arrival.came, latency_ms, arrival.source)
        uuids, earlier = answered.uuids(), Earlier()
        captured = await self._capture(answered, uuids, ask, earlier)
        told = answered.told(uuids, earlier)
        self._note(answered, told, time.perf_counter() - arrival.began, captured=captured)
        self._shadow(answered, uuids, captured=captured)
        return Classified(answered, told, captured, explanations)

    def refuse_overload(self) -> None:
        """Refuse before reading when the maximum of concurrent requests is reached."""
        if self._service.in_flight >= self._service.limits.in_flight:
            raise of_status(429, "too many requests are being answered; try again soon", RETRY_SOON)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take one of the places for concurrent requests; a slow sender has held none so far."""
        self.refuse_overload()
        service = self._service
        service.in_flight += 1
        service.metrics.in_flight.inc()
        try:
            yield
        finally:
            service.in_flight -= 1
            service.metrics.in_flight.dec()

    async def _score(self, deployment: Deployment, texts: Sequence[str]) -> list[Scored]:
        self._service.metrics.waiting.set(deployment.waiting + len(texts))
        return await asyncio.wrap_future(deployment.submit(texts))

    async def _explain(
        self, deployment: Deployment, ask: ScoringRequest, scores: Sequence[Scored], took_s: float
    ) -> list[list[WordPush]]:
        """Score each message without each of its words, all in one batch; nothing if not requested.

        Where the time is bounded, so is the number of words, by what scoring the messages took: a long message, or one
        that waited for others, is not explained at all, rather than begun in vain and at the others' expense.
        """
        if not ask.explain:
            return []
        limits = self._service.limits
        most_words = min(limits.explained_words, ask.explained_words or limits.explained_words)
        if len(ask.texts) > limits.explained_rows:
            raise Refusal(
                400,
                WRONG_VALUE,
                f"params.explain: takes at most {limits.explained_rows} rows, got {len(ask.texts)}; send them in parts",
            )
        if ask.explain_within_s is not None:
            most_words = min(most_words, int(ask.explain_within_s / max(took_s, 1e-3)))
            if most_words < LEAST_WORDS:
                return []
        every = [explain.variants(text, most_words=most_words) for text in ask.texts]
        try:
            async with asyncio.timeout(ask.explain_within_s):
                without = iter(await self._score(deployment, [text for variants in every for text in variants.texts]))
        except TimeoutError:
            return []
        return [
            explain.explanation(variants, scored.logit, [next(without).logit for _ in variants.texts])
            for variants, scored in zip(every, scores, strict=True)
        ]

    async def _capture(self, answered: Answered, uuids: Sequence[str], ask: ScoringRequest, earlier: Earlier) -> bool:
        """Store the answer if it is wanted; True means that it, or the `earlier` one of the request, is on the disk."""
        archive, metrics = self._service.archive, self._service.metrics
        if archive is None or ask.data_capture is False or not uuids:
            return False
        try:
            captured = await asyncio.wrap_future(archive.capture.submit(answered.rows(uuids), earlier=earlier))
        except UnavailableError as error:
            metrics.capture_failures.inc(len(uuids))
            raise of_status(503, str(error), RETRY_SOON) from error
        (metrics.captured if captured else metrics.capture_failures).inc(len(uuids))
        return captured

    def _note(self, answered: Answered, told: Sequence[Kept], seconds: float, *, captured: bool) -> None:
        """Count the answer, and remember the last rows of it for the page."""
        service = self._service
        service.metrics.count_verdicts(told)
        service.metrics.seconds.observe(seconds)
        last = slice(-MOST_VERDICTS, None)
        date = answered.came.isoformat(timespec="milliseconds")
        service.recent.add(
            [
                Shown(
                    date,
                    "" if captured else shown(text),
                    one.classification,
                    one.probability,
                    one.uuid,
                    one.model_version,
                    captured,
                )
                for text, one in zip(answered.texts[last], told[last], strict=True)
            ],
            spam=sum(one.classification == SPAM for one in told),
            rows=len(told),
            latency_ms=seconds * 1000,
        )

    def _shadow(self, answered: Answered, uuids: Sequence[str], *, captured: bool) -> None:
        """Score the stored rows with the shadow version, unless it has fallen behind."""
        service = self._service
        shadow = service.deployments.shadow
        if shadow is None or not captured:
            return
        if shadow.waiting + len(uuids) > service.limits.shadow_rows:
            service.metrics.shadowed.labels("left out").inc(len(uuids))
            return
        service.in_background(self._store_shadow(shadow, answered.texts, uuids))

    async def _store_shadow(self, shadow: Deployment, texts: Sequence[str], uuids: Sequence[str]) -> None:
        service, archive = self._service, self._service.archive
        assert archive  # noqa: S101 - for the type checker: only what was captured is shadowed
        outcome = "stored"
        try:
            with service.deployments.hold(shadow):
                scores = await asyncio.wrap_future(shadow.submit(texts))
            version, digest, verdicts = shadow.release.version, shadow.digest, [scored.verdict for scored in scores]
            beside = [
                ShadowVerdict(row, version, verdict.classification, verdict.probability, digest)
                for row, verdict in zip(uuids, verdicts, strict=True)
            ]
            if not await asyncio.wrap_future(archive.capture.submit((), beside)):
                outcome = "failed"
        except SpamctlError as error:
            outcome = "failed"
            logger.warning("shadow version %s: %s", shadow.release.version, type(error).__name__)
        service.metrics.shadowed.labels(outcome).inc(len(uuids))


# Record a person's label of a message: POST /feedback.

MOST_BYTES = 4096
EXAMPLE = '{"uuid": "...", "label": "spam" or "not spam"}'


class Feedback:
    """Route that labels one captured answer; repeating a label changes nothing, another label corrects it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._intake = Intake(body_bytes=MOST_BYTES, total_bytes=64 * MOST_BYTES, patience_s=service.limits.timeout_s)

    async def __call__(self, request: Request) -> Response:
        """Label one row; raise Refusal if there is no such row, or nothing is captured here."""
        archive = self._service.archive
        if archive is None:
            raise Refusal(404, UNKNOWN, "nothing is captured here (--capture off): there is no row to label")
        uuid, label = _read(request.headers.get("content-type"), await self._intake.read(request))
        try:
            outcome = await asyncio.to_thread(labels.feedback, archive.store, uuid, label, source=USER)
        except UnavailableError as error:
            raise of_status(503, str(error), {"Retry-After": "1"}) from error
        if outcome == "unknown":
            raise Refusal(404, UNKNOWN, "uuid: no captured answer has it; use one that /invocations gave")
        return JSONResponse({"uuid": uuid, "label": label, "outcome": outcome})


def _read(content_type: str | None, body: bytes) -> tuple[str, Label]:
    """Return the uuid and the label of a body, whose every other shape is refused."""
    given = read_object(content_type, body)
    if given.keys() != {"uuid", "label"}:
        raise _bad(f"the body must hold uuid and label and nothing else; send {EXAMPLE}")
    uuid = canonical_uuid(given["uuid"]) if isinstance(given["uuid"], str) else None
    if uuid is None:
        raise _bad("uuid: is none; use one that /invocations gave")
    label = given["label"]
    if label not in (SPAM, NOT_SPAM):
        raise _bad("label: must be spam or not spam")
    return uuid, label


def _bad(message: str) -> Refusal:
    return Refusal(400, WRONG_VALUE, message)


# Answer POST /mail: read a whole mail as training does, classify its text, and tell what was read.

SOURCE: Final = "mail"
MEDIA_TYPE: Final = "message/rfc822"
_WORDS: Final[Mapping[str, bool]] = {"true": True, "false": False}


class MailRoute:
    """Route that classifies one mail as it was received; `data_capture` and `explain` stand in the query."""

    def __init__(self, service: Service, intake: Intake) -> None:
        self._intake = intake
        self._classifier = Classifier(service)

    async def __call__(self, request: Request) -> Response:
        """Answer one request; raise Refusal if it cannot be."""
        arrival = Arrival(request.state.request_id, SOURCE)
        self._classifier.refuse_overload()
        async with self._intake.body(request) as body:
            _refuse_other_media(request.headers.get("content-type"))
            params = _params(request)
            with self._classifier.slot():
                mail = await asyncio.to_thread(parse_mail, body)
                ask = ScoringRequest([mail.text], params.get("data_capture"), params.get("explain", False))
                classified = await self._classifier.classify(ask, arrival)
        (prediction,) = classified.predictions()
        told = {"prediction": prediction.to_wire(), "mail": _told(mail)}
        return Response(json.dumps(told), media_type="application/json")


def _told(mail: Mail) -> dict[str, Any]:
    """Return what was read of a mail, as plain JSON; all of it but the notes is hostile."""
    return {
        "text": mail.text,
        "subject": mail.subject,
        "from_name": mail.from_name,
        "from_domain": mail.from_domain,
        "reply_domain": mail.reply_domain,
        "hosts": list(mail.hosts),
        "attachments": list(mail.attachments),
        "hidden": mail.hidden,
        "notes": list(mail.notes),
    }


def _refuse_other_media(content_type: str | None) -> None:
    """Refuse what a page of another site could send: a browser asks this server before it sends a mail's type."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != MEDIA_TYPE:
        raise of_status(415, f"the Content-Type {quoted(media)} is not read here: send {MEDIA_TYPE}")


def _params(request: Request) -> dict[str, bool]:
    """Read the switches in the query."""
    refuse_unknown(dict(request.query_params), PARAMS, "parameter")
    read = {}
    for name in request.query_params:
        given = request.query_params.getlist(name)
        if len(given) != 1 or given[0] not in _WORDS:
            raise Refusal(400, WRONG_VALUE, f"{name}: send true or false, once")
        read[name] = _WORDS[given[0]]
    return read

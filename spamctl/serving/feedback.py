"""Record a person's label of a message: POST /feedback."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spamctl.errors import UnavailableError
from spamctl.message import NOT_SPAM, SPAM, Label, canonical_uuid
from spamctl.schema.label import USER
from spamctl.serving.intake import Intake
from spamctl.serving.protocol import read_object
from spamctl.serving.refusal import UNKNOWN, WRONG_VALUE, Refusal, of_status
from spamctl.serving.service import Service
from spamctl.store import labels

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

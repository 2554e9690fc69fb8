"""Answer POST /mail: read a whole mail as training does, classify its text, and tell what was read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from spamctl.data.mail import Mail, parse_mail
from spamctl.serving.errors import WRONG_VALUE, Refusal, of_status, quoted
from spamctl.serving.protocol import PARAMS, Intake, ScoringRequest, refuse_unknown
from spamctl.serving.routes import Arrival, Classifier
from spamctl.serving.state import Service

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

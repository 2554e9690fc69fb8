"""Answer Akismet's calls for blogs and forums: verify a key, check a comment, learn what it was."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spamctl.errors import UnavailableError
from spamctl.schema.message import NOT_SPAM, SPAM, USER, Label, canonical_uuid
from spamctl.serving.access import UNKNOWN, WRONG_VALUE, Access, Refusal, of_status, quoted
from spamctl.serving.protocol import Intake, ScoringRequest
from spamctl.serving.routes import RETRY_SOON, Arrival, Classified, Classifier
from spamctl.serving.state import Service
from spamctl.store import labels

SOURCE: Final = "akismet"
FORM: Final = "application/x-www-form-urlencoded"
VERIFY, CHECK = "/1.1/verify-key", "/1.1/comment-check"
SUBMIT: Final[Mapping[str, Label]] = {"/1.1/submit-spam": SPAM, "/1.1/submit-ham": NOT_SPAM}
MOST_BYTES = 2**20  # of a comment with all that is sent beside it
THANKS: Final = "Thanks for making the web a better place."  # word for word: clients compare it
FIELDS: Final = ("comment_content", "comment_author", "comment_author_url")
EXAMPLE: Final = "send comment_content=... as a form"

_CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,39}")
_MOST_FIELDS = 1_000  # WordPress sends each variable of its server
_DEBUG, _GUID = "X-akismet-debug-help", "X-akismet-guid"
_WRONG_KEY = "the key is not the token that this server was started with"


class Akismet:
    """Routes of Akismet's wire; a key is the server's token, in the form or as the first label of the host.

    The same comment under the same version is one row, however often it is checked: so what is learnt about it later
    finds the row without an identifier, which most clients do not keep.
    """

    def __init__(self, service: Service, access: Access) -> None:
        self._service, self._access = service, access
        self._classifier = Classifier(service)
        # Bodies of its own: they are read before the key is known, and must not shut out those of who has it.
        most = min(MOST_BYTES, service.limits.body_bytes)
        self._intake = Intake(body_bytes=most, total_bytes=4 * most, patience_s=service.limits.timeout_s)

    def routes(self) -> list[Route]:
        """Return the routes, which check the key themselves."""
        return [
            Route(VERIFY, self.verify, methods=["POST"]),
            Route(CHECK, self.check, methods=["POST"]),
            *(Route(path, self.submit, methods=["POST"]) for path in SUBMIT),
        ]

    async def verify(self, request: Request) -> Response:
        """Answer whether a key is valid."""
        _refuse_browser(request)
        async with self._intake.body(request) as body:
            given = _form(request, body)
        return PlainTextResponse("valid") if self._allows(request, given) else _invalid()

    async def check(self, request: Request) -> Response:
        """Answer whether a comment is spam: true or false."""
        arrival = self._arrive(request)
        async with self._intake.body(request) as body:
            given = _form(request, body)
            if not self._allows(request, given):
                return _invalid()
            with self._classifier.slot():
                classified = await self._classify(given, arrival, keeps=None)
        (told,) = classified.told
        headers = {_GUID: told.uuid} if classified.captured else None
        return PlainTextResponse("true" if told.classification == SPAM else "false", headers=headers)

    async def submit(self, request: Request) -> Response:
        """Label a comment that was checked, or store and label one that was not."""
        arrival = self._arrive(request)
        async with self._intake.body(request) as body:
            given = _form(request, body)
            if not self._allows(request, given):
                return _invalid()
            if not _is_test(given):
                with self._classifier.slot():
                    await self._teach(given, SUBMIT[request.url.path], arrival)
        return PlainTextResponse(THANKS)

    def _arrive(self, request: Request) -> Arrival:
        """Refuse what cannot be answered before a body is read."""
        _refuse_browser(request)
        self._classifier.refuse_overload()
        return Arrival(request.state.request_id, SOURCE)

    def _allows(self, request: Request, given: Mapping[str, str]) -> bool:
        """Return whether a request has the key; without a token every key is valid."""
        token = self._access.token
        if not token:
            return True
        key = given.get("api_key") or given.get("key") or request.headers.get("host", "").partition(".")[0]
        return hmac.compare_digest(key.encode(), token.encode())

    async def _classify(self, given: Mapping[str, str], arrival: Arrival, *, keeps: bool | None) -> Classified:
        """Score and store a comment; its row's identifier is made of the package and the text alone."""
        with self._service.deployments.hold() as deployment:
            arrival = replace(arrival, request_id=f"{SOURCE}:{deployment.digest[:16]}")
            ask = ScoringRequest([comment_of(given)], False if _is_test(given) else keeps)
            return await self._classifier.classify(ask, arrival)

    async def _teach(self, given: Mapping[str, str], label: Label, arrival: Arrival) -> None:
        archive = self._service.archive
        if archive is None:
            raise Refusal(404, UNKNOWN, "nothing is captured here (--capture off): a label cannot be kept")
        guid = canonical_uuid(given.get("guid", ""))
        try:
            if guid and await asyncio.to_thread(labels.feedback, archive.store, guid, label, source=USER) != "unknown":
                return
            (told,) = (classified := await self._classify(given, arrival, keeps=True)).told
            if not classified.captured:
                raise of_status(503, "the comment could not be stored: try again soon", RETRY_SOON)
            await asyncio.to_thread(labels.feedback, archive.store, told.uuid, label, source=USER)
        except UnavailableError as error:
            raise of_status(503, str(error), RETRY_SOON) from error


def comment_of(given: Mapping[str, str]) -> str:
    """Return the text of a comment as the filter reads it: who signs it, then what is written.

    A name such as "Cheap Watches" over a vague compliment is all there is to judge some spam by: with it a third of
    such comments was caught that alone passed, and no more good ones. The address that an author leaves doubled the
    probability of good comments, so it is read only where there is nothing else.
    """
    if not any(name in given for name in FIELDS):
        raise Refusal(400, WRONG_VALUE, f"the form has none of {', '.join(FIELDS)}: {EXAMPLE}")
    content, author, address = (given.get(name, "").strip() for name in FIELDS)
    return "\n".join(part for part in (author, content) if part) or address


def _form(request: Request, body: bytes) -> dict[str, str]:
    """Return the fields of a form, of a repeated one the last; raise Refusal if the body is none."""
    media, *_ = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if media != FORM:
        raise of_status(415, f"the Content-Type {quoted(media)} is not read here: send {FORM}")
    try:
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise of_status(413, f"the form has more than {_MOST_FIELDS} fields: send fewer") from None
    given = {name.encode("latin-1"): value.encode("latin-1") for name, value in pairs}
    charset = given.get(b"blog_charset", b"").decode("latin-1")
    return {name.decode("utf-8", "replace"): _decoded(value, charset) for name, value in given.items()}


def _decoded(value: bytes, charset: str) -> str:
    """Decode a field as UTF-8, else as the blog says, else as a browser would."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return value.decode(charset if _CHARSET.fullmatch(charset) else "cp1252", "replace")
        except (LookupError, ValueError):
            return value.decode("cp1252", "replace")


def _is_test(given: Mapping[str, str]) -> bool:
    """Return whether a client only tries the connection: then nothing is stored or learnt."""
    return given.get("is_test", "").lower() in {"1", "true"}


def _refuse_browser(request: Request) -> None:
    """Refuse what a page in a browser sends: any page may post a form, and nobody asks the reader."""
    if "origin" in request.headers:
        raise of_status(403, "this route is for servers, not for pages in a browser: send no Origin")


def _invalid() -> Response:
    return PlainTextResponse("invalid", headers={_DEBUG: _WRONG_KEY})

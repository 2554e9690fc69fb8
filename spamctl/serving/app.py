"""Assemble the routes of the server behind their guard, with the pages that try and document them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from spamctl import __version__
from spamctl.errors import UnavailableError
from spamctl.schema.codec import to_json
from spamctl.serving import activity, completions, openapi
from spamctl.serving.access import Access, Guard
from spamctl.serving.activity import Activity, Figures, Shown, newest, shown
from spamctl.serving.akismet import Akismet
from spamctl.serving.completions import Completions
from spamctl.serving.inference_protocol import InferenceProtocol
from spamctl.serving.protocol import Intake
from spamctl.serving.routes import Feedback, Invocations, MailRoute
from spamctl.serving.state import Service
from spamctl.store import queries

# Serve the page for trying and watching the filter, and the page that documents its routes.

FOLDER = "web_files"
PAGES = {"/": "index.html", "/docs": "docs.html"}
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Everything comes from this server and nothing runs but its files; text that met the page as HTML would be an error.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def page_routes() -> list[Route]:
    """Return the routes of the pages and of the files that they are made of, one a file: no path is ever looked up."""
    files = {entry.name: entry.read_bytes() for entry in _folder().iterdir() if _kind(entry.name)}
    places = PAGES | {f"/web/{name}": name for name in sorted(files) if name not in PAGES.values()}
    return [Route(place, _answer_with(files[name], _kind(name)), methods=["GET"]) for place, name in places.items()]


def _folder() -> Traversable:
    return resources.files("spamctl.serving") / FOLDER


def _kind(name: str) -> str:
    """Return the media type of a file, or nothing if it is none of the page's."""
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "")


def _answer_with(body: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """Return a route that sends a file, unless the browser has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "ETag": tag}

    async def answer(request: Request) -> Response:
        known = {given.strip().removeprefix("W/") for given in request.headers.get("if-none-match", "").split(",")}
        if known & {tag, "*"}:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    return answer


PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def create_app(service: Service, access: Access) -> ASGIApp:
    """Return the application that serves a service to those who have access."""
    views, limits = Views(service), service.limits
    intake = Intake(body_bytes=limits.body_bytes, total_bytes=limits.buffered_bytes, patience_s=limits.timeout_s)
    routes = [
        Route("/invocations", Invocations(service, intake).__call__, methods=["POST"]),
        Route("/mail", MailRoute(service, intake).__call__, methods=["POST"]),
        Route("/v1/chat/completions", Completions(service, intake).__call__, methods=["POST"]),
        Route("/v1/models", views.models, methods=["GET"]),
        Route("/feedback", Feedback(service).__call__, methods=["POST"]),
        Route("/ping", views.alive, methods=["GET"]),
        Route("/health", views.alive, methods=["GET"]),
        Route("/ready", views.ready, methods=["GET"]),
        Route("/version", views.version, methods=["GET"]),
        Route("/recent", views.recent, methods=["GET"]),
        Route("/metrics", views.metrics, methods=["GET"]),
        Route("/openapi.json", views.openapi, methods=["GET"]),
        *Akismet(service, access).routes(),
        *InferenceProtocol(service, intake).routes(),
        *page_routes(),
    ]
    return Guard(Starlette(routes=routes), access, on_answer=views.count)


class Views:
    """Routes that report the state of the server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def count(self, route: str, status: int) -> None:
        """Count one answer."""
        self._service.metrics.requests.labels(route, str(status)).inc()

    async def alive(self, _request: Request) -> Response:
        """Answer the liveness probe."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _request: Request) -> Response:
        """Answer the readiness probe: messages can be classified, and answers stored."""
        archive, reason = self._service.archive, self._service.unready
        store = archive is None or archive.capture.stats().reachable
        told = {"ready": not reason, "model": True, "store": store, "reason": reason}
        return JSONResponse(told, status_code=503 if reason else 200)

    async def version(self, _request: Request) -> Response:
        """Return the served version, since when, and its threshold."""
        deployments = self._service.deployments
        current, shadow = deployments.current, deployments.shadow
        return JSONResponse(
            {
                "spamctl": __version__,
                "model_name": current.release.name,
                "model_version": current.release.version,
                "alias": current.release.alias,
                "threshold": current.threshold,
                "engine": current.manifest.engine,
                "since": current.since.isoformat(timespec="seconds"),
                "shadow": shadow.release.version if shadow else None,
            }
        )

    async def recent(self, _request: Request) -> Response:
        """Return the latest verdicts of all workers, and their load."""
        service = self._service
        activities = [service.recent.activity()]
        for words in await activity.ask_siblings(service.siblings) if service.siblings else []:
            with contextlib.suppress(ValueError, TypeError):  # it ended while it spoke
                activities.append(Activity.from_json(words))
        current, figures = service.deployments.current, Figures.of(activities)
        told = {
            "model_name": current.release.name,
            "model_version": current.release.version,
            "threshold": current.threshold,
            "scope": activity.SCOPE,
            "rows": sum(one.rows_ever for one in activities),
            "rows_per_second": figures.rows_per_second,
            "spam_share": figures.spam_share,
            "latency_ms": {"p50": figures.p50_ms, "p99": figures.p99_ms},
            "captured": service.archive.name if service.archive else "",
            "verdicts": list(map(to_json, await self._with_texts(newest(activities)))),
        }
        # In ASCII: a message may hold half a character.
        return Response(json.dumps(told), media_type="application/json")

    async def _with_texts(self, verdicts: list[Shown]) -> list[Shown]:
        """Read the texts of captured messages from the store; texts removed there are no longer shown."""
        archive, kept = self._service.archive, [verdict.uuid for verdict in verdicts if verdict.captured]
        if archive and kept:
            try:
                rows = await asyncio.to_thread(queries.find, archive.store, kept)
            except UnavailableError:  # verdicts alone are better than no page
                return verdicts
            there = [verdict for verdict in verdicts if not verdict.captured or verdict.uuid in rows]
            return [
                replace(verdict, text=shown(rows[verdict.uuid].text)) if verdict.captured else verdict
                for verdict in there
            ]
        return verdicts

    async def models(self, _request: Request) -> Response:
        """Return the models of POST /v1/chat/completions."""
        return completions.list_models(self._service)

    async def metrics(self, _request: Request) -> Response:
        """Return all metrics in Prometheus' text format."""
        metrics, deployments = self._service.metrics, self._service.deployments
        metrics.waiting.set(deployments.current.waiting)
        return Response(metrics.page(), media_type=PROMETHEUS)

    async def openapi(self, _request: Request) -> Response:
        """Describe all of this."""
        return JSONResponse(openapi.document(__version__))

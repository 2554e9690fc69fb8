"""Serve the page for trying and watching the filter, and the page that documents its routes."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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


def routes() -> list[Route]:
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

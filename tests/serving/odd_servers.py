"""Run servers that answer in their own way: late, half, never, in another format, or until they die."""

import asyncio
import contextlib
import json
import uuid

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.served import _running


def prediction(text="", **changes):
    """Return a prediction in the wire format: everything is spam."""
    right = {"classification": "spam", "probability": 0.75, "model_version": "7", "captured": True, "truncated": False}
    return {"uuid": str(uuid.uuid4())} | right | changes


def predictions(rows):
    return JSONResponse({"predictions": rows})


class Odd:
    """Answer as `behave` says, given what number of request it is and the texts; keep what came."""

    def __init__(self, behave):
        self._behave = behave
        self.came = []  # (request id, texts) in order
        self.headers = []

    async def __call__(self, request):
        texts = [row["text"] for row in json.loads(await request.body())["inputs"]]
        self.came.append((request.headers["x-request-id"], texts))
        self.headers.append(request.headers)
        answer = self._behave(len(self.came), texts)
        return await answer if asyncio.iscoroutine(answer) else answer

    @property
    def request_ids(self):
        return [request_id for request_id, _ in self.came]


@contextlib.contextmanager
def odd_server(behave):
    """Run a server that behaves oddly; give its address and what it saw."""
    odd = Odd(behave)
    with _running(Starlette(routes=[Route("/invocations", odd.__call__, methods=["POST"])])) as address:
        yield f"{address}/invocations", odd


def well(_number, texts):
    """Behave."""
    return predictions([prediction(text) for text in texts])


def refusing(status, code="", **headers):
    """Return a behaviour that answers every request with an error."""
    body = {"error_code": code, "message": "no", "request_id": "x"} if code else {}
    return lambda _number, _texts: JSONResponse(body, status, headers)


def saying(body, kind="application/json"):
    """Return a behaviour that answers every request with one body."""
    return lambda _number, _texts: Response(body, media_type=kind)

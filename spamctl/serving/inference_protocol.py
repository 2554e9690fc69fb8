"""Answer the Open Inference Protocol, version 2, as KServe, Triton and Seldon speak it.

A model has one input, the tensor `text` of BYTES, and an output for each field of a prediction. Everything else is as
it is for POST /invocations: the engine, the limits, capture, and retries under one `X-Request-Id`.
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spamctl import __version__
from spamctl.schema.codec import JsonObject
from spamctl.schema.message import Prediction
from spamctl.serving.access import UNKNOWN, WRONG_VALUE, Refusal, of_status, quoted
from spamctl.serving.protocol import TEXT, Intake, ScoringRequest, kind, read_object, refuse_unknown
from spamctl.serving.routes import Arrival, Classified, Classifier
from spamctl.serving.state import Service

ROOT: Final = "/v2"
MODEL: Final = f"{ROOT}/models/{{name}}"
SOURCE: Final = "inference"
BYTES: Final = "BYTES"
# Each output's type by its name, which is that of a field of `Prediction`.
OUTPUTS: Final = {
    "classification": BYTES,
    "probability": "FP64",
    "uuid": BYTES,
    "model_version": BYTES,
    "captured": "BOOL",
    "truncated": "BOOL",
    "in_reach": "BOOL",
}
EXAMPLE: Final = 'send {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["..."]}]}'

_KEYS = ("id", "model_name", "parameters", "inputs", "outputs")  # the name is what KServe's client adds
_TENSOR_KEYS = ("name", "shape", "datatype", "parameters", "data")
_BINARY = ("binary_data", "binary_data_size", "binary_data_output")
_VALUES_A_ROW = 2  # a shape may give each text a list of its own
_MOST_OTHERS = 200
_LONGEST_ID = 128


@dataclass(frozen=True, slots=True)
class Inference:
    """Parsed request: what to classify, the id to repeat, and which outputs are wanted."""

    ask: ScoringRequest
    name: str | None
    outputs: Sequence[str]


class InferenceProtocol:
    """Routes of the protocol: health, metadata, and inference by the model that is served."""

    def __init__(self, service: Service, intake: Intake) -> None:
        self._service = service
        self._intake = intake
        self._classifier = Classifier(service)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(ROOT, self.server, methods=["GET"]),
            Route(f"{ROOT}/health/live", self.live, methods=["GET"]),
            Route(f"{ROOT}/health/ready", self.ready, methods=["GET"]),
            Route(MODEL, self.model, methods=["GET"]),
            Route(f"{MODEL}/ready", self.model_ready, methods=["GET"]),
            Route(f"{MODEL}/infer", self.infer, methods=["POST"]),
        ]

    async def server(self, _request: Request) -> Response:
        """Name the server."""
        return JSONResponse({"name": "spamctl", "version": __version__, "extensions": []})

    async def live(self, _request: Request) -> Response:
        """Answer the liveness probe."""
        return JSONResponse({"live": True})

    async def ready(self, _request: Request) -> Response:
        """Answer the readiness probe of the server, which has one model."""
        ready = not self._service.unready
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Describe the model's version, input and outputs."""
        name = self._served(request)
        current = self._service.deployments.current
        return JSONResponse(
            {
                "name": name,
                "versions": [current.release.version],
                "platform": current.manifest.engine,
                "inputs": [{"name": TEXT, "datatype": BYTES, "shape": [-1]}],
                "outputs": [{"name": output, "datatype": of, "shape": [-1]} for output, of in OUTPUTS.items()],
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Answer the readiness probe of the model."""
        name, ready = self._served(request), not self._service.unready
        return JSONResponse({"name": name, "ready": ready}, status_code=200 if ready else 503)

    async def infer(self, request: Request) -> Response:
        """Classify the texts of a tensor; raise Refusal if they cannot be."""
        arrival = Arrival(request.state.request_id, SOURCE)
        name = self._served(request)
        self._classifier.refuse_overload()
        _refuse_binary_header(request)
        async with self._intake.body(request, gunzip=True) as body:
            with self._classifier.slot():
                asked = read(request.headers.get("content-type"), body, name, most_rows=self._service.limits.rows)
                classified = await self._classifier.classify(asked.ask, arrival)
        # In ASCII: an id may hold half a character.
        return Response(json.dumps(_answer(name, asked, classified)), media_type="application/json")

    def _served(self, request: Request) -> str:
        """Return the name of the model if it is the one that is served."""
        name, served = request.path_params.get("name", ""), self._service.deployments.current.release.name
        if name != served:
            raise Refusal(404, UNKNOWN, f"there is no model {quoted(name)}: this server has {quoted(served)}")
        return served


def read(content_type: str | None, body: bytes, model: str, *, most_rows: int) -> Inference:
    """Return what the body of an inference by a model asks for.

    Raises Refusal: 415 for another media type or binary tensors, 413 for more than `most_rows` texts, else 400.
    """
    values = _VALUES_A_ROW * most_rows + _MOST_OTHERS
    asked = read_object(content_type, body, most_values=values, example=EXAMPLE, numbers=True)
    refuse_unknown(asked, _KEYS, "key")
    name, named = asked.get("id"), asked.get("model_name")
    if name is not None and not (isinstance(name, str) and len(name) <= _LONGEST_ID):
        raise _wrong(f"id holds {kind(name)}: send a text of at most {_LONGEST_ID} characters, or leave it out")
    if named is not None and named != model:
        raise _wrong(f"model_name is not {quoted(model)}, as the path says: send that, or leave it out")
    texts = _tensor(asked.get("inputs"))
    if len(texts) > most_rows:
        raise of_status(413, f"the body has more than {most_rows} rows: send fewer in each request")
    capture = _parameters(asked.get("parameters"), "parameters", ("data_capture",)).get("data_capture")
    if not (capture is None or isinstance(capture, bool)):
        raise _wrong(f"parameters.data_capture holds {kind(capture)}: send true or false")
    return Inference(ScoringRequest(texts, capture), name, _outputs(asked.get("outputs")))


def _tensor(inputs: Any) -> list[str]:
    """Return the texts of the one input."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        holds = f"{len(inputs)} tensors" if isinstance(inputs, list) else kind(inputs)
        raise _wrong(f"inputs holds {holds}, where a list of one tensor belongs: {EXAMPLE}")
    (tensor,) = inputs
    refuse_unknown(tensor, _TENSOR_KEYS, "key in inputs[0]")
    _parameters(tensor.get("parameters"), "inputs[0].parameters", ("content_type",))
    for key, only in (("name", TEXT), ("datatype", BYTES)):
        if tensor.get(key) != only:
            given = quoted(tensor[key]) if isinstance(tensor.get(key), str) else kind(tensor.get(key))
            raise _wrong(f"inputs[0].{key} is {given}, where '{only}' belongs: {EXAMPLE}")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not _is_column(shape):
        raise _wrong(f"inputs[0].shape is not [N] or [N, 1], with N the number of texts: {EXAMPLE}")
    if not isinstance(data, list):
        raise _wrong(f"inputs[0].data holds {kind(data)}, not a list of texts: {EXAMPLE}")
    texts = [one[0] if len(shape) == 2 and isinstance(one, list) and len(one) == 1 else one for one in data]  # noqa: PLR2004
    for row, value in enumerate(texts):
        if not isinstance(value, str):
            raise _wrong(f"row {row}: holds {kind(value)}, not text: send a string (rows count from 0)")
    if len(texts) != math.prod(shape):
        raise _wrong(f"inputs[0].data has {len(texts)} texts, where its shape says {math.prod(shape)}")
    return texts


def _is_column(shape: list[Any]) -> bool:
    """Return whether a shape is of one text a row."""
    whole = all(isinstance(length, int) and not isinstance(length, bool) and length >= 0 for length in shape)
    return whole and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))  # noqa: PLR2004


def _outputs(outputs: Any) -> Sequence[str]:
    """Return the names of the outputs that are wanted: all, unless some are named."""
    if outputs is None or outputs == []:
        return [*OUTPUTS]
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise _wrong(f'outputs holds {kind(outputs)}: send [{{"name": "classification"}}], or leave it out')
    names = []
    for place, output in enumerate(outputs):
        refuse_unknown(output, ("name", "parameters"), f"key in outputs[{place}]")
        _parameters(output.get("parameters"), f"outputs[{place}].parameters", ())
        name = output.get("name")
        if name not in OUTPUTS:
            given = quoted(name) if isinstance(name, str) else kind(name)
            raise _wrong(f"outputs[{place}].name is {given}: use {', '.join(OUTPUTS)}")
        names.append(name)
    return list(dict.fromkeys(names))


def _parameters(given: Any, where: str, known: Sequence[str]) -> JsonObject:
    """Return parameters; what is not known is refused, but for a wish for no binary data."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong(f"{where} holds {kind(given)}, not an object")
    binary = [name for name in _BINARY if given.get(name)]
    if binary:
        raise of_status(415, f"{where}.{binary[0]}: tensors are read and answered as JSON: send binary_data=False")
    refuse_unknown(given, (*known, *_BINARY), f"parameter in {where}")
    return given


def _refuse_binary_header(request: Request) -> None:
    """Refuse a body whose tensors follow its JSON as bytes, before it is read."""
    if "inference-header-content-length" in request.headers:
        raise of_status(415, "the tensors are binary data: send them in the JSON, with binary_data=False")


def _answer(name: str, asked: Inference, classified: Classified) -> JsonObject:
    """Write the answer; a text that was answered before names the version that did in `model_version`."""
    predictions = classified.predictions()
    answered = classified.answered
    return {
        "model_name": name,
        "model_version": answered.deployment.release.version,
        "id": answered.request_id if asked.name is None else asked.name,
        "outputs": [_output(output, predictions) for output in asked.outputs],
    }


def _output(name: str, predictions: Sequence[Prediction]) -> JsonObject:
    values = [getattr(prediction, name) for prediction in predictions]
    return {"name": name, "shape": [len(values)], "datatype": OUTPUTS[name], "data": values}


def _wrong(message: str) -> Refusal:
    return Refusal(400, WRONG_VALUE, message)

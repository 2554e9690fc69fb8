"""Describe every route of the server, with all its responses, as an OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spamctl.schema.message import NOT_SPAM, PROPERTIES, SPAM, WORD_PROPERTIES
from spamctl.serving import openapi_wires
from spamctl.serving.activity import SCOPE

Json = dict[str, Any]

EXAMPLE: Final = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."
EVERYWHERE: Final = (400, 401, 403, 500)
TABLE: Final = r'^[\r\n]*(text|"text")([\r\n]+([^,"\r\n][^,\r\n]*|"([^"]|"")*"))*[\r\n]*$'
REASONS: Final = {
    400: "The request is not as it must be; the message names row and column.",
    401: "The server has a token, and the request has none or a wrong one.",
    403: "The Host header is not one of the server's names.",
    404: "There is no such thing.",
    405: "The route does not answer this method; `Allow` names those that it does.",
    408: "The body came too slowly.",
    413: "The body is too long, or has too many rows.",
    415: "The Content-Type is missing, or not read here, or the body is compressed.",
    429: "Too many requests are being answered; try again after `Retry-After` seconds.",
    500: "Something is wrong with the server; its log says what, under the request id.",
    503: "Not ready, or the answer could not be stored; try again after `Retry-After` seconds.",
    504: "The answer took too long.",
}


def document(version: str) -> Json:
    """Return the OpenAPI 3.1 document of a server of this version."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "spamctl",
            "version": version,
            "description": "A spam filter of your own: messages go in, verdicts come out, and each is kept.",
        },
        "paths": {
            "/invocations": {"post": _invocations()},
            "/feedback": {"post": _feedback()},
            **{path: {method: _of_wire(told)} for path, (method, told) in openapi_wires.operations().items()},
            **{path: {"get": operation} for path, operation in _figures().items()},
            **{path: {"get": operation} for path, operation in _pages().items()},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of `--token-file`."},
                "basic": {"type": "http", "scheme": "basic", "description": "Any name, with the token as password."},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def _invocations() -> Json:
    ask = {"$ref": "#/components/schemas/Ask"}
    return _operation(
        "classify",
        "Classify messages",
        "One verdict a message, in order. MLflow's scoring protocol, in each of its spellings. An answer that says "
        "`captured: true` is in the database. A request sent again with the same `X-Request-Id` is stored once.",
        _json(_ref("Predictions"), "The verdicts."),
        (408, 413, 415, 429, 503, 504),
    ) | {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ask,
                    "examples": {
                        "inputs": {"value": {"inputs": [{"text": EXAMPLE}]}},
                        "explained": {
                            "value": {"inputs": [{"text": EXAMPLE}], "params": {"explain": True, "data_capture": False}}
                        },
                        "split": {"value": {"dataframe_split": {"columns": ["text"], "data": [[EXAMPLE], ["ok"]]}}},
                    },
                },
                "text/csv": {
                    "schema": {
                        "type": "string",
                        "description": "The first line is `text`; then a message a line, in quotes if it needs any.",
                        "pattern": TABLE,
                    },
                    "example": f'text\n"{EXAMPLE}"\nok\n',
                },
            },
        }
    }


def _feedback() -> Json:
    example = {"uuid": "0b3dd5c2-5d2c-4f0e-9b51-0a3c0d6b3f11", "label": SPAM}
    return _operation(
        "feedback",
        "Say what a message was",
        "Labels a captured answer by its `uuid`. Sending the same again changes nothing; another label corrects it.",
        _json(_ref("Recorded"), "The label is in the database."),
        (404, 408, 413, 415, 429, 503),
    ) | {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Feedback"), "example": example}},
        }
    }


def _of_wire(told: Json) -> Json:
    """Describe a route of another program's wire, whose errors may have a form of their own."""
    error = told.get("error", "Error")
    operation = _operation(told["name"], told["summary"], told["description"], told["answer"], told["errors"], error)
    operation["parameters"] += told.get("parameters", [])
    if schema := told.get("unready"):
        _may_be_unready(operation, schema, error)
    return operation | ({"requestBody": told["requestBody"]} if "requestBody" in told else {})


def _figures() -> dict[str, Json]:
    """Describe the routes that tell how the server is."""
    alive = "Tells that the process answers; needs no token."
    return {
        "/ping": _operation("ping", "Is it alive?", alive, _json(_ref("Alive"), "It is.")),
        "/health": _operation("health", "Is it alive?", alive, _json(_ref("Alive"), "It is.")),
        "/ready": _ready(),
        "/version": _operation(
            "version",
            "Which model is it?",
            "Names the version that answers, its threshold, and since when it does.",
            _json(_ref("Version"), "What is served."),
        ),
        "/recent": _operation(
            "recent",
            "What was answered last?",
            "The newest verdicts, the rate, the share of spam and the latency, of all workers of this replica; another "
            "replica has its own.",
            _json(_ref("Recent"), "The last minute."),
        ),
        "/metrics": _operation(
            "metrics",
            "All figures",
            "Requests, rows, verdicts, latency, batches, queue, capture and version, for Prometheus.",
            _text("text/plain", "The figures, one a line."),
        ),
    }


def _ready() -> Json:
    operation = _operation(
        "ready",
        "Can it answer?",
        "Tells whether a model is loaded and the store can be reached; `reason` says what is missing. Needs no token.",
        _json(_ref("Ready"), "Messages are classified and answers are kept."),
    )
    _may_be_unready(operation, "Ready")
    return operation


def _may_be_unready(operation: Json, schema: str, error: str = "Error") -> None:
    """Describe that an operation answers 503 in the form of its 200, or with an error."""
    operation["responses"]["503"] = _json({"anyOf": [_ref(schema), _ref(error)]}, REASONS[503])


def _pages() -> dict[str, Json]:
    """Describe the routes that a browser opens."""
    pages = {
        "/": _operation(
            "page", "The page", "A box to try a message, and the last verdicts.", _text("text/html", "HTML.")
        ),
        "/docs": _operation(
            "docs", "This document, to read", "All routes, with examples.", _text("text/html", "HTML.")
        ),
        "/openapi.json": _operation(
            "openapi",
            "This document",
            "OpenAPI 3.1.",
            _json({"type": "object"}, "The document."),
        ),
    }
    for path in ("/", "/docs"):
        pages[path]["responses"]["304"] = {"description": "The browser has it already."}
    return pages


def _operation(
    name: str, summary: str, description: str, answer: Json, statuses: tuple[int, ...] = (), error: str = "Error"
) -> Json:
    """Describe one operation that answers with 200, or with an error."""
    errors = {str(status): _json(_ref(error), REASONS[status]) for status in sorted({*EVERYWHERE, *statuses})}
    return {
        "operationId": name,
        "summary": summary,
        "description": description,
        "parameters": [
            {
                "name": "X-Request-Id",
                "in": "header",
                "description": "Names the request in the answer, in the log and in the database; made if it is absent.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        ],
        "responses": {"200": answer} | errors,
    }


def _json(schema: Json, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _text(media: str, description: str) -> Json:
    return {"description": description, "content": {media: {"schema": {"type": "string"}}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Json], *, optional: tuple[str, ...] = (), open_to_more: bool = False) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": open_to_more,
    }


def _schemas() -> dict[str, Json]:
    return _what_is_sent() | _what_is_answered() | _what_is_told() | openapi_wires.schemas()


def _what_is_sent() -> dict[str, Json]:
    text: Json = {"type": "string"}
    texts: Json = {"type": "array", "items": text}
    records = {"type": "array", "items": _object({"text": text})}
    rows = {"anyOf": [records, texts, _object({"text": {"anyOf": [text, texts]}})]}
    cells: Json = {"type": "array", "items": text, "minItems": 1, "maxItems": 1}
    split = _object(
        {
            "columns": {"const": ["text"]},
            "index": {"type": ["array", "null"], "description": "As long as `data`; it is not read."},
            "data": {"anyOf": [{"type": "array", "items": cells}, texts]},
        },
        optional=("index",),
    )
    flag = {"type": "boolean"}
    params = _object({"data_capture": flag, "explain": flag}, optional=("data_capture", "explain"))
    params |= {"type": ["object", "null"]}
    spellings: dict[str, Json] = {
        "inputs": rows,
        "instances": rows,
        "dataframe_records": records,
        "dataframe_split": split,
    }
    return {
        "Ask": {
            "description": "The messages under exactly one of four keys, and params.",
            "oneOf": [
                _object({key: value, "params": params}, optional=("params",)) for key, value in spellings.items()
            ],
        },
        "Feedback": _object({"uuid": {"type": "string", "format": "uuid"}, "label": {"enum": [SPAM, NOT_SPAM]}}),
    }


def _what_is_answered() -> dict[str, Json]:
    text, label = {"type": "string"}, {"enum": [SPAM, NOT_SPAM]}
    word = _object({name: dict(described) for name, described in WORD_PROPERTIES.items()})
    described = {name: dict(described) for name, described in PROPERTIES.items()}
    prediction = _object(described | {"explanation": {"type": "array", "items": word}}, optional=("explanation",))
    return {
        "Prediction": prediction,
        "Predictions": _object({"predictions": {"type": "array", "items": _ref("Prediction")}}),
        "Recorded": _object({"uuid": text, "label": label, "outcome": {"enum": ["recorded", "unchanged"]}}),
        "Error": _object(
            {"error_code": {"type": "string", "pattern": "^[A-Z_]+$"}, "message": text, "request_id": text}
        ),
    }


def _what_is_told() -> dict[str, Json]:
    text, whole, flag = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
    label, probability = {"enum": [SPAM, NOT_SPAM]}, {"type": "number", "minimum": 0, "maximum": 1}
    number, perhaps = {"type": "number", "minimum": 0}, {"type": ["number", "null"], "minimum": 0}
    verdict: dict[str, Json] = {
        "date": text,
        "text": text,
        "classification": label,
        "probability": probability,
        "uuid": text,
        "model_version": text,
        "captured": flag,
    }
    model: dict[str, Json] = {"model_name": text, "model_version": text, "threshold": probability}
    recent: dict[str, Json] = {
        "scope": {"const": SCOPE},
        "rows": whole,
        "rows_per_second": number,
        "spam_share": perhaps,
        "latency_ms": _object({"p50": perhaps, "p99": perhaps}),
        "captured": text,
        "verdicts": {"type": "array", "items": _object(verdict)},
    }
    served: dict[str, Json] = {"engine": text, "since": text, "alias": text, "shadow": {"type": ["string", "null"]}}
    return {
        "Alive": _object({"status": {"const": "alive"}}),
        "Ready": _object({"ready": flag, "model": flag, "store": flag, "reason": text}),
        "Version": _object({"spamctl": text} | model | served),
        "Recent": _object(model | recent),
    }

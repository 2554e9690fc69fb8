"""Describe the routes that speak the wires of other programs: mail, OpenAI's chats, Akismet's comments, tensors."""

from __future__ import annotations

from typing import Any, Final

from spamctl.serving.akismet import CHECK, EXAMPLE, FIELDS, FORM, SUBMIT, THANKS, VERIFY
from spamctl.serving.completions import MODELS, ROLES
from spamctl.serving.inference_protocol import BYTES, MODEL, OUTPUTS, ROOT
from spamctl.serving.routes import MEDIA_TYPE

Json = dict[str, Any]

MAIL: Final = (
    "From: Prize Office <win@prizes.example>\nSubject: You have won\nContent-Type: text/plain\n\n"
    "Claim your $1000 voucher today: http://prizes.example/claim\n"
)
ERRORS: Final = (408, 413, 415, 429, 503, 504)
_TEXT: Final[Json] = {"type": "string"}
_MODEL_NAME: Final[Json] = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The registered model's name.",
    "schema": _TEXT,
    "example": "spam",
}
_REPLIES: Final = (
    "`spamctl` answers three lines (score, reason, categories), `spamctl-json` an object of `probability` and "
    "`reason`, `spamctl-score100` a whole number from 0 to 100."
)


def operations() -> dict[str, tuple[str, Json]]:
    """Return, by path, the method and what is said of an operation; the caller adds what all operations share."""
    return {
        "/mail": ("post", _mail()),
        "/v1/chat/completions": ("post", _chat()),
        "/v1/models": ("get", _models()),
        VERIFY: ("post", _verify()),
        CHECK: ("post", _check()),
        **{path: ("post", _submit(path)) for path in SUBMIT},
        ROOT: ("get", _inference_get("inferenceServer", "Which server is it?", "InferenceServer", ())),
        f"{ROOT}/health/live": ("get", _inference_get("inferenceLive", "Is it alive?", "InferenceLive", ())),
        f"{ROOT}/health/ready": ("get", _inference_get("inferenceReady", "Can it answer?", "InferenceReady", (503,))),
        MODEL: ("get", _inference_get("inferenceModel", "What does the model take?", "InferenceModel", (404,))),
        f"{MODEL}/ready": (
            "get",
            _inference_get("inferenceModelReady", "Can the model answer?", "InferenceModelReady", (404, 503)),
        ),
        f"{MODEL}/infer": ("post", _infer()),
    }


def schemas() -> dict[str, Json]:
    """Return the schemas that these operations name."""
    return {
        "Chat": _chat_schema(),
        "Completion": _completion(),
        "Models": _object({"object": {"const": "list"}, "data": {"type": "array", "items": _model()}}),
        "OpenAiError": _object(
            {"error": _object({"message": _TEXT, "type": _TEXT, "param": {"type": "null"}, "code": _TEXT})}
        ),
        "Mail": _read_mail(),
        **_inference_schemas(),
    }


def _mail() -> Json:
    params = ("data_capture", "false keeps nothing."), ("explain", "true adds the words that moved the verdict.")
    return {
        "name": "mail",
        "summary": "Classify a mail",
        "description": "Takes a mail as it was received, headers and all, reads it as training does, and tells what "
        "was read: `curl --data-binary @message.eml` sends one.",
        "answer": {"description": "The verdict.", "content": {"application/json": {"schema": _ref("Mail")}}},
        "errors": ERRORS,
        "parameters": [
            {"name": name, "in": "query", "description": words, "schema": {"type": "boolean"}} for name, words in params
        ],
        "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {}, "example": MAIL}}},
    }


def _chat() -> Json:
    example = {"model": "spamctl", "messages": [{"role": "user", "content": "You have won, claim it today."}]}
    return {
        "name": "chat",
        "summary": "Classify as a language model would",
        "description": f"OpenAI's chat completions, for programs that ask a language model. {_REPLIES} The score is "
        "above one half, and the number above 50, for spam alone. The user's messages are one mail; instructions are "
        "not read. `stream` and more than one reply are refused; `store: false` keeps nothing; `max_tokens` and all "
        "other settings change nothing. The body may be in gzip; errors have OpenAI's form.",
        "answer": {"description": "The reply.", "content": {"application/json": {"schema": _ref("Completion")}}},
        "errors": (404, *ERRORS),
        "error": "OpenAiError",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Chat"), "example": example}},
        },
    }


def _models() -> Json:
    return {
        "name": "models",
        "summary": "Which names are there?",
        "description": "Lists the names that choose the form of a reply, as OpenAI lists models.",
        "answer": {"description": "The names.", "content": {"application/json": {"schema": _ref("Models")}}},
        "errors": (),
        "error": "OpenAiError",
    }


def _verify() -> Json:
    return _akismet(
        "akismetVerify",
        "Is this key valid?",
        "Akismet's call: answers `valid` if `api_key` is the server's token, else `invalid`; without a token every key "
        "is valid.",
        ["valid", "invalid"],
        {"type": "object", "additionalProperties": _TEXT},
        (408, 413, 415, 429),
    )


def _check() -> Json:
    return _akismet(
        "akismetCheck",
        "Is this comment spam?",
        "Akismet's call: answers `true` or `false`, or `invalid` for a wrong `api_key`. Reads the content, the author "
        "and the author's address; `is_test` keeps nothing.",
        ["true", "false", "invalid"],
        _comment(),
        ERRORS,
    )


def _submit(path: str) -> Json:
    ham = path.endswith("ham")
    return _akismet(
        "akismetHam" if ham else "akismetSpam",
        f"Say that a comment was {'no ' if ham else ''}spam",
        "Akismet's call: labels the comment that was checked, or stores and labels one that was not; `is_test` learns "
        "nothing.",
        [THANKS, "invalid"],
        _comment(),
        (404, *ERRORS),
    )


def _akismet(
    name: str, summary: str, description: str, answers: list[str], form: Json, errors: tuple[int, ...]
) -> Json:
    media = {FORM: {"schema": form, "example": {"api_key": "TOKEN", "comment_content": "Nice post, see my shop."}}}
    answer = {"text/plain": {"schema": {"enum": answers}}}
    return {
        "name": name,
        "summary": summary,
        "description": description,
        "answer": {"description": "The answer, in a word.", "content": answer},
        "errors": errors,
        "requestBody": {"required": True, "content": media},
    }


def _comment() -> Json:
    """Describe a form that has at least one of the fields that are read; all others are let pass."""
    fields = dict.fromkeys(FIELDS, _TEXT)
    form = {"type": "object", "properties": fields, "additionalProperties": _TEXT}
    return {"description": EXAMPLE, "anyOf": [form | {"required": [name]} for name in FIELDS]}


def _chat_schema() -> Json:
    part = {"type": "object", "properties": {"type": {"const": "text"}, "text": _TEXT}, "required": ["type", "text"]}
    content = {"anyOf": [_TEXT, {"type": "array", "items": part}]}
    user = {"type": "object", "properties": {"role": {"const": "user"}, "content": content}}
    other = {"type": "object", "properties": {"role": {"enum": list(ROLES)}}, "required": ["role"]}
    messages = {
        "type": "array",
        "items": {"anyOf": [user | {"required": ["role", "content"]}, other]},
        "minItems": 1,
        "description": "At least one is the user's.",
    }
    return {
        "type": "object",
        "properties": {
            "model": {"enum": list(MODELS)},
            "messages": messages,
            "stream": {"enum": [False, None]},
            "n": {"enum": [1, None]},
            "store": {"type": ["boolean", "null"]},
        },
        "required": ["model", "messages"],
    }


def _completion() -> Json:
    whole = {"type": "integer", "minimum": 0}
    message = _object({"role": {"const": "assistant"}, "content": _TEXT, "refusal": {"type": "null"}})
    choice = _object(
        {"index": whole, "message": message, "logprobs": {"type": "null"}, "finish_reason": {"const": "stop"}}
    )
    usage = _object({"prompt_tokens": whole, "completion_tokens": whole, "total_tokens": whole})
    return _object(
        {
            "id": _TEXT,
            "object": {"const": "chat.completion"},
            "created": whole,
            "model": _TEXT,
            "system_fingerprint": _TEXT,
            "choices": {"type": "array", "items": choice, "minItems": 1, "maxItems": 1},
            "usage": usage,
            "prediction": _ref("Prediction"),
        }
    )


def _model() -> Json:
    return _object({"id": _TEXT, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": _TEXT})


def _read_mail() -> Json:
    texts = {"type": "array", "items": _TEXT}
    mail = dict.fromkeys(("text", "subject", "from_name", "from_domain", "reply_domain"), _TEXT)
    mail |= {"hosts": texts, "attachments": texts, "hidden": {"type": "integer", "minimum": 0}, "notes": texts}
    return _object({"prediction": _ref("Prediction"), "mail": _object(mail)})


def _inference_get(name: str, summary: str, schema: str, errors: tuple[int, ...]) -> Json:
    told = {
        "name": name,
        "summary": summary,
        "description": "Open Inference Protocol, version 2.",
        "answer": {"description": "The answer.", "content": {"application/json": {"schema": _ref(schema)}}},
        "errors": errors,
        "error": "InferenceError",
    }
    told |= {"unready": schema} if 503 in errors else {}  # noqa: PLR2004 - told in the form of what is ready
    return told | ({"parameters": [_MODEL_NAME]} if 404 in errors else {})  # noqa: PLR2004 - no such model


def _infer() -> Json:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["You have won, claim it today."]}
    return {
        "name": "inferenceInfer",
        "summary": "Classify messages as KServe's clients ask",
        "description": "Open Inference Protocol, version 2: one input, `text`, and an output for each field of a "
        "prediction. Tensors are JSON, not binary data; the body may be in gzip.",
        "answer": {"description": "Verdicts.", "content": {"application/json": {"schema": _ref("Inferred")}}},
        "errors": (404, *ERRORS),
        "error": "InferenceError",
        "parameters": [_MODEL_NAME],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Inference"), "example": {"inputs": [tensor]}}},
        },
    }


def _inference_schemas() -> dict[str, Json]:
    shape = {"type": "array", "items": {"type": "integer"}, "maxItems": 2}
    described = _object({"name": _TEXT, "datatype": _TEXT, "shape": shape})
    tensors = {"type": "array", "items": described}
    tensor = _object({"name": {"enum": [*OUTPUTS]}, "datatype": _TEXT, "shape": shape, "data": {"type": "array"}})
    flag = {"type": "boolean"}
    return {
        "Inference": _inference(),
        "Inferred": _object(
            {
                "model_name": _TEXT,
                "model_version": _TEXT,
                "id": _TEXT,
                "outputs": {"type": "array", "items": tensor},
            }
        ),
        "InferenceServer": _object({"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}}),
        "InferenceLive": _object({"live": flag}),
        "InferenceReady": _object({"ready": flag}),
        "InferenceModelReady": _object({"name": _TEXT, "ready": flag}),
        "InferenceModel": _object(
            {
                "name": _TEXT,
                "versions": {"type": "array", "items": _TEXT},
                "platform": _TEXT,
                "inputs": tensors,
                "outputs": tensors,
            }
        ),
        "InferenceError": _object({"error": _TEXT, "error_code": _TEXT, "message": _TEXT, "request_id": _TEXT}),
    }


def _inference() -> Json:
    """Describe a request; that a tensor has as many texts as its shape says, JSON schema has no words for."""
    nothing: Json = {"type": ["object", "null"], "properties": {}, "additionalProperties": False}
    length: Json = {"type": "integer", "minimum": 0}
    tensor = {
        "type": "object",
        "properties": {
            "name": {"const": "text"},
            "shape": {
                "type": "array",
                "items": length,
                "minItems": 1,
                "maxItems": 1,
                "description": "[N], or [N, 1], for N texts.",
            },
            "datatype": {"const": BYTES},
            "parameters": nothing,
            "data": {"type": "array", "items": _TEXT, "description": "The texts."},
        },
        "required": ["name", "shape", "datatype", "data"],
        "additionalProperties": False,
    }
    output = {"type": "object", "properties": {"name": {"enum": [*OUTPUTS]}, "parameters": nothing}}
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"], "maxLength": 128},
            "model_name": {"type": ["string", "null"], "description": "As in the path."},
            "parameters": nothing | {"properties": {"data_capture": {"type": ["boolean", "null"]}}},
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {
                "type": ["array", "null"],
                "items": output | {"required": ["name"], "additionalProperties": False},
                "description": "The outputs that are wanted; all of them if none is named.",
            },
        },
        "required": ["inputs"],
        "additionalProperties": False,
    }


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}

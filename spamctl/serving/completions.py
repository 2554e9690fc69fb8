"""Answer OpenAI's chat completions, for mail filters and add-ons that ask a language model whether a mail is spam."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spamctl.data.mail import parse_mail
from spamctl.schema.message import SPAM, WordPush
from spamctl.serving.access import WRONG_VALUE, Refusal, quoted
from spamctl.serving.protocol import Intake, ScoringRequest, kind, read_object
from spamctl.serving.routes import Arrival, Classified, Classifier
from spamctl.serving.state import Service

SOURCE: Final = "openai"
UNKNOWN_MODEL: Final = "MODEL_NOT_FOUND"
EXAMPLE: Final = 'send {"model": "spamctl", "messages": [{"role": "user", "content": "..."}]}'
ROLES: Final = ("system", "developer", "assistant", "tool", "function")  # beside user: instructions, never classified
MOST_VALUES = 10_000

_REASON_VARIANTS = 12  # each is scored as a message is
_REASON_WORDS = 4
_LEAST_PUSH = 0.05  # log-odds
_LONGEST_WORD = 24
_SAFE_MARKS = frozenset(" .,:;!?@/%+-_'€$£#&()=*")
_LEAST, _MOST = 1e-6, 1 - 1e-6
_SURE = 1e-4  # by which a score is above or below a half

# What rspamd's plugin writes before the text of a mail, each as a message of its own.
_SUBJECT, _FROM, _HOSTS = "Subject: ", "From: ", "Url domains: "
_NAMELESS, _NOBODY = "From: nil ", "From: nil <nil>"  # as it writes what a mail does not tell


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict as the replies need it."""

    score: float  # above one half if the verdict is spam, and only then
    reason: str
    categories: tuple[str, ...]


def _three_lines(told: Told) -> str:
    return f"{told.score:.4f}\n{told.reason}\n{','.join(told.categories)}"


def _as_json(told: Told) -> str:
    return json.dumps({"probability": round(told.score, 4), "reason": told.reason})


def _of_a_hundred(told: Told) -> str:
    """Write a whole number that is above 50 for spam, and below it for the rest."""
    return str(max(51, round(100 * told.score)) if told.score > 1 / 2 else min(49, round(100 * told.score)))


MODELS: Final[Mapping[str, Callable[[Told], str]]] = {
    "spamctl": _three_lines,
    "spamctl-json": _as_json,
    "spamctl-score100": _of_a_hundred,
}


class Completions:
    """Route that classifies the user's messages of a chat as one mail; the model's name chooses the reply's form.

    Instructions never reach the classifier, whatever they ask for. `max_tokens` and the settings of a sampler are
    ignored: the reply is short, whole and always the same.
    """

    def __init__(self, service: Service, intake: Intake) -> None:
        self._service = service
        self._intake = intake
        self._classifier = Classifier(service)

    async def __call__(self, request: Request) -> Response:
        """Answer one request; raise Refusal if it cannot be."""
        arrival = Arrival(request.state.request_id, SOURCE)
        self._classifier.refuse_overload()
        async with self._intake.body(request, gunzip=True) as body:
            with self._classifier.slot(), self._service.deployments.hold() as deployment:
                model, ask = read(request.headers.get("content-type"), body)
                ask = replace(ask, explain_within_s=self._service.limits.reason_s)
                classified = await self._classifier.classify(ask, arrival)
                content = MODELS[model](_told(classified, deployment.threshold))
                answered = deployment.count_tokens(content)
        return JSONResponse(_completion(model, content, classified, answered))


def list_models(service: Service) -> Response:
    """Return the names that choose the form of a reply, as OpenAI lists models."""
    created = int(service.deployments.current.since.timestamp())
    models = [{"id": name, "object": "model", "created": created, "owned_by": "spamctl"} for name in MODELS]
    return JSONResponse({"object": "list", "data": models})


def read(content_type: str | None, body: bytes) -> tuple[str, ScoringRequest]:
    """Return the model that a request names, and its user's messages as one mail to classify.

    Raises Refusal: 415 for another media type, 404 for an unknown model, 400 for anything else that is not understood.
    """
    asked = read_object(content_type, body, most_values=MOST_VALUES, example=EXAMPLE, numbers=True)
    model = asked.get("model")
    if not isinstance(model, str):
        raise _wrong(f"model holds {kind(model)}: {EXAMPLE}")
    if model not in MODELS:
        raise Refusal(404, UNKNOWN_MODEL, f"there is no model {quoted(model)}: use {', '.join(MODELS)}")
    stream, number, store = (asked.get(name) for name in ("stream", "n", "store"))
    if not (stream is None or stream is False):
        raise _wrong("stream: a reply comes in one piece here; leave stream out, or send false")
    if not (number is None or (number == 1 and not isinstance(number, bool))):
        raise _wrong("n: one reply is made of a request; leave n out, or send 1")
    if not (store is None or isinstance(store, bool)):
        raise _wrong("store: send false to keep nothing of this request, or leave it out")
    text = mail_of(_contents(asked.get("messages")))
    explain = MODELS[model] is not _of_a_hundred
    return model, ScoringRequest([text], store, explain, _REASON_VARIANTS)


def mail_of(contents: Sequence[str]) -> str:
    """Join the user's messages as a mail is read elsewhere: lines of sender and subject, a blank line, the body.

    A filter sends the subject, the sender and the hosts of links each as a message before the text, which is the last;
    of hosts a mail has no line, as they stand in its text.
    """
    *heads, body = contents
    fields = [one for one in heads if _is_line(one, _SUBJECT) or (_is_line(one, _FROM) and one != _NOBODY)]
    others = [one for one in heads if not any(_is_line(one, name) for name in (_SUBJECT, _FROM, _HOSTS))]
    head = _head(fields)
    return "\n\n".join([*([head] if head else []), *others, body])


def score(probability: float, threshold: float, *, is_spam: bool) -> float:
    """Return a number in (0, 1) that is above one half if the verdict is spam, and only then.

    Clients of this wire decide at one half, the filter at its threshold: the log-odds are shifted by the threshold's.
    """
    odds = _log_odds(probability) - _log_odds(threshold)
    shifted = 1 / (1 + math.exp(-odds))
    return max(shifted, 1 / 2 + _SURE) if is_spam else min(shifted, 1 / 2 - _SURE)


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, _LEAST), _MOST)
    return math.log(bounded / (1 - bounded))


def _head(fields: Sequence[str]) -> str:
    """Return the lines of a mail's head as its parser writes them: without what another filter put before a subject."""
    lines = "\n".join(one.strip().replace(_NAMELESS, _FROM, 1) for one in fields)
    mail = parse_mail(f"{lines}\n\nbody".encode("utf-8", "replace"))  # one without a body has no head either
    return mail.text.rpartition("\n\n")[0]


def _is_line(content: str, name: str) -> bool:
    return content.startswith(name) and "\n" not in content.strip()


def _contents(messages: Any) -> list[str]:
    """Return the texts of the user's messages."""
    if not isinstance(messages, list) or not messages:
        raise _wrong(f"messages holds {kind(messages) if messages else 'nothing'}: {EXAMPLE}")
    contents = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role == "user":
            contents.append(_content(message.get("content"), f"{where}.content"))
        elif role not in ROLES:
            raise _wrong(f"{where}.role is not user, {', '.join(ROLES)}: {EXAMPLE}")
    if not contents:
        raise _wrong(f"messages: none has the role user, so there is nothing to classify: {EXAMPLE}")
    return contents


def _content(content: Any, where: str) -> str:
    """Return the text of one message, which may come in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(f"{where} holds {kind(content)}: send text")
    for part in content:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise _wrong(f'{where} has a part that is not text: send {{"type": "text", "text": "..."}} alone')
    return "".join(part["text"] for part in content)


def _told(classified: Classified, threshold: float) -> Told:
    """Return a verdict with its reason, and what is known of it beyond its label."""
    (prediction,) = classified.predictions()
    is_spam, probability = prediction.classification == SPAM, prediction.probability
    categories = ("spam" if is_spam else "not_spam", *([] if prediction.in_reach else ["out_of_reach"]))
    reason = f"probability of spam {probability:.4f}, spam from {threshold:.4f}"
    if not prediction.in_reach:
        reason += "; unlike the training data"
    if words := _strongest(prediction.explanation or ()):
        reason += f"; words: {words}"
    return Told(score(probability, threshold, is_spam=is_spam), reason, categories)


def _strongest(explanation: Sequence[WordPush]) -> str:
    """Return the words that push most, each with its push in log-odds of spam."""
    ranked = sorted(explanation, key=lambda row: -abs(row.push))[:_REASON_WORDS]
    named = [(_harmless(row.word), row.push) for row in ranked if abs(row.push) >= _LEAST_PUSH]
    return ", ".join(f"{word} {push:+.2f}" for word, push in named if word)


def _harmless(word: str) -> str:
    """Keep of a word letters, digits and plain marks.

    Clients search replies for JSON and for tags: a message must not be able to smuggle a verdict of its own into one.
    """
    kept = "".join(letter if letter.isalnum() or letter in _SAFE_MARKS else " " for letter in word[:_LONGEST_WORD])
    return " ".join(kept.split())


def _completion(model: str, content: str, classified: Classified, answered: int) -> dict[str, Any]:
    """Write the reply as OpenAI does, and the prediction beside it, whose uuid POST /feedback takes."""
    (prediction,), (scored,) = classified.predictions(), classified.answered.scores
    release = classified.answered.deployment.release
    return {
        "id": f"chatcmpl-{prediction.uuid}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": f"{release.name}-{prediction.model_version}",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": scored.tokens,
            "completion_tokens": answered,
            "total_tokens": scored.tokens + answered,
        },
        "prediction": prediction._replace(explanation=None).to_wire(),
    }


def _wrong(message: str) -> Refusal:
    return Refusal(400, WRONG_VALUE, message)

"""Write a prediction to the wire, read it from there, and describe it: MLflow's scoring protocol, in one place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Final, NamedTuple

from spamctl.schema.codec import JsonObject, to_json
from spamctl.schema.message import NOT_SPAM, SPAM, Label, canonical_uuid

_LABEL: Final = MappingProxyType({"enum": [SPAM, NOT_SPAM]})
_TEXT, _FLAG = MappingProxyType({"type": "string"}), MappingProxyType({"type": "boolean"})
_REACH = "Whether the message is like any that the model was trained on."
# The JSON schema of each key of a prediction, `explanation` alone being optional, and of each word of an explanation.
PROPERTIES: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "classification": _LABEL,
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "uuid": {"type": "string", "format": "uuid"},
        "model_version": _TEXT,
        "captured": _FLAG,
        "truncated": _FLAG,
        "in_reach": {"type": "boolean", "description": _REACH},
    }
)
WORD_PROPERTIES: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "word": _TEXT,
        "start": {"type": "integer", "minimum": 0},
        "end": {"type": "integer", "minimum": 0},
        "push": {"type": "number"},
    }
)


@dataclass(frozen=True, slots=True)
class WordPush:
    """A word, its characters [start, end) of the message, and its push in log-odds, above 0 towards spam."""

    word: str
    start: int
    end: int
    push: float


class Prediction(NamedTuple):
    """Answer to one message: `probability` is of spam in [0, 1], `captured` says that it is in the database.

    `truncated` text was cut before it was scored; `in_reach` is False for a message unlike all that was trained on.
    `explanation` is None where none was asked for. A named tuple, since the server makes one for each message.
    """

    classification: Label
    probability: float
    uuid: str
    model_version: str
    captured: bool
    truncated: bool = False
    in_reach: bool = True
    explanation: Sequence[WordPush] | None = None

    def to_wire(self) -> JsonObject:
        """Return the prediction as an object of plain JSON values."""
        told: JsonObject = {
            "classification": self.classification,
            "probability": self.probability,
            "uuid": self.uuid,
            "model_version": self.model_version,
            "captured": self.captured,
            "truncated": self.truncated,
            "in_reach": self.in_reach,
        }
        return told if self.explanation is None else told | {"explanation": list(map(to_json, self.explanation))}

    @classmethod
    def from_wire(cls, row: object) -> Prediction:
        """Read what a server answers to one message; `explanation` is not read.

        Raises ValueError, which says in a few words what strays from the wire format, and repeats nothing of it.
        """
        if not isinstance(row, Mapping):
            raise _stray("a prediction is no object")
        uuid, probability = row.get("uuid"), row.get("probability")
        if not isinstance(uuid, str) or canonical_uuid(uuid) != uuid:
            raise _stray("a prediction has no uuid")
        label, version, captured = row.get("classification"), row.get("model_version"), row.get("captured")
        if label not in (SPAM, NOT_SPAM):  # a tuple: what is compared may be a list
            raise _stray("a prediction's classification is neither spam nor not spam")
        if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise _stray("a prediction's probability is no number from 0 to 1")
        if not isinstance(version, str) or not version:
            raise _stray("a prediction names no model version")
        if not isinstance(captured, bool):
            raise _stray("a prediction does not say whether it is captured")
        flags = row.get("truncated") is True, row.get("in_reach") is not False
        return cls(label, float(probability), uuid, version, captured, *flags)


def encode(predictions: Iterable[Prediction]) -> str:
    """Return the body of an answer, to the byte as `json.dumps` writes `{"predictions": [...]}`.

    It is written by hand since the server does so for each request: half the time of a dictionary for each row.
    """
    return f'{{"predictions": [{", ".join(map(_encoded, predictions))}]}}'


def _encoded(one: Prediction) -> str:
    if one.explanation is not None:
        return json.dumps(one.to_wire())
    return (
        f'{{"classification": {quoted(one.classification)}, "probability": {float.__repr__(one.probability)}, '
        f'"uuid": {quoted(one.uuid)}, "model_version": {quoted(one.model_version)}, '
        f'"captured": {_FLAGS[one.captured]}, "truncated": {_FLAGS[one.truncated]}, '
        f'"in_reach": {_FLAGS[one.in_reach]}}}'
    )


_FLAGS = ("false", "true")


def _stray(words: str) -> ValueError:
    return ValueError(words)

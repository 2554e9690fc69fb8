"""Define the nouns that all rooms share: messages, verdicts, labels with their sources, and predictions on the wire."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from spamctl.errors import DataError
from spamctl.schema.codec import ABSENT, JsonObject, to_json

# Define the nouns that all rooms share: Label, Message, Verdict, and the canonical form of an answer's uuid.

Label = Literal["spam", "not spam"]
OutOfReach = Literal["deliver", "judge"]  # what becomes of a message unlike all that was trained on

SPAM: Final = "spam"
NOT_SPAM: Final = "not spam"

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a message beside its text and its label; an empty string where nothing is.

    A kind of spam and its honest twin (a parcel-fee scam and a parcel notice) are one family: what a filter does on
    unseen kinds is measured by holding families out whole. `border` marks rows written near the border between the
    labels: they teach, but they set no threshold, since nobody receives them at that rate.

    Mails of one `thread` (a conversation, or all of a mailing list) stay on one side of the split. `received` is when a
    message came, as seconds since 1970 in decimal digits, so that the newest ones can be kept for the test.
    """

    dataset: str = ""
    kind: str = ""
    family: str = ""
    medium: str = ""
    language: str = ""
    border: bool = False
    thread: str = ""
    received: str = ""


UNKNOWN: Final = Traits()


@dataclass(frozen=True, slots=True)
class Message:
    """One labelled message; `text` is hostile until it is escaped. Two are equal if text and label are."""

    text: str
    label: Label
    traits: Traits = field(default=UNKNOWN, compare=False)

    @property
    def is_spam(self) -> bool:
        """Return whether the message is labelled spam."""
        return self.label == SPAM


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer of the filter: a label, its calibrated probability of spam in [0, 1], and whether text was cut.

    `in_reach` is False for a message unlike all that was trained on. Where such are delivered, its label is `not spam`
    whatever its probability, which stays what the experts say.
    """

    classification: Label
    probability: float
    truncated: bool
    in_reach: bool


def canonical_uuid(value: str) -> str | None:
    """Return a uuid in the one form in which it is stored, or None if it is none."""
    if _CANONICAL.fullmatch(value):
        return value
    import uuid  # nearly all are in that form already, and most commands meet none

    try:
        return str(uuid.UUID(value))
    except ValueError:
        return None


# Define the three parts of a corpus, and pass messages between steps as plain rows.


@dataclass(frozen=True, slots=True)
class Split:
    """Training, validation and test part."""

    train: tuple[Message, ...]
    validation: tuple[Message, ...]
    test: tuple[Message, ...]


def to_rows(messages: Iterable[Message]) -> list[list[str]]:
    """Return messages as plain [text, label] rows."""
    return [[message.text, message.label] for message in messages]


def to_traits(messages: Iterable[Message]) -> list[list[str | bool]]:
    """Return the traits of messages as plain rows, for a step to pass on beside `to_rows`."""
    return [list(astuple(message.traits)) for message in messages]


def from_rows(rows: Iterable[list[str]], traits: Sequence[Sequence[str | bool]] = ()) -> tuple[Message, ...]:
    """Return the messages of plain [text, label] rows, with the traits that `to_traits` wrote if they are given."""
    labels: dict[str, Label] = {SPAM: SPAM, NOT_SPAM: NOT_SPAM}
    plain = tuple(rows)
    known = [Traits(*one) for one in traits] if traits else [UNKNOWN] * len(plain)  # type: ignore[arg-type]
    return tuple(Message(text, labels[label], about) for (text, label), about in zip(plain, known, strict=True))


def digest(messages: Iterable[Message]) -> str:
    """Return the sha256 of a set of messages, whatever their order."""
    whole = hashlib.sha256()
    for line in sorted(json.dumps(row) for row in to_rows(messages)):
        whole.update(line.encode() + b"\n")
    return whole.hexdigest()


def require_frozen(test: Iterable[Message], sha256: str) -> None:
    """Refuse to go on if the test part is not, message by message, the one that was split off; raise DataError."""
    if digest(test) != sha256:
        raise DataError("the test part is not the one that was split off: its sha256 differs; begin the training anew")


# Define labels, their sources, and the result of a labelling.

LabelSource = Literal["oracle", "file", "review", "user", "simulated"]
Action = Literal["predictions", "truth", "file", "review", "export"]

ORACLE: Final = "oracle"  # the truth that traffic kept
FILE: Final = "file"
REVIEW: Final = "review"  # a person at the terminal
USER: Final = "user"  # whoever sent POST /feedback
SIMULATED: Final = "simulated"  # made from the verdict itself: agreement with it, and never accuracy
SOURCES: Final[tuple[LabelSource, ...]] = (ORACLE, FILE, REVIEW, USER, SIMULATED)


def is_trusted(label: str | None, source: str | None) -> bool:
    """Return whether a label may measure quality: there is one, and it was not simulated from the verdict."""
    return bool(label) and source != SIMULATED


@dataclass(frozen=True, slots=True)
class SourceTally:
    """Labels from one source, and how many equal the model's verdict."""

    source: str
    rows: int
    agreeing: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A row whose label differs from the file's."""

    uuid: str
    label: Label
    source: str
    given: Label


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two annotators on the rows that both judged; no kappa where both gave one label only."""

    first: str
    second: str
    rows: int
    agreeing: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """A message that a person is asked about, the `number`-th `of` all, with the model's verdict.

    `copies` counts further rows of the very text, `twins` near duplicates that are not asked; `words` names those
    behind the verdict, `stands` the label that the answer would replace. `in_reach` of None is unknown.
    """

    text: str
    classification: Label
    probability: float
    threshold: float
    model_version: str
    in_reach: bool | None
    number: int
    of: int
    copies: int
    twins: int
    words: str
    stands: str


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """What a person decided: questions asked and decided, rows labelled, rows that others labelled meanwhile."""

    asked: int = 0
    decided: int = 0
    labelled: int = 0
    taken: int = 0
    annotator: str = ""


@dataclass(frozen=True, slots=True)
class LabelResult:
    """Outcome of a labelling or an export: rows selected, rows without a label at first and now, labels by source.

    What an action does not count is None: `quality` and `noise` are probabilities as asked for, `known` counts rows
    whose truth was kept, and the counts from `most` on are of the labels of a file.
    """

    action: Action
    store: str
    rows: int
    found: int
    left: int = 0
    sources: tuple[SourceTally, ...] = ()
    labelled: int = 0
    quality: float | None = field(default=None, metadata=ABSENT)
    known: int | None = field(default=None, metadata=ABSENT)
    noise: float | None = field(default=None, metadata=ABSENT)
    file: str | None = field(default=None, metadata=ABSENT)
    most: int | None = field(default=None, metadata=ABSENT)
    overwrite: bool | None = field(default=None, metadata=ABSENT)
    replaced: int | None = field(default=None, metadata=ABSENT)
    standing: int | None = field(default=None, metadata=ABSENT)
    conflicts: int | None = field(default=None, metadata=ABSENT)
    unknown: int | None = field(default=None, metadata=ABSENT)
    first_conflicts: tuple[Conflict, ...] | None = field(default=None, metadata=ABSENT)
    first_unknown: tuple[str, ...] | None = field(default=None, metadata=ABSENT)
    agreements: tuple[Agreement, ...] | None = field(default=None, metadata=ABSENT)
    exported: int | None = field(default=None, metadata=ABSENT)
    review: ReviewCounts | None = field(default=None, metadata=ABSENT)


# Write a prediction to the wire, read it from there, and describe it: MLflow's scoring protocol, in one place.

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

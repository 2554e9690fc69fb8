"""Split labelled answers for a training, and balance the surface patterns of one class."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from spamctl.data.cleaning import UNSEEN, clean, key_hash, seen_key
from spamctl.data.corpus import training_weights
from spamctl.data.split import in_hash_order, position
from spamctl.schema.message import NOT_SPAM, SPAM, Label, Message, Split
from spamctl.schema.train import Side

# Find surface patterns that occur with one class only, and balance them.
#
# Spam in look-alike letters, learnt without a good message in such letters, teaches that the letters are spam.

PLAIN: Final = "in plain letters"
ACCENTED: Final = "in accented letters"
FOREIGN: Final = "in letters of other alphabets"
LINKED: Final = "with a link"
# Where there are no honest messages in Cyrillic, those in accented letters say at least that no letter is a proof.
_KIN: Final = {FOREIGN: frozenset({FOREIGN, ACCENTED})}
_LINK = re.compile(
    r"https?://|www\.|\b[a-z0-9-]{1,63}\.(?:com|net|org|info|biz|tv|mobi|io|ly|co|uk|me|app)\b", re.IGNORECASE
)
_LEAST = 5  # answers of a look: fewer teach little
_ONE_SIDED = 0.05  # of a look's answers: fewer of the other class are none


def looks(text: str) -> frozenset[str]:
    """Return how a message looks to the model, which reads neither dressed letters nor characters without width."""
    letters = PLAIN
    if not text.isascii():
        text = unicodedata.normalize("NFKC", UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
        alphabets = {_alphabet(char) for char in text if not char.isascii() and char.isalpha()}
        letters = FOREIGN if alphabets - {"LATIN"} else ACCENTED if alphabets else PLAIN
    return frozenset({letters, LINKED}) if _LINK.search(text) else frozenset({letters})


def pattern_sides(answers: Sequence[Message], known: Sequence[Message], weight: float) -> tuple[Side, ...]:
    """Return the looks of which `answers` are of one class, each to count for `weight` of the dataset (`known`).

    Either side of a look shall weigh as much as the other: its counterparts in the dataset are raised, each to no more
    than an answer counts, and what is then missing is taken off the answers, each of which counts as one at least.
    """
    learnt, there = _counted(answers), _counted(known)
    found = []
    for name in sorted(learnt):
        (label, rows), *others = learnt[name].most_common()
        if rows >= _LEAST and sum(count for _, count in others) < _ONE_SIDED * rows:
            other: Label = NOT_SPAM if label == SPAM else SPAM
            counterparts = sum(there[kin][other] for kin in _KIN.get(name, {name}))
            raised = min(max(1.0, weight), max(1.0, weight * rows / counterparts)) if counterparts else 1.0
            lowered = min(weight, max(1.0, raised * counterparts / rows))
            new = weight * rows > there[name][label]
            found.append(Side(name, label, rows, counterparts, lowered, raised, new))
    return tuple(found)


def evened(message: Message, found: Iterable[Side], weight: float, *, answer: bool) -> float:
    """Return how much a message counts: an answer the least, a row of the dataset the most that its looks ask for."""
    its = looks(message.text)
    if answer:
        lowered = (side.answer_weight for side in found if side.look in its and side.label == message.label)
        return min(lowered, default=weight)
    raised = (
        side.counterpart_weight
        for side in found
        if side.other == message.label and its & _KIN.get(side.look, frozenset({side.look}))
    )
    return max(raised, default=1.0)


def _counted(messages: Iterable[Message]) -> defaultdict[str, Counter[Label]]:
    """Count messages by look and label."""
    found: defaultdict[str, Counter[Label]] = defaultdict(Counter)
    for message in messages:
        for name in looks(message.text):
            found[name][message.label] += 1
    return found


@lru_cache(maxsize=4096)
def _alphabet(letter: str) -> str:
    """Return the alphabet of a letter, by the first word of its Unicode name."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


_VALIDATION_FROM = 7 / 8  # training to validation is 70 to 10 here too; nothing of it is tested with the frozen part


@dataclass(frozen=True, slots=True)
class Answer:
    """A labelled answer of a server: the source of the label, and what the model had predicted."""

    uuid: str
    date: datetime
    text: str
    label: Label
    source: str
    probability: float
    called_spam: bool

    @property
    def message(self) -> Message:
        """Return what is learnt from."""
        return Message(self.text, self.label)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Labelled answers by part of a training; the newest are held out for the comparison."""

    train: tuple[Answer, ...]
    validation: tuple[Answer, ...]
    recent: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Intake:
    """How labelled answers are taken: the share held out as recent, and what is left out.

    `doubts` returns the places of probably wrong labels among answers, beside the messages that are known to be right.
    `learnt_until` is when a version, which is not trained again, took labelled answers last: what it may have learnt of
    them is left out too.
    """

    recent_share: float
    is_forgotten: Callable[[str], bool]
    doubts: Callable[[Sequence[Answer], Sequence[Message]], Sequence[int]]
    learnt_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TakenAnswers:
    """Labelled answers that count, by part, of all `rows` that were read; the doubtful ones stand apart."""

    parts: Feedback
    rows: int
    left_out: dict[str, int]
    doubtful: tuple[Answer, ...]

    @property
    def every(self) -> tuple[Answer, ...]:
        """Return the answers of all parts."""
        return (*self.parts.train, *self.parts.validation, *self.parts.recent)

    @property
    def doubt(self) -> float:
        """Return the share of doubtful labels among those that would be learnt from or chosen by."""
        judged = len(self.parts.train) + len(self.parts.validation) + len(self.doubtful)
        return len(self.doubtful) / judged if judged else 0.0

    @property
    def sha256(self) -> str:
        """Return the digest of what a training takes from a store."""
        whole = hashlib.sha256()
        for line in sorted(json.dumps([answer.uuid, answer.text, answer.label]) for answer in self.every):
            whole.update(line.encode() + b"\n")
        return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Parts of a training with labelled answers in them, how much each message of its training part counts, and why.

    Without any weight all count the same. `one_sided` are the looks whose answers are of one class.
    """

    parts: Split
    weights: tuple[float, ...]
    taken: TakenAnswers
    one_sided: tuple[Side, ...]


def build_training_set(rows: Sequence[Answer], frozen: Split, intake: Intake, weight: float) -> TrainingSet:
    """Add labelled answers to a frozen split, each to count for `weight` of its messages.

    The test part stays the very one. Rows go through four steps, in this order: those that cannot count are left out,
    the newest are held out, doubtful labels of the others are set aside, and looks of one class are balanced.
    """
    taken = take(rows, frozen, intake)
    found = pattern_sides([answer.message for answer in taken.parts.train], frozen.train, weight)
    merged = merge(frozen, taken.parts)
    answered = weights(merged, taken.parts, weight, found)
    return TrainingSet(merged, training_weights(merged.train, answered), taken, found)


def take(rows: Sequence[Answer], frozen: Split, intake: Intake) -> TakenAnswers:
    """Return the labelled answers that count, divided, and set doubtful labels apart.

    Only labels that would be learnt from or chosen by are doubted: what is held out judges as it is.
    """
    kept, left_out = distinct(rows, frozen, intake.is_forgotten)
    if intake.learnt_until is not None:
        new = not_learnt(kept, intake.learnt_until)
        left_out |= {"learnt by the version itself": len(kept) - len(new)} if len(new) < len(kept) else {}
        kept = new
    carved = carve(kept, intake.recent_share)
    older = [*carved.train, *carved.validation]
    doubtful = tuple(older[place] for place in intake.doubts(older, frozen.train))
    uuids = {answer.uuid for answer in doubtful}
    train, validation = (
        tuple(answer for answer in part if answer.uuid not in uuids) for part in (carved.train, carved.validation)
    )
    return TakenAnswers(Feedback(train, validation, carved.recent), len(rows), left_out, doubtful)


def distinct(
    answers: Iterable[Answer], frozen: Split, is_forgotten: Callable[[str], bool]
) -> tuple[list[Answer], dict[str, int]]:
    """Return the newest answer of each seen key, the oldest first, texts cleaned, and counts of what was left out.

    Left out is what has no text, what was forgotten, what is in any part of the frozen split or is a near duplicate of
    it, and what carries both labels: nobody knows its truth.
    """
    frozen_keys = {
        seen_key(message.text) for part in (frozen.train, frozen.validation, frozen.test) for message in part
    }
    left_out: Counter[str] = Counter()
    groups: dict[str, list[Answer]] = {}
    for answer in sorted(answers, key=lambda one: (one.date, one.uuid)):
        text = clean(answer.text)
        key = seen_key(text)
        if not text.strip():
            left_out["without text"] += 1
        elif is_forgotten(text):
            left_out["forgotten"] += 1
        elif key in frozen_keys:
            left_out["known from the dataset"] += 1
        else:
            groups.setdefault(key, []).append(replace(answer, text=text))
    kept = []
    for group in groups.values():
        disputed = len({answer.label for answer in group}) > 1
        left_out["with both labels"] += len(group) * disputed
        left_out["near duplicates"] += (len(group) - 1) * (not disputed)
        kept += [] if disputed else group[-1:]
    kept.sort(key=lambda one: (one.date, one.uuid))
    return kept, {reason: count for reason, count in left_out.items() if count}


def carve(answers: Sequence[Answer], recent_share: float) -> Feedback:
    """Keep the newest share of answers out, and split the others, oldest first, 70 to 10 by their hash.

    A part of them validates, as in the frozen split: a threshold and a calibration that never saw today's messages
    would promise a rate of false positives for yesterday's. By its hash a row that validates does so in each later
    training, and never becomes one that a model has learnt from. A row that is held out now is learnt from when newer
    ones have come.
    """
    border = len(answers) - round(len(answers) * recent_share)
    older, recent = answers[:border], answers[border:]
    return Feedback(
        train=tuple(answer for answer in older if not _validates(answer)),
        validation=tuple(answer for answer in older if _validates(answer)),
        recent=tuple(recent),
    )


def not_learnt(answers: Iterable[Answer], until: datetime) -> list[Answer]:
    """Leave out what a training may have learnt from that took answers up to a moment: all but what validated then."""
    return [answer for answer in answers if answer.date >= until or _validates(answer)]


def _validates(answer: Answer) -> bool:
    """Return whether an answer, once it is no longer a recent one, is a validation row of each training."""
    return position(key_hash(seen_key(answer.text))) >= _VALIDATION_FROM


def merge(frozen: Split, feedback: Feedback) -> Split:
    """Add answers to what a model learns from and is chosen by; the test part stays the very one."""
    return Split(
        train=in_hash_order([*frozen.train, *(answer.message for answer in feedback.train)]),
        validation=in_hash_order([*frozen.validation, *(answer.message for answer in feedback.validation)]),
        test=frozen.test,
    )


def weights(merged: Split, feedback: Feedback, weight: float, found: Sequence[Side] = ()) -> tuple[float, ...]:
    """Return how much each row of the merged training part counts: `weight` if it was an answer, else 1.

    Rows of a look whose answers are of one class (`found`) count as much as evens them out.
    """
    answered = {answer.text for answer in feedback.train}
    return tuple(evened(message, found, weight, answer=message.text in answered) for message in merged.train)


def without(split: Split, is_forgotten: Callable[[str], bool]) -> tuple[Split, int]:
    """Leave forgotten messages out of every part, and count them; all others stay where they were."""
    parts = [
        tuple(message for message in part if not is_forgotten(message.text))
        for part in (split.train, split.validation, split.test)
    ]
    before = sum(map(len, (split.train, split.validation, split.test)))
    return Split(*parts), before - sum(map(len, parts))


def balance(answers: Sequence[Answer]) -> dict[str, int]:
    """Count answers and those of them that are labelled spam."""
    return {"rows": len(answers), "spam": sum(answer.label == SPAM for answer in answers)}

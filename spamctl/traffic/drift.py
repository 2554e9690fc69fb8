"""Apply drift of known strength to messages, and assemble a day's traffic.

What is staged is the test part, and drift is what is done to a share of it:

* a kind of `TEXT_DRIFTS` rewrites the messages of the share;
* `modern` replaces `strength` of the share by modern messages with the same labels;
* `new-kinds` replaces `strength` of the share by messages of kinds that were held out whole;
* `prior` replaces `strength` of what is not spam in the share by spam: test rows that were not drawn while they last,
  then synthetic ones of the same time;
* `mixed` gives each message of the share a random kind: `modern`, or one that rewrites texts;
* `none` leaves all as it is, whatever the proportion.

So at strength 0, and with `none`, traffic follows the very distribution of the test part, and what monitoring then
reports is a false alarm. Were the share filled with synthetic messages there too, it would detect the generator.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final

from spamctl.errors import DataError
from spamctl.schema.message import SPAM, Message
from spamctl.schema.traffic import Change, Staged
from spamctl.traffic.rewrites import good_words, has_link, homoglyphs, leet, length, rotate, vocabulary, zero_width
from spamctl.traffic.rng import SeededRandom, whole
from spamctl.traffic.synthetic import Synthetic, write

DRIFTS: Final = (
    "none",
    "vocabulary",
    "homoglyph",
    "zero-width",
    "leet",
    "good-words",
    "url-rotation",
    "length",
    "modern",
    "prior",
    "mixed",
)
NEW_KINDS: Final = "new-kinds"  # which needs messages beside the test part
TEST_PART: Final = "test part"
SYNTHETIC: Final = "synthetic"

Rewrite = Callable[[Message, SeededRandom, float], str]
TEXT_DRIFTS: Final = MappingProxyType[str, Rewrite](
    {
        "vocabulary": lambda message, dice, strength: vocabulary(message.text, message.label, dice, strength),
        "homoglyph": lambda message, dice, strength: homoglyphs(message.text, dice, strength),
        "zero-width": lambda message, dice, strength: zero_width(message.text, dice, strength),
        "leet": lambda message, dice, strength: leet(message.text, dice, strength),
        "good-words": lambda message, dice, strength: good_words(message.text, dice, strength),
        "url-rotation": lambda message, dice, strength: rotate(message.text, dice, strength),
        "length": lambda message, dice, strength: length(message.text, dice, strength),
    }
)
OF_SPAMMERS: Final = frozenset({"homoglyph", "zero-width", "leet", "good-words"})  # nobody else has a filter to fool


def drift(message: Message, kind: str, strength: float, *, seed: int, index: int) -> Message:
    """Rewrite a message by a kind of `TEXT_DRIFTS`, by `mixed` (one of them) or by `none`, and keep its label.

    `strength` 0 is the identity; what a lower strength changes, a higher one changes likewise. `index` is the message's
    place in the traffic: the same text at another place gets other lots.
    """
    if kind == "mixed":
        kind = _one_kind(message, tuple(TEXT_DRIFTS), seed, index)
    if kind == "none" or (kind in OF_SPAMMERS and not message.is_spam):
        return message
    return Message(TEXT_DRIFTS[kind](message, SeededRandom(kind, seed, index), strength), message.label)


def stream(
    real: Sequence[Message], *, samples: int, drift_type: str, strength: float, proportion: float, seed: int
) -> list[Staged]:
    """Stage exactly `samples` messages, a share `proportion` of them subject to drift, shuffled by the seed.

    Messages of the test part are drawn without repetition while they last, those of the share first. Raise DataError if
    there are none.
    """
    drawn = _drawn(real, samples, seed)
    share = 0 if drift_type == "none" else whole(proportion, samples)
    spare = _drawn(real, len(real), seed)[samples:]
    drifted = _drifted(drawn[:share], spare, drift_type, strength, seed)
    return SeededRandom("order", seed).shuffled(drifted + list(map(_untouched, drawn[share:])))


def stream_of_new_kinds(
    real: Sequence[Message], unseen: Sequence[Message], *, samples: int, strength: float, proportion: float, seed: int
) -> list[Staged]:
    """Stage exactly `samples` messages, of which a share `proportion` times `strength` is of kinds never seen.

    Each seed sends other messages of these kinds, as long as there are any: what was learnt from those of one seed is
    then no copy of those of the next. Raise DataError if no kinds were held out.
    """
    if not unseen:
        raise DataError("no kinds are held out: give --hold-out-kinds as the filter was trained with it, at least 1")
    share = whole(strength, whole(proportion, samples))
    begin = seed * share
    drawn = [unseen[place % len(unseen)] for place in range(begin, begin + share)]
    new = [Staged(one.text, one.label, TEST_PART, one.traits.kind, NEW_KINDS, strength) for one in drawn]
    return SeededRandom("order", seed).shuffled(new + list(map(_untouched, _drawn(real, samples - share, seed))))


def preview(real: Sequence[Message], *, count: int, drift_type: str, strength: float, seed: int) -> list[Change]:
    """Return up to `count` messages of the test part before and after drift, those first that it changes."""
    drawn = _drawn(real, len(real), seed)
    half = max(count, len(drawn) // 2)
    staged = _drifted(drawn[:half], drawn[half:], drift_type, strength, seed)
    changes = list(map(Change, drawn, staged))
    return sorted(
        changes, key=lambda change: change.after.origin == TEST_PART and change.after.label == change.before.label
    )[:count]


def _drawn(real: Sequence[Message], count: int, seed: int) -> list[Message]:
    """Draw `count` messages, each once before any comes again."""
    if not real:
        raise DataError("the test part holds no message: give --dataset a file with more rows")
    rounds = -(-count // len(real))
    return list(chain.from_iterable(SeededRandom("draw", seed, turn).shuffled(real) for turn in range(rounds)))[:count]


def _drifted(share: Sequence[Message], spare: Sequence[Message], kind: str, strength: float, seed: int) -> list[Staged]:
    """Put every message of the share to drift, in place."""
    if kind == "none":
        return list(map(_untouched, share))
    if kind == "modern":
        return _modern(share, strength, seed)
    if kind == "prior":
        return _prior(share, spare, strength, seed)
    if kind == "mixed":
        return [_mixed(message, strength, seed, index) for index, message in enumerate(share)]
    return [_rewritten(message, kind, strength, seed, index) for index, message in enumerate(share)]


def _untouched(message: Message, drift_type: str = "none", dose: float = 0.0) -> Staged:
    return Staged(message.text, message.label, TEST_PART, TEST_PART, drift_type, dose)


def _written(message: Synthetic, drift_type: str, dose: float) -> Staged:
    return Staged(message.text, message.label, SYNTHETIC, message.family, drift_type, dose)


def _rewritten(message: Message, kind: str, strength: float, seed: int, index: int) -> Staged:
    """Rewrite the text of a message; one that comes out as it went in is still of the test part."""
    text = drift(message, kind, strength, seed=seed, index=index).text
    origin = TEST_PART if text == message.text else SYNTHETIC
    return Staged(text, message.label, origin, TEST_PART, kind, strength)


def _modern(share: Sequence[Message], strength: float, seed: int) -> list[Staged]:
    """Replace the first messages of a share, which are in no order, by modern ones with their labels."""
    replaced = whole(strength, len(share))
    modern = [
        _written(write("modern", message.label, seed=seed, index=index), "modern", strength)
        for index, message in enumerate(share[:replaced])
    ]
    return modern + [_untouched(message, "modern", strength) for message in share[replaced:]]


def _prior(share: Sequence[Message], spare: Sequence[Message], strength: float, seed: int) -> list[Staged]:
    """Replace the first messages of a share that are not spam by spam."""
    left = whole(strength, sum(not message.is_spam for message in share))
    unused = iter([message for message in spare if message.is_spam])
    staged = []
    for index, message in enumerate(share):
        if message.is_spam or not left:
            staged.append(_untouched(message, "prior", strength))
            continue
        left -= 1
        other = next(unused, None)
        staged.append(
            _untouched(other, "prior", strength)
            if other
            else _written(write("2003", SPAM, seed=seed, index=index), "prior", strength)
        )
    return staged


def _mixed(message: Message, strength: float, seed: int, index: int) -> Staged:
    """Put a message to a kind that a lot decides."""
    kind = _one_kind(message, (*TEXT_DRIFTS, "modern"), seed, index)
    if kind != "modern":
        return _rewritten(message, kind, strength, seed, index)
    if SeededRandom("modern", seed, index).lot() >= strength:
        return _untouched(message, kind, strength)
    return _written(write("modern", message.label, seed=seed, index=index), kind, strength)


def _one_kind(message: Message, kinds: Sequence[str], seed: int, index: int) -> str:
    """Draw a kind that finds something to do in a message like this."""
    idle = frozenset() if message.is_spam else OF_SPAMMERS
    idle = idle if has_link(message.text) else idle | {"url-rotation"}
    return SeededRandom("mixed", seed, index).pick([kind for kind in kinds if kind not in idle])

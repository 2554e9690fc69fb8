"""Split messages 70/10/20, the same way on every machine, with twins and families on one side.

A message's place follows from the sha256 of its twin key alone, read as a position in [0, 1): below 0.7 it trains,
below 0.8 it validates, above it tests. So twins stay together, nothing depends on the order of rows or on a seed, and
rows that are added later do not move old ones: a test row stays a test row. Taking 20 % by rank instead would be exact,
but there every new row pushes others over the borders.

Chance makes the parts of a plain threshold uneven (of 560 spam, 112 ± 9 test), so each cut is moved, per label, just
far enough that the rows before it are their share of all rows to within 0.5 %. With many rows the cuts stay at 0.7 and
0.8, with few they are those of a rank, and between the two a new row moves an old one only where it has to.

Mails of one thread or mailing list stay on one side as twins do. Where it is known when mails came, time takes the
place of the hash: a group counts as old as its first mail, the oldest train, and those that came last test, so that the
test is about senders and conversations that began after what was learnt. There, newer mails do move older ones.

The corpus `everyday` is divided 63/22/15 instead: its natural good messages are what a threshold rests on, and within a
kind a few rows more teach little. Its border rows all train: nobody receives them at the rate at which they are there.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final, Literal

from spamctl.data.bundled_sets import EVERYDAY
from spamctl.data.cleaning import group_related, key_hash
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Label, Message, Split

Balance = Literal["none", "undersample"]

Cuts = tuple[float, float]  # where training ends and where validation ends, as shares of the rows
_CUTS: Cuts = (0.7, 0.8)
_CUTS_EVERYDAY: Cuts = (0.63, 0.85)
_Stratum = tuple[Cuts, Label, bool]  # what is divided by itself; the last says that its messages have dates
_TOLERANCE = 0.005
_LEAST_GROUPS = 10  # the fewest that 70/10/20 divides with none left empty-handed
_CAMPAIGN = 0.05  # a group of twins that is more of its label than this trains: it would be half of a test part


@dataclass(frozen=True, slots=True)
class _Group:
    """Messages that share a twin key or a thread, and where they stand in [0, 1): by the key's hash, or by time."""

    position: float
    key_hash: bytes
    messages: list[Message]

    @property
    def began(self) -> int | None:
        """Return when the first of the messages came, in seconds since 1970; None if that is not known of any."""
        return min((int(one.traits.received) for one in self.messages if one.traits.received), default=None)


def split(messages: Sequence[Message], balance: Balance = "none") -> Split:
    """Split messages 70/10/20 within each label, keeping twins together; `undersample` first evens the labels out.

    Raise DataError where a label has too few different messages to be in every part.
    """
    if balance == "undersample":
        messages = _undersample(messages)
    strata: dict[_Stratum, list[_Group]] = {(_CUTS, SPAM, False): [], (_CUTS, NOT_SPAM, False): []}
    border: list[Message] = []
    for key, twins in group_related(messages).items():
        if any(message.traits.border for message in twins):
            border += twins
            continue
        label: Label = SPAM if any(message.is_spam for message in twins) else NOT_SPAM
        group = _group(key, twins)
        cuts = _CUTS_EVERYDAY if all(message.traits.dataset == EVERYDAY for message in twins) else _CUTS
        strata.setdefault((cuts, label, group.began is not None), []).append(group)
    _refuse_too_few(strata)
    train, validation, test = (
        [message for part in parts for message in part]
        for parts in zip(*(_three_parts(groups, cuts) for (cuts, *_), groups in strata.items()), strict=True)
    )
    return Split(*map(in_hash_order, (train + border, validation, test)))


def _group(key: str, twins: list[Message]) -> _Group:
    """Place a group of twins by the hash of their key."""
    key_bytes = key_hash(key)
    return _Group(position(key_bytes), key_bytes, twins)


def _in_time(groups: list[_Group]) -> list[_Group]:
    """Place groups by when they began, the first at 0, if that is known of all of them."""
    if not all(group.began is not None for group in groups):
        return groups
    ordered = sorted(groups, key=lambda group: (group.began, group.key_hash))
    return [replace(group, position=place / len(ordered)) for place, group in enumerate(ordered)]


def position(key_bytes: bytes) -> float:
    """Read the hash of a twin key as a position in [0, 1)."""
    return int.from_bytes(key_bytes[:8]) / 2**64


def _undersample(messages: Sequence[Message]) -> list[Message]:
    """Keep as many messages of either label as the rarer one has, those of the lowest hash.

    The hash is salted: the one that places a message would leave only training rows.
    """
    ordered = sorted(messages, key=lambda message: key_hash(f"undersample {message.text}"))
    spam = [message for message in ordered if message.is_spam]
    not_spam = [message for message in ordered if not message.is_spam]
    count = min(len(spam), len(not_spam))
    return spam[:count] + not_spam[:count]


def _refuse_too_few(strata: dict[_Stratum, list[_Group]]) -> None:
    """Refuse a corpus that would leave a part without one of the labels."""
    sizes = {SPAM: 0, NOT_SPAM: 0}
    for (_, label, _), groups in strata.items():
        sizes[label] += len(groups)
    if min(sizes.values()) >= _LEAST_GROUPS:
        return
    counts = " and ".join(f"{size:,} labelled {label}" for label, size in sizes.items())
    raise DataError(
        f"too few messages to train, validate and test: {counts} (near duplicates count once): "
        f"give at least {_LEAST_GROUPS} different messages of each label"
    )


def _three_parts(groups: list[_Group], cuts: Cuts) -> tuple[list[Message], list[Message], list[Message]]:
    """Divide the groups of one label into train, validation and test; what cannot be divided trains."""
    if len(groups) < len(Split.__slots__):
        return _messages(groups), [], []
    groups = _campaigns_first(_in_time(groups))
    rows_before = list(accumulate((len(group.messages) for group in groups), initial=0))
    first = min(_cut(groups, rows_before, cuts[0]), len(groups) - 2)
    second = min(max(_cut(groups, rows_before, cuts[1]), first + 1), len(groups) - 1)
    return _messages(groups[:first]), _messages(groups[first:second]), _messages(groups[second:])


def _campaigns_first(groups: list[_Group]) -> list[_Group]:
    """Order groups by position, after those so large that they train wherever their hash lies."""
    largest = max(1.0, _CAMPAIGN * sum(len(group.messages) for group in groups))
    placed = [replace(group, position=0.0) if len(group.messages) > largest else group for group in groups]
    return sorted(placed, key=lambda group: (group.position, group.key_hash))


def _cut(groups: Sequence[_Group], rows_before: Sequence[int], share: float) -> int:
    """Return how many groups come before a cut at a share of the rows.

    That is those positioned below the share, or the nearest number that has the tolerated number of rows before it.
    """
    natural = bisect_left(groups, share, key=lambda group: group.position)
    aim = share * rows_before[-1]
    slack = max(0.5, _TOLERANCE * rows_before[-1])
    low, high = bisect_left(rows_before, aim - slack), bisect_right(rows_before, aim + slack) - 1
    if low <= high:
        return min(max(natural, low), high)
    return min(high, low, key=lambda index: abs(rows_before[index] - aim))


def _messages(groups: Iterable[_Group]) -> list[Message]:
    """Return the messages of groups."""
    return [message for group in groups for message in group.messages]


def in_hash_order(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Order messages by the hash of their text, which mixes labels and is the same whatever order they came in."""
    return tuple(sorted(messages, key=lambda message: (key_hash(message.text), message.label)))


# Leave out families of kinds as a whole: a kind of spam with its honest twin, the same on every machine.

FOLDS: Final = 5


def fold_of(family: str) -> int:
    """Return the fold, 0 to 4, of a family; it follows from its name alone, so that new families move no old one."""
    return int(position(key_hash(f"family {family}")) * FOLDS)


def in_folds(messages: Sequence[Message], folds: Sequence[int]) -> list[bool]:
    """Return which messages belong to families of these folds; one without a family belongs to none."""
    return [bool(message.traits.family) and fold_of(message.traits.family) in folds for message in messages]


def hold_out_families(messages: Sequence[Message], folds: int) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return messages without the families of the first `folds` folds, and the natural rows of those families.

    Their border rows are in neither: they would teach what is to be unseen, and nobody receives them.
    """
    outside = in_folds(messages, range(folds))
    kept = tuple(message for message, held in zip(messages, outside, strict=True) if not held)
    unseen = (message for message, held in zip(messages, outside, strict=True) if held and not message.traits.border)
    return kept, in_hash_order(unseen)


def family_groups(messages: Sequence[Message]) -> list[str]:
    """Return what each message must share a fold with in cross-validation: its family, or else only its own text."""
    return [message.traits.family or message.text for message in messages]

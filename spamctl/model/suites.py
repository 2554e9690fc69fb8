"""Test a package on suites of messages that it must deliver or must catch, and on harmless changes to them.

The lines of must-deliver and must-catch are minimum functionality tests, the changes invariance tests, in the sense of
Ribeiro and others, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (2020).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from spamctl.data.suites import OWN_LINE
from spamctl.message import Message
from spamctl.model.score import proportion
from spamctl.schema.evaluation import Invariance, SuiteLine, SuiteReport

MOST_FLAGGED: Final = (
    0.02  # of a line of must-deliver: more, at the lower end of the interval, and a filter cannot lead
)
LEAST_CAUGHT: Final = 0.70  # of a line of must-catch: less, at the upper end of the interval

MOST_CHANGED: Final = 240  # messages, drawn at random, that each harmless change is tried on: seconds, not a minute

CallsSpam = Callable[[Sequence[str]], Sequence[bool]]


def check(suites: Mapping[str, Sequence[Message]], calls_spam: CallsSpam, *, seed: int = 0) -> SuiteReport:
    """Score every message of the suites, by name, and changed forms of some, with the function that serves."""
    every = [message for messages in suites.values() for message in messages]
    verdicts = dict(zip(every, calls_spam([message.text for message in every]), strict=True))
    lines = tuple(
        _line(suite, name, [message for message in messages if message.traits.kind == name], verdicts)
        for suite, messages in suites.items()
        for name in dict.fromkeys(message.traits.kind for message in messages)
    )
    chance = random.Random(seed)
    drawn = chance.sample(every, min(MOST_CHANGED, len(every)))
    invariances = []
    for change, applied in CHANGES.items():
        pairs = [(message, changed) for message in drawn if (changed := applied(message.text, chance)) != message.text]
        if not pairs:
            continue
        now = calls_spam([changed for _, changed in pairs])
        same = sum(verdicts[message] == flagged for (message, _), flagged in zip(pairs, now, strict=True))
        invariances.append(Invariance(change, len(pairs), proportion(same, len(pairs))))
    return SuiteReport(lines, tuple(invariances), tuple(line.fault for line in lines if line.fault))


def deciding(report: SuiteReport, wanted: str, *, knows_today: bool) -> tuple[str, ...]:
    """Return the faults that keep a filter from leading.

    With `wanted` lead all of them do, with show none. With auto a user's own lines always decide; those that come with
    spamctl do where the filter learnt from the corpus of today, `knows_today`: one of 2003 would fail by its age.
    """
    every = wanted == "lead" or (wanted == "auto" and knows_today)
    own = wanted == "auto"
    return tuple(
        line.fault for line in report.lines if line.fault and (every or (own and line.name.endswith(OWN_LINE)))
    )


def _line(suite: str, name: str, messages: Sequence[Message], verdicts: Mapping[Message, bool]) -> SuiteLine:
    """Summarise one line of a suite, with a fault if it rules out promotion."""
    share = proportion(sum(verdicts[message] for message in messages), len(messages))
    fault = ""
    if not messages[0].is_spam and share.low > MOST_FLAGGED:
        fault = (
            f"{share.value:.0%} of {suite}, {name}, is called spam (at least {share.low:.1%}, not {MOST_FLAGGED:.0%})"
        )
    if messages[0].is_spam and share.high < LEAST_CAUGHT:
        fault = f"{share.value:.0%} of {suite}, {name}, is caught (at most {share.high:.1%}, not {LEAST_CAUGHT:.0%})"
    return SuiteLine(suite, name, len(messages), share, fault)


def _typos(text: str, chance: random.Random) -> str:
    """Swap two neighbouring letters in one of ten words of five letters and more, but in one at least."""
    places = [found.start() for found in re.finditer(r"\b[^\W\d_]{5,}\b", text)]
    for place in sorted(chance.sample(places, max(1, len(places) // 10)) if places else []):
        text = text[: place + 2] + text[place + 3] + text[place + 2] + text[place + 4 :]
    return text


def _look_alikes(text: str, chance: random.Random) -> str:
    """Write a third of the Latin a, e, o, p, c, y and x in Cyrillic, which looks the same."""
    twins = dict(zip("aeopcyx", "аеорсух", strict=True))  # noqa: RUF001  (that is the point)
    return "".join(twins[char] if char in twins and chance.random() < 1 / 3 else char for char in text)


def _other_amounts(text: str, chance: random.Random) -> str:
    """Write another digit for each digit but 0, so that amounts, times and references change."""
    return re.sub(r"[1-9]", lambda _: str(chance.randint(1, 9)), text)


CHANGES: Final[Mapping[str, Callable[[str, random.Random], str]]] = MappingProxyType(
    {
        "in capitals": lambda text, _: text.upper(),
        "without capitals": lambda text, _: text.lower(),
        "with typing errors": _typos,
        "with look-alike letters": _look_alikes,
        "with a greeting before it": lambda text, _: f"Hello,\n{text}",
        "with other numbers": _other_amounts,
    }
)

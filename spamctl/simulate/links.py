"""Generate host names that nobody owns, and replace the hosts of the links in a text."""

import re

from spamctl.simulate.dice import Dice
from spamctl.simulate.lexicon import host_words

# RFC 2606 keeps these free for ever, so that no message made here leads anywhere.
ENDINGS = ("example", "test", "invalid")

_NAME = r"(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){1,6}"
_KNOWN = r"(?:com|net|org|info|biz|mobi|uk|tv|ac|eu|us|example|test|invalid)"
_PREFIX = r"(?:https?://|(?:www|wap)\.)"
# A host follows a scheme or `www.`, or ends as hosts do; "ok.see you" is two sentences, and "me@mail.com" an address.
_HOST = re.compile(
    rf"(?<![\w@.-])(?P<before>(?:{_PREFIX}){{1,2}})[a-z0-9-]{{1,63}}(?:\.[a-z0-9-]{{1,63}}){{0,6}}"
    rf"|(?<![\w@.-]){_NAME}{_KNOWN}(?![\w-])",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\S+")
_LIVE = re.compile(r"\d|@|://|\w\.\w")


def host(dice: Dice, *, about: str = "") -> str:
    """Make up a host name, which may begin with what it is about."""
    words = host_words()
    first, joint = (about, "-") if about else (dice.pick(words.first), dice.pick(words.joint))
    return f"{first}{joint}{dice.pick(words.second)}.{dice.pick(ENDINGS)}"


def rotate(text: str, dice: Dice, strength: float) -> str:
    """Give each link of a text another host with probability `strength`; its path stays."""

    def other(match: re.Match[str]) -> str:
        lot, name = dice.lot(), host(dice)
        return f"{match['before'] or ''}{name}" if lot < strength else match[0]

    return _HOST.sub(other, text)


def has_link(text: str) -> bool:
    """Return whether a text names a host that can be rotated."""
    return _HOST.search(text) is not None


def is_live(token: str) -> bool:
    """Return whether a token must stay as it is to work: a link, an address, a number to call, a code to send."""
    return _LIVE.search(token) is not None


def live_spans(text: str) -> list[tuple[int, int]]:
    """Return where the live tokens of a text start and end."""
    return [found.span() for found in _TOKEN.finditer(text) if is_live(found[0])]

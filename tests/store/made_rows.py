"""Make rows as the server would, and wait for what another thread does."""

import time
from datetime import UTC, datetime

from spamctl.store.tables import CapturedRow, row_uuid


def row(text="hello", index=0, **changes):
    values = {
        "date": datetime.now(UTC),
        "text": text,
        "classification": "spam",
        "probability": 0.75,
        "model_name": "spam",
        "model_version": "1",
        "threshold": 0.5,
        "request_id": "request",
        "latency_ms": 1.5,
        "source": "invocations",
    } | changes
    return CapturedRow(uuid=row_uuid(values["request_id"], index, text), **values)


def rows(number, **changes):
    return [row(f"message {index}", index, **changes) for index in range(number)]


def eventually(true, within_s=30.0):
    """Wait until something is true, and say whether it became so."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# What people and spammers write, and what they should not be able to: each must come back as it was.
ODD_TEXTS = {
    "empty": "",
    "plain": "Call 08001950382 now!",
    "NUL": "a\0b\0",
    "lone high surrogate": "\ud83d",
    "lone low surrogate": "x\ude00y",
    "pair of lone surrogates": "\ud83d\ude00",
    "emoji": "😀👩‍👩‍👧‍👦🏴‍☠️",
    "zero-width": "fr\u200bee\u200c \u200dmo\ufeffney\u2060",
    "right to left": "\u202eevil\u202c مرحبا שלום",
    "combining": "Z\u0351\u036b\u0343a\u0300\u0301\u0302lgo" + "\u0301" * 300,
    "decomposed": "e\u0301 is not \u00e9",
    "homoglyphs": "Fгее Ρгіzе",
    "noncharacters": "\ufffe\uffff\ufdd0\U0001fffe\U0010ffff",
    "private use": "\ue000\U000f0000\U0010fffd",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "escape character": "\x10\x100000\x10\x10d83d",
    "line ends": "a\r\nb\rc\nd\u2028e\u2029f\x85g",
    "quotes": "'; \"`\\ $1 %s :x ?1 {} --",
    "astral": "𝓕𝓻𝓮𝓮 𝟙𝟚𝟛",
    "long": "spam " * 20_000,
    "replacement": "\ufffd",
}

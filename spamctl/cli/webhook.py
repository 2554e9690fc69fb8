"""Post the result of a monitoring to a URL, with limits, and without any text of a message."""

from __future__ import annotations

import time

from spamctl.schema.codec import JsonObject, finite

TRIES = 3
PATIENCE_S = 5.0
PAUSE_S = 0.5  # doubled after each try

_WITH_TEXT = ("causes", "spamctl")
_WORTH_ANOTHER_TRY = {408, 425, 429}


def post(address: str, result: JsonObject) -> str:
    """Post the result as JSON; return why it failed in words that do not give the address away, or nothing."""
    import httpx

    fault = ""
    body = finite({name: value for name, value in result.items() if name not in _WITH_TEXT})
    for turn in range(TRIES):
        if turn:
            time.sleep(PAUSE_S * 2 ** (turn - 1))
        try:
            answer = httpx.post(address, json=body, timeout=PATIENCE_S, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            fault = f"it does not answer ({type(error).__name__})"
            continue
        if answer.is_success:
            return ""
        fault = f"it answers {answer.status_code}"
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR and answer.status_code not in _WORTH_ANOTHER_TRY:
            break
    return f"the webhook was not notified: {fault}; check --webhook and its receiver"

"""Take passwords and tokens out of addresses before they are shown, logged or kept."""

from __future__ import annotations

import re

# A user may be named; what stands behind its colon, or alone before the last @, is a secret.
_CREDENTIALS = re.compile(r"(?<=://)([^/?#]*:)?[^/?#]*@")


def without_password(uri: str) -> str:
    """Return a URI that may name a server and a user, with *** for the password or the token."""
    return _CREDENTIALS.sub(r"\1***@", uri)

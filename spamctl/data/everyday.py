"""Read the corpus `everyday`: messages of today, written for spamctl, each kind of spam beside its honest twin."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, Message, Traits

EVERYDAY: Final = "everyday"
FOLDER: Final = files("spamctl.data") / "bundled"
RULES: Final = FOLDER / "RULES.md"  # what is spam, what is not, and who may use the corpus
_CONTENT: Final = FOLDER / "everyday.jsonl.gz"
_SHA256: Final = FOLDER / "everyday.sha256"  # of the rows as text, so that another compressor changes nothing


def read_everyday() -> tuple[bytes, list[Message]]:
    """Return the corpus as the bytes of its JSON lines, and its messages in their order, each with all its traits.

    Raises DataError if the file that came with the package is damaged.
    """
    try:
        content = gzip.decompress(_CONTENT.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(
            f"the corpus {EVERYDAY} cannot be read ({type(error).__name__}): install spamctl again"
        ) from error
    if hashlib.sha256(content).hexdigest() != _SHA256.read_text(encoding="ascii").strip():
        raise DataError(f"the corpus {EVERYDAY} is damaged (its sha256 is another): install spamctl again")
    return content, list(_messages(content))


def _messages(content: bytes) -> Iterator[Message]:
    """Yield the message of each line."""
    for line in content.decode().splitlines():
        row = json.loads(line)
        label: Label = SPAM if row["label"] == SPAM else NOT_SPAM
        about = Traits(EVERYDAY, row["kind"], row["family"], row["medium"], row["language"], row["style"] == "border")
        yield Message(row["text"], label, about)

"""Look for a secret in everything that a run left in a folder: logs, cards, databases, pickles, packed or not."""

import base64
import gzip
import io
import zipfile
import zlib
from pathlib import Path


def leaks(folder, *secrets):
    """Name the files below a folder that hold a secret, or are called by it."""
    marks = [mark for secret in secrets for mark in _spellings(secret)]
    found = []
    for path in sorted(Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        contents = [name.encode(), *(_contents(path.read_bytes()) if path.is_file() else ())]
        if any(mark in content for mark in marks for content in contents):
            found.append(name)
    return found


def _spellings(secret):
    """Return the bytes that spell a secret: as text, in two bytes a character, or in base64 wherever it begins."""
    plain = secret.encode()
    yield from (plain, secret.encode("utf-16-le"))
    for shift in range(3):
        packed = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        yield packed[2 * shift : len(packed) - 1]  # what the neighbours do not change


def _contents(content):
    """Yield a file's bytes, and those packed in it: Metaflow packs each value, a model may be a zip file."""
    yield content
    if content[:2] == b"\x1f\x8b":
        try:
            yield gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            yield from map(file.read, file.namelist())

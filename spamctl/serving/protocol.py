"""Read request bodies with bounded memory and time, in each spelling of MLflow's scoring protocol.

MLflow's own reading turns null into the text "None" and leaves out what it does not know; here each value is text, or
the request is refused. For the rest the two agree, which a test holds them to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from spamctl.schema.codec import JsonObject
from spamctl.serving.access import CLOSE, WRONG_VALUE, Refusal, of_status, quoted

TEXT: Final = "text"
JSON, CSV = "application/json", "text/csv"
RECORDS, SPLIT = "dataframe_records", "dataframe_split"
KEYS: Final = ("inputs", "instances", RECORDS, SPLIT)
PARAMS: Final = ("data_capture", "explain")
EXAMPLE: Final = 'send {"inputs": [{"text": "..."}]}'

_VALUES_A_ROW = 8  # no spelling needs more
_LONG = 2**16  # shorter bodies fill nothing
# So many values of JSON, and one cell of a table with what ends it; possessive, so that no input makes them backtrack.
_MORE_VALUES = r'(?s:(?:[^",]++|"(?:[^"\\]++|\\.)*+"?)*+,){%d}+'
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_EMPTY_LINES = re.compile(r"[\r\n]*+")
_CELL = re.compile(r'(?:"((?:[^"]++|"")*+)"|([^,"\r\n][^,\r\n]*+)?)(,|\r\n|\n|\r|\Z)')


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Parsed request: the texts, whether to capture (None: not given), whether to explain, and by how many words.

    `explain_within_s` bounds the time for the explanation alone: a request that can do without it is answered so.
    """

    texts: list[str]
    data_capture: bool | None = None
    explain: bool = False
    explained_words: int = 0  # 0: as many as the limits allow
    explain_within_s: float | None = None


def read(content_type: str | None, body: bytes, *, most_rows: int) -> ScoringRequest:
    """Return what the body of a request asks for.

    Raises Refusal: 415 for another media type, 413 for more than `most_rows` rows, else 400 naming row and column.
    """
    if _media_type(content_type) == CSV:
        return ScoringRequest(_table(_decoded(body), most_rows))
    ask = _asked(_object(_decoded(body), most_values=_VALUES_A_ROW * most_rows + 100))
    if len(ask.texts) > most_rows:
        raise _too_many(most_rows)
    return ask


def read_object(
    content_type: str | None, body: bytes, *, most_values: int = 100, example: str = EXAMPLE, numbers: bool = False
) -> JsonObject:
    """Return the JSON object that a body holds; raise Refusal, 415, 413 or 400, if it holds none.

    Its numbers are 0.0, or, with `numbers`, whole ones what they are, up to 18 digits.
    """
    if _media_type(content_type) != JSON:
        raise of_status(415, f"the body is {CSV}: send it as Content-Type: {JSON}")
    decoder = _NUMBER_DECODER if numbers else _DECODER
    return _object(_decoded(body), most_values=most_values, example=example, decoder=decoder)


def kind(value: object) -> str:
    """Name the type of a JSON value, without its contents."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity"
    if isinstance(value, bool):
        return str(value).lower()
    return {type(None): "null", str: "text", list: "a list", dict: "an object"}.get(type(value), "a number")


# From bytes to JSON


def _media_type(content_type: str | None) -> str:
    """Return the media type, if it is one that is read here, in UTF-8."""
    if content_type is None:
        raise of_status(415, f"the request has no Content-Type: send it as Content-Type: {JSON}")
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media not in {JSON, CSV}:
        raise of_status(415, f"the Content-Type {quoted(media)} is not read here: send {JSON}, or {CSV}")
    for parameter in filter(None, parameters):
        if parameter.replace('"', "") not in {"charset=utf-8", "charset=utf8"}:
            raise of_status(415, f"the Content-Type says {quoted(parameter)}: send UTF-8, as Content-Type: {media}")
    return media


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        for start, encoding in _COMPRESSED.items():
            if body.startswith(start):
                raise of_status(415, f"the body is compressed by {encoding}: send it as it is") from None
        raise of_status(400, f"the body is not UTF-8 at byte {error.start}: send it as UTF-8") from None
    return text.removeprefix("\ufeff")


def _object(
    text: str, *, most_values: int, example: str = EXAMPLE, decoder: json.JSONDecoder | None = None
) -> JsonObject:
    """Parse a JSON object in which no key stands twice; what would fill the memory with small values is not parsed."""
    if len(text) > _LONG and re.match(_MORE_VALUES % most_values, text):
        raise of_status(413, f"the body has more than {most_values} values: send fewer in each request")
    try:
        parsed = (decoder or _DECODER).decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise of_status(400, f"the body is not JSON: {error.msg.removesuffix(' at')} at {where}: {example}") from None
    except RecursionError:
        raise of_status(400, f"the body is nested too deeply: {example}") from None
    if not isinstance(parsed, dict):
        raise of_status(400, f"the body holds {kind(parsed)}, not an object: {example}")
    return parsed


def _once(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Make an object, and refuse duplicate keys."""
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise of_status(400, f"the key {quoted(twice)} stands twice in one object: send it once")
    return made


def _zero(_digits: str) -> float:
    """Replace every number, since none is needed, and a long one would be slow to parse."""
    return 0.0


def _whole(digits: str) -> int:
    """Read a whole number, of a long one its beginning."""
    return int(digits[:18])


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_int=_zero, parse_float=_zero)
_NUMBER_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_int=_whole, parse_float=_zero)


# From JSON to texts


def _asked(document: JsonObject) -> ScoringRequest:
    """Read one of the four keys that hold rows, and the params."""
    keys = [key for key in KEYS if key in document]
    refuse_unknown(document, (*KEYS, "params"), "key")
    if len(keys) != 1:
        raise _wrong(
            f"the body has {' and '.join(keys) or 'no rows'}, where one of {', '.join(KEYS)} belongs: {EXAMPLE}"
        )
    (key,) = keys
    texts = _split(document[key]) if key == SPLIT else _rows(key, document[key])
    params = document.get("params")
    if params is None:
        return ScoringRequest(texts)
    return ScoringRequest(texts, *_params(params))


def _params(params: Any) -> tuple[bool | None, bool]:
    """Read the switches of a request."""
    if not isinstance(params, dict):
        raise _wrong(f'params holds {kind(params)}, not an object: send "params": {{"data_capture": false}}')
    refuse_unknown(params, PARAMS, "parameter")
    for name, value in params.items():
        if not isinstance(value, bool):
            raise _wrong(f"params.{name} holds {kind(value)}: send true or false")
    return params.get("data_capture"), params.get("explain", False)


def _rows(key: str, rows: Any) -> list[str]:
    """Read a list of records or of bare texts, or an object of columns."""
    if isinstance(rows, dict) and key != RECORDS:
        _refuse_columns(rows, key)
        column = rows[TEXT]
        return _texts(column if isinstance(column, list) else [column])
    if not isinstance(rows, list):
        raise _wrong(f"{key} holds {kind(rows)}, not a list of rows: {EXAMPLE}")
    if rows and not isinstance(rows[0], dict) and key != RECORDS:
        return _texts(rows)
    for row, record in enumerate(rows):
        if not isinstance(record, dict):
            raise _wrong(f'row {row}: holds {kind(record)}, not an object: send {{"text": "..."}} for each row')
        if len(record) != 1 or TEXT not in record:
            _refuse_columns(record, f"row {row}")
    return _texts([record[TEXT] for record in rows])


def _split(frame: Any) -> list[str]:
    """Read a table whose columns, index and data stand apart; the index says nothing of a text."""
    if not isinstance(frame, dict):
        raise _wrong(f'{SPLIT} holds {kind(frame)}, not an object: send {{"columns": ["text"], "data": [["..."]]}}')
    refuse_unknown(frame, ("columns", "index", "data"), f"key in {SPLIT}")
    columns, rows = (_listed(frame, name) for name in ("columns", "data"))
    index = frame.get("index")
    if columns != [TEXT]:
        _refuse_columns([name if isinstance(name, str) else kind(name) for name in columns], f"{SPLIT}.columns")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise _wrong(f"{SPLIT}.index is not a list as long as data: leave it out, or name each row once")
    if rows and not isinstance(rows[0], list):
        return _texts(rows)
    for row, cells in enumerate(rows):
        if not isinstance(cells, list) or len(cells) != 1:
            holds = f"{len(cells)} cells" if isinstance(cells, list) else kind(cells)
            raise _wrong(f"row {row}: holds {holds}, where 1 cell belongs: send a list of one text")
    return _texts([cells[0] for cells in rows])


def _listed(frame: JsonObject, name: str) -> list[Any]:
    """Return a part of a table."""
    part = frame.get(name)
    if not isinstance(part, list):
        holds = f"holds {kind(part)}, not a list" if name in frame else "is missing"
        raise _wrong(f'{SPLIT}.{name} {holds}: send {{"columns": ["text"], "data": [["..."]]}}')
    return part


def _texts(values: list[Any]) -> list[str]:
    """Return the values if each is text."""
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise _wrong(f"row {row}: column '{TEXT}' holds {kind(value)}, not text: send a string (rows count from 0)")
    return values


# From a table to texts


def _table(table: str, most_rows: int) -> list[str]:
    """Read a table with a header; its column is text, beside the unnamed index that pandas may write before it."""
    lines = _lines(table)
    header = next(lines, [])
    at = len(header) == 2 and header[0] == ""  # noqa: PLR2004 - the index and the text
    if TEXT not in header:  # it may be a message, so it is not repeated
        raise _wrong(f"the first line names no column '{TEXT}': send a line that says {TEXT}, then a message a line")
    if header[at:] != [TEXT]:
        _refuse_columns(header, "the first line")
    texts = []
    for row, cells in enumerate(lines):
        if row == most_rows:
            raise _too_many(most_rows)
        if len(cells) != len(header):
            raise _wrong(f"row {row}: has {len(cells)} cells, where {len(header)} belong: put quotes around a text")
        texts.append(cells[at])
    return texts


def _lines(table: str) -> Iterator[list[str]]:
    """Yield the cells of each line that is not empty; one in quotes may hold commas, line ends and doubled quotes."""
    cells: list[str] = []
    at = _past_empty_lines(table, 0)
    while at < len(table) or cells:
        found = _CELL.match(table, at)
        if found is None:
            line = table.count("\n", 0, at) + 1
            raise of_status(400, f"line {line}: the quotes do not close a cell: double each quote inside a cell")
        inner, bare, end = found.groups()
        cells.append(inner.replace('""', '"') if inner is not None else bare or "")
        at = found.end()
        if end != "," or len(cells) == _VALUES_A_ROW:  # with more it is refused
            yield cells
            cells = []
            at = _past_empty_lines(table, at)


def _past_empty_lines(table: str, at: int) -> int:
    found = _EMPTY_LINES.match(table, at)
    return found.end() if found else at


# Refusals


def _refuse_columns(names: Collection[str], where: str) -> None:
    """Refuse names of columns that are not `text` alone, by the first that is wrong."""
    for name in names:
        if name != TEXT:
            near = f"; did you mean '{TEXT}'?" if get_close_matches(name[:80], [TEXT]) else ""
            raise _wrong(f"{where}: there is no column {quoted(name)}{near}: send column '{TEXT}' alone")
    if len(names) != 1:
        fault = f"column '{TEXT}' stands twice" if names else f"column '{TEXT}' is missing"
        raise _wrong(f"{where}: {fault}: {EXAMPLE}")


def refuse_unknown(names: Iterable[str], known: Sequence[str], what: str) -> None:
    """Refuse a name that is not known, with the nearest that is."""
    for name in names:
        if name not in known:
            near = get_close_matches(name[:80], known, n=1)
            raise _wrong(f"there is no {what} {quoted(name)}: {f'did you mean {near[0]}?' if near else EXAMPLE}")


def _too_many(most_rows: int) -> Refusal:
    return of_status(413, f"the body has more than {most_rows} rows: send fewer in each request")


def _wrong(message: str) -> Refusal:
    return Refusal(400, WRONG_VALUE, message)


# Read request bodies with bounded memory and time.

MIB = 2**20
SOON = {"retry-after": "1"}
FREE_BYTES = 2**16  # of each body are not counted: slow senders of long bodies must not shut out short ones
_HEARING_OUT_S = 1.0
_PLAIN = {"content-encoding": {"", "identity"}, "transfer-encoding": {"", "identity", "chunked"}}
_GZIP = {"gzip", "x-gzip"}
_GZIP_BITS = 16 + zlib.MAX_WBITS  # a header of gzip and nothing else


@dataclass(slots=True)
class _Share:
    """Memory reserved for a body beyond the free allowance, and whether more of it will come."""

    room: int = 0
    more: bool = True


class Intake:
    """Limit on the memory of all request bodies of a server; used from the event loop only."""

    def __init__(self, *, body_bytes: int = 8 * MIB, total_bytes: int = 32 * MIB, patience_s: float = 60.0) -> None:
        """Set the largest body, the memory for all beyond the first 64 KiB of each, and the timeout `patience_s`."""
        self._body_bytes = body_bytes
        self._total_bytes = total_bytes
        self._patience_s = patience_s
        self._held = 0

    @property
    def held(self) -> int:
        """Count the bytes, beyond the first 64 KiB of each, of the bodies that have not been given back."""
        return self._held

    @contextlib.contextmanager
    def room(self, length: int) -> Iterator[None]:
        """Reserve memory for a body of another protocol while the block lasts; raise Refusal (413, 429) as `body`."""
        share = _Share()
        try:
            self._make_room(share, length)
            yield
        finally:
            self._give_back(share)

    async def read(self, request: Request) -> bytes:
        """Return the body of a request, which is not counted from then on; see `body`."""
        async with self.body(request) as body:
            return body

    @contextlib.asynccontextmanager
    async def body(self, request: Request, *, gunzip: bool = False) -> AsyncIterator[bytes]:
        """Yield the body of a request, counted until the block ends; one in gzip is decompressed where `gunzip` is set.

        Raises Refusal: 415 if it is compressed otherwise, 413 if it is too long, by its Content-Length, as it comes or
        as it is decompressed, 429 if the other bodies leave no room for it, 408 if it comes too slowly. Raises
        ClientDisconnect if the client has gone.
        """
        share = _Share()
        try:
            try:
                zipped = gunzip and request.headers.get("content-encoding", "").strip().lower() in _GZIP
                _refuse_encoded(request, zipped=zipped)
                async with asyncio.timeout(self._patience_s):
                    body = await self._whole(request, share)
                body = self._gunzipped(body, share) if zipped else body
            except TimeoutError:
                fault = f"the body did not come within {self._patience_s:g} s: send it faster, or in parts"
                raise of_status(408, fault, CLOSE) from None
            except Refusal as refused:
                self._give_back(share)
                if share.more:
                    await _hear_out(request, self._body_bytes)
                    refused.headers = CLOSE | refused.headers
                raise
            yield body
        finally:
            self._give_back(share)

    async def _whole(self, request: Request, share: _Share) -> bytes:
        """Read a body to its end, or refuse it; one that does not say how long it is gets room for the longest.

        If room grew with the body, many would grow side by side until none can end.
        """
        whole = bytearray()
        announced = _announced(request)
        self._make_room(share, announced)
        while share.more:
            piece, share.more = await _next(request)
            length = len(whole) + len(piece)
            ends_soon = length <= max(announced, FREE_BYTES) or not share.more
            self._make_room(share, length if ends_soon else max(length, self._body_bytes))
            whole += piece
        return bytes(whole)

    def _gunzipped(self, body: bytes, share: _Share) -> bytes:
        """Decompress a body a piece at a time, each counted before the next is made, or refuse it."""
        whole, zipped, behind = bytearray(), zlib.decompressobj(_GZIP_BITS), False
        try:
            for start in range(0, len(body), FREE_BYTES):
                left, behind = body[start : start + FREE_BYTES], zipped.eof
                while not zipped.eof:
                    made = zipped.decompress(left, FREE_BYTES)
                    whole += made
                    self._make_room(share, len(body) + len(whole))
                    left = zipped.unconsumed_tail
                    if not left and len(made) < FREE_BYTES:
                        break
        except zlib.error:
            raise of_status(400, "the body is not gzip, as its Content-Encoding says: send it as it is") from None
        if not zipped.eof or zipped.unused_data or behind:
            fault = "has something behind its end" if zipped.eof else "ends too early"
            raise of_status(400, f"the body in gzip {fault}: compress all of it at once")
        return bytes(whole)

    def _make_room(self, share: _Share, length: int) -> None:
        """Reserve memory for a body, or raise Refusal."""
        if length > self._body_bytes:
            most = f"{self._body_bytes / MIB:g} MiB" if self._body_bytes >= MIB else f"{self._body_bytes} bytes"
            raise of_status(413, f"the body is longer than {most}: send fewer rows in each request")
        more = max(0, length - FREE_BYTES - share.room)
        if self._held + more > self._total_bytes:
            raise of_status(429, "too many long requests at once: try again soon", SOON)
        self._held += more
        share.room += more

    def _give_back(self, share: _Share) -> None:
        self._held -= share.room
        share.room = 0


async def _next(request: Request) -> tuple[bytes, bool]:
    """Return the next piece of a body, and whether more will come."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _refuse_encoded(request: Request, *, zipped: bool) -> None:
    """Refuse a compressed body, naming its encoding; gzip passes where it is read."""
    for header, plain in _PLAIN.items():
        if zipped and header == "content-encoding":
            continue
        for given in ",".join(request.headers.getlist(header)).split(","):
            if given.strip().lower() not in plain:
                told = f"the body is encoded as {quoted(given.strip())}: send it as it is, without {header.title()}"
                raise of_status(415, told)


def _announced(request: Request) -> int:
    """Return how many bytes a body is said to have, 0 if nothing is said."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


async def _hear_out(request: Request, most_bytes: int) -> None:
    """Discard some more of a refused body: many clients read no answer before they have sent all of it."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # this one waits to be asked
    heard, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARING_OUT_S):
            while more and heard <= most_bytes:
                piece, more = await _next(request)
                heard += len(piece)

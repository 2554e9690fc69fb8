"""Read a window for monitoring: figures, a random sample, and the results of earlier monitorings."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    bindparam,
    case,
    cast,
    distinct,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from spamctl.errors import UsageError
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema import monitor as schema
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.message import SIMULATED, SPAM, Label, is_trusted
from spamctl.schema.monitor import Figures, Verdict
from spamctl.store import queries, truth
from spamctl.store.database import Store
from spamctl.store.queries import AnyRow, Window, among, not_kept
from spamctl.store.tables import data, monitoring, twin_digest

Conditions: TypeAlias = Sequence[ColumnElement[bool]]

_A_LOOKUP = 2_000
_PAGE = 50_000  # of uuids and dates alone
_PAUSE_S = 0.02  # SQLite gives the lock to whoever asks first, and a server that waits for it asks now and then
_MOST_NAMED = 5
_TASK, _UNIT = "reading", "rows"


@dataclass(frozen=True, slots=True)
class WindowRow:
    """What monitoring reads of one row; the fields bear the names of the columns."""

    uuid: str
    date: datetime
    text: str
    classification: Label
    probability: float
    ground_truth: Label | None
    label_source: str | None
    model_version: str
    source: str
    in_reach: bool | None  # None: stored before this was kept


_READ = [data.c[name] for name in WindowRow.__slots__]
_BY_AGE = attrgetter("date", "uuid")


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Most rows to read, the newest first (0: all), the size of the sample to keep, and its seed."""

    newest: int = 0
    most: int = 2_000
    seed: int = 0


@dataclass(slots=True)
class Survey:
    """Figures over all rows of a window, and the sampled rows, the oldest first.

    `sample` is drawn from all rows, `labelled` from those whose label is no simulated one; either holds all of them
    where they are few enough. `families` names the drift family of the drawn rows whose truth was kept.
    """

    rows: int = 0
    distinct: int = 0  # by twin key
    empty: int = 0  # nothing but white space
    spam: int = 0  # as called
    out_of_reach: int = 0  # unlike all that the version was trained on
    reach_known: int = 0  # rows that say whether they are
    trusted: int = 0  # labelled, not simulated
    oldest: datetime | None = None
    newest: datetime | None = None
    versions: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    label_sources: Counter[str] = field(default_factory=Counter)
    sample: list[WindowRow] = field(default_factory=list)
    labelled: list[WindowRow] = field(default_factory=list)
    families: dict[str, str] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Return whether the sample holds fewer rows than the window."""
        return self.rows > len(self.sample)

    def add(self, group: AnyRow) -> None:
        """Add the rows that agree in all that is counted apart."""
        self.rows += group.rows
        self.empty += group.empty
        self.spam += group.rows * (group.classification == SPAM)
        self.out_of_reach += group.rows * (group.in_reach is False)
        self.reach_known += group.rows * (group.in_reach is not None)
        self.trusted += group.rows * is_trusted(group.ground_truth, group.label_source)
        self.oldest = min(filter(None, (self.oldest, group.oldest)))
        self.newest = max(filter(None, (self.newest, group.newest)))
        self.versions[group.model_version] += group.rows
        self.sources[group.source] += group.rows
        if group.label_source is not None:
            self.label_sources[group.label_source] += group.rows


class Identified(Protocol):
    """What has the uuid and the date of a row."""

    @property
    def uuid(self) -> str:
        """Return the uuid."""

    @property
    def date(self) -> datetime:
        """Return the date."""


Drawn = TypeVar("Drawn", bound=Identified)


class Draw(Generic[Drawn]):
    """Uniform reservoir: it keeps the rows whose digests are smallest, in whatever order they come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bound = 2**64
        self._kept: list[tuple[int, Drawn]] = []

    def offer(self, rows: Sequence[tuple[int, Drawn]]) -> None:
        """Add (digest, row) pairs; at most twice as many as wanted are held at any time."""
        self._kept += [pair for pair in rows if pair[0] < self._bound]
        if len(self._kept) > 2 * self._most:
            self._cut()

    def rows(self) -> list[Drawn]:
        """Return the sample, the oldest first."""
        self._cut()
        return sorted((row for _, row in self._kept), key=_BY_AGE)

    def _cut(self) -> None:
        self._kept.sort(key=itemgetter(0))
        del self._kept[self._most :]
        if len(self._kept) == self._most:
            self._bound = self._kept[-1][0] + 1


def survey(store: Store, window: Window, wish: SampleRequest) -> ProgressGenerator[Survey]:
    """Aggregate the rows of a window in the database, and read no more of them than the samples.

    The same rows and seed give the same sample. Raises UnavailableError if the database fails.
    """
    found = Survey()
    chosen = queries.among_newest(store, wish.newest, window)
    grouped = _grouped(store, chosen)
    if any(group.rows > group.hashed for group in grouped):
        yield from _keep_digests(store, chosen)
        grouped = _grouped(store, chosen)
    for group in grouped:
        found.add(group)
    if not found.rows:
        return found
    yield ProgressUpdate(_TASK, found.rows, found.rows, _UNIT)
    found.distinct = _count_distinct(store, chosen)
    stored = queries.count(store) if found.rows > wish.most else found.rows
    lot = Lot(store, wish, stored, random=all(group.rows == group.random for group in grouped))
    found.sample = found.labelled = lot.draw(chosen, found.rows)
    if found.trusted < found.rows:
        found.labelled = lot.draw([*chosen, *_TRUSTED], found.trusted)
    found.families = _families(store, sorted({row.uuid for row in (*found.sample, *found.labelled)}))
    return found


# Compute the figures in the database: ten million rows are read in seconds where they are, and in minutes elsewhere.

_TRUSTED = (data.c.ground_truth.is_not(None), data.c.label_source != SIMULATED)
_APART = tuple(
    data.c[name] for name in ("classification", "in_reach", "ground_truth", "label_source", "model_version", "source")
)


def _grouped(store: Store, chosen: Conditions) -> Sequence[AnyRow]:
    """Count rows by all that is counted apart: one pass, and a few dozen groups."""
    made_by = func.substr(cast(data.c.uuid, Text), 15, 1)  # the digit of a uuid that names its version
    statement = select(
        *_APART,
        func.count().label("rows"),
        func.min(data.c.date).label("oldest"),
        func.max(data.c.date).label("newest"),
        func.count(data.c.twin_digest).label("hashed"),
        func.count(case((data.c.twin_digest == twin_digest(""), 1))).label("empty"),
        func.count(case((made_by.in_(_RANDOM_UUIDS), 1))).label("random"),
    )
    with store.reading() as connection:
        return connection.execute(statement.where(*chosen).group_by(*_APART)).all()


def _count_distinct(store: Store, chosen: Conditions) -> int:
    """Count the rows that are no near duplicates of each other.

    Not as rows of a SELECT DISTINCT: PostgreSQL plans two hash tables for it, and where no parallel worker is free, the
    one fills the other in the order of its own hashes. Ten million rows then take ten minutes, not ten seconds.
    """
    with store.reading() as connection:
        return connection.scalar(select(func.count(distinct(data.c.twin_digest))).where(*chosen)) or 0


def _keep_digests(store: Store, chosen: Conditions) -> ProgressGenerator[None]:
    """Fill the digests of rows of before they were kept, a page in a transaction, so that nobody waits for long."""
    done, unknown = 0, [*chosen, data.c.twin_digest.is_(None)]
    with store.reading() as connection:
        total = connection.scalar(select(func.count()).select_from(data).where(*unknown)) or 0
    fill = update(data).where(data.c.uuid == bindparam("row")).values(twin_digest=bindparam("digest"))
    for page in queries.chosen_pages(store, [data.c.uuid, data.c.date, data.c.text], unknown, size=_A_LOOKUP):
        with store.writing() as connection:
            connection.execute(fill, [{"row": row.uuid, "digest": twin_digest(row.text)} for row in page])
        done += len(page)
        yield ProgressUpdate("comparing texts, once for each row", done, max(done, total), _UNIT)
        time.sleep(_PAUSE_S)


# Draw rows at random, whatever their order, and read little else.
#
# A row's uuid is a hash (`row_uuid`), so the rows whose uuids lie on an arc, from a point that the seed gives, are as
# good as drawn, and the primary key is the index of that hash. The uuids of rows that others wrote may follow the time:
# then digests of the uuids are compared, for which each uuid is read. So it is where an arc would hold more rows of
# other windows than this one has.

_RANDOM_UUIDS = ("4", "5")
_CIRCLE = 2**64  # of a uuid's first 64 bits
_MORE = 1.2  # times the arc that holds as many rows as are wanted on average


@dataclass(frozen=True, slots=True)
class Lot:
    """Sampling from a store of so many rows; `random`: the uuids of those that count are hashes."""

    store: Store
    wish: SampleRequest
    stored: int
    random: bool

    @property
    def start(self) -> int:
        """Return the point of the circle from which uuids are counted."""
        return _digest("", self.wish.seed)

    def draw(self, chosen: Conditions, rows: int) -> list[WindowRow]:
        """Return a sample of the `rows` that meet some conditions, the oldest first."""
        if self.random and rows > self.wish.most and rows * rows > self.wish.most * self.stored:
            return self._on_an_arc(chosen, rows)
        drawn = Draw[AnyRow](self.wish.most)
        for page in queries.chosen_pages(self.store, [data.c.uuid, data.c.date], chosen, size=_PAGE):
            drawn.offer([(self._place(row.uuid), row) for row in page])
        uuids, read = [row.uuid for row in drawn.rows()], list[WindowRow]()
        for start in range(0, len(uuids), _A_LOOKUP):
            with self.store.reading() as connection:
                read += _read(connection, [among(connection, uuids[start : start + _A_LOOKUP])])
        return sorted(read, key=_BY_AGE)

    def _on_an_arc(self, chosen: Conditions, rows: int) -> list[WindowRow]:
        """Read arc after arc until there are enough rows; no index but that of the uuid may be used."""
        opaque = [func.coalesce(condition, false()) for condition in chosen]
        drawn, done = Draw[WindowRow](self.wish.most), 0
        step = round(_CIRCLE * min(1.0, _MORE * self.wish.most / rows))
        found = 0
        while found < self.wish.most and done < _CIRCLE:
            upto = min(_CIRCLE, done + step)
            for first, last in _pieces(self.start + done, self.start + upto):
                with self.store.reading() as connection:
                    read = _read(connection, [data.c.uuid.between(first, last), *opaque])
                drawn.offer([(self._place(row.uuid), row) for row in read])
                found += len(read)
            done = upto
        return drawn.rows()

    def _place(self, uuid: str) -> int:
        """Return how far from the start a row's uuid, or its digest, lies on the circle."""
        if not self.random:
            return _digest(uuid, self.wish.seed)
        return ((UUID(uuid).int >> 64) - self.start) % _CIRCLE


def _read(connection: Connection, chosen: Conditions) -> list[WindowRow]:
    return [WindowRow(*row) for row in connection.execute(select(*_READ).where(*chosen))]


def _pieces(start: int, end: int) -> Iterator[tuple[str, str]]:
    """Yield the first and the last uuid of each piece of an arc from a point up to another, which may be behind 0."""
    for turn in range(2):
        first, last = max(start, turn * _CIRCLE), min(end, (turn + 1) * _CIRCLE) - 1
        if first <= last:
            low, high = first % _CIRCLE, last % _CIRCLE
            yield str(UUID(int=low << 64)), str(UUID(int=(high << 64) + _CIRCLE - 1))


def figures(survey: Survey, window: Window) -> schema.Window:
    """Return the figures of a survey of a window, without any row of it."""
    since, until, oldest, newest = (
        moment.isoformat() if moment else "" for moment in (window.since, window.until, survey.oldest, survey.newest)
    )
    return schema.Window(
        rows=survey.rows,
        distinct=survey.distinct,
        empty=survey.empty,
        spam=survey.spam,
        out_of_reach=survey.out_of_reach,
        reach_known=survey.reach_known,
        trusted=survey.trusted,
        judged=len(survey.sample),
        sampled=survey.sampled,
        since=since,
        until=until,
        oldest=oldest,
        newest=newest,
        versions=dict(survey.versions),
        sources=dict(survey.sources),
        label_sources=dict(survey.label_sources),
    )


@dataclass(frozen=True, slots=True)
class Others:
    """Counts of rows of the version that another package answered, and of rows that name no package."""

    of_another: int
    of_unknown: int


def count_others(store: Store, window: Window) -> Others:
    """Count the rows of a window's version number that its package did not, or may not, have answered."""
    every = replace(window, package=None)
    column = data.c.package_sha256
    statement = (
        select(func.count(column), func.count())
        .select_from(data)
        .where(*every.conditions(), or_(column.is_(None), column != window.package))
    )
    with store.reading() as connection:
        of_another, all_of_them = connection.execute(statement).one()
    return Others(of_another, all_of_them - of_another)


def window_texts(store: Store, uuids: Sequence[str]) -> list[str | None]:
    """Return the text of each of some rows, None for one that was removed meanwhile."""
    found: dict[str, str] = {}
    for start in range(0, len(uuids), _A_LOOKUP):
        found |= {uuid: row.text for uuid, row in queries.find(store, uuids[start : start + _A_LOOKUP]).items()}
    return [found.get(uuid) for uuid in uuids]


def require_rows(store: Store, window: Window) -> int:
    """Return the number of a window's rows; raise UsageError, naming what there is instead, if there are none."""
    if rows := queries.count(store, window):
        return rows
    name, asked = store.address.name, f"{window.model_name} version {window.model_version}"
    there = queries.by_version(store)
    if not there:
        raise UsageError(f"{name}: holds no answer yet: send messages to spamctl serve, or type spamctl traffic")
    if window.package and (alien := count_others(store, replace(window, since=None)).of_another):
        raise UsageError(
            f"{name}: holds no answer of {asked} as it is registered now, but {alien:,} of another package that had "
            "its number: serve this one first, or register that one again"
        )
    if (window.model_name, window.model_version) in there:
        (latest,) = queries.newest(store, 1, replace(window, since=None))
        raise UsageError(
            f"{name}: holds no answer of {asked} that is so young, the newest is of {latest.date:%Y-%m-%d %H:%M} UTC: "
            "widen --since"
        )
    others = [f"{model} version {version} ({count:,})" for (model, version), count in there.items()]
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    raise UsageError(
        f"{name}: holds no answer of {asked}, but of {', '.join(others[:_MOST_NAMED])}{more}: "
        "name one of them with --model-version and --model-name"
    )


def _families(store: Store, uuids: Sequence[str]) -> dict[str, str]:
    """Read the families of the rows with a known truth."""
    known: dict[str, str] = {}
    for start in range(0, len(uuids), _A_LOOKUP):
        found = truth.find(store, uuids[start : start + _A_LOOKUP])
        known |= {uuid: row.family for uuid, row in found.items() if row.family}
    return known


def _digest(text: str, seed: int = 0) -> int:
    """Return 8 bytes that stand for a text, other ones for each seed."""
    salt = seed.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt).digest())


# Store the result of each monitoring, and read the latest for the trend.

_NEWEST = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a monitoring: the version, the window, and its figures, which are stored as JSON."""

    run_id: str
    date: datetime
    model_name: str
    model_version: str
    window_since: datetime | None
    window_until: datetime
    rows: int
    verdict: Verdict
    figures: Figures


def append_monitoring(store: Store, finding: Finding) -> bool:
    """Insert a result and return whether it is new: an existing run is left unchanged.

    Raises UnavailableError if the database fails; then nothing is written.
    """
    insert = sqlite.insert if store.address.file else postgresql.insert
    values = {name: getattr(finding, name) for name in Finding.__slots__}
    values |= {"figures": json.dumps(to_json(finding.figures), allow_nan=False)}
    statement = insert(monitoring).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    with store.writing() as connection:
        if new := bool(connection.execute(statement, [values]).rowcount):
            return new
        if connection.scalar(select(monitoring.c.run_id).where(monitoring.c.run_id == finding.run_id)) is None:
            raise not_kept(monitoring, 1)
        return new


def monitoring_history(store: Store, model_name: str, most: int = _NEWEST) -> list[Finding]:
    """Return the last findings about a model, all versions, the oldest first; raise UnavailableError as all do."""
    statement = (
        select(monitoring)
        .where(monitoring.c.model_name == model_name)
        .order_by(monitoring.c.date.desc(), monitoring.c.run_id.desc())
        .limit(most)
    )
    with store.reading() as connection:
        rows = connection.execute(statement).all()
    read = [row._asdict() for row in reversed(rows)]
    return [Finding(**row | {"figures": from_json(Figures, json.loads(row["figures"]))}) for row in read]

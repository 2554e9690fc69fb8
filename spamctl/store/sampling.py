"""Read a window for monitoring: figures, a random sample, and the results of earlier monitorings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from spamctl.data.cleaning import twin_key
from spamctl.errors import UsageError
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema import monitor as schema
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.label import is_trusted
from spamctl.schema.message import SPAM, Label
from spamctl.schema.monitor import Figures, Verdict
from spamctl.store import queries, truth
from spamctl.store.database import Store
from spamctl.store.queries import Window, not_kept
from spamctl.store.tables import data, monitoring

_A_LOOKUP = 2_000
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

    def count(self, page: Sequence[WindowRow]) -> None:
        """Count the rows of one page."""
        self.rows += len(page)
        self.empty += sum(not row.text.strip() for row in page)
        self.spam += sum(row.classification == SPAM for row in page)
        self.out_of_reach += sum(row.in_reach is False for row in page)
        self.reach_known += sum(row.in_reach is not None for row in page)
        self.trusted += sum(map(_is_trusted, page))
        dates = [row.date for row in page]
        self.oldest = min(filter(None, (self.oldest, *dates)))
        self.newest = max(filter(None, (self.newest, *dates)))
        self.versions.update(row.model_version for row in page)
        self.sources.update(row.source for row in page)
        self.label_sources.update(row.label_source for row in page if row.label_source is not None)


class Draw:
    """Uniform reservoir: it keeps the rows whose digests are smallest, in whatever order they come."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bound = 2**64
        self._kept: list[tuple[int, WindowRow]] = []

    def offer(self, rows: Sequence[tuple[int, WindowRow]]) -> None:
        """Add (digest, row) pairs; at most twice as many as wanted are held at any time."""
        self._kept += [pair for pair in rows if pair[0] < self._bound]
        if len(self._kept) > 2 * self._most:
            self._cut()

    def rows(self) -> list[WindowRow]:
        """Return the sample, the oldest first."""
        self._cut()
        return sorted((row for _, row in self._kept), key=lambda row: (row.date, row.uuid))

    def _cut(self) -> None:
        self._kept.sort(key=itemgetter(0))
        del self._kept[self._most :]
        if len(self._kept) == self._most:
            self._bound = self._kept[-1][0] + 1


def survey(store: Store, window: Window, wish: SampleRequest) -> ProgressGenerator[Survey]:
    """Read the rows of a window, the newest first, and aggregate them; 8 bytes a row are kept, and a sample.

    The same rows and seed give the same sample. Raises UnavailableError if the database fails.
    """
    found, keys = Survey(), list[NDArray[np.uint64]]()
    sample, labelled = Draw(wish.most), Draw(wish.most)
    there = queries.count(store, window)
    total = min(wish.newest, there) if wish.newest else there
    columns = [data.c[name] for name in WindowRow.__slots__]
    for read in queries.column_pages(store, columns, window, newest_first=True):
        page = [WindowRow(*row) for row in read[: total - found.rows]]
        if not page:
            break
        found.count(page)
        keys.append(np.fromiter((_digest(twin_key(row.text)) for row in page), np.uint64, len(page)))
        drawn = [(_digest(row.uuid, wish.seed), row) for row in page]
        sample.offer(drawn)
        labelled.offer([pair for pair in drawn if _is_trusted(pair[1])])
        yield ProgressUpdate(_TASK, found.rows, total, _UNIT)
    found.distinct = len(np.unique(np.concatenate(keys))) if keys else 0
    found.sample, found.labelled = sample.rows(), labelled.rows()
    found.families = _families(store, sorted({row.uuid for row in (*found.sample, *found.labelled)}))
    return found


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


def _is_trusted(row: WindowRow) -> bool:
    return is_trusted(row.ground_truth, row.label_source)


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

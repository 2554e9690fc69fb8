"""Migrate a store's tables: numbered steps that are never changed, only followed by others.

Each step is written in its own words and uses nothing of `tables.py`, which describes today. All steps that a store
still needs run in one transaction under a lock: killed midway, it is as it was before; two processes that start at
once migrate it once. What is not a store of ours, or a newer one, is refused and not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    func,
    insert,
    inspect,
    select,
    text,
)

from spamctl.errors import UsageError
from spamctl.store import tables

IDENTITY = Uuid(as_uuid=False).with_variant(String(36), "sqlite")
MOMENT = DateTime(timezone=True)
_LOCK = 0x7370616D63746C  # "spamctl" in ASCII: the advisory lock that PostgreSQL's migrations wait for


def create_data(connection: Connection) -> None:
    """Create the table of answered messages, with the indexes that labelling and monitoring read."""
    unlabelled, labelled = text("ground_truth IS NULL"), text("ground_truth IS NOT NULL")
    Table(
        "data",
        MetaData(),
        Column("uuid", IDENTITY, primary_key=True),
        Column("date", MOMENT, nullable=False),
        Column("text", Text, nullable=False),
        Column("classification", Text, nullable=False),
        Column("probability", Double, nullable=False),
        Column("ground_truth", Text),
        Column("label_source", Text),
        Column("labeled_at", MOMENT),
        Column("model_name", Text, nullable=False),
        Column("model_version", Text, nullable=False),
        Column("threshold", Double, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("latency_ms", Double, nullable=False),
        Column("source", Text, nullable=False),
        CheckConstraint("classification IN ('spam', 'not spam')", name="data_classification"),
        CheckConstraint("probability BETWEEN 0 AND 1", name="data_probability"),
        CheckConstraint("ground_truth IN ('spam', 'not spam')", name="data_ground_truth"),
        CheckConstraint("(ground_truth IS NULL) = (label_source IS NULL)", name="data_label_source"),
        Index("data_by_date", "date"),
        Index("data_by_version", "model_version", "date"),
        Index("data_unlabelled", "date", sqlite_where=unlabelled, postgresql_where=unlabelled),
        Index("data_labelled", "date", sqlite_where=labelled, postgresql_where=labelled),
    ).create(connection)


def create_shadow_verdicts(connection: Connection) -> None:
    """Create the table of the shadow version's verdicts."""
    Table(
        "shadow_verdicts",
        MetaData(),
        Column("uuid", IDENTITY, primary_key=True),
        Column("model_version", Text, primary_key=True),
        Column("classification", Text, nullable=False),
        Column("probability", Double, nullable=False),
        CheckConstraint("classification IN ('spam', 'not spam')", name="shadow_verdicts_classification"),
        CheckConstraint("probability BETWEEN 0 AND 1", name="shadow_verdicts_probability"),
    ).create(connection)


def create_labels(connection: Connection) -> None:
    """Create the history of labels given one at a time."""
    Table(
        "labels",
        MetaData(),
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("uuid", IDENTITY, nullable=False),
        Column("date", MOMENT, nullable=False),
        Column("label", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("annotator", Text, nullable=False),
        CheckConstraint("label IN ('spam', 'not spam')", name="labels_label"),
        Index("labels_by_uuid", "uuid"),
    ).create(connection)


def create_truth(connection: Connection) -> None:
    """Create the table of true labels of simulated traffic."""
    Table(
        "truth",
        MetaData(),
        Column("uuid", IDENTITY, primary_key=True),
        Column("date", MOMENT, nullable=False),
        Column("label", Text, nullable=False),
        Column("origin", Text, nullable=False),
        Column("family", Text, nullable=False),
        Column("drift_type", Text, nullable=False),
        Column("dose", Double, nullable=False),
        Column("seed", BigInteger, nullable=False),
        Column("traffic_run", Text, nullable=False),
        CheckConstraint("label IN ('spam', 'not spam')", name="truth_label"),
        CheckConstraint("dose BETWEEN 0 AND 1", name="truth_dose"),
        Index("truth_by_run", "traffic_run"),
    ).create(connection)


def create_monitoring(connection: Connection) -> None:
    """Create the table of monitoring results."""
    Table(
        "monitoring",
        MetaData(),
        Column("run_id", Text, primary_key=True),
        Column("date", MOMENT, nullable=False),
        Column("model_name", Text, nullable=False),
        Column("model_version", Text, nullable=False),
        Column("window_since", MOMENT),
        Column("window_until", MOMENT, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("verdict", Text, nullable=False),
        Column("figures", Text, nullable=False),
        CheckConstraint("verdict IN ('ok', 'warning', 'failed')", name="monitoring_verdict"),
        Index("monitoring_by_model", "model_name", "date"),
    ).create(connection)


def create_forgotten(connection: Connection) -> None:
    """Create the table of removed messages, as salted digests."""
    Table(
        "forgotten",
        MetaData(),
        Column("uuid", IDENTITY, primary_key=True),
        Column("date", MOMENT, nullable=False),
        Column("salt", Text, nullable=False),
        Column("digest", Text, nullable=False),
    ).create(connection)


def tell_packages_apart(connection: Connection) -> None:
    """Add to each verdict the sha256 of the package that gave it; earlier rows have none."""
    connection.execute(text("ALTER TABLE data ADD COLUMN package_sha256 TEXT"))
    connection.execute(text("ALTER TABLE shadow_verdicts ADD COLUMN package_sha256 TEXT"))


def keep_reach(connection: Connection) -> None:
    """Add to each verdict whether its message was in reach; earlier rows have no value."""
    connection.execute(text("ALTER TABLE data ADD COLUMN in_reach BOOLEAN"))


def keep_twin_digests(connection: Connection) -> None:
    """Add to each message a digest that its near duplicates share; monitoring fills those of earlier rows."""
    connection.execute(text("ALTER TABLE data ADD COLUMN twin_digest BIGINT"))


MIGRATIONS: list[Callable[[Connection], None]] = [
    create_data,
    create_shadow_verdicts,
    create_labels,
    create_truth,
    create_monitoring,
    create_forgotten,
    tell_packages_apart,
    keep_reach,
    keep_twin_digests,
]

# By uuid, since a key of each partition must hold what it is partitioned by: by date, a retry would be stored twice.
_PARTITIONED = (
    "CREATE TABLE data_new (LIKE data INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY HASH (uuid)",
    "DROP TABLE data",
    "ALTER TABLE data_new RENAME TO data",
    "ALTER TABLE data ADD CONSTRAINT data_pkey PRIMARY KEY (uuid)",
    "CREATE TABLE data_0 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 0)",
    "CREATE TABLE data_1 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 1)",
    "CREATE TABLE data_2 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 2)",
    "CREATE TABLE data_3 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 3)",
    "CREATE TABLE data_4 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 4)",
    "CREATE TABLE data_5 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 5)",
    "CREATE TABLE data_6 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 6)",
    "CREATE TABLE data_7 PARTITION OF data FOR VALUES WITH (MODULUS 8, REMAINDER 7)",
)
_PATIENCE = "30s"  # with another process that migrates the store, and holds up nobody else
_LOCK_BOUND = "500ms"  # all who come after a step that waits for a table's lock wait behind it


def partition_data(connection: Connection) -> None:
    """Replace the new and empty table of a PostgreSQL database by partitions, with the same columns and indexes."""
    of_data = text("SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'data'")
    indexes = list(connection.scalars(of_data))
    for statement in _PARTITIONED:
        connection.execute(text(statement))
    for index in indexes:
        if " data_pkey " not in index:
            connection.exec_driver_sql(index)


def version_of(connection: Connection, name: str) -> int:
    """Return how many migrations made the store, 0 for an empty database.

    Reads only. Raises UsageError, naming the cure, if the database is another program's, newer than this program, or
    damaged; `name` is what the user calls it.
    """
    present = _present(connection)
    if tables.spamctl_store.name not in present:
        taken = present if connection.dialect.name == "sqlite" else present & tables.metadata.tables.keys()
        if taken:
            raise UsageError(
                f"{name}: belongs to another program (it has a table {min(taken)}): choose another address"
            )
        return 0
    versions = list(connection.scalars(select(tables.spamctl_store.c.version).order_by(tables.spamctl_store.c.version)))
    if versions and versions[-1] > len(MIGRATIONS):
        raise UsageError(
            f"{name}: was written by a newer spamctl (store version {versions[-1]}, this one knows {len(MIGRATIONS)}): "
            "upgrade spamctl, or choose another address"
        )
    if versions != list(range(1, len(versions) + 1)) or not versions:
        raise UsageError(f"{name}: its history has gaps: put a copy in its place, or move it away")
    return len(versions)


def migrate(connection: Connection, name: str) -> int:
    """Run the steps that a store lacks, inside the caller's write transaction, and return their number.

    Raises UsageError as `version_of` does, and if a table or a column of a store that claims to be complete is missing.
    """
    server, done = connection.dialect.name == "postgresql", version_of(connection, name)
    if server and done < len(MIGRATIONS):
        connection.execute(select(func.set_config("lock_timeout", _PATIENCE, True)))
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        done = version_of(connection, name)  # another process may have done it meanwhile
        connection.execute(select(func.set_config("lock_timeout", _LOCK_BOUND, True)))  # who opens it tries again
    if not done:
        tables.spamctl_store.create(connection)
    for version, step in enumerate(MIGRATIONS[done:], done + 1):
        step(connection)
        now = datetime.now(UTC)
        connection.execute(insert(tables.spamctl_store).values(version=version, name=step.__name__, date=now))
    if server and not done:
        partition_data(connection)
    check_complete(connection, name)
    return len(MIGRATIONS) - done


def check_complete(connection: Connection, name: str) -> None:
    """Raise UsageError if a table or a column is missing."""
    found = inspect(connection)
    for table in tables.metadata.sorted_tables:
        there = {column["name"] for column in found.get_columns(table.name)} if found.has_table(table.name) else set()
        missing = [column.name for column in table.columns if column.name not in there]
        if missing:
            raise UsageError(
                f"{name}: is damaged ({table.name}.{missing[0]} is missing): put a copy in its place, or move it away"
            )


def _present(connection: Connection) -> set[str]:
    """Name the tables and views that are there."""
    found = inspect(connection)
    return {*found.get_table_names(), *found.get_view_names()}

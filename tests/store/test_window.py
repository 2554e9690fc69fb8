"""A window is read once: figures over all of its rows, and a sample that neither order nor page size decides."""

import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import false, func, insert, select, text

from spamctl.errors import UsageError
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import labels, queries, sampling, tables, truth
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.sampling import SampleRequest
from spamctl.store.truth import TrueRow
from tests.store.made_rows import row

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def filled(store):
    """Fill a store with 600 rows, a minute apart: copies, empty ones, three versions, two sources, some labels."""
    made = [
        row(
            "  " if n % 50 == 0 else f"Message {'abcdef'[n % 6] * (n % 100)}",
            n,
            date=START + timedelta(minutes=n),
            classification=SPAM if n % 4 == 0 else NOT_SPAM,
            model_version=str(1 + n % 3),
            source="page" if n % 2 else "invocations",
            in_reach=None if n < 100 else n >= 130,
        )
        for n in range(600)
    ]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    labels.set_labels(store, {one.uuid: one.classification for one in made[:60]}, "oracle")
    labels.set_labels(store, {one.uuid: SPAM for one in made[60:90]}, "simulated")
    truth.remember(store, [TrueRow(one.uuid, SPAM, "test part", "parcel", "modern", 1.0, 0, "r") for one in made[:10]])
    store.made = made
    return store


def read(store, chosen=queries.ALL, **wish):
    """Return how far the reading said it was, and what it found."""
    told = []

    def heard():
        told.append((yield from sampling.survey(store, chosen, SampleRequest(**wish))))

    ticks = list(heard())
    return ticks, told[0]


def test_the_figures_are_over_all_rows_and_the_sample_is_as_large_as_asked(filled):
    ticks, found = read(filled, most=50)
    assert (found.rows, found.empty, found.spam, found.trusted) == (600, 12, 150, 60)
    assert (ticks[-1].done, ticks[-1].total) == (600, 600)
    assert found.versions == {"1": 200, "2": 200, "3": 200}
    assert found.sources == {"page": 300, "invocations": 300}
    assert (found.out_of_reach, found.reach_known) == (30, 500)
    assert found.label_sources == {"oracle": 60, "simulated": 30}
    assert (found.oldest, found.newest) == (START, START + timedelta(minutes=599))
    assert found.distinct == len({" ".join(one.text.split()).casefold() for one in filled.made})
    assert len(found.sample) == len(found.labelled) == 50
    assert [one.date for one in found.sample] == sorted(one.date for one in found.sample)
    assert {one.label_source for one in found.labelled} == {"oracle"}


def test_a_small_window_is_kept_whole_with_what_is_known_of_it(filled):
    _, found = read(filled, newest=0, most=600)
    assert [one.uuid for one in found.sample] == [one.uuid for one in filled.made]
    assert [one.text for one in found.sample] == [one.text for one in filled.made]
    assert found.families == {one.uuid: "parcel" for one in filled.made[:10]}
    assert len(found.labelled) == 60


def test_the_newest_rows_are_read_when_so_many_are_asked_for(filled):
    _, found = read(filled, newest=25)
    assert [one.uuid for one in found.sample] == [one.uuid for one in filled.made[-25:]]
    assert (found.rows, found.oldest) == (25, START + timedelta(minutes=575))


def test_a_window_is_bound_by_time_version_and_model(filled):
    hour = Window(START, START + timedelta(minutes=60))
    assert read(filled, hour)[1].rows == 60
    assert read(filled, replace(hour, model_version="2"))[1].rows == 20
    assert read(filled, replace(hour, model_name="other"))[1].rows == 0
    assert read(filled, Window(model_name="spam", model_version="3"))[1].versions == {"3": 200}


def test_a_sample_depends_on_the_seed_and_on_nothing_else(filled, monkeypatch):
    first, again, other = ([one.uuid for one in read(filled, most=40, seed=seed)[1].sample] for seed in (7, 7, 8))
    assert first == again != other
    pages = queries.chosen_pages
    monkeypatch.setattr(queries, "chosen_pages", lambda *given, **more: pages(*given, **more | {"size": 17}))
    assert [one.uuid for one in read(filled, most=40, seed=7)[1].sample] == first
    monkeypatch.setattr(sampling, "_MORE", 0.01)  # so that arcs are read one after the other, around the circle
    assert [one.uuid for one in read(filled, most=40, seed=7)[1].sample] == first
    monkeypatch.setattr(sampling.Lot, "_on_an_arc", lambda *_: pytest.fail("no arc is read where the window is small"))
    assert len(read(filled, most=600)[1].sample) == 600


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_of_an_arc_are_those_that_come_next_on_the_circle(filled, seed):
    start = sampling._digest("", seed)
    nearest = sorted(filled.made, key=lambda one: ((uuid.UUID(one.uuid).int >> 64) - start) % 2**64)
    drawn = {one.uuid for one in read(filled, most=50, seed=seed)[1].sample}
    assert drawn == {one.uuid for one in nearest[:50]}
    trusted = [one for one in nearest if one in filled.made[:60]]
    assert {one.uuid for one in read(filled, most=50, seed=seed)[1].labelled} == {one.uuid for one in trusted[:50]}


def test_pieces_of_an_arc_meet_and_go_on_behind_the_end():
    circle, end = 2**64, "ffffffff-ffff-ffff-ffff-ffffffffffff"
    zero = str(uuid.UUID(int=0))
    assert list(sampling._pieces(0, circle)) == [(zero, end)]
    (low, middle), (_, high) = (next(iter(sampling._pieces(*ends))) for ends in ((5, 9), (9, 12)))
    assert uuid.UUID(low).int == 5 << 64
    assert uuid.UUID(middle).int + 1 == 9 << 64
    assert uuid.UUID(high).int + 1 == 12 << 64
    (first, before), (after, last) = sampling._pieces(circle - 1, circle + 1)
    assert (before, after) == (end, zero)
    assert uuid.UUID(first).int == (circle - 1) << 64
    assert uuid.UUID(last).int == circle - 1
    assert list(sampling._pieces(circle + 3, circle + 4)) == list(sampling._pieces(3, 4))


def test_an_arc_is_read_by_the_primary_key_alone(filled):
    chosen = [func.coalesce(one, false()) for one in Window(START, model_name="spam", model_version="1").conditions()]
    first, last = next(sampling._pieces(0, 2**58))
    statement = select(tables.data.c.text).where(tables.data.c.uuid.between(first, last), *chosen)
    with filled.writing() as connection:
        if not filled.address.file:
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # which beats any index on 600 rows
        words = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN" if filled.address.file else "EXPLAIN"
        plan = "".join(str(row) for row in connection.exec_driver_sql(f"{explain} {words}"))
    key = "USING INDEX sqlite_autoindex_data_1 (uuid>? AND uuid<?)" if filled.address.file else "_pkey on data_"
    assert key in plan
    assert "by_" not in plan


def test_uuids_that_follow_the_time_are_sampled_by_their_digests(store):
    made = [row(f"{n}", n, date=START + timedelta(seconds=n)) for n in range(300)]
    others = [asdict(one) | {"uuid": str(uuid.UUID(int=n))} for n, one in enumerate(made)]
    with store.writing() as connection:
        connection.execute(insert(tables.data), others)
    drawn = {one.uuid for one in read(store, most=20, seed=3)[1].sample}
    nearest = sorted((one["uuid"] for one in others), key=lambda one: sampling._digest(one, 3))
    assert drawn == set(nearest[:20])


def test_digests_of_earlier_rows_are_filled_once_and_those_of_other_windows_never(filled):
    kept = select(tables.data.c.uuid, tables.data.c.twin_digest).where(tables.data.c.twin_digest.is_not(None))
    ticks, _ = read(filled, Window(model_version="2"))
    assert [(tick.done, tick.total) for tick in ticks] == [(200, 200), (200, 200)]
    with filled.reading() as connection:
        digests = {one.uuid: one.twin_digest for one in connection.execute(kept)}
    assert digests == {one.uuid: tables.twin_digest(one.text) for one in filled.made[1::3]}
    assert len(read(filled, Window(model_version="2"))[0]) == 1


def test_what_is_captured_has_its_digest(address):
    capture = Capture(address, timeout_s=30)
    try:
        assert capture.submit([row("Win 100 now"), row("win  200 NOW", 1), row(" ", 2)]).result(60)
    finally:
        capture.close()
    with open_store(address) as store:
        ticks, found = read(store)
    assert (len(ticks), found.rows, found.distinct, found.empty) == (1, 3, 2, 1)


def test_every_row_is_as_likely_to_be_drawn():
    rows = [
        sampling.WindowRow(
            str(uuid.UUID(int=n)), START + timedelta(seconds=n), "", SPAM, 0.5, None, None, "1", "page", None
        )
        for n in range(1000)
    ]
    drawn = [0] * 10
    for seed in range(200):
        draw = sampling.Draw(100)
        for start in range(0, 1000, 90):
            draw.offer([(sampling._digest(one.uuid, seed), one) for one in rows[start : start + 90]])
        for one in draw.rows():
            drawn[uuid.UUID(one.uuid).int // 100] += 1
    assert sum(drawn) == 20_000
    assert sum((count - 2000) ** 2 / 2000 for count in drawn) < 27.9  # chi-square of 9 degrees of freedom, p = .001


def test_an_empty_window_is_none_of_anything(store):
    ticks, found = read(store)
    assert (ticks, found.rows, found.distinct, found.oldest, found.sample) == ([], 0, 0, None, [])


def test_two_packages_of_one_number_are_never_mixed(store):
    digests = ["a" * 64] * 3 + ["b" * 64] * 2 + [None]
    made = [row(f"{n}", n, date=START, package_sha256=digest) for n, digest in enumerate(digests)]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    chosen = Window(model_name="spam", model_version="1", package="a" * 64)
    _, found = read(store, chosen)
    assert {one.text for one in found.sample} == {"0", "1", "2", "5"}  # 5 is of before packages were told apart
    assert sampling.count_others(store, chosen) == sampling.Others(of_another=2, of_unknown=1)
    assert sampling.require_rows(store, chosen) == 4


def test_a_window_that_holds_nothing_but_another_packages_rows_says_so(store):
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(row(date=START, package_sha256="b" * 64))])
    chosen = Window(since=START, model_name="spam", model_version="1", package="a" * 64)
    with pytest.raises(UsageError, match="as it is registered now, but 1 of another package that had its number"):
        sampling.require_rows(store, chosen)

"""A label equals the verdict, or the truth, as often as was asked for, and is the same whenever it is drawn."""

import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.store import queries, tables, truth
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.truth import TrueRow
from spamctl.traffic import labels
from spamctl.traffic.labels import Imitation, Revelation
from tests.each import each
from tests.store.made_rows import row

UUIDS = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(20_000)]
UNLABELLED = Window(labelled=False)


def share(hits):
    hits = list(hits)
    return sum(hits) / len(hits)


def within_error(share, probability, rows=20_000):
    """Tell whether a share is within four standard errors of its probability: one in 16,000 is not."""
    return abs(share - probability) <= 4 * math.sqrt(probability * (1 - probability) / rows)


@each("quality", [0.0, 0.01, 0.5, 0.9, 0.99, 1.0])
@each("verdict", [SPAM, NOT_SPAM])
def test_quality_is_the_probability_that_label_and_verdict_are_equal(quality, verdict):
    rule = Imitation(quality, seed=3)
    assert within_error(share(rule.label(one, verdict) == verdict for one in UUIDS), quality)


@each(("noise", "coverage"), [(0.0, 1.0), (0.1, 1.0), (0.0, 0.3), (0.2, 0.5), (1.0, 1.0), (0.5, 0.0)])
def test_noise_and_coverage_are_probabilities_of_their_own(noise, coverage):
    rule = Revelation(noise, coverage, seed=3)
    revealed = [label for one in UUIDS if (label := rule.label(one, SPAM)) is not None]
    assert within_error(len(revealed) / len(UUIDS), coverage)
    assert not revealed or within_error(share(label == NOT_SPAM for label in revealed), noise, len(revealed))


def test_a_draw_depends_on_the_seed_and_on_what_is_drawn():
    drawn = {
        (what, seed): [labels.happens(0.5, what, one, seed) for one in UUIDS]
        for what in ("quality", "noise")
        for seed in (0, 1)
    }
    assert within_error(share(a == b for a, b in zip(drawn["quality", 0], drawn["quality", 1], strict=True)), 0.5)
    assert within_error(share(a == b for a, b in zip(drawn["quality", 0], drawn["noise", 0], strict=True)), 0.5)


def test_draws_are_the_same_on_every_machine():
    drawn = "".join("01"[labels.happens(0.5, "quality", one, 7)] for one in UUIDS[:32])
    assert drawn == "01111110011011011010011110111011"


@given(st.uuids(), st.integers(0, 2**31 - 1), st.floats(0, 1), st.floats(0, 1))
def test_what_happens_at_a_probability_happens_at_every_higher_one(one, seed, low, high):
    low, high = sorted((low, high))
    assert labels.happens(low, "quality", str(one), seed) <= labels.happens(high, "quality", str(one), seed)
    assert labels.happens(1.0, "quality", str(one), seed)
    assert not labels.happens(0.0, "quality", str(one), seed)


def done(ticking):
    """Run a task to its end and return its outcome, and the last tick."""
    last = None
    while True:
        try:
            last = next(ticking)
        except StopIteration as end:
            return end.value, last


@pytest.fixture
def store(tmp_path):
    """Open a fresh store."""
    with open_store(str(tmp_path / "spam.db"), create=True) as opened:
        yield opened


@pytest.fixture
def made(store):
    """Store 300 rows, every third not spam, and the truth of 200: ten that were not called spam are, too."""
    made = [row(f"message {n}", n, classification=SPAM if n % 3 else NOT_SPAM) for n in range(300)]
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    truth.remember(store, [true(one, SPAM if n < 30 else one.classification) for n, one in enumerate(made[:200])])
    return made


def true(one, label):
    return TrueRow(one.uuid, label, "test part", "", "none", 0.0, 0, "run")


def labels_in(store):
    return {row.uuid: row.ground_truth for page in queries.pages(store) for row in page}


def test_rows_are_labelled_from_their_verdicts_and_marked_as_simulated(store, made):
    written, tick = done(labels.label_by_verdict(store, UNLABELLED, Imitation(0.9, 1), 300))
    assert (written, tick.done, tick.total) == (300, 300, 300)
    (source,) = queries.by_source(store)
    assert (source.source, source.rows) == ("simulated", 300)
    rule = Imitation(0.9, 1)
    assert labels_in(store) == {one.uuid: rule.label(one.uuid, one.classification) for one in made}


def test_at_most_as_many_as_asked_the_oldest_first_and_the_rest_later(store, made):
    assert done(labels.label_by_verdict(store, UNLABELLED, Imitation(1, 0), 40))[0] == 40
    assert {row.uuid for row in queries.newest(store, 260)} == {
        row.uuid for row in queries.newest(store, 300, UNLABELLED)
    }
    assert done(labels.label_by_verdict(store, UNLABELLED, Imitation(1, 0), 300))[0] == 260
    assert done(labels.label_by_verdict(store, UNLABELLED, Imitation(1, 0), 300)) == (0, None)


def test_a_labelling_that_was_cut_short_ends_as_if_it_had_not_been(store, made, monkeypatch):
    small = queries.unlabelled
    monkeypatch.setattr(queries, "unlabelled", lambda store, window: small(store, window, size=50))
    list(islice(labels.label_by_verdict(store, UNLABELLED, Imitation(0.5, 2), 300), 2))
    assert queries.count(store, Window(labelled=True)) == 100
    done(labels.label_by_verdict(store, UNLABELLED, Imitation(0.5, 2), 300))
    rule = Imitation(0.5, 2)
    assert labels_in(store) == {one.uuid: rule.label(one.uuid, one.classification) for one in made}


def test_two_labellings_at_once_label_no_row_twice(store, made, monkeypatch):
    small = queries.unlabelled
    monkeypatch.setattr(queries, "unlabelled", lambda store, window: small(store, window, size=20))
    with open_store(str(store.address.file)) as other, ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(done, labels.label_by_verdict(one, UNLABELLED, Imitation(0.5, 2), 300))
            for one in (store, other)
        ]
        written = [future.result()[0] for future in both]
    assert sum(written) == 300
    assert queries.count(store, UNLABELLED) == 0


def test_without_noise_the_accuracy_of_data_is_that_of_the_truth(store, made):
    written, _ = done(labels.label_by_truth(store, Window(), Revelation(0, 1, 0), 300, overwrite=False))
    assert written == 200
    (source,) = queries.by_source(store)
    tallied = truth.tally(store, "run")
    right = sum(one.rows for one in tallied if one.label == one.classification)
    assert (source.source, source.agreeing, source.rows) == ("oracle", right, sum(one.rows for one in tallied))
    assert 0 < right < 200


def test_a_part_of_the_truth_is_revealed_and_the_same_part_again(store, made):
    rule = Revelation(0, 0.4, 5)
    written, _ = done(labels.label_by_truth(store, Window(), rule, 300, overwrite=False))
    assert written == sum(rule.label(one.uuid, SPAM) is not None for one in made[:200])
    assert done(labels.label_by_truth(store, Window(), rule, 300, overwrite=False))[0] == 0
    assert done(labels.label_by_truth(store, Window(), Revelation(0, 1, 5), 7, overwrite=False))[0] == 7


def test_truth_replaces_labels_only_when_it_may(store, made):
    done(labels.label_by_verdict(store, UNLABELLED, Imitation(0.5, 2), 300))
    assert done(labels.label_by_truth(store, Window(), Revelation(0, 1, 0), 300, overwrite=False))[0] == 0
    assert done(labels.label_by_truth(store, Window(), Revelation(0, 1, 0), 300, overwrite=True))[0] == 200
    assert {one.source: one.rows for one in queries.by_source(store)} == {"oracle": 200, "simulated": 100}
    assert done(labels.label_by_truth(store, Window(), Revelation(0, 1, 0), 300, overwrite=True))[0] == 0

"""Traffic is cut into batches that a later try repeats exactly, and truth finds its answer by uuid."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spamctl.schema.message import Prediction
from spamctl.schema.traffic import Staged
from spamctl.store.tables import row_uuid
from spamctl.traffic import results

SAMPLE = Staged("free", "spam", origin="synthetic", family="test part", drift_type="leet", dose=0.5)


def samples(count):
    return [replace(SAMPLE, text=f"message {number}") for number in range(count)]


def answer(place):
    return Prediction("spam", 0.5, row_uuid("request", place, ""), "1", captured=True)


@given(st.integers(0, 60), st.integers(1, 25))
def test_every_sample_is_in_one_batch_in_order(count, size):
    cut = list(results.split_batches(samples(count), size, "run"))
    assert [text for batch in cut for text in batch.texts] == [sample.text for sample in samples(count)]
    assert [len(batch.texts) for batch in cut[:-1]] == [size] * max(0, len(cut) - 1)
    assert len({batch.request_id for batch in cut}) == len(cut)


def test_a_run_repeats_its_ids_and_another_run_has_others():
    first, again, other = (list(results.split_batches(samples(30), 10, run)) for run in ("a", "a", "b"))
    assert first == again
    assert not {batch.request_id for batch in first} & {batch.request_id for batch in other}


def test_truth_follows_the_answer_of_its_message():
    rows = results.true_rows(samples(3), [(2, answer(2)), (0, answer(0))], 7, "run")
    assert [row.uuid for row in rows] == [answer(2).uuid, answer(0).uuid]
    assert {(row.label, row.origin, row.family, row.drift_type, row.dose) for row in rows} == {
        ("spam", "synthetic", "test part", "leet", 0.5)
    }
    assert {(row.seed, row.traffic_run) for row in rows} == {(7, "run")}
    assert replace(rows[0], uuid=rows[1].uuid) == rows[1]


def test_a_replayed_message_without_a_label_has_no_truth():
    replayed = results.replayed([("hello", None), ("free", "spam")])
    assert [row.uuid for row in results.true_rows(replayed, [(0, answer(0)), (1, answer(1))], 0, "run")] == [
        answer(1).uuid
    ]
    assert [known.group for known in results.known_samples(replayed)] == ["replay", "replay"]


def test_messages_are_grouped_by_origin_and_drift():
    drifted, plain = SAMPLE, replace(SAMPLE, origin="test part", drift_type="none")
    assert [(known.label, known.group) for known in results.known_samples([drifted, plain])] == [
        ("spam", "synthetic, leet"),
        ("spam", "test part"),
    ]

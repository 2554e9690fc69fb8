"""Many messages get the verdicts of a server, in their order, whatever chunks they are scored in."""

import json
from dataclasses import replace

import pytest
from pyarrow import parquet

from spamctl.data import shards
from spamctl.data.score_input import Incoming, InputRequest, survey
from spamctl.data.score_output import Fingerprint, Parts
from spamctl.data.shard_output import PartFolder
from spamctl.errors import ArtefactError, DataError
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.serving import bulk
from spamctl.serving.bulk import BulkScorer, Capturer, ScoreJob, ScoreTally, ShardJob, chunks, combined
from spamctl.serving.state import Release
from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_models, tiny_packages
from tests.ticks import last

MESSAGES = tiny_models.messages(300)
MADE_OF = Fingerprint("ab", "spam 1", "cd", "{}")


@pytest.fixture
def scorer(tmp_path):
    package = tiny_packages.write(tmp_path / "package", reach=0.5)
    made = BulkScorer(Release("spam", "1", "champion", str(package)), threads=1, out_of_reach="deliver")
    yield made
    made.close()


@pytest.fixture
def small(monkeypatch):
    """Score seven messages at a time."""
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 7)


def incoming(texts):
    return [Incoming("a.csv", place, text) for place, text in enumerate(texts, 1)]


def lay(folder, messages=MESSAGES):
    path = folder / "messages.jsonl"
    path.write_text("".join(json.dumps({"text": one.text, "label": one.label}) + "\n" for one in messages))
    return InputRequest(str(path))


def test_order_and_probabilities_are_those_of_single_rows(scorer, small):
    texts = [message.text for message in MESSAGES] + ["", "word " * 500]
    found = [pair for chunk in scorer.score(incoming(texts)) for pair in zip(chunk.messages, chunk.scores, strict=True)]
    assert [one.text for one, _ in found] == texts
    for one, scored in found:
        assert scored.verdict.probability == pytest.approx(tiny_packages.probability(one.text), abs=1e-6)
    assert [scored.verdict.truncated for _, scored in found] == [False] * (len(texts) - 1) + [True]


def test_what_cannot_be_read_has_no_verdict_and_the_others_keep_theirs(scorer):
    mixed = [Incoming("a", 1, "Call now"), Incoming("a", 2, fault="no text"), Incoming("a", 3, "shall we eat soup")]
    (chunk,) = scorer.score(mixed, first=40)
    assert (chunk.first, chunk.scores[1]) == (40, None)
    rows = [scorer.row(one, scored) for one, scored in zip(chunk.messages, chunk.scores, strict=True)]
    assert [row.get("classification") for row in rows] == [SPAM, None, NOT_SPAM]
    assert rows[1] == {"source": "a", "place": 2, "fault": "no text"}
    assert (rows[0]["model_name"], rows[0]["model_version"], rows[0]["threshold"]) == ("spam", "1", 0.5)


def test_a_message_unlike_the_training_is_delivered_and_says_so(scorer):
    (chunk,) = scorer.score([Incoming("a", 1, "zorp blivet quux frobnicate Call wibble")])
    verdict = chunk.scores[0].verdict
    assert (verdict.classification, verdict.in_reach) == (NOT_SPAM, False)


def test_long_messages_go_in_small_chunks():
    long = [Incoming("a", place, "x" * 2**20) for place in range(9)]
    assert [len(chunk) for chunk in chunks(long)] == [5, 4]
    assert [len(chunk) for chunk in chunks(incoming(["a"] * 2_500))] == [1_000, 1_000, 500]
    assert list(chunks([])) == []


def test_another_package_than_the_registered_one_is_refused(tmp_path):
    package = tiny_packages.write(tmp_path / "package")
    with pytest.raises(ArtefactError):
        BulkScorer(Release("spam", "1", "", str(package), digest="0" * 64), threads=1, out_of_reach="judge")


def test_the_words_behind_a_verdict_are_told(scorer):
    (chunk,) = scorer.score([Incoming("a", 1, "shall we Call now")])
    told = scorer.words("shall we Call now", chunk.scores[0])
    assert told.startswith(("Call +", "now +", "shall -", "we -"))


def test_a_run_that_is_continued_captures_nothing_twice(scorer, tmp_path, small):
    store = str(tmp_path / "spam.db")
    for _ in range(2):
        capturer = Capturer(store, scorer, "run")
        uuids = [uuid for chunk in scorer.score(incoming(["a", "b", "a"] * 5)) for uuid in capturer.keep(chunk)]
        capturer.close()
    assert len(set(uuids)) == 15
    with open_store(store) as opened:
        rows = queries.find(opened, uuids)
    assert rows.keys() == set(uuids)
    assert {(row.source, row.request_id, row.model_version) for row in rows.values()} == {("score", "score-run", "1")}
    assert {row.package_sha256 for row in rows.values()} == {scorer.digest}


def job(scorer, request, parts=None, **more):
    return ScoreJob(request, survey(request), scorer, ScoreTally("probability", 3), parts, **more)


def test_a_job_that_is_stopped_anywhere_ends_as_if_it_had_not_been(scorer, tmp_path, small):
    request = lay(tmp_path)
    with Parts(tmp_path / "whole", MADE_OF, resume=False, overwrite=False) as parts:
        whole = job(scorer, request, parts)
        assert last(whole.run()) == 0
        expected = list(parts.read())
    assert len(expected) == len(MESSAGES)
    assert whole.tally.scores().recall.value > 0.9
    for stop in (0, 1, 17, 42):
        folder = tmp_path / f"stopped-{stop}"
        with Parts(folder, MADE_OF, resume=False, overwrite=False) as parts:
            running = job(scorer, request, parts).run()
            for _ in range(stop):
                next(running)
            running.close()
        with Parts(folder, MADE_OF, resume=True, overwrite=False) as parts:
            again = job(scorer, request, parts)
            assert last(again.run()) == min(7 * stop, len(MESSAGES))
            assert list(parts.read()) == expected
        assert again.tally.summary() == whole.tally.summary()


def test_an_input_that_changes_while_it_is_read_is_refused(scorer, tmp_path):
    request = lay(tmp_path)
    work = job(scorer, request)
    lay(tmp_path, MESSAGES[:10])
    with pytest.raises(DataError, match="has changed while it was read"):
        last(work.run())


def test_no_text_is_kept_that_was_not_asked_for(scorer, tmp_path):
    for with_text in (False, True):
        with Parts(tmp_path / str(with_text), MADE_OF, resume=False, overwrite=False) as parts:
            last(job(scorer, lay(tmp_path), parts, with_text=with_text).run())
            assert {"text" in row for row in parts.read()} == {with_text}


def test_the_first_messages_are_shown_in_either_order(scorer, tmp_path, small):
    request = lay(tmp_path)
    worst, first = ScoreTally("probability", 3), ScoreTally("input", 3)
    for tally in (worst, first):
        last(ScoreJob(request, survey(request), scorer, tally).run())
    probabilities = sorted((tiny_packages.probability(one.text) for one in MESSAGES), reverse=True)
    assert [row.probability for row in worst.shown] == pytest.approx(probabilities[:3], abs=1e-6)
    assert [row.text for row in first.shown] == [one.text for one in MESSAGES[:3]]
    assert ScoreTally("input", 0).shown == []


def shard_job(scorer, request, folder, size=2_000, **more):
    output = PartFolder(f"{folder}/")
    output.check(resume=True, overwrite=False)
    output.begin(MADE_OF, shards.plan(request, size, "spam 1"), overwrite=False)
    return ShardJob(request, output.begun.plan.shards, scorer, output, **more)


def rows_of(work):
    return [row for one in work.shards for row in parquet.read_table(work.output.name_of(one)).to_pylist()]


def test_shards_get_the_verdicts_of_one_go_to_the_last_bit(scorer, tmp_path):
    request = lay(tmp_path)
    with Parts(tmp_path / "whole", MADE_OF, resume=False, overwrite=False) as parts:
        whole = job(scorer, request, parts)
        last(whole.run())
        expected = list(parts.read())
    work = shard_job(scorer, request, tmp_path / "out")
    found = last(work.run())
    assert len(work.shards) > 5
    assert [{name: row[name] for name in one} for row, one in zip(rows_of(work), expected, strict=True)] == expected
    assert found.rows == len(MESSAGES)
    assert replace(found.verdicts, shown=()) == replace(whole.tally.summary(), shown=())
    assert found.verdicts.media["text"][SPAM] == found.verdicts.counts[SPAM]


def test_shards_that_are_stopped_anywhere_end_as_if_they_had_not_been(scorer, tmp_path, small):
    request = lay(tmp_path)
    whole = shard_job(scorer, request, tmp_path / "whole")
    summary = last(whole.run())
    for stop in (1, 17, 42):
        stopped = shard_job(scorer, request, tmp_path / f"stopped-{stop}", store=str(tmp_path / f"{stop}.db"))
        running = stopped.run()
        for _ in range(stop):
            next(running)
        running.close()
        again = last(stopped.run())
        strip = {"uuid": None}
        assert [row | strip for row in rows_of(stopped)] == [row | strip for row in rows_of(whole)]
        assert replace(again, continued=0) == summary
        assert (again.continued > 0) == (stop > 7)
        with open_store(str(tmp_path / f"{stop}.db")) as opened:
            assert queries.count(opened) == len(MESSAGES)
            assert len(queries.find(opened, [row["uuid"] for row in rows_of(stopped)])) == len(MESSAGES)


def test_faults_of_shards_are_counted_and_the_first_are_named(scorer, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("".join('{"text": "call now"}\n' if place % 3 else "nope\n" for place in range(60)))
    work = shard_job(scorer, InputRequest(str(path)), tmp_path / "out", size=100)
    found = last(work.run())
    assert found.faults == {"no valid JSON": 20}
    assert found.places == {"no valid JSON": tuple(f"{path} {place}" for place in (1, 4, 7, 10, 13))}
    assert (found.verdicts.counts["unreadable"], found.rows) == (20, 60)
    assert combined([found, found]).faults == {"no valid JSON": 40}
    assert [row["fault"] for row in rows_of(work)] == ["no valid JSON", None, None] * 20


def test_labels_of_no_known_meaning_are_counted(scorer, tmp_path):
    path = tmp_path / "labels.jsonl"
    words = ["spam", "ham"] * 20_000 + ["maybe"] * 3 + ["ham"] * 20_000
    path.write_text("".join(json.dumps({"text": "call now", "label": word}) + "\n" for word in words))
    found = last(shard_job(scorer, InputRequest(str(path)), tmp_path / "out", size=10**7).run())
    assert found.verdicts.counts["label of no known meaning"] == 3
    assert (found.verdicts.labelled["spam"], found.verdicts.labelled["rest"]) == (20_000, 40_000)

"""A part is whole or is not there, a folder of parts holds one scoring, and nothing of others is touched."""

from pathlib import Path

import pytest
from pyarrow import parquet

from spamctl.data.score_output import Fingerprint
from spamctl.data.shard_output import PLAN, REPORT, PartFolder
from spamctl.errors import DataError, UsageError
from spamctl.schema.score import Piece, ScoreSummary, Shard, ShardPlan, ShardSummary

MADE_OF = Fingerprint("ab", "spam 1", "cd", "{}")
SHARDS = tuple(Shard(letter * 24, (Piece("a.jsonl", "lines", "ef", rows=3),)) for letter in "abc")
PLANNED = ShardPlan("ab", {}, SHARDS)
ROWS = [{"source": "a.jsonl", "place": place, "classification": "spam", "probability": 0.9} for place in range(3)]
SUMMARY = ShardSummary(3, ScoreSummary({"spam": 3}, {}, (), {"text": {"spam": 3}}), {}, {})


@pytest.fixture
def output(tmp_path):
    """Return a folder in which a scoring has begun."""
    made = PartFolder(f"{tmp_path}/out/")
    made.check(resume=False, overwrite=False)
    made.begin(MADE_OF, PLANNED, overwrite=False)
    return made


class _Stopping(dict):
    def get(self, _name, _default=None):
        raise KeyError("stopped")


def output_files(output):
    return sorted(Path(output.place).iterdir())


def write(output, shard, rows=ROWS, summary=SUMMARY):
    with output.writing(shard, with_text=False) as part:
        part.add(rows)
        if summary:
            part.finish(summary)
    return Path(output.name_of(shard))


def test_a_part_is_read_by_anyone_and_says_what_was_counted_of_it(output):
    path = write(output, SHARDS[0])
    assert parquet.read_table(path)["place"].to_pylist() == [0, 1, 2]
    assert output.summary(SHARDS[0]) == SUMMARY
    assert output.summary(SHARDS[1]) is None


def test_a_part_that_fails_while_it_is_written_is_not_there(output):
    with pytest.raises(KeyError, match="stopped"), output.writing(SHARDS[0], with_text=False) as part:
        part.add([*ROWS * 10_000, _Stopping()])
    assert output.summary(SHARDS[0]) is None
    assert [path.name for path in output_files(output)] == [PLAN]


def test_a_part_that_is_cut_changed_or_says_another_number_is_not_whole(output):
    path = write(output, SHARDS[0])
    content = path.read_bytes()
    at = content.index(b"a.jsonl")
    for damaged in (content[:-1], content[: len(content) // 2], b"", content[:at] + b"b" + content[at + 1 :]):
        path.write_bytes(damaged)
        assert output.summary(SHARDS[0]) is None
    write(output, SHARDS[1], ROWS[:2])
    assert output.summary(SHARDS[1]) is None
    write(output, SHARDS[2], summary=None)
    assert output.summary(SHARDS[2]) is None


def test_what_was_begun_is_continued_with_its_own_plan(output):
    write(output, SHARDS[0])
    again = PartFolder(output.place)
    with pytest.raises(UsageError, match="are there already: add --resume to continue, or --overwrite"):
        again.check(resume=False, overwrite=False)
    again.check(resume=True, overwrite=False)
    begun = again.begin(MADE_OF, ShardPlan("ab", {}, SHARDS[:1]), overwrite=False)
    assert begun == output.begun
    assert begun.plan.shards == SHARDS
    assert again.summary(SHARDS[0]) == SUMMARY


def test_another_scoring_is_not_continued_and_is_discarded_if_that_is_wished(output):
    write(output, SHARDS[0])
    output.report({"messages": 3})
    again = PartFolder(output.place)
    with pytest.raises(UsageError, match="--resume: the messages changed since it was begun"):
        again.begin(Fingerprint("xy", "spam 1", "cd", "{}"), PLANNED, overwrite=False)
    assert {path.name for path in output_files(output)} == {PLAN, REPORT, f"part-{'a' * 24}.parquet"}
    begun = again.begin(Fingerprint("xy", "spam 1", "cd", "{}"), PLANNED, overwrite=True)
    assert begun.run != output.begun.run
    assert [path.name for path in output_files(output)] == [PLAN]


def test_a_folder_with_other_files_is_left_alone(output):
    mine = output_files(output)[0].with_name("mine.txt")
    mine.write_text("mine")
    for choice in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
        with pytest.raises(DataError, match=r"holds mine.txt, which no scoring has written"):
            PartFolder(output.place).check(**choice)
    assert mine.read_text() == "mine"


def test_files_are_for_their_owner_alone(output):
    write(output, SHARDS[0])
    output.report({})
    assert {path.stat().st_mode & 0o777 for path in output_files(output)} == {0o600}


def test_steps_that_see_no_plan_say_where_an_output_must_be(tmp_path):
    with pytest.raises(DataError, match=r"is not there: steps on other machines need an --output in a bucket"):
        _ = PartFolder(f"{tmp_path}/").begun

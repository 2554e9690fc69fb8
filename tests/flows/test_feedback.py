"""A training learns from labelled answers, leaves out what it must, and takes the lead only where it is better."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import insert

from spamctl.config.train import TrainOptions
from spamctl.data.split import split
from spamctl.errors import UsageError
from spamctl.flows.feedback import prepare
from spamctl.schema.message import NOT_SPAM, SPAM, Message, digest
from spamctl.store import deletion, labels, tables
from spamctl.store.database import open_store
from spamctl.store.tables import CapturedRow, row_uuid, values
from tests import tiny_models
from tests.flows.conftest import OWN, QUICK
from tests.flows.test_train import ALIASES

CORPUS = tiny_models.messages(200)
FROZEN = split(CORPUS)
# What a filter of yesterday takes for a friend's plan.
FEES = [
    Message(f"{mood} shall we {pay} the {thing} fee {time}?", SPAM)
    for pay, thing, mood, time in product(["pay", "settle"], ["parcel", "toll"], tiny_models.MOODS, tiny_models.TIMES)
]
FRIENDS = [message for message in tiny_models.messages(300)[200:] if not message.is_spam]
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Given:
    """Hold an answer of "not spam" with a label from somewhere."""

    message: Message
    source: str = "oracle"


def fill(address, given):
    """Store answers, one an hour, with their labels, and return their uuids."""
    with open_store(str(address), create=True) as store:
        rows = [
            CapturedRow(
                uuid=row_uuid("answers", index, one.message.text),
                date=BEGAN + timedelta(hours=index),
                text=one.message.text,
                classification=NOT_SPAM,
                probability=0.1,
                model_name="spam",
                model_version="1",
                threshold=0.5,
                request_id="answers",
                latency_ms=1.0,
                source="serve",
            )
            for index, one in enumerate(given)
        ]
        with store.writing() as connection:
            connection.execute(insert(tables.data), [values(row) for row in rows])
        for row, one in zip(rows, given, strict=True):
            labels.set_labels(store, {row.uuid: one.message.label}, one.source)
    return [row.uuid for row in rows]


def forget(address, uuid):
    with open_store(str(address)) as store:
        assert deletion.forget(store, uuid)


NEW = [Given(message) for pair in zip(FEES, FRIENDS * 2, strict=True) for message in pair][:120]


def asked(**changes):
    return replace(TrainOptions(), **changes)


def test_without_feedback_and_without_a_store_nothing_changes(tmp_path):
    lesson = prepare(asked(), FROZEN)
    assert (lesson.parts, lesson.recent, lesson.told) == (FROZEN, [], {"forgotten": 0})
    assert not list(tmp_path.iterdir())


def test_the_newest_are_held_out_and_the_test_part_stays(tmp_path):
    fill(tmp_path / "spam.db", [*(Given(message) for message in FROZEN.test), *NEW])
    lesson = prepare(asked(feedback="spam.db"), FROZEN)
    assert lesson.frozen_sha256 == digest(FROZEN.test) == digest(lesson.parts.test)
    assert lesson.told["left_out"]["known from the dataset"] == len(FROZEN.test)
    kept = lesson.told["train"]["rows"] + lesson.told["validation"]["rows"] + lesson.told["recent"]["rows"]
    assert lesson.told["recent"]["rows"] == len(lesson.recent) == round(0.3 * kept)
    learnt = {message.text for message in (*lesson.parts.train, *lesson.parts.validation)}
    assert not learnt & {text for text, _ in lesson.recent}
    assert lesson.told["sources"] == {"oracle": kept}
    assert lesson.told["newest"] > lesson.told["recent_since"]
    assert json.loads(json.dumps(lesson.told)) == lesson.told


def test_only_the_sources_that_were_named_count(tmp_path):
    rows = [*NEW[:40], *(Given(one.message, "simulated") for one in NEW[40:50])]
    fill(tmp_path / "spam.db", rows)
    told = prepare(asked(feedback="spam.db"), FROZEN).told
    assert (told["rows"], told["passed_over"], list(told["sources"])) == (40, {"from simulated": 10}, ["oracle"])
    lesson = prepare(asked(feedback="spam.db", feedback_sources="simulated"), FROZEN)
    assert (lesson.told["rows"], lesson.told["passed_over"]) == (10, {"from oracle": 40})
    assert any("its own predictions" in warning for warning in lesson.warnings)


def test_old_answers_may_be_left_out(tmp_path):
    fill(tmp_path / "spam.db", NEW)
    age = (datetime.now(UTC) - BEGAN - timedelta(hours=99.5)).total_seconds() / 60
    assert prepare(asked(feedback="spam.db", feedback_max_age=f"{round(age)}m"), FROZEN).told["rows"] == 20


def test_nothing_left_to_learn_from_says_why(tmp_path):
    fill(tmp_path / "spam.db", [Given(FROZEN.test[0]), Given(FEES[0], "simulated")])
    with pytest.raises(UsageError) as refusal:
        prepare(asked(feedback="spam.db"), FROZEN)
    assert str(refusal.value) == (
        "--feedback spam.db: none of 1 labelled answers is left to learn from (1 known from the dataset, "
        "1 from simulated): label more with spamctl label, or leave out --feedback"
    )


@pytest.mark.parametrize("options", [{"feedback": "nil.db"}, {"forgotten": "nil.db"}], ids=str)
def test_a_store_that_was_named_and_is_not_there_is_refused_and_not_made(tmp_path, options):
    (flag,) = options
    with pytest.raises(UsageError, match=f"--{flag}: nil.db: there is no store yet"):
        prepare(asked(**options), FROZEN)
    assert not list(tmp_path.iterdir())


def test_what_was_forgotten_is_learnt_from_nowhere(tmp_path):
    gone = [FROZEN.train[0], FROZEN.test[0], FEES[0]]
    uuids = fill(tmp_path / "spam.db", [*(Given(message) for message in gone), *NEW[2:60]])
    for uuid in uuids[:3]:
        forget(tmp_path / "spam.db", uuid)
    fill(tmp_path / "other.db", NEW[:60])
    for options in (asked(feedback="other.db"), asked()):
        lesson = prepare(options, FROZEN)
        assert lesson.told["forgotten"] == 2
        texts = {message.text for part in ("train", "validation", "test") for message in getattr(lesson.parts, part)}
        assert not texts & {message.text for message in gone}
    assert prepare(asked(feedback="other.db"), FROZEN).told["left_out"]["forgotten"] == 1
    assert prepare(asked(forgotten="none"), FROZEN).parts == FROZEN


REFERENCE = """
import json
from mlflow import MlflowClient
client = MlflowClient("sqlite:///mlflow.db")
version = client.get_model_version_by_alias("spam", "champion")
path = client.download_artifacts(version.run_id, "evaluation/test_part.json")
print(json.dumps({"tags": version.tags, "rows": json.load(open(path)), "champions":
    json.loads(client.get_registered_model("spam").tags["spamctl.champions"])}))
"""


@pytest.mark.long
def test_a_version_that_learnt_what_is_new_takes_the_lead(lay_trained):
    desk = lay_trained("feedback")
    before = desk.ask(REFERENCE)
    gone, *_ = fill(desk.path("spam.db"), [Given(FROZEN.train[0]), *NEW])
    forget(desk.path("spam.db"), gone)
    assert desk.ended(desk.train(*OWN, *QUICK, "--feedback", "spam.db")) == 0, desk.err + desk.out
    (result,) = desk.told("result")
    assert result["alias"] == "champion"
    assert "recent messages than the champion" in result["reason"]
    parts = result["comparison"]["parts"]
    assert parts["recent"]["only_challenger_right"] > parts["recent"]["only_champion_right"]
    assert parts["test"]["rows"] == len(FROZEN.test)
    for word in ("frozen test part", "recent messages", "1 forgotten message"):
        assert word in desk.out
    after = desk.ask(REFERENCE)
    assert after["champions"] == ["1", "2"]
    assert after["tags"]["data.test_sha256"] == before["tags"]["data.test_sha256"] == digest(FROZEN.test)
    assert after["tags"]["data.forgotten"] == "1"
    assert after["tags"]["data.feedback"] == "spam.db"
    assert after["tags"]["data.feedback_recent"] == str(parts["recent"]["rows"])
    of_test, of_recent = ([row for row in after["rows"] if row["part"] == part] for part in ("test", "recent"))
    assert [row["text"] for row in of_test] == [row["text"] for row in before["rows"]]
    assert len(of_recent) == parts["recent"]["rows"] > 20
    assert "part" not in before["rows"][0]
    assert len(desk.ask(ALIASES)["runs"]) == 2


LETTERS = str.maketrans("aeoi", "\u0430\u0435\u043e\u0456")  # which look the same, and are Cyrillic
ALIKE = [Message(one.text.translate(LETTERS), SPAM) for one in tiny_models.messages(300)[200:] if one.is_spam]


@pytest.mark.long
def test_spam_in_look_alike_letters_alone_is_evened_out_and_does_not_lead(lay_trained):
    desk = lay_trained("one-class")
    fill(desk.path("spam.db"), [Given(message) for message in ALIKE])
    assert desk.ended(desk.train(*OWN, *QUICK, "--feedback", "spam.db")) == 3, desk.err + desk.out
    (result,) = desk.told("result")
    assert (result["registered"], result["alias"]) == (True, "challenger")
    (side,) = [side for side in result["feedback"]["one_sided"] if "alphabets" in side["look"]]
    assert (side["answers"], side["counterparts"], side["answer_weight"]) == (
        result["feedback"]["train"]["rows"],
        0,
        1.0,
    )
    assert "feedback of one class: " in desk.out
    last = desk.err.splitlines()[-1]
    assert "answers in letters of other alphabets were learnt, labelled spam" in last
    assert "hold 0 such messages labelled not spam" in last
    assert desk.ask(REFERENCE)["champions"] == ["1"]

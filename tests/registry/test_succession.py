"""The alias goes back the way that it came, one champion a step, and every step is written down."""

import json

import pytest

from spamctl.errors import UsageError
from spamctl.registry import registration, registry_file, tracking
from spamctl.registry.promotion import Evidence, promote
from spamctl.registry.registry_file import CHALLENGER, CHAMPION, TAG, champions, crown, roll_back
from spamctl.schema.rates import Comparison
from tests import registered, tiny_models, tiny_packages
from tests.mlflow_loaded import load_mlflow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Register four versions of one package for all these tests."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("succession")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with tracking.open_tracking(registered.URI) as client:
            run_id = registration.log_run(client, "spam", registered.URI, registered.RECORD)
            uri = registration.log_model(run_id, registered.package(0.5))
    return folder, run_id, uri


@pytest.fixture
def client(store, monkeypatch):
    """Stand in the folder of the store and hold its client."""
    monkeypatch.chdir(store[0])
    with tracking.open_tracking(registered.URI) as client:
        yield client


@pytest.fixture
def name(client, store, request):
    """Register four versions of a model of this test's own."""
    name = request.node.name.partition("[")[0]
    for _ in range(4):
        registration.register(client, name, store[2], store[1], {})
    return name


def leads(client, name):
    return str(client.get_model_version_by_alias(name, CHAMPION).version)


def test_each_champion_is_written_down(client, name):
    for version in ("1", "2", "4"):
        crown(client, name, version)
    assert champions(client, name) == ["1", "2", "4"]
    assert json.loads(client.get_registered_model(name).tags[TAG]) == ["1", "2", "4"]
    assert leads(client, name) == "4"


def test_back_and_back_again_and_no_further(client, name):
    for version in ("1", "2", "4"):
        crown(client, name, version)
    assert roll_back(client, name) == registry_file.Change("4", "2")
    assert roll_back(client, name) == registry_file.Change("2", "1")
    with pytest.raises(UsageError, match=f"there is no champion of {name} before version 1"):
        roll_back(client, name)
    assert leads(client, name) == "1"
    crown(client, name, "3")
    assert roll_back(client, name) == registry_file.Change("3", "1")


def test_to_a_version_by_its_number_and_back(client, name):
    crown(client, name, "1")
    crown(client, name, "2")
    assert roll_back(client, name, "4") == registry_file.Change("2", "4")
    assert champions(client, name) == ["1", "2", "4"]
    assert roll_back(client, name).after == "2"


@pytest.mark.parametrize(("to", "told"), [("9", "has no such version; there are 1, 2, 3, 4"), ("2", "already")])
def test_a_version_that_cannot_be_gone_to_changes_nothing(client, name, to, told):
    crown(client, name, "2")
    with pytest.raises(UsageError, match=told):
        roll_back(client, name, to)
    assert leads(client, name) == "2"


def test_an_alias_that_was_moved_by_hand_counts(client, name):
    client.set_registered_model_alias(name, CHAMPION, "1")
    crown(client, name, "2")
    client.set_registered_model_alias(name, CHAMPION, "3")
    assert champions(client, name) == ["1", "2", "3"]
    assert roll_back(client, name).after == "2"


def test_a_deleted_champion_is_passed_over(client, name):
    for version in ("1", "2", "3"):
        crown(client, name, version)
    client.delete_model_version(name, "2")
    assert roll_back(client, name).after == "1"


def test_a_model_that_there_is_not(client):
    with pytest.raises(UsageError, match="no model of this name is registered here"):
        roll_back(client, "nobody")


def test_a_model_without_a_champion(client, name):
    with pytest.raises(UsageError, match="name a version with --to VERSION"):
        roll_back(client, name)


ROWS = tiny_models.messages(60, seed=9)


def called(wrong_from, wrong_to):
    """Return rows on which a version is wrong from one place to another."""
    verdicts = [message.is_spam ^ (wrong_from <= index < wrong_to) for index, message in enumerate(ROWS)]
    return registration.TestRows([message.text for message in ROWS], [message.is_spam for message in ROWS], verdicts)


def champions_rows():
    verdicts = [tiny_packages.probability(message.text) >= 0.5 for message in ROWS]
    return registration.TestRows([m.text for m in ROWS], [m.is_spam for m in ROWS], verdicts)


def drifted():
    """Return rows of which seven mean the contrary of what they did, and a version that knows."""
    truth = [message.is_spam ^ (index < 7) for index, message in enumerate(ROWS)]
    return registration.TestRows([message.text for message in ROWS], truth, truth)


def test_after_feedback_the_better_leads_and_both_are_told_on_both_parts(client, name):
    first = promote(client, name, "1", Evidence(called(0, 5), called(0, 5), 0.0, 0.05))
    assert (first.alias, first.reason, first.comparison) == (CHAMPION, f"the first version of {name}", Comparison())
    second = promote(client, name, "2", Evidence(champions_rows(), drifted(), 0.0, 0.05))
    assert second.alias == CHAMPION, second.reason
    assert champions(client, name) == ["1", "2"]
    parts = second.comparison.parts
    assert second.comparison.champion == "1"
    assert parts["test"].challenger == parts["test"].champion
    assert parts["recent"].challenger.accuracy.value == 1
    assert parts["recent"].champion.accuracy.value == pytest.approx(53 / 60)
    assert (parts["recent"].only_challenger_right, parts["recent"].only_champion_right) == (7, 0)


def test_after_feedback_a_version_that_forgot_stays_challenger(client, name):
    promote(client, name, "1", Evidence(called(0, 0), called(0, 0), 0.0, 0.05))
    found = promote(client, name, "2", Evidence(called(0, 60), called(0, 0), 0.0, 0.05))
    assert (found.alias, leads(client, name)) == (CHALLENGER, "1")
    assert found.reason.startswith("worse by more than a point")
    assert champions(client, name) == ["1"]


def test_after_feedback_nothing_recent_is_told_without_its_part(client, name):
    promote(client, name, "1", Evidence(called(0, 0), called(0, 0), 0.0, 0.05))
    nothing = registration.TestRows([], [], [])
    found = promote(client, name, "2", Evidence(champions_rows(), nothing, 0.0, 0.05))
    assert (found.alias, list(found.comparison.parts)) == (CHALLENGER, ["test"])

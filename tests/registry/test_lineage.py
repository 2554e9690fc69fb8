"""An answer's version leads to its runs, its data and its code; what nobody wrote down is said to be unknown."""

import pytest

from spamctl.engine.manifest import digest_of
from spamctl.errors import UsageError
from spamctl.registry import registration, tracking
from spamctl.registry.versions import UNKNOWN, lineage
from tests import registered
from tests.mlflow_loaded import load_mlflow

pytestmark = pytest.mark.slow
TAGS = {
    "metaflow.run_id": "1764",
    "data.sha256": "ab" * 32,
    "data.test_sha256": "cd" * 32,
    "data.feedback": "spam.db",
    "data.forgotten": "2",
    "mlflow.source.git.commit": "c0ffee",
    "spamctl.version": "1.2.3",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Register a version with all tags, one without a commit and one without any, and return what each is made of."""
    load_mlflow()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("lineage"))
        with tracking.open_tracking(registered.URI) as client:
            run_id = registration.log_run(client, "spam", registered.URI, registered.RECORD)
            uri = registration.log_model(run_id, registered.package(0.5))
            for tags in (TAGS, {"spamctl.version": "1.2.3"}, {}):
                registration.register(client, "spam", uri, run_id, tags)
            with pytest.raises(UsageError, match="version 9 of spam is not registered here"):
                lineage(client, "spam", "9")
            with pytest.raises(UsageError, match="its number is another package's now"):
                lineage(client, "spam", "1", "0" * 64)
            assert lineage(client, "spam", "1", digest_of(registered.package(0.5))) == lineage(client, "spam", "1")
            with pytest.raises(UsageError, match="version 1 of ham is not registered here"):
                lineage(client, "ham", "1")
            return run_id, [lineage(client, "spam", version) for version in ("1", "2", "3")]


def test_a_version_leads_from_the_nearest_to_the_farthest(told):
    run_id, (whole, _, _) = told
    assert list(whole.items()) == [
        ("MLflow run", run_id),
        ("Metaflow run", "1764"),
        ("data sha256", "ab" * 32),
        ("test part sha256", "cd" * 32),
        ("feedback", "spam.db"),
        ("forgotten messages left out", "2"),
        ("git commit", "c0ffee"),
        ("spamctl", "1.2.3"),
    ]


def test_what_was_not_written_down_is_said_to_be_unknown(told):
    _, (_, package, nothing) = told
    assert package["git commit"] == "unknown (spamctl was installed as a package)"
    assert {nothing[name] for name in ("Metaflow run", "data sha256", "git commit")} == {UNKNOWN}
    assert "feedback" not in nothing

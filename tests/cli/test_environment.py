"""A child gets what it needs, and what the user set stays."""

import pytest

from spamctl.cli.environment import child_environment
from spamctl.config.train import cores


@pytest.mark.parametrize(
    ("variables", "user"),
    [
        ({"USER": "ada"}, "ada"),
        ({"USER": "root"}, "spamctl"),
        ({}, "spamctl"),
        ({"USER": "root", "SUDO_USER": "ada"}, "ada"),
        ({"USER": "ada", "METAFLOW_USER": "team"}, "team"),
        ({"METAFLOW_USER": "root"}, "spamctl"),
    ],
)
def test_a_run_has_a_user_even_if_root_starts_it(tmp_path, variables, user):
    assert child_environment(variables, tmp_path)["METAFLOW_USER"] == user


def test_runs_and_cards_stay_in_the_working_folder(tmp_path):
    environment = child_environment({}, tmp_path)
    assert environment["METAFLOW_DATASTORE_SYSROOT_LOCAL"] == str(tmp_path)
    assert environment["METAFLOW_DEFAULT_DATASTORE"] == environment["METAFLOW_DEFAULT_METADATA"] == "local"
    assert environment["METAFLOW_HOME"].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METAFLOW_DEFAULT_METADATA", "service"),
        ("METAFLOW_HOME", "/etc/metaflow"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5"),
        ("OMP_NUM_THREADS", "1"),
        ("THP_MEM_ALLOC_ENABLE", "0"),
        ("PATH", "/bin"),
    ],
)
def test_what_the_user_set_stays(tmp_path, name, value):
    assert child_environment({name: value}, tmp_path)[name] == value


def test_a_profile_of_the_user_is_looked_up_where_it_is(tmp_path):
    assert "METAFLOW_HOME" not in child_environment({"METAFLOW_PROFILE": "team"}, tmp_path)


def test_nothing_calls_home_whatever_the_user_set(tmp_path):
    environment = child_environment({"DO_NOT_TRACK": "0", "MLFLOW_DISABLE_TELEMETRY": "false"}, tmp_path)
    assert environment["DO_NOT_TRACK"] == environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_threads_are_every_core_unless_something_was_asked_for(tmp_path):
    assert child_environment({}, tmp_path)["OMP_NUM_THREADS"] == str(cores())
    assert child_environment({"OMP_NUM_THREADS": "7"}, tmp_path, threads=1)["OMP_NUM_THREADS"] == "1"

"""A child gets what it needs, and what the user set stays."""

import certifi
import pytest

from spamctl.cli.process import child_environment, log_file, working_folder
from spamctl.config.train import cores
from spamctl.errors import UsageError


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


def test_runs_of_the_same_second_have_logs_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, logs = working_folder(), set()
    for _ in range(3):
        log = log_file(folder, "monitor")
        log.touch(exist_ok=False)
        logs.add(log)
    assert len(logs) == 3


def test_runs_and_cards_stay_in_the_working_folder(tmp_path):
    environment = child_environment({}, tmp_path)
    assert environment["METAFLOW_DATASTORE_SYSROOT_LOCAL"] == str(tmp_path)
    assert environment["METAFLOW_DEFAULT_DATASTORE"] == environment["METAFLOW_DEFAULT_METADATA"] == "local"
    assert environment["METAFLOW_HOME"].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONPATH", "/opt/ours"),
        ("OMP_WAIT_POLICY", "ACTIVE"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5"),
        ("OMP_NUM_THREADS", "1"),
        ("THP_MEM_ALLOC_ENABLE", "0"),
        ("PATH", "/bin"),
        ("METAFLOW_DEFAULT_METADATA", "service"),
        ("METAFLOW_DEFAULT_DATASTORE", "s3"),
        ("METAFLOW_SERVICE_URL", "http://127.0.0.1:9"),
        ("METAFLOW_DECOSPECS", "kubernetes"),
    ],
)
def test_what_the_user_set_stays(tmp_path, name, value):
    assert child_environment({name: value}, tmp_path)[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METAFLOW_HOME", "/etc/metaflow"),
        ("METAFLOW_RUN_SEED", "9"),
        ("METAFLOW_DATASTORE_SYSROOT_LOCAL", "/srv"),
        ("METAFLOW_CARD_LOCALROOT", "/srv"),
        ("PYTHONWARNINGS", "error"),
        ("PYTHONOPTIMIZE", "2"),
        ("PYTHONINSPECT", "1"),
        ("PYTHONVERBOSE", "1"),
        ("PYTHONIOENCODING", "ascii"),
        ("PYTHONUTF8", "0"),
    ],
)
def test_what_would_have_a_child_run_otherwise_does_not_reach_it(tmp_path, name, value):
    assert child_environment({name: value}, tmp_path) == child_environment({}, tmp_path)


def test_threads_that_wait_do_not_spin(tmp_path):
    assert child_environment({}, tmp_path)["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file or directory"), ("no PEM", "holds no certificates")]
)
def test_certificates_that_are_not_there_are_named(tmp_path, name, content, told):
    place = tmp_path / "cacert.pem"
    if content:
        place.write_text(content)
    with pytest.raises(UsageError, match=f"^{name}: {place}: {told}; correct the variable, or unset it$"):
        child_environment({name: str(place)}, tmp_path)


def test_certificates_that_are_there_are_kept(tmp_path):
    place = certifi.where()
    assert child_environment({"SSL_CERT_FILE": place}, tmp_path)["SSL_CERT_FILE"] == place


def test_no_proxy_stands_between_processes_of_this_machine(tmp_path):
    environment = child_environment({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "intra.net"}, tmp_path)
    assert environment["no_proxy"] == "intra.net,127.0.0.1,localhost,::1"
    assert "no_proxy" not in child_environment({}, tmp_path)


def test_nothing_calls_home_whatever_the_user_set(tmp_path):
    environment = child_environment({"DO_NOT_TRACK": "0", "MLFLOW_DISABLE_TELEMETRY": "false"}, tmp_path)
    assert environment["DO_NOT_TRACK"] == environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_threads_are_every_core_unless_something_was_asked_for(tmp_path):
    assert child_environment({}, tmp_path)["OMP_NUM_THREADS"] == str(cores())
    assert child_environment({"OMP_NUM_THREADS": "7"}, tmp_path, threads=1)["OMP_NUM_THREADS"] == "1"

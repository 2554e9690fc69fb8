"""No test sees the user's home, and none leaves anything there."""

import os
from pathlib import Path

import platformdirs


def test_every_folder_is_an_empty_place_of_this_test(home, tmp_path):
    assert Path.cwd() == tmp_path
    assert Path.home() == home
    assert platformdirs.user_cache_path("spamctl").is_relative_to(home)
    assert not list(home.iterdir())


def test_the_users_settings_are_forgotten_and_nothing_calls_home():
    ours = {name: value for name, value in os.environ.items() if name.startswith(("SPAMCTL_", "METAFLOW_", "MLFLOW_"))}
    assert ours.keys() == {"SPAMCTL_CACHE_DIR", "SPAMCTL_SMS_SPAM_URL", "METAFLOW_HOME", "MLFLOW_DISABLE_TELEMETRY"}
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_threads_are_bounded():
    assert int(os.environ["OMP_NUM_THREADS"]) <= 2

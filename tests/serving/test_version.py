"""A model knows under which name and version it was downloaded, and says so if it was never registered."""

import pytest

from spamctl.serving.mlflow_model import UNREGISTERED, registered_as


@pytest.fixture
def package(tmp_path):
    """Return the package folder of a downloaded model."""
    folder = tmp_path / "model" / "artifacts" / "package"
    folder.mkdir(parents=True)
    (tmp_path / "model" / "MLmodel").touch()
    return folder


def test_name_and_version_are_read_beside_the_model(package):
    (package.parents[1] / "registered_model_meta").write_text("model_name: spam\nmodel_version: 7\n")
    assert registered_as(package) == ("spam", "7")


def test_a_model_without_the_mark_is_unregistered(package):
    assert registered_as(package) == UNREGISTERED


def test_the_mark_of_another_model_further_up_is_not_taken(package):
    (package.parents[2] / "MLmodel").touch()
    (package.parents[2] / "registered_model_meta").write_text("model_version: 9\n")
    assert registered_as(package) == UNREGISTERED


def test_a_package_outside_a_model_is_unregistered(tmp_path):
    assert registered_as(tmp_path) == UNREGISTERED

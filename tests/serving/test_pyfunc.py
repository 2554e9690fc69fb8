"""A registered model answers messages, and refuses what is none, row by row."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from spamctl.errors import ArtefactError, DataError
from spamctl.model.golden import GOLDEN
from tests import tiny_models, tiny_packages
from tests.mlflow_loaded import load_mlflow

OFFER, QUESTION = [message.text for message in tiny_models.messages(2)]


@pytest.fixture(scope="module")
def pyfunc():
    """Return the module, once MLflow is loaded."""
    load_mlflow()
    from spamctl.serving import pyfunc

    return pyfunc


def load(pyfunc, folder):
    model = pyfunc.SpamModel()
    model.load_context(SimpleNamespace(artifacts={"package": str(folder)}))
    return model


@pytest.fixture(scope="module")
def model(pyfunc, tmp_path_factory):
    """Return a model that has been loaded."""
    return load(pyfunc, tiny_packages.write(tmp_path_factory.mktemp("pyfunc") / "package", "", *GOLDEN))


def test_each_row_gets_an_answer_of_its_own(model):
    offer, question = model.predict(None, pd.DataFrame({"text": [OFFER, QUESTION]}))
    assert offer.keys() == {"classification", "probability", "uuid", "model_version", "captured", "truncated"}
    assert (offer["classification"], question["classification"]) == ("spam", "not spam")
    assert offer["probability"] == pytest.approx(tiny_packages.probability(OFFER), abs=1e-6)
    assert offer["uuid"] != question["uuid"]
    assert offer["model_version"] == "unregistered"
    assert offer["captured"] is False


def test_no_rows_are_no_answers(model):
    assert model.predict(None, pd.DataFrame({"text": []})) == []


def test_other_columns_are_left_alone(model):
    assert len(model.predict(None, pd.DataFrame({"text": [OFFER], "id": [7]}))) == 1


def test_a_text_of_numpy_is_text(model):
    (answer,) = model.predict(None, pd.DataFrame({"text": [np.str_(OFFER)]}))
    assert answer["classification"] == "spam"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "NoneType"), (float("nan"), "float"), (1, "int"), ({"k": 1}, "dict"), (["a"], "list"), (b"a", "bytes")],
)
def test_a_row_that_holds_no_text_is_named(model, value, kind):
    frame = pd.DataFrame({"text": pd.Series(["ok", "fine", value], dtype=object)})
    with pytest.raises(DataError, match=f"row 2: column 'text' holds {kind}, not text"):
        model.predict(None, frame)


def test_a_refusal_shows_no_message(model):
    frame = pd.DataFrame({"text": pd.Series(["my secret", ["my other secret"]], dtype=object)})
    with pytest.raises(DataError) as refused:
        model.predict(None, frame)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("data", [pd.DataFrame({"message": ["ok"]}), {"message": ["ok"]}, ["ok"], "ok", None])
def test_an_input_without_a_column_of_texts_is_refused(pyfunc, data):
    with pytest.raises(DataError, match="no column 'text'"):
        pyfunc.texts_of(data)


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "a\u0301" * 9, "win " * 100_000, "<unknown>"])
def test_any_text_gets_an_answer(model, text):
    (answer,) = model.predict(None, pd.DataFrame({"text": pd.Series([text], dtype=object)}))
    assert 0 <= answer["probability"] <= 1


def test_a_golden_message_with_another_verdict_is_refused_at_load(pyfunc, tmp_path):
    folder = tiny_packages.write(tmp_path / "package", "", OFFER, threshold=0.5)
    path = folder / "manifest.json"
    told = f'"probability": {tiny_packages.probability(OFFER)}'
    assert told in path.read_text()
    path.write_text(path.read_text().replace(told, '"probability": 0.499'))
    with pytest.raises(ArtefactError, match="another verdict"):
        load(pyfunc, folder)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "manifest.json"])
def test_a_damaged_package_is_refused_at_load(pyfunc, tmp_path, name):
    path = tiny_packages.write(tmp_path / "package", "", *GOLDEN) / name
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(ArtefactError, match=name):
        load(pyfunc, path.parent)

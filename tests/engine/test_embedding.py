"""Features are what the head reads: the head, applied to them by hand, gives the very logits that are served."""

import numpy as np
import pytest

from spamctl.engine import manifest
from spamctl.engine.engine import Embedder, Engine, reference_features
from spamctl.engine.manifest import digest
from spamctl.engine.runtime import ONNX, XML
from spamctl.export import package as exporters
from tests import tiny_models, tiny_packages, trained
from tests.ticks import last

pytestmark = pytest.mark.slow  # torch takes seconds to export a model

TEXTS = [message.text for message in tiny_models.messages(90)] + ["", "win " * 300, "\u202e"]


@pytest.fixture(
    scope="module",
    params=[("gpt2", "float32"), ("llama", "auto"), ("narrow", "float32"), ("gpt2", "openvino")],
    ids=str,
)
def made(request, tmp_path_factory):
    """Return a trained classifier and the folder of its package."""
    family, wished = request.param
    folder = tmp_path_factory.mktemp("embedding") / "package"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        if wished == "openvino":  # what it gets in int8 where messages are long
            patch.setattr(exporters, "SHORT", 0)
            package = trained.package(trained.trained(family), trained.wish("auto"))
        else:
            package = trained.packaged(family, wished)
    assert package.engine == {"auto": "int8", "openvino": "int8"}.get(wished, wished)
    assert (XML in package.files) == (wished == "openvino" or family == "narrow")
    return trained.trained(family).classifier, manifest.write(package.files, folder), package.engine


def test_the_head_applied_to_the_features_gives_the_logits_that_are_served(made):
    classifier, folder, kind = made
    embedder, engine = Embedder(folder, threads=1), Engine(folder, threads=1)
    features = last(embedder.features(TEXTS))
    weights = classifier.head.weight.detach().numpy()
    by_hand = features @ weights[0] + classifier.head.bias.item()
    served = engine.logits(engine.tokenize(TEXTS))
    assert features.shape == (len(TEXTS), weights.shape[1])
    assert features.dtype == np.float32
    assert served.std() > 0.1
    if kind == "float32":
        assert by_hand == pytest.approx(served, abs=1e-4)
    elif (folder / ONNX).exists():  # whose head is float32, whatever the products before it are
        assert by_hand == pytest.approx(served, abs=1e-5)
    else:  # the head of eight bits rounds what it reads, and this model is so narrow that it shows
        assert np.median(abs(by_hand - served)) < 0.05 * served.std()
        assert np.corrcoef(by_hand, served)[0, 1] > 0.995
    assert embedder.logits(embedder.tokenize(TEXTS)) == pytest.approx(served, abs=1e-6)


def test_neither_order_nor_company_changes_a_features_row(made):
    embedder = Embedder(made[1], threads=1)
    together = last(embedder.features(TEXTS))
    turned = last(embedder.features([*reversed(TEXTS), TEXTS[0]]))
    assert turned[:-1][::-1] == pytest.approx(together, abs=1e-4)
    assert (turned[-1] == turned[-2]).all()


def test_progress_reaches_the_number_of_distinct_texts(made):
    ticks = list(Embedder(made[1], threads=1).features(TEXTS + TEXTS))
    assert (ticks[-1].done, ticks[-1].total) == (len(set(TEXTS)), len(set(TEXTS)))


def test_nothing_has_no_features(made):
    assert last(Embedder(made[1], threads=1).features([])).size == 0


@pytest.fixture
def bag(tmp_path):
    return Embedder(tiny_packages.write(tmp_path / "package"), threads=1)


def test_features_of_the_reference_are_computed_once(bag, tmp_path):
    path = tmp_path / "features.npz"
    first = last(reference_features(bag, TEXTS, "a", path))
    written = path.stat().st_mtime_ns
    assert (last(reference_features(bag, TEXTS, "a", path)) == first).all()
    assert path.stat().st_mtime_ns == written
    assert len(last(reference_features(bag, TEXTS[:5], "a", path))) == 5
    assert len(last(reference_features(bag, TEXTS[:5], "b", path))) == 5
    assert str(np.load(path)["key"]) == "b"


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_a_damaged_file_of_features_is_made_anew(bag, tmp_path, damage):
    path = tmp_path / "features.npz"
    path.write_bytes(damage)
    assert len(last(reference_features(bag, TEXTS, "a", path))) == len(TEXTS)
    assert str(np.load(path)["key"]) == "a"


def test_a_package_is_known_by_its_manifest(tmp_path):
    one = tiny_packages.write(tmp_path / "one")
    other = tiny_packages.write(tmp_path / "other", threshold=0.7)
    assert digest(one) == digest(tiny_packages.write(tmp_path / "again")) != digest(other)
    assert Embedder(one, threads=1).digest == digest(one)

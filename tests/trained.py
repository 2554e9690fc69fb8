"""Train, export and package a tiny model once for all tests that only look at it, whatever process they run in."""

import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from spamctl.data.split import Split, split
from spamctl.engine.manifest import Files
from spamctl.engine.tokens import MessageTokenizer
from spamctl.export import package as packaging
from spamctl.export.package import Package, PackageRequest, Validation
from spamctl.training import fine_tune
from spamctl.training.base_model import BaseModel
from spamctl.training.fine_tune import open_workbench
from spamctl.training.loop import Checkpoints, TrainingConfig
from spamctl.training.model import SpamClassifier
from tests import tiny_models
from tests.made_once import made_once
from tests.ticks import last

# ONNX Runtime turns no head that is smaller than 16: the narrow one is left to OpenVINO.
SAVE = {
    "gpt2": tiny_models.save_gpt2,
    "llama": partial(tiny_models.save_llama, head_dim=16),
    "narrow": tiny_models.save_llama,
}
MAX_TOKENS = 96


@dataclass(frozen=True)
class Trained:
    """Hold a classifier that has learnt, what it reads, and what it learnt from."""

    classifier: SpamClassifier
    tokenizer: MessageTokenizer
    parts: Split

    def rows(self, part: str):
        """Return a part's messages as token rows."""
        return self.tokenizer.encode([message.text for message in getattr(self.parts, part)])

    def truth(self, part: str) -> list[bool]:
        """Return which messages of a part are spam."""
        return [message.is_spam for message in getattr(self.parts, part)]

    def validation(self) -> Validation:
        """Return what chooses engine, calibration and threshold."""
        return Validation(self.rows("validation"), self.truth("validation"))


@cache
def trained(family: str = "gpt2") -> Trained:
    """Return a classifier of two blocks whose head has learnt from the tiny messages."""
    return made_once(f"trained-{family}", lambda: _train(family))


def _train(family: str) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        base = BaseModel("tiny", "tiny", "local folder", SAVE[family](Path(folder)))
        bench = open_workbench(base, max_tokens=MAX_TOKENS, threads=1, precision="float32")
        made = Trained(bench.classifier(2), bench.tokenizer, split(tiny_models.messages(300)))
        train, validation = ([row.ids for row in made.rows(part)] for part in ("train", "validation"))
        lesson = fine_tune.TrainingSet(train, made.truth("train"), validation, made.truth("validation"))
        recipe = fine_tune.Recipe("head", 8, TrainingConfig(epochs=1), bench.dtype)
        last(fine_tune.tune(made.classifier, lesson, recipe, Checkpoints(Path(folder, "checkpoints"))))
    made.classifier.eval()
    made.classifier.trunk.window(0, made.classifier.trunk.depth)  # as an export leaves it: whole
    return made


def wish(engine: str = "auto", tolerance: float = 0.02) -> PackageRequest:
    """Return what a packaging is asked for."""
    return PackageRequest(engine, tolerance, max_false_positive_rate=0.05, seed=0)


def package(made: Trained, wanted: PackageRequest) -> Package:
    """Package a classifier."""
    rows = [row.ids for row in made.rows("train")]
    return last(packaging.package(made.classifier, made.tokenizer, rows, made.validation(), wanted, {"depth": 2}))


@cache
def packaged(family: str = "gpt2", engine: str = "float32") -> Package:
    """Return a packaged tiny model."""
    return made_once(f"packaged-{family}-{engine}", lambda: package(trained(family), wish(engine)))


def files(family: str = "gpt2", engine: str = "float32") -> Files:
    """Return the files of a packaged tiny model, to be written or damaged."""
    return dict(packaged(family, engine).files)

"""Make real packages without a language model: a bag of tokens in OpenVINO, honest, or with a flaw planted in it."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from spamctl.engine import manifest as artefact
from spamctl.engine.calibration import sigmoid
from spamctl.engine.engine import TOKENIZER
from spamctl.engine.manifest import Files, Golden, Manifest
from spamctl.engine.ngrams import Vocabulary
from spamctl.engine.runtime import XML
from spamctl.engine.tokens import WORDS
from tests import tiny_models

WINDOW = 64
UNKNOWN = "<unknown>"
PADS_IN_THE_MEAN, LAST_COLUMN = "divides by the padded length", "reads the last column, pad or not"


@cache
def words() -> dict[str, float]:
    """Return each word of the tiny messages with its weight: how much oftener it is in spam."""
    counts: dict[str, list[int]] = {}
    for message in tiny_models.messages(300):
        for word in message.text.split():
            counts.setdefault(word, [1, 1])[message.is_spam] += 1
    return {UNKNOWN: -0.1} | {word: float(np.log(spam / rest)) for word, (rest, spam) in counts.items()}


@cache
def tokenizer() -> Tokenizer:
    """Return a tokenizer whose tokens are the words."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words())}, UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def graph(flaw: str = "", *, scale: float = 4.0):
    """Return a graph from token ids (B, T) and lengths (B,) to logits (B,): the mean weight of the words, scaled."""
    import openvino
    from openvino import opset13 as ops

    ids, lengths = (
        ops.parameter(shape, np.int64, name=name) for name, shape in (("input_ids", [-1, -1]), ("lengths", [-1]))
    )
    zero, one = ops.constant(np.int64(0)), ops.constant(np.int64(1))
    weights = ops.gather(ops.constant(np.array(list(words().values()), np.float32)), ids, zero)  # (B, T)
    looks = ops.gather(ops.constant(np.random.default_rng(0).random((len(words()), 3), np.float32)), ids, zero)
    tokens = ops.gather(ops.shape_of(ids), one, zero)
    positions = ops.unsqueeze(ops.range(zero, tokens, one, "i64"), zero)  # (1, T)
    real = ops.convert(ops.less(positions, ops.unsqueeze(lengths, one)), np.float32)  # (B, T)
    divisor = tokens if flaw == PADS_IN_THE_MEAN else lengths
    logits = ops.divide(ops.reduce_sum(ops.multiply(weights, real), one), ops.convert(divisor, np.float32))  # (B,)
    if flaw == LAST_COLUMN:
        logits = ops.gather(weights, ops.subtract(tokens, one), one)  # (B,)
    look = ops.reduce_sum(ops.multiply(looks, ops.unsqueeze(real, minus := ops.constant(np.int64(-1)))), one)
    look = ops.divide(look, ops.convert(ops.unsqueeze(lengths, one), np.float32))  # (B, 3), of no weight
    read = ops.concat([ops.unsqueeze(logits, one), look], 1)  # (B, 4)
    head = ops.constant(np.array([[scale], [0], [0], [0]], np.float32))
    return openvino.Model([ops.squeeze(ops.matmul(read, head, False, False), minus)], [ids, lengths])


@cache
def parts(flaw: str = "", scale: float = 4.0) -> Files:
    """Return what a package holds beside its manifest."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(graph(flaw, scale=scale), Path(folder, XML), compress_to_fp16=False)
        return artefact.read(Path(folder)) | {TOKENIZER: tokenizer().to_str().encode()}


def manifest(*golden: str, scale: float = 4.0, **changes) -> Manifest:
    """Return a manifest; each golden text, one word if none is given, has the probability of arithmetic on paper."""
    rows = tuple(Golden(text, probability(text, scale)) for text in golden or ("ok",))
    use = {"max_tokens": WINDOW, "empty_id": 0, "slope": 1.0, "intercept": 0.0, "threshold": 0.5, "about": {}}
    return Manifest(**({"engine": "float32", "precision": "f32", "golden": rows} | use | changes))


def probability(text: str, scale: float = 4.0) -> float:
    """Return the probability of spam of a text, by arithmetic on paper."""
    weights = [words().get(word, words()[UNKNOWN]) for word in text.split()][:WINDOW] or [words()[UNKNOWN]]
    return float(sigmoid(scale * np.mean(weights)))


def files(flaw: str = "", *golden: str, scale: float = 4.0, **changes) -> Files:
    """Return the sealed files of a package."""
    held = parts(flaw, scale)
    if changes.get("reach") is not None:
        held = held | {WORDS: Vocabulary.of(words()).bits}
    return artefact.seal(held, manifest(*golden, scale=scale, **changes))


def write(folder: Path, flaw: str = "", *golden: str, **changes) -> Path:
    """Write a package into a new folder and return the folder."""
    folder.mkdir()
    return artefact.write(files(flaw, *golden, **changes), folder)

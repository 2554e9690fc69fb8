"""Score messages with the packaged model, in evaluation and in serving alike, and check its golden rows."""

from __future__ import annotations

import copy
import io
import threading
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spamctl.engine import manifest
from spamctl.engine.calibration import Calibration
from spamctl.engine.manifest import Manifest
from spamctl.engine.runtime import Infer, Inputs, Terms, default_threads, runtime_of
from spamctl.engine.tokens import TOKENIZER, MessageTokenizer, TokenRow
from spamctl.errors import ArtefactError
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.message import NOT_SPAM, SPAM, OutOfReach, Verdict

# Score a fixed set of messages at packaging, and again wherever a package is loaded.
#
# Each package has some more, of either verdict and near its threshold, where a filter changes first: plain messages
# that turn into offers word by word. None of them is anybody's message.

GOLDEN: Final = (
    "",
    "ok",
    "See you at eight, I'll bring the dessert",
    "Your appointment is on 14 March at 10:30. Reply C to confirm or call the front desk.",
    "482913 is your sign-in code. Never share it with anyone.",
    "Can you pick up milk and bread on the way home? Thanks x",
    "URGENT! You have been chosen for a £2000 prize. Call 09061234567 now to claim, 150p/min",
    "Congratulations, you won a free holiday! Text WIN to 80082 to claim today",
    "Your parcel is held. Pay the fee of 1.99 at http://post-redelivery.example/pay within 24 hours",
    "FREE entry: text CASH to 85000 and get 500 pounds every week, T&Cs apply, 18+",
    "Señor, la reunión es mañana a las nueve — ¿puedes venir?",
    "W\u200bi\u200bn c\u0430sh n\u043ew, r\u0435ply Y\u0415S \U0001f4b0\U0001f4b0",
)

NEAR: Final = 2  # messages on either side of the threshold
MARGIN: Final = 0.02  # of probability: what is nearer may get the other verdict from another processor
_PLAIN: Final = GOLDEN[2:6:3]
_OFFERS: Final = GOLDEN[6:10]


def turning_messages() -> list[str]:
    """Return each plain message as it turns into each offer, one more word at a time."""
    return [text for plain in _PLAIN for offer in _OFFERS for text in _turns(plain.split(), offer.split())]


def nearest_to_threshold(texts: Sequence[str], probabilities: Sequence[float], threshold: float) -> list[str]:
    """Return the texts whose probabilities are nearest to the threshold, at most NEAR on either side of it.

    None is nearer than MARGIN, nor, where there is less room, than half of it.
    """
    chosen: list[str] = []
    for side, room in ((1, 1 - threshold), (-1, threshold)):
        away = sorted((side * (p - threshold), text) for p, text in zip(probabilities, texts, strict=True))
        chosen += [text for distance, text in away if distance >= min(MARGIN, room / 2)][:NEAR]
    return chosen


def _turns(plain: Sequence[str], offer: Sequence[str]) -> Iterator[str]:
    for words in range(1, len(offer)):
        yield " ".join([*plain[: max(0, len(plain) - words)], *offer[:words]])


# B rows, T tokens; only numpy, tokenizers and the runtime of the graph are needed here, no torch


TOKENS_PER_BATCH, BULK_TOKENS = 256, 512  # fewer answer sooner, more cost less
MOST_STREAMS = 4
STEP = 8  # tokens: rows of one such class of lengths share a batch, so that little of it is padding
GOLDEN_TOLERANCE = MARGIN  # of probability, on another processor; the verdict must be the same

Logits = NDArray[np.float64]
Batches = Sequence[Sequence[int]]


class Engine:
    """Verified package, compiled for this processor; safe to call from several threads.

    They take turns, and every thread of the processor works at one batch. With `open_streams` several batches are
    scored at a time, each by its share of the threads: they need not wait for each other after each of some hundred
    operations. A message that is alone is still scored by all of them. No score depends on any of this.
    """

    with_features = False

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 0,
        registered: str = "",
        out_of_reach: OutOfReach = "judge",
        in_bulk: bool = False,
    ) -> None:
        """Verify and compile the package in `folder`; raise ArtefactError if it is damaged.

        `threads` bounds the processor threads; 0 takes OMP_NUM_THREADS, or every core. `registered` is the digest that
        the registry knows, if it does: then another package is refused. `out_of_reach` says whether a message unlike
        all that was trained on is judged by its probability, as in training, or called not spam, as a server may.
        `in_bulk` is for thousands of messages in one call: their batches are larger, and scored side by side.
        """
        self.manifest: Manifest = manifest.verify(folder, registered)
        self.digest = manifest.digest(folder)
        self.tokenizer = MessageTokenizer.from_file(
            folder / TOKENIZER,
            max_tokens=self.manifest.max_tokens,
            empty_id=self.manifest.empty_id,
            tail_tokens=self.manifest.tail_tokens,
        )
        self._out_of_reach = out_of_reach
        self._calibration = Calibration(self.manifest.slope, self.manifest.intercept)
        self._turn, self._counting = threading.Lock(), threading.Lock()
        threads = threads or default_threads()
        self.most_streams = min(threads, MOST_STREAMS)
        self._runtime = runtime_of(folder, Terms(threads, self.manifest.precision, self.with_features))
        self.step = max(STEP, self._runtime.lanes)
        self._alone = self._runtime.alone()
        self._streams: SimpleQueue[Infer] | None = None
        self._at_work = 0
        self._in_bulk = in_bulk
        if in_bulk:
            self._streams = self._opened()

    def open_streams(self) -> None:
        """Allow scoring up to `most_streams` batches in parallel; raise as loading the engine and `replay_golden` do.

        The thread that calls it must be the one that lets the engine go. Others may score meanwhile.
        """
        streams = self._opened()
        trial = copy.copy(self)  # nobody else is answered by streams before they have answered as they should
        trial._streams = streams  # noqa: SLF001
        trial.replay_golden()
        self._streams = streams

    def _opened(self) -> SimpleQueue[Infer]:
        streams: SimpleQueue[Infer] = SimpleQueue()
        for infer in self._runtime.streams(self.most_streams):
            streams.put(infer)
        return streams

    @property
    def threshold(self) -> float:
        """Return the probability from which a message is called spam."""
        return self.manifest.threshold

    def tokenize(self, texts: Sequence[str]) -> list[TokenRow]:
        """Return the token ids of each text, cut to the window."""
        return self.tokenizer.encode(texts)

    def logits(
        self, rows: Sequence[TokenRow], *, batches: Batches | None = None, pad: int = 0, fill: int = 0
    ) -> Logits:
        """Return raw logits (rows,) in the order of `rows`: the language model's, and each row's margin added to it.

        `batches` says which rows go together (default: rows of similar length); `pad` pads each batch to at least so
        many tokens, with the token `fill`. None of them changes a score: they are for `model.parity`, which proves it.
        """
        logits = np.empty(len(rows), dtype=np.float64)
        for index, outputs in self._outputs(self._filled(rows, batches, pad, fill)):
            logits[index] = outputs[0]  # (B,)
        margins: Logits = np.array([row.margin for row in rows], dtype=np.float64)
        return np.add(logits, margins, dtype=np.float64)

    def _filled(
        self, rows: Sequence[TokenRow], batches: Batches | None = None, pad: int = 0, fill: int = 0
    ) -> Iterator[tuple[list[int], Inputs]]:
        """Yield the row numbers of each batch and what the graph is given for it."""
        lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
        for batch in batches if batches is not None else self._together(lengths):
            index = list(batch)
            width = rounded_up(max(pad, int(lengths[index].max())), self._runtime.lanes)
            ids = np.full((len(index), width), fill, dtype=np.int64)  # (B, T)
            for place, row in enumerate(index):
                ids[place, : lengths[row]] = rows[row].ids
            yield index, {"input_ids": ids, "lengths": lengths[index]}

    def _together(self, lengths: NDArray[np.int64]) -> Batches:
        """Return rows of similar length in batches: in bulk in random order, so that the time left can be told."""
        if not self._in_bulk:
            return by_length(lengths, self.step)
        batches = by_length(lengths, self.step, BULK_TOKENS)
        return [batches[place] for place in np.random.default_rng(0).permutation(len(batches))]

    def _outputs(
        self, filled: Iterator[tuple[list[int], Inputs]]
    ) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
        """Yield the row numbers of each batch and what the graph gives for it; in bulk, as many at a time as may be."""
        if not self._in_bulk:
            yield from ((index, self._run(inputs)) for index, inputs in filled)
            return
        with ThreadPoolExecutor(self.most_streams) as pool:
            yield from pool.map(lambda batch: (batch[0], self._run(batch[1])), filled)

    def _run(self, inputs: Inputs) -> list[NDArray[np.float32]]:
        """Score a batch: with all threads where it is a single message, else in a stream."""
        with self._counting:
            streams = None if len(inputs["lengths"]) == 1 and not self._at_work else self._streams
            self._at_work += 1
        try:
            if streams is None:
                with self._turn:
                    return self._alone(inputs)
            infer = streams.get()
            try:
                return infer(inputs)
            finally:
                streams.put(infer)
        finally:
            with self._counting:
                self._at_work -= 1

    def probabilities(self, logits: Logits) -> Logits:
        """Return calibrated probabilities of spam in [0, 1] for raw logits."""
        return self._calibration.apply(logits)

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """Return one verdict a text, in order."""
        rows = self.tokenize(texts)
        return self.verdicts(rows, self.logits(rows))

    def calls_spam(self, texts: Sequence[str]) -> list[bool]:
        """Return which texts are called spam, in order."""
        return [verdict.classification == SPAM for verdict in self.classify(texts)]

    def verdicts(self, rows: Sequence[TokenRow], logits: Logits) -> list[Verdict]:
        """Return one verdict a row for its raw logit, in order."""
        return [self.verdict(row, logit) for row, logit in zip(rows, logits.tolist(), strict=True)]

    def verdict(self, row: TokenRow, logit: float) -> Verdict:
        """Return the verdict on one row for its raw logit."""
        probability = self._calibration.probability(logit)
        in_reach = self.manifest.reach is None or row.novelty <= self.manifest.reach
        is_spam = probability >= self.threshold and (in_reach or self._out_of_reach == "judge")
        return Verdict(SPAM if is_spam else NOT_SPAM, probability, row.truncated, in_reach)

    def replay_golden(self) -> float:
        """Score the golden messages again and return the largest change of a probability.

        Raises ArtefactError if a verdict differs from the one at packaging: this processor rounds too differently.
        """
        golden = self.manifest.golden
        now = self.classify([row.text for row in golden])
        deltas = [abs(verdict.probability - row.probability) for verdict, row in zip(now, golden, strict=True)]
        for verdict, row in zip(now, golden, strict=True):
            if (verdict.probability >= self.threshold) != (row.probability >= self.threshold):
                raise ArtefactError(
                    "a golden message gets another verdict here than when the model was packaged; train here"
                )
        if max(deltas, default=0.0) > GOLDEN_TOLERANCE:
            raise ArtefactError(
                f"golden messages score up to {max(deltas):.3f} away from their packaged scores; train here"
            )
        return max(deltas, default=0.0)


def rounded_up(tokens: int, step: int) -> int:
    """Round a number of tokens up to a whole number of steps."""
    return -(-tokens // step) * step


def by_length(lengths: NDArray[np.int64], step: int = STEP, tokens: int = TOKENS_PER_BATCH) -> list[list[int]]:
    """Return row numbers in batches of one class of lengths, each of at most `tokens` tokens with padding."""
    batches: list[list[int]] = []
    room = width = 0
    for row in np.argsort(-lengths, kind="stable").tolist():
        if rounded_up(int(lengths[row]), step) != width or room < width:
            width = rounded_up(int(lengths[row]), step)
            room = max(tokens, width)
            batches.append([])
        batches[-1].append(row)
        room -= width
    return batches


# Compute the model's embeddings of messages: the inputs of its head, from the served package.

# B rows, D width of what the head reads: twice the model's, for [mean of all tokens ; last token]


Features = NDArray[np.float32]

_FEATURES = "features"


class Embedder(Engine):
    """Engine that also returns the inputs of the head (N, 2D); D is read off the graph."""

    with_features = True

    def features(self, texts: Sequence[str]) -> ProgressGenerator[Features]:
        """Return features (texts, D) in the order of `texts`; a text that comes again is computed once."""
        distinct = list(dict.fromkeys(texts))
        place = {text: index for index, text in enumerate(distinct)}
        found = yield from self.features_of(self.tokenize(distinct), "embedding")
        return found[[place[text] for text in texts]] if texts else found

    def features_of(self, rows: Sequence[TokenRow], task: str) -> ProgressGenerator[Features]:
        """Return features (rows, D) in the order of `rows`; yield progress in the name of `task`."""
        found: Features | None = None
        done = 0
        for index, outputs in self._outputs(self._filled(rows)):
            part = outputs[1]  # (B, D)
            found = np.empty((len(rows), part.shape[1]), np.float32) if found is None else found
            found[index] = part
            done += len(index)
            yield ProgressUpdate(task, done, len(rows))
        return np.empty((0, 0), np.float32) if found is None else found


def reference_features(embedder: Embedder, texts: Sequence[str], key: str, path: Path) -> ProgressGenerator[Features]:
    """Return features of the reference, from the file at `path` if it was made for the same `key`."""
    if (kept := _kept(path, key)) is not None and len(kept) == len(texts):
        return kept
    found = yield from embedder.features(texts)
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        np.savez(file, key=np.array(key), features=found)
    draft.replace(path)
    return found


def _kept(path: Path, key: str) -> Features | None:
    """Return kept features; none if there are none, or they are another model's, or the file is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            return np.asarray(kept[_FEATURES], np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None

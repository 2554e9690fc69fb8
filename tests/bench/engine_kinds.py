"""Score the same messages in every engine, and compare speed and verdicts.

The model is smollm2-135m cut to a few blocks, its head a linear probe. What spamctl can package runs as it serves: the
real `Engine` on a real package. Speed is taken on rows of 24 tokens, which is a message of middling length, and on the
test messages as they are.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from engines import Contender, open_engines
from measuring import median_seconds, say, table
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from spamctl.data.corpus import CorpusRequest, read_corpus
from spamctl.data.split import split
from spamctl.engine.calibration import sigmoid
from spamctl.engine.engine import Batches, Logits, by_length
from spamctl.engine.tokens import TokenRow
from spamctl.schema.message import Message, to_rows
from spamctl.training.base_model import BUNDLED, find_base_model
from spamctl.training.features import draw_sample, pooled_by_block
from spamctl.training.fine_tune import Workbench, open_workbench
from spamctl.training.model import SpamClassifier
from spamctl.training.probe import fit_probe

HEADINGS = ("", "MB", "1x24", "32x24", "8x128", "real", "moved", "agree", "ROC-AUC")
LEGEND = """our graph: of ONNX Runtime's own operations, as packaged; the other graphs are those of the exporters.
MB: weights. 1x24: milliseconds for one row of 24 tokens. 32x24, 8x128, real: messages a second, in batches of 32 rows
of 24 tokens and of 8 rows of 128, and over the test messages, those of like length together.
moved: largest change of a probability between batches of 32 and single rows. agree: share of verdicts, at .5, that are
those of the first line. ROC-AUC: on the test messages."""
SHORT, LONG, BATCH, MAX_TOKENS = (32, 24), (8, 128), 32, 256  # rows and tokens of a batch


@dataclass(frozen=True, slots=True)
class Effort:
    """Say how many rows the head learns from, how many are scored, and how often each timing is repeated."""

    learn: int = 1000
    score: int | None = None
    repeats: int = 15


QUICK = Effort(learn=60, score=40, repeats=1)


@dataclass(frozen=True, slots=True)
class Exam:
    """Hold the test rows and their truth."""

    rows: Sequence[TokenRow]
    is_spam: NDArray[np.bool_]
    repeats: int

    def of_tokens(self, count: int, tokens: int) -> list[TokenRow]:
        """Return `count` rows of so many tokens each, cut from all rows one behind the other."""
        ids = itertools.cycle(token for row in self.rows for token in row.ids)
        return [TokenRow(list(itertools.islice(ids, tokens)), truncated=False) for _ in range(count)]

    def by_length(self) -> Batches:
        """Return the batches that the server makes of rows that all wait at once."""
        return by_length(np.array([len(row.ids) for row in self.rows]))

    def mixed(self) -> Batches:
        """Return batches of rows of any length, which need padding."""
        order = np.random.default_rng(0).permutation(len(self.rows)).tolist()
        return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def show(threads: int, *, depth: int, quick: bool) -> None:
    """Print a table of engines."""
    effort = QUICK if quick else Effort()
    corpus = read_corpus(CorpusRequest())
    parts = split(corpus.messages)
    bench = open_workbench(find_base_model(BUNDLED, "none"), max_tokens=MAX_TOKENS, device="cpu", threads=threads)
    say("a head for the engines")
    classifier, train = probed(bench, parts.train, depth, effort.learn)
    test = parts.test[: effort.score]
    exam = Exam(bench.tokenize(to_rows(test)), np.array([message.is_spam for message in test]), effort.repeats)
    lengths = [len(row.ids) for row in exam.rows]
    print(
        f"\n{BUNDLED}, {depth} blocks, scores {len(lengths)} test messages "
        f"of {statistics.mean(lengths):.0f} tokens in the mean and {max(lengths)} at most;\n{corpus.origin}\n"
    )
    lines = list(measured(open_engines(classifier, bench.tokenizer, train, threads), exam))
    print(table(HEADINGS, lines), LEGEND, sep="\n\n")


def probed(
    bench: Workbench, messages: Sequence[Message], depth: int, learn: int
) -> tuple[SpamClassifier, list[list[int]]]:
    """Return a classifier of `depth` blocks whose head is a linear probe, and the token rows that it learnt from."""
    sample = [messages[row] for row in draw_sample([message.is_spam for message in messages], learn, seed=0)]
    rows = [row.ids for row in bench.tokenize(to_rows(sample))]
    classifier = bench.classifier(depth)
    pooled = np.empty((depth, len(rows), 2 * bench.trunk.width), np.float32)
    for done in pooled_by_block(bench.trunk, rows, pooled, dtype=bench.dtype):
        say(f"{done} of {len(rows)} messages through {depth} blocks")
    classifier.start_head(*fit_probe(pooled[-1], np.array([message.is_spam for message in sample])))
    return classifier, rows


def measured(contenders: Iterator[Contender], exam: Exam) -> Iterator[list[str]]:
    """Yield a line of the table for each engine; the first one is the reference."""
    reference: NDArray[np.bool_] | None = None
    for contender in contenders:
        say(contender.name)
        alone = contender.score(exam.rows, [[row] for row in range(len(exam.rows))])
        verdicts = alone >= 0
        reference = verdicts if reference is None else reference
        yield [contender.name, f"{contender.megabytes:.0f}", *speeds(contender, exam),
               f"{moved(contender, exam, alone):.1e}", f"{(verdicts == reference).mean():.4f}",
               f"{roc_auc_score(exam.is_spam, alone):.4f}"]  # fmt: skip


def speeds(contender: Contender, exam: Exam) -> Iterator[str]:
    """Yield milliseconds for a single row, then messages a second in larger batches and on real lengths."""
    one = exam.of_tokens(1, SHORT[1])
    yield f"{1000 / rate(contender, one, [[0]], 5 * exam.repeats):.1f} ms"
    for rows, tokens in (SHORT, LONG):
        yield f"{rate(contender, exam.of_tokens(rows, tokens), [range(rows)], exam.repeats):.0f}"
    yield f"{rate(contender, exam.rows, exam.by_length(), max(1, exam.repeats // 5)):.0f}"


def rate(contender: Contender, rows: Sequence[TokenRow], batches: Batches, repeats: int) -> float:
    """Return messages a second."""
    return len(rows) / median_seconds(lambda: contender.score(rows, batches), repeats=repeats)


def moved(contender: Contender, exam: Exam, alone: Logits) -> float:
    """Return the largest change of a probability that other rows in a batch bring about."""
    return float(np.abs(sigmoid(contender.score(exam.rows, exam.mixed())) - sigmoid(alone)).max())

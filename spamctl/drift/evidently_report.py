"""Compare two samples with Evidently at our thresholds, without any message on its pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spamctl.drift.evidently_html import Compared, Page, Part, compose, quiet, run, text_auc
from spamctl.drift.sample import Sample, describe
from spamctl.schema.message import NOT_SPAM, SPAM

if TYPE_CHECKING:
    import pandas as pd

# Render Evidently's classification page for the served verdicts, never for a threshold of its own.
#
# Given probabilities, Evidently calls spam what is above one half, and its page contradicts the filter's own. So it
# gets the verdicts; probabilities only rank. Figures are those of all labelled rows, as in `drift/quality.py`, and
# tests are run where their thresholds were calibrated, on rows of which near duplicates count once.

FEWEST_LABELS = 10
# How far a quality may fall, and how far it may rise: one side each, never both, as the thresholds of `judge` say.
MAY_FALL = {"accuracy": "accuracy_tests"}
MAY_RISE = {"false_positive_rate": "fpr_tests"}

_NOISE = 1e-9  # of rounding: a statistic that equals its threshold alarms in `judge`
_PROBABILITY = "probability"


def classification(
    reference: Sample, current: Sample, thresholds: Mapping[str, float], rows: Mapping[str, Compared]
) -> Page:
    """Return the page of both samples' rows with a label that measures; one that cannot be made says why.

    `thresholds` are those of `judge`, and `rows` say for each sample how many rows there are.
    """
    from evidently.metrics import LogLoss, RocAuc
    from evidently.presets.classification import ClassificationQuality

    sides = [sample.take(np.flatnonzero(sample.trusted)) for sample in (reference, current)]
    if reason := unmeasurable(sides[1]):
        return Page("", {"missing": reason})
    shown = sides if not unmeasurable(sides[0]) else sides[1:]
    verdicts = run([ClassificationQuality(conf_matrix=True, include_tests=False)], *_verdicts(shown))
    ranking = run([RocAuc(), LogLoss()], *_probabilities(shown))
    counts = {side: Compared(whole.of, len(each)) for (side, whole), each in zip(rows.items(), sides, strict=True)}
    return compose("Classification", [_tests(sides, thresholds), verdicts, ranking], counts, {})


def unmeasurable(sample: Sample) -> str:
    """Return why quality cannot be measured on labelled rows, or nothing."""
    rows, spam = len(sample.truth), sum(label == SPAM for label in sample.truth)
    if rows < FEWEST_LABELS:
        return f"{rows} rows have a trusted label, fewer than {FEWEST_LABELS}"
    if spam in {0, rows}:
        return f"all {rows} labelled rows are {NOT_SPAM if not spam else SPAM}"
    return ""


def _verdicts(samples: Sequence[Sample]) -> tuple[list[pd.DataFrame], Any]:
    """Return frames of truth and verdict, and what their columns are."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition

    frames = [pd.DataFrame({"label": list(each.truth), "verdict": words(each.called_spam)}) for each in samples]
    roles = BinaryClassification(target="label", prediction_labels="verdict", pos_label=SPAM)
    return frames, DataDefinition(categorical_columns=["label", "verdict"], classification=[roles])


def _probabilities(samples: Sequence[Sample]) -> tuple[list[pd.DataFrame], Any]:
    """Return frames of truth and probability of spam, and what their columns are."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition

    frames = [pd.DataFrame({"label": list(each.truth), _PROBABILITY: each.probabilities}) for each in samples]
    roles = BinaryClassification(target="label", prediction_labels=None, prediction_probas=_PROBABILITY, pos_label=SPAM)
    columns = {"numerical_columns": [_PROBABILITY], "categorical_columns": ["label"]}
    return frames, DataDefinition(**columns, classification=[roles])


def _tests(sides: Sequence[Sample], thresholds: Mapping[str, float]) -> Part:
    """Return the tests alone, of rows that are distinct."""
    from evidently.presets.classification import ClassificationQuality

    once = [side.distinct() for side in sides]
    limits = _limits(once[0], thresholds)
    if not limits or unmeasurable(once[1]):
        return Part()
    quality = ClassificationQuality(include_tests=True, **limits)
    return Part(tests=run([quality], *_verdicts(once if not unmeasurable(once[0]) else once[1:])).tests)


def _limits(reference: Sample, thresholds: Mapping[str, float]) -> dict[str, list[Any]]:
    """Return the tests of quality: how far from the reference's each may be on its bad side, from `judge`."""
    from evidently.tests import gt, lt

    right = reference.called_spam == reference.is_spam
    rates = {"accuracy": right} | {"false_positive_rate": reference.called_spam[~reference.is_spam]}
    known = {name: float(hits.mean()) for name, hits in rates.items() if len(hits) and name in thresholds}
    falls = {slot: [gt(known[name] - thresholds[name] + _NOISE)] for name, slot in MAY_FALL.items() if name in known}
    rises = {slot: [lt(known[name] + thresholds[name] - _NOISE)] for name, slot in MAY_RISE.items() if name in known}
    return falls | rises


def words(called_spam: Sequence[bool] | Any) -> list[str]:
    """Return verdicts in words."""
    return [SPAM if spam else NOT_SPAM for spam in called_spam]


# Replace hostile words by harmless ones, so that a page can be drawn without showing any message.

MOST_CATEGORIES = 12
OTHERS = "others"

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,39}")


def word_ranks(*samples: Sequence[str]) -> list[list[str]]:
    """Return texts in which each word is its rank among all words: what a domain classifier learns stays the same.

    The words are those that Evidently's vectoriser would take, and their order is kept, so that even its random
    choices fall alike.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    split = TfidfVectorizer(stop_words="english").build_analyzer()
    tokens = [[split(text) for text in texts] for texts in samples]
    known = sorted({token for texts in tokens for text in texts for token in text})
    rank = {token: f"w{place:08d}" for place, token in enumerate(known)}
    return [[" ".join(rank[token] for token in text) for text in texts] for texts in tokens]


def safe_names(names: Iterable[Sequence[str]], kind: str) -> dict[str, str]:
    """Return what stands for each name: itself if harmless, else a number; those beyond the twelfth are others."""
    counts = Counter(name for sample in names for name in sample)
    shown: dict[str, str] = {}
    for place, (name, _) in enumerate(counts.most_common()):
        harmless = _SAFE.fullmatch(name) is not None and name != OTHERS
        shown[name] = OTHERS if place >= MOST_CATEGORIES else name if harmless else f"{kind} no. {place + 1}"
    return shown


MOST_ROWS = 20_000  # of each sample; more would make the pages slow and their numbers no truer
MOST_TEXTS = 1_000  # of each sample, from which Evidently's classifier of texts learns
MOST_EMBEDDED = 200  # of each sample: Evidently draws them by t-SNE, whose time grows with their square
COMPONENTS = 4

PROBABILITY = "probability"
SPAM_SHARE = "spam_share"
TEXT = "domain classifier"
EMBEDDING = "embedding"
TEXT_DEALS = (
    19  # permutations of the pooled texts: in one of twenty windows without drift the observed AUC is the largest
)

_KINDS = {"version": "versions", "source": "sources", "family": "families"}


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two samples as they are compared, and notes on how they were taken."""

    reference: Sample
    current: Sample
    rows: Mapping[str, Compared]
    names: dict[str, str] = field(default_factory=dict)


def evidently_pages(
    reference: Sample, current: Sample, thresholds: Mapping[str, float], seed: int, labelled: Sample | None = None
) -> dict[str, Page]:
    """Return Evidently's pages data_quality, drift and classification; one that cannot be made says why.

    `thresholds` are those of `judge`, by test name: a column without one is not tested. They were calibrated on rows
    of which near duplicates count once, and so are compared here. Where `current` is a sample of a larger window,
    `labelled` is one of its rows with a trusted label, and the page of classification is of that. Of more than 20,000
    rows a random 20,000 are taken, and the summary says so. What Evidently sees of a text are ranks of its words, and
    of a name only harmless characters (methods: https://docs.evidentlyai.com/metrics/customize_data_drift).
    """
    chance = np.random.default_rng(seed)
    pair = _bounded(reference, current, chance)
    if not len(pair.reference) or not len(pair.current):
        return dict.fromkeys(("data_quality", "drift", "classification"), _missing("one of the two samples has no row"))
    known = pair if labelled is None else _bounded(reference, labelled, chance)
    once = _Pair(pair.reference.distinct(), pair.current.distinct(), pair.rows)
    with quiet():
        return {
            "data_quality": _data_quality(pair),
            "drift": _drift(once, thresholds, chance),
            "classification": classification(known.reference, known.current, thresholds, known.rows),
        }


def _bounded(reference: Sample, current: Sample, chance: np.random.Generator) -> _Pair:
    """Return both samples with no more rows than are compared."""
    taken = [_at_most(sample, MOST_ROWS, chance) for sample in (reference, current)]
    rows = {
        name: Compared(len(whole), len(part))
        for name, whole, part in zip(("reference", "current"), (reference, current), taken, strict=True)
    }
    return _Pair(taken[0], taken[1], rows)


def _at_most(sample: Sample, most: int, chance: np.random.Generator) -> Sample:
    """Return a sample, or a random part of one that is larger, in its order."""
    rows = len(sample)
    return sample if rows <= most else sample.take(np.sort(chance.choice(rows, most, replace=False)))


def _numbers(sample: Sample) -> dict[str, NDArray[np.float64]]:
    """Return the columns of numbers by test name, each of shape (N,)."""
    shares = np.asarray(sample.called_spam, dtype=np.float64)
    return {**describe(sample.texts), PROBABILITY: np.asarray(sample.probabilities, np.float64), SPAM_SHARE: shares}


def _data_quality(pair: _Pair) -> Page:
    """Return the page of rows, empties, repeats, descriptors and categories."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.metrics import MeanValue
    from evidently.presets.dataset_stats import DatasetStats, ValueStats

    numbers = [_numbers(sample) for sample in (pair.reference, pair.current)]
    categories = _categories(pair)
    columns = [name for name in numbers[0] if name != SPAM_SHARE]
    frames = [
        pd.DataFrame(
            {**{name: one[name] for name in columns}, **{name: sides[side] for name, sides in categories.items()}}
        )
        for side, one in enumerate(numbers)
    ]
    definition = DataDefinition(numerical_columns=columns, categorical_columns=list(categories))
    whole = run([DatasetStats()], frames, definition).without_nothing()
    # One picture a column: the preset of statistics draws the same one for each of seven figures.
    drawn = run([MeanValue(column=name) for name in columns], frames, definition).side_by_side()
    named = run([ValueStats(column=name) for name in categories], frames, definition)
    counts = [_counts(sample) for sample in (pair.current, pair.reference)]
    tables = {
        "Messages": [[name, *(f"{side[name]:,}" for side in counts)] for name in counts[0]],
        "Minimum, median and maximum": [[name, *(_spread(one[name]) for one in reversed(numbers))] for name in columns],
    }
    told = {"counts": {"current": counts[0], "reference": counts[1]}, "names": pair.names}
    return compose("Data quality", [Part(tables=tables), named, drawn, whole], pair.rows, told)


def _spread(values: NDArray[np.float64]) -> str:
    """Format the minimum, the median and the maximum of some values (N,)."""
    return " / ".join(f"{value:.4g}" for value in np.quantile(values, (0, 0.5, 1)))


def _counts(sample: Sample) -> dict[str, int]:
    """Count the rows, texts and labels of a sample."""
    return {
        "rows": len(sample),
        "distinct texts": len(set(sample.texts)),
        "repeated texts": len(sample) - len(set(sample.texts)),
        "empty texts": sum(not text.strip() for text in sample.texts),
        "rows with a trusted label": int(np.sum(sample.trusted)),
    }


def _categories(pair: _Pair) -> dict[str, list[list[str]]]:
    """Return columns of harmless categories by name, reference and current; what was renamed is kept in the pair."""
    sides = (pair.reference, pair.current)
    columns = {
        "verdict": [words(sample.called_spam) for sample in sides],
        "label": [[str(label) or "no label" for label in sample.truth] for sample in sides],
    }
    for kind, plural in _KINDS.items():
        values = [[str(name) or "unknown" for name in getattr(sample, plural)] for sample in sides]
        shown = safe_names(values, kind)
        pair.names.update({safe: name for name, safe in shown.items() if safe not in {name, OTHERS}})
        columns[kind] = [[shown[name] for name in sample] for sample in values]
    return columns


def _drift(pair: _Pair, thresholds: Mapping[str, float], chance: np.random.Generator) -> Page:
    """Return the page of what moved: each column that has a threshold, the text, the model's own features."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.metrics import ValueDrift

    numbers = [_numbers(sample) for sample in (pair.reference, pair.current)]
    tested = [name for name in numbers[0] if name in thresholds]
    parts, left_out = [], {name: "no threshold was calibrated for it" for name in numbers[0] if name not in thresholds}
    if tested:
        metrics = [ValueDrift(column=name, method="wasserstein", threshold=thresholds[name]) for name in tested]
        frames = [pd.DataFrame({name: one[name] for name in tested}) for one in numbers]
        parts.append(run(metrics, frames, DataDefinition(numerical_columns=tested), tests=True).side_by_side())
    try:
        parts.append(_text_drift(pair, chance))
    except ValueError as error:  # of a vectoriser without a word left, or of a half without a row of one sample
        left_out[TEXT] = str(error)
    if pair.reference.features.shape[1] and pair.current.features.shape[1]:
        parts.append(_embedding_drift(pair, chance))
    else:
        left_out[EMBEDDING] = "the model's features were not computed"
    return compose("Drift", parts, _rows(pair), {"left_out": left_out}) if parts else _missing("nothing can be tested")


def _text_drift(pair: _Pair, chance: np.random.Generator) -> Part:
    """Return whether Evidently's classifier separates the two by their words; its lists of words are left out.

    Its threshold is the AUC that it reaches on permuted texts, which is about 0.5 only for many rows.
    """
    import pandas as pd
    from evidently import DataDefinition
    from evidently.metrics import ValueDrift

    some = [_at_most(sample, MOST_TEXTS, chance).texts for sample in (pair.reference, pair.current)]
    before, now = word_ranks(*some)
    threshold = _reached_by_chance(before, now, chance)
    metric = ValueDrift(column=TEXT, method="abs_text_content_drift", threshold=threshold)
    frames = [pd.DataFrame({TEXT: texts}) for texts in (before, now)]
    return run([metric], frames, DataDefinition(text_columns=[TEXT]), tests=True).side_by_side()


def _reached_by_chance(before: Sequence[str], now: Sequence[str], chance: np.random.Generator) -> float:
    """Return the largest AUC of Evidently's classifier on permuted texts."""
    pooled = [*before, *now]
    reached = []
    for _ in range(TEXT_DEALS):
        dealt = [pooled[row] for row in chance.permutation(len(pooled))]
        reached.append(text_auc(dealt[: len(before)], dealt[len(before) :]))
    return float(np.nextafter(max(reached), 2))


def _embedding_drift(pair: _Pair, chance: np.random.Generator) -> Part:
    """Return whether a linear classifier tells the two apart by a few principal components of the model's features."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model
    from evidently.metrics.embeddings import EmbeddingsDrift
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    few = [_at_most(sample, MOST_EMBEDDED, chance).features for sample in (pair.reference, pair.current)]
    components = min(COMPONENTS, *few[0].shape)
    fitted = PCA(components, random_state=0).fit(few[0])
    columns = [f"component {place + 1}" for place in range(components)]
    frames = [pd.DataFrame(fitted.transform(each), columns=columns) for each in few]
    definition = DataDefinition(numerical_columns=columns, embeddings={EMBEDDING: columns})
    method = model(bootstrap=True)  # its threshold is what random scores reach with as many rows
    with threadpool_limits(1):  # more threads wait for each other in each of a thousand steps of t-SNE
        return run([EmbeddingsDrift(embeddings_name=EMBEDDING, drift_method=method)], frames, definition)


def _rows(pair: _Pair) -> dict[str, Compared]:
    """Count the distinct rows of each sample: near duplicates count as one."""
    sizes = zip(pair.rows.items(), (pair.reference, pair.current), strict=True)
    return {side: replace(counts, different=len(sample)) for (side, counts), sample in sizes}


def _missing(reason: str) -> Page:
    """Return a page that could not be made."""
    return Page("", {"missing": reason})

"""Compare two samples with Evidently, on our thresholds, and let no message and no hostile name reach its pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spamctl.drift.descriptors import describe
from spamctl.drift.evidently_page import Page, Part, compose, run
from spamctl.drift.sample import Sample
from spamctl.message import NOT_SPAM, SPAM

MOST_ROWS = 20_000  # of each sample; more would make the pages slow and their numbers no truer
MOST_EMBEDDED = 250  # of each sample: Evidently draws them by t-SNE, whose time grows with their square
FEWEST_LABELS = 10
COMPONENTS = 4
MOST_CATEGORIES = 12

PROBABILITY = "probability"
SPAM_SHARE = "spam share"
TEXT = "domain classifier"
EMBEDDING = "embedding"
# What a quality may not fall below, and what it may not rise above: one side each, never both.
AT_LEAST = {
    "accuracy": "accuracy_tests",
    "precision": "precision_tests",
    "recall": "recall_tests",
    "f1": "f1score_tests",
}
AT_MOST = {"false_positive_rate": "fpr_tests"}

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,39}")
_OTHERS = "others"
_KINDS = {"version": "versions", "source": "sources", "family": "families"}


@dataclass(frozen=True, slots=True)
class _Pair:
    """Hold the two samples as they are compared, and what there is to say about how they were taken."""

    reference: Sample
    current: Sample
    rows: Mapping[str, Mapping[str, int]]
    names: dict[str, str] = field(default_factory=dict)


def evidently_pages(reference: Sample, current: Sample, thresholds: Mapping[str, float], seed: int) -> dict[str, Page]:
    """Return Evidently's pages data_quality, drift and classification; one that cannot be made says why.

    `thresholds` are those of `judge`, by test name: a column without one is described and not tested. Of more than
    20,000 rows a random 20,000 are taken, and the summary says so. What Evidently sees of a text are ranks of its
    words, and of a name only harmless characters (https://docs.evidentlyai.com/metrics/customize_data_drift).
    """
    chance = np.random.default_rng(seed)
    pair = _bounded(reference, current, chance)
    if not len(pair.reference) or not len(pair.current):
        return dict.fromkeys(("data_quality", "drift", "classification"), _absent("one of the two samples has no row"))
    numbers = [_numbers(sample) for sample in (pair.reference, pair.current)]
    return {
        "data_quality": _data_quality(pair, numbers),
        "drift": _drift(pair, numbers, thresholds, chance),
        "classification": _classification(pair, thresholds),
    }


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
        harmless = _SAFE.fullmatch(name) is not None and name != _OTHERS
        shown[name] = _OTHERS if place >= MOST_CATEGORIES else name if harmless else f"{kind} no. {place + 1}"
    return shown


def _bounded(reference: Sample, current: Sample, chance: np.random.Generator) -> _Pair:
    """Return both samples with no more rows than are compared."""
    taken = [_at_most(sample, MOST_ROWS, chance) for sample in (reference, current)]
    rows = {
        name: {"of": len(whole), "compared": len(part)}
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


def _data_quality(pair: _Pair, numbers: Sequence[Mapping[str, NDArray[np.float64]]]) -> Page:
    """Return the page of rows, empties, repeats, descriptors and categories."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.presets.dataset_stats import DatasetStats, ValueStats

    categories = _categories(pair)
    columns = [name for name in numbers[0] if name != SPAM_SHARE]
    frames = [
        pd.DataFrame(
            {**{name: one[name] for name in columns}, **{name: sides[side] for name, sides in categories.items()}}
        )
        for side, one in enumerate(numbers)
    ]
    definition = DataDefinition(numerical_columns=columns, categorical_columns=list(categories))
    metrics = [DatasetStats(), *(ValueStats(column=name) for name in (*columns, *categories))]
    part = run(metrics, frames, definition).without_nothing()
    counts = [_counts(sample) for sample in (pair.current, pair.reference)]
    table = [[name, *(f"{side[name]:,}" for side in counts)] for name in counts[0]]
    told = {"counts": {"current": counts[0], "reference": counts[1]}, "names": pair.names}
    return compose("Data quality", [Part(tables={"Messages": table}), part], pair.rows, told)


def _counts(sample: Sample) -> dict[str, int]:
    """Count what is worth counting in a sample."""
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
        "verdict": [_words(sample.called_spam) for sample in sides],
        "label": [[str(label) or "no label" for label in sample.truth] for sample in sides],
    }
    for kind, plural in _KINDS.items():
        values = [[str(name) or "unknown" for name in getattr(sample, plural)] for sample in sides]
        shown = safe_names(values, kind)
        pair.names.update({safe: name for name, safe in shown.items() if safe not in {name, _OTHERS}})
        columns[kind] = [[shown[name] for name in sample] for sample in values]
    return columns


def _drift(
    pair: _Pair,
    numbers: Sequence[Mapping[str, NDArray[np.float64]]],
    thresholds: Mapping[str, float],
    chance: np.random.Generator,
) -> Page:
    """Return the page of what moved: each column that has a threshold, the text, the model's own features."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.metrics import ValueDrift

    tested = [name for name in numbers[0] if name in thresholds]
    parts, left_out = [], {}
    if tested:
        metrics = [ValueDrift(column=name, method="wasserstein", threshold=thresholds[name]) for name in tested]
        frames = [pd.DataFrame({name: one[name] for name in tested}) for one in numbers]
        parts.append(run(metrics, frames, DataDefinition(numerical_columns=tested), tests=True).side_by_side())
    if TEXT in thresholds:
        try:
            parts.append(_text_drift(pair, thresholds[TEXT]))
        except ValueError as error:  # no word that is not a stop word, or words in all messages alike
            left_out[TEXT] = str(error)
    if pair.reference.features.shape[1] and pair.current.features.shape[1]:
        parts.append(_embedding_drift(pair, thresholds.get(EMBEDDING), chance))
    else:
        left_out[EMBEDDING] = "the model's features were not computed"
    left_out.update({name: "no threshold was calibrated for it" for name in numbers[0] if name not in thresholds})
    if not parts:
        return _absent("nothing has a threshold")
    return compose("Drift", parts, pair.rows, {"left_out": left_out})


def _text_drift(pair: _Pair, threshold: float) -> Part:
    """Return whether Evidently's classifier tells the two apart by their words; its lists of words are left out."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.metrics import ValueDrift

    frames = [pd.DataFrame({TEXT: texts}) for texts in word_ranks(pair.reference.texts, pair.current.texts)]
    metric = ValueDrift(column=TEXT, method="abs_text_content_drift", threshold=threshold)
    part = run([metric], frames, DataDefinition(text_columns=[TEXT]), tests=True)
    return part.side_by_side()


def _embedding_drift(pair: _Pair, threshold: float | None, chance: np.random.Generator) -> Part:
    """Return whether a linear classifier tells the two apart by a few principal components of the model's features."""
    import pandas as pd
    from evidently import DataDefinition
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model
    from evidently.metrics.embeddings import EmbeddingsDrift
    from sklearn.decomposition import PCA

    few = [_at_most(sample, MOST_EMBEDDED, chance).features for sample in (pair.reference, pair.current)]
    components = min(COMPONENTS, *few[0].shape)
    fitted = PCA(components, random_state=0).fit(few[0])
    columns = [f"component {place + 1}" for place in range(components)]
    frames = [pd.DataFrame(fitted.transform(each), columns=columns) for each in few]
    definition = DataDefinition(numerical_columns=columns, embeddings={EMBEDDING: columns})
    method = model() if threshold is None else model(threshold=threshold, bootstrap=False)
    return run([EmbeddingsDrift(embeddings_name=EMBEDDING, drift_method=method)], frames, definition)


def _classification(pair: _Pair, thresholds: Mapping[str, float]) -> Page:
    """Return the page of how right the verdicts are, on rows with a label that measures."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition
    from evidently.presets.classification import ClassificationQuality
    from evidently.tests import gte, lte

    labelled = [sample.take(np.flatnonzero(sample.trusted)) for sample in (pair.reference, pair.current)]
    if reason := _unmeasurable(labelled[1]):
        return _absent(reason)
    frames = [
        pd.DataFrame(
            {
                "label": list(each.truth),
                "verdict": _words(each.called_spam),
                PROBABILITY: np.asarray(each.probabilities),
            }
        )
        for each in labelled
    ]
    roles = BinaryClassification(
        target="label", prediction_labels="verdict", prediction_probas=PROBABILITY, pos_label=SPAM
    )
    definition = DataDefinition(
        numerical_columns=[PROBABILITY], categorical_columns=["label", "verdict"], classification=[roles]
    )
    tests = {slot: [gte(thresholds[name])] for name, slot in AT_LEAST.items() if name in thresholds}
    tests |= {slot: [lte(thresholds[name])] for name, slot in AT_MOST.items() if name in thresholds}
    quality = ClassificationQuality(conf_matrix=True, pr_curve=True, include_tests=True, **tests)
    reference = frames[:1] if not _unmeasurable(labelled[0]) else []
    part = run([quality], [*reference, frames[1]], definition)
    rows = {
        side: {"of": counts["of"], "compared": len(each)}
        for (side, counts), each in zip(pair.rows.items(), labelled, strict=True)
    }
    return compose("Classification", [part], rows, {})


def _unmeasurable(sample: Sample) -> str:
    """Return why quality cannot be measured on rows, or nothing."""
    rows, spam = len(sample.truth), sum(label == SPAM for label in sample.truth)
    if rows < FEWEST_LABELS:
        return f"{rows} rows have a trusted label, fewer than {FEWEST_LABELS}"
    if spam in {0, rows}:
        return f"all {rows} labelled rows are {NOT_SPAM if not spam else SPAM}"
    return ""


def _absent(reason: str) -> Page:
    """Return a page that could not be made."""
    return Page("", {"absent": reason})


def _words(called_spam: NDArray[np.bool_]) -> list[str]:
    """Return verdicts in words."""
    return [SPAM if spam else NOT_SPAM for spam in called_spam]

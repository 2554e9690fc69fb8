"""Measure the corpus `everyday`: what is in it, how far cues tell spam from the rest, and writers from each other.

    python tests/bench/corpus.py

It prints tables and asserts nothing; tests/data/test_everyday.py holds the corpus to its promises.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter

import numpy as np
from cues import NAMES, NUMBERS, areas
from measuring import circumstances, table

LEAST_ROWS = 12  # of a writer in a kind: fewer tell nothing about how alike two of them sound
FOLDS = 4


def main() -> None:
    """Print the tables."""
    from spamctl.data.bundled_sets import FOLDER, read_everyday

    print(circumstances(1, ("scikit-learn",)))
    messages = read_everyday()[1]
    natural = [message for message in messages if not message.traits.border]
    rows = []
    for medium in ("sms", "mail", "comment"):
        part = [message for message in messages if message.traits.medium == medium]
        good = sum(not message.is_spam for message in part)
        kinds, languages = ({getattr(one.traits, name) for one in part} for name in ("kind", "language"))
        border = sum(message.traits.border for message in part)
        other = sum(message.traits.language != "en" for message in part)
        rows.append([medium, *(f"{n:,}" for n in (len(part), good, border, len(kinds), other, len(languages)))])
    print(f"\n{len(messages):,} messages, {len(natural):,} of them natural")
    print(table(("medium", "messages", "good", "border", "kinds", "not English", "languages"), rows))
    found = areas(natural) | {"all of them together": together(natural)}
    print("\nhow well a cue alone ranks spam above the rest, natural messages (area under the ROC curve)")
    print(table(("cue", "area"), [[name, f"{area:.3f}"] for name, area in found.items()]))
    lines = gzip.decompress((FOLDER / "everyday.jsonl.gz").read_bytes()).decode().splitlines()
    told = writers_apart([json.loads(line) for line in lines])
    middle, most = np.median(told), np.quantile(told, 0.9)
    print(f"\nn-grams tell two writers of a kind apart: median area {middle:.3f}, 9 of 10 pairs below {most:.3f}")


def together(messages) -> float:  # type: ignore[no-untyped-def]
    """Return how well all cues together rank spam, cross-validated."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import cross_val_predict

    from spamctl.metrics.scores import roc_auc

    truth = np.array([message.is_spam for message in messages])
    columns = [[read(message.text) for message in messages] for read in NUMBERS.values()]
    for name_of in NAMES.values():
        names = [name_of(message) for message in messages]
        common = {name: place for place, (name, _) in enumerate(Counter(names).most_common(40))}
        columns.append([common.get(name, -1) for name in names])
    scores = cross_val_predict(
        HistGradientBoostingClassifier(random_state=0), np.array(columns, float).T, truth, cv=5, method="predict_proba"
    )[:, 1]
    return float(roc_auc(scores[truth], scores[~truth]))


def writers_apart(rows: list[dict[str, str]]) -> list[float]:
    """Return the area of each pair of writers of a kind, cross-validated; .5 is who cannot be told apart."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    from spamctl.metrics.scores import roc_auc

    found = []
    for kind in sorted({row["kind"] for row in rows}):
        by_writer: dict[str, list[str]] = {}
        for row in rows:
            if row["kind"] == kind and row["language"] == "en" and row["style"] == "natural":
                by_writer.setdefault(row["chunk"], []).append(row["text"])
        many = [texts for texts in by_writer.values() if len(texts) >= LEAST_ROWS]
        for place, first in enumerate(many):
            for second in many[:place]:
                truth = np.array([True] * len(first) + [False] * len(second))
                model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
                margins = cross_val_predict(model, first + second, truth, cv=FOLDS, method="decision_function")
                found.append(float(roc_auc(margins[truth], margins[~truth])))
    return found


if __name__ == "__main__":
    main()

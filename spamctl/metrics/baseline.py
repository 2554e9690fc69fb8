"""Train the baseline: TF-IDF and a linear model, tuned, calibrated and scored on the same split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from spamctl.engine import calibration
from spamctl.engine.calibration import Bools
from spamctl.errors import DataError, NothingLearntError
from spamctl.metrics import scores
from spamctl.schema.message import Message
from spamctl.schema.train import Baseline, BaselineChoice, PlattScaling

VIEWS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "words": ("words",),
        "characters": ("characters",),
        "words and characters": ("words", "characters"),
    }
)
COSTS: Final = (0.1, 0.3, 1.0, 3.0)
FOLDS: Final = 5
TUNING_ROWS: Final = 5_000  # more rows no longer change the choice, only its time; the final fit takes all
RARE_ROWS = 4 * FOLDS  # fewer of a class would leave folds without it


def measure(
    train: Sequence[Message],
    validation: Sequence[Message],
    test: Sequence[Message],
    max_false_positive_rate: float,
    *,
    seed: int = 0,
    weights: Sequence[float] = (),
) -> Baseline:
    """Tune and fit on train, calibrate and set the threshold on validation, score on test.

    `weights` says how much each row of train counts in the fit; without any, all count the same.
    Raise DataError if a part lacks a class or train has fewer than two rows of one.
    """
    chosen = tune([message.text for message in train], _truth(train), seed)
    model = build(chosen.view, chosen.cost)
    weighed = {"linearsvc__sample_weight": np.array(weights)} if weights else {}
    model.fit([message.text for message in train], _truth(train), **weighed)
    validation_logits, test_logits = (
        model.decision_function([message.text for message in part]) for part in (validation, test)
    )
    scale, notes = _calibrated(_truth(validation), validation_logits)
    point = scores.choose_threshold(_truth(validation), scale.apply(validation_logits), max_false_positive_rate)
    probabilities = scale.apply(test_logits)
    return Baseline(
        chosen=chosen,
        calibration=PlattScaling(scale.slope, scale.intercept),
        operating_point=point,
        score=scores.score(_truth(test), probabilities, point.threshold, seed=seed),
        probabilities=probabilities.tolist(),
        notes=notes,
    )


def _calibrated(truth: Bools, margins: calibration.Floats) -> tuple[calibration.Calibration, tuple[str, ...]]:
    """Fit a calibration; a baseline that learnt nothing still has scores, and does not stop a training."""
    try:
        return calibration.fit(truth, margins), ()
    except NothingLearntError:
        note = "the linear baseline ranks spam no higher than the rest on the validation rows: it is not calibrated"
        return calibration.Calibration(1.0, 0.0), (note,)


def tune(texts: Sequence[str], is_spam: Bools, seed: int) -> BaselineChoice:
    """Return the view and cost of the best cross-validated average precision on training rows (N texts, N labels).

    A tie goes to the earlier view and the lower cost. Raise DataError if a class has fewer than two rows.
    """
    from scipy.sparse import hstack
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    texts, truth = _sample(texts, is_spam, seed)
    folds = min(FOLDS, int(truth.sum()), int((~truth).sum()))
    if folds < 2:
        raise DataError("baseline: train needs two spam and two not spam rows; give more labelled messages")
    # Grams are counted once for all folds. A gram that only a held-out row has gets no weight in its fold.
    counts = {name: _counter(name).fit_transform(texts) for name in ("words", "characters")}
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    found = BaselineChoice("", COSTS[0], folds, -1.0)
    for view, names in VIEWS.items():
        grid = GridSearchCV(
            _linear(COSTS[0]), {"linear__C": COSTS}, scoring="average_precision", cv=split, refit=False, n_jobs=1
        )
        table = hstack([counts[name] for name in names], format="csr")
        table.sort_indices()  # once, or each fold sorts its rows again
        result = grid.fit(table, truth).cv_results_
        best = int(np.argmax(result["mean_test_score"]))
        precision = float(result["mean_test_score"][best])
        if precision > found.average_precision:
            found = replace(found, view=view, cost=COSTS[best], average_precision=precision)
    return found


def build(view: str, cost: float) -> Any:
    """Return an unfitted pipeline from text to a spam margin (`decision_function`) for one of VIEWS and a cost."""
    from sklearn.pipeline import make_pipeline, make_union

    return make_pipeline(make_union(*(_counter(name) for name in VIEWS[view])), *_linear(cost))


def _counter(name: str) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    if name == "words":
        return CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]+")  # noqa: S106 punctuation tells too
    return CountVectorizer(ngram_range=(1, 4), analyzer="char_wb")


def _linear(cost: float) -> Any:
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.svm import LinearSVC

    return Pipeline(
        [
            ("weights", TfidfTransformer(sublinear_tf=True)),
            ("linear", LinearSVC(C=cost, random_state=0, max_iter=10_000)),
        ]
    )


def _sample(texts: Sequence[str], is_spam: Bools, seed: int) -> tuple[Sequence[str], Bools]:
    """Return at most TUNING_ROWS rows with the classes in proportion, but of a rare one enough for every fold."""
    if len(texts) <= TUNING_ROWS:
        return texts, is_spam
    rarer, other = sorted((np.flatnonzero(is_spam), np.flatnonzero(~is_spam)), key=len)
    few = min(rarer.size, max(RARE_ROWS, round(TUNING_ROWS * rarer.size / len(texts))))
    draw = np.random.default_rng(seed)
    drawn = [draw.choice(rarer, few, replace=False), draw.choice(other, TUNING_ROWS - few, replace=False)]
    rows = draw.permutation(np.concatenate(drawn))
    return [texts[row] for row in rows], is_spam[rows]


def _truth(part: Sequence[Message]) -> Bools:
    return np.array([message.is_spam for message in part], dtype=bool)

"""Explain drift: words that changed, example messages, their sources, and a domain classifier."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spamctl.drift import hypothesis_tests
from spamctl.drift.hypothesis_tests import FEWEST, Floats, Kernel, Pool, permute
from spamctl.drift.sample import Sample
from spamctl.schema.message import NOT_SPAM, SPAM, Label
from spamctl.schema.monitor import Carrier, Causes, Example, Separation, Term

if TYPE_CHECKING:
    from scipy.sparse import csc_array

# m reference and n current rows of a side, W terms, S rows of a kernel

# Invisible characters stay inside the word that they were put into, and a homoglyph stays what it is.
_WORD = re.compile(r"[\w\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+(?:['\u2019-]\w+)*|[£$€]")
MOST_TERMS = 10
MOST_BESIDE = 3
MOST_EXAMPLES = 5
MOST_GROUPS = 8
PRIOR_ROWS = 100.0  # how many messages the prior is worth; with fewer a word that is new is not sure enough to be named
FEWEST_MESSAGES = 2  # of the window, that hold a term
CAUSE_PERMUTATIONS = 199
QUANTILE = 0.95
NOTHING = Causes(examples={SPAM: (), NOT_SPAM: ()})


def terms(text: str) -> Iterator[str]:
    """Yield each word and two-word phrase of a text, its case folded, once or more."""
    words = _WORD.findall(text.casefold())
    yield from words
    yield from map(" ".join, pairwise(words))


def explain(pooled: Pool) -> Causes:
    """Return terms that have become more frequent, spam side and ham side apart, with examples and their carriers."""
    before, now = _by_verdict(pooled.reference), _by_verdict(pooled.current)
    return Causes(
        spam=tuple(risen(before[SPAM], now[SPAM], before[NOT_SPAM])),
        not_spam=tuple(risen(before[NOT_SPAM], now[NOT_SPAM], before[SPAM])),
        examples=examples(pooled),
        carriers=tuple(carriers(pooled)),
    )


def risen(reference: Sequence[str], current: Sequence[str], elsewhere: Sequence[str] = ()) -> list[Term]:
    """Return the terms whose share of messages rose most surely, by z: the log-odds over their standard error.

    The log-odds have an informative Dirichlet prior (Monroe, Colaresi & Quinn 2008): each side is given a hundred more
    messages that hold a term as often as both sides together do. Of terms that rose alike those come first that the
    reference's other messages, `elsewhere`, hold least, then the longest. A phrase is left out where a word of it says
    as much. Terms of the very same messages are one cause, else the words of one campaign would fill every place: the
    first stands for them, with others `beside` it.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    if len(current) < FEWEST_MESSAGES or not any(map(_WORD.search, current)):
        return []
    counter = CountVectorizer(analyzer=lambda text: list(terms(text)), binary=True)
    table = counter.fit_transform([*reference, *current, *elsewhere])
    names = counter.get_feature_names_out()
    m, n = len(reference), len(current)
    parts = table[:m], table[m : m + n], table[m + n :]
    before, now, others = (np.asarray(part.sum(axis=0), dtype=np.int64).ravel() for part in parts)
    held = (now >= FEWEST_MESSAGES) & (now * max(m, 1) > before * n)  # more often than in the reference
    names, before, now, others = names[held], before[held], now[held], others[held]  # (W,)
    prior = PRIOR_ROWS * (before + now) / (m + n)
    odds = _log_odds(now + prior, n + PRIOR_ROWS) - _log_odds(before + prior, m + PRIOR_ROWS)
    z = odds / np.sqrt(1 / (now + prior) + 1 / (before + prior))
    lengths = np.array([len(name) for name in names])
    ranked = np.lexsort((-lengths, others, -z.round(9)))
    counts = {str(names[row]): (int(before[row]), int(now[row])) for row in ranked}
    told = [row for row in ranked if not _said(str(names[row]), counts)]
    groups = _of_the_same_messages(parts[1].tocsc()[:, held], told)
    return [
        Term(
            term=str(names[row]),
            z=float(z[row]),
            current_rate=float(now[row] / n),
            reference_rate=float(before[row] / m) if m else 0.0,
            beside=tuple(str(names[other]) for other in rest[:MOST_BESIDE]),
        )
        for row, *rest in groups[:MOST_TERMS]
    ]


def examples(pooled: Pool) -> dict[Label, tuple[Example, ...]]:
    """Return the current messages nearest to the change: likest to the window and unlike the reference.

    The score is the witness function of the maximum mean discrepancy (Gretton et al. 2012), the message itself left
    out.
    """
    kernel, is_current, rows = pooled.text, pooled.is_current, pooled.rows_compared
    own = np.diagonal(kernel)[is_current]
    near = kernel[is_current]  # (n, S)
    score = (near[:, is_current].sum(axis=1) - own) / max(1, rows.size - 1) - near[:, ~is_current].mean(axis=1)
    shown: dict[Label, list[Example]] = {SPAM: [], NOT_SPAM: []}
    for place in np.argsort(-score, kind="stable"):
        row = int(rows[place])
        side = shown[SPAM if pooled.current.called_spam[row] else NOT_SPAM]
        if len(side) < MOST_EXAMPLES:
            probability = float(pooled.current.probabilities[row])
            side.append(Example(None, probability, float(score[place]), pooled.current.texts[row]))
    return {label: tuple(found) for label, found in shown.items()}


def by_uuid(found: Causes, uuids: Mapping[str, str]) -> Causes:
    """Return what was explained, its examples by their uuids instead of their texts: what is kept of them are those."""
    shown = {
        side: tuple(replace(each, uuid=uuids[each.text or ""], text=None) for each in rows)
        for side, rows in found.examples.items()
    }
    return replace(found, examples=shown)


def carriers(pooled: Pool) -> list[Carrier]:
    """Return, for versions and sources of 30 rows and more, how far their texts are from the reference.

    `drift` is the distance of the mean embeddings over the 95 % quantile of its permutation
    distribution: above 1 the group has drifted. Groups are named only where there are two to choose from.
    """
    found = []
    for by, column in (("version", pooled.current.versions), ("source", pooled.current.sources)):
        names = [column[row] for row in pooled.rows_compared]
        groups = Counter(names).most_common()
        for name, rows in groups[:MOST_GROUPS] if len(groups) > 1 else []:
            if rows >= FEWEST:
                drift = _group_drift(pooled, np.array([one == name for one in names]))
                found.append(Carrier(by, name, rows, rows / len(names), drift))
    return sorted(found, key=lambda carrier: carrier.drift, reverse=True)


def _group_drift(pooled: Pool, inside: NDArray[np.bool_]) -> float:
    """Return the drift of the current rows of the kernel (n,) that are inside a group."""
    chosen = ~pooled.is_current
    chosen[np.flatnonzero(pooled.is_current)[inside]] = True
    kernel: Kernel = pooled.text[np.ix_(chosen, chosen)]
    deals = hypothesis_tests.permute(
        pooled.is_current[chosen], CAUSE_PERMUTATIONS, np.random.default_rng(CAUSE_PERMUTATIONS)
    )
    distances = hypothesis_tests.mean_discrepancy(kernel, deals)
    usual = float(np.quantile(distances[1:], QUANTILE))
    return float(distances[0] / usual) if usual > 0 else 0.0


def _by_verdict(sample: Sample) -> dict[str, list[str]]:
    sides: dict[str, list[str]] = {SPAM: [], NOT_SPAM: []}
    for text, called in zip(sample.texts, sample.called_spam, strict=True):
        sides[SPAM if called else NOT_SPAM].append(text)
    return sides


def _log_odds(count: NDArray[np.float64], rows: float) -> NDArray[np.float64]:
    return np.asarray(np.log(count) - np.log(np.maximum(rows - count, 0.5)))  # a term of every message has finite odds


def _of_the_same_messages(table: csc_array, terms: Iterable[int]) -> list[list[int]]:
    """Group terms that occur in the same rows of a table (n, W), in their order."""
    table.sort_indices()
    groups: dict[bytes, list[int]] = {}
    for term in terms:
        rows = table.indices[table.indptr[term] : table.indptr[term + 1]]
        groups.setdefault(rows.tobytes(), []).append(term)
    return list(groups.values())


def _said(term: str, counts: dict[str, tuple[int, int]]) -> bool:
    """Return whether a phrase occurs in exactly the messages that contain one of its words."""
    words = term.split(" ")
    return len(words) > 1 and any(counts.get(word) == counts[term] for word in words)


# Train a classifier to separate current messages from the reference's: its AUC measures the drift.

# S rows of a kernel, B + 1 permutations, the first of them the observed assignment

FOLDS = 5
DOMAIN_PERMUTATIONS = 200
MOST_OF_A_SIDE = 1_000  # rows: more would take minutes and tell no more
PENALTY = 0.3


def classify_domains(kernel: Kernel, is_current: NDArray[np.bool_], rng: np.random.Generator) -> Separation:
    """Return the cross-validated ROC-AUC of a linear classifier of the two sides, and what it reaches by chance.

    The classifier is kernel ridge regression on the text kernel (S, S), so one factorisation per fold serves the
    observed assignment and its permutations; `threshold` is the 95 % quantile over those. A classifier as two-sample
    test is Lopez-Paz & Oquab's (2017).
    """
    from scipy.linalg import cho_factor, cho_solve

    rows = np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(side))[:MOST_OF_A_SIDE] for side in (is_current, ~is_current)])
    )
    now = permute(is_current[rows], DOMAIN_PERMUTATIONS, rng).current.astype(np.float64)  # (S, B + 1)
    n = now[:, 0].sum()
    target = now / n - (1 - now) / (rows.size - n)
    target /= np.abs(target).max()
    alike = kernel[np.ix_(rows, rows)].astype(np.float64)
    alike -= alike.mean(axis=0)
    alike -= alike.mean(axis=1, keepdims=True)  # else a fold's score would tell which labels its rows lack
    fold = rng.permutation(rows.size) % FOLDS
    scores = np.empty_like(now)
    for held in range(FOLDS):
        out = fold == held
        factor = cho_factor(alike[np.ix_(~out, ~out)] + PENALTY * np.eye(int((~out).sum())))
        scores[out] = alike[np.ix_(out, ~out)] @ cho_solve(factor, target[~out])
    areas = _areas(scores, now)
    return Separation(auc=float(areas[0]), threshold=float(np.quantile(areas[1:], QUANTILE)))


def _areas(scores: Floats, now: Floats) -> Floats:
    """Return the area under the curve of each column of scores (S, B + 1)."""
    from scipy.stats import rankdata

    n = now.sum(axis=0)
    ranks = (rankdata(np.round(scores, 9), axis=0) * now).sum(axis=0)
    return np.asarray((ranks - n * (n + 1) / 2) / (n * (len(now) - n)))

"""Evaluate a package on held-out messages: errors by slice, by kind, and on the suites."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from spamctl.data.bundled_sets import OWN_LINE
from spamctl.engine import ngrams, parity
from spamctl.engine.calibration import Bools, Floats, both_classes
from spamctl.engine.engine import Engine
from spamctl.errors import DataError
from spamctl.metrics import scores
from spamctl.metrics.scores import proportion, roc_auc
from spamctl.progress import ProgressGenerator, ProgressUpdate
from spamctl.schema.evaluation import (
    Evaluation,
    GroupScore,
    GroupScores,
    Invariance,
    Mistake,
    Reach,
    Slice,
    SuiteLine,
    SuiteReport,
)
from spamctl.schema.message import NOT_SPAM, SPAM, Message
from spamctl.schema.train import Baseline

# Break errors down by kind of message: recall, false positives, and the worst errors.

SHORT: Final = 50  # characters: half of all ordinary SMS are shorter
LONG: Final = 140  # characters: most SMS spam fills the 160 it pays for

_URL = re.compile(r"https?://|www\.|\b[a-z0-9-]{1,63}\.(?:com|net|org|info|biz|tv|mobi|io|ly|co|uk)\b", re.IGNORECASE)
_PHONE = re.compile(r"(?<!\d)\+?\d(?:[ .()-]{0,2}\d){6,14}(?!\d)")  # 7 to 15 digits (E.164), however they are spaced
_MONEY = re.compile(r"[$£€¥₹]|\b(?:usd|gbp|eur|inr|dollars?|pounds?|euros?|rupees?)\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")


def _shouts(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return len(letters) >= 4 and 2 * sum(map(str.isupper, letters)) > len(letters)


SLICES: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "every message": lambda _: True,
        f"short (under {SHORT} characters)": lambda text: len(text) < SHORT,
        f"medium ({SHORT} to {LONG - 1})": lambda text: SHORT <= len(text) < LONG,
        f"long ({LONG} and more)": lambda text: len(text) >= LONG,
        "with a URL": lambda text: bool(_URL.search(text)),
        "with a phone number": lambda text: bool(_PHONE.search(text)),
        "with a currency": lambda text: bool(_MONEY.search(text)),
        "with digits": lambda text: bool(_DIGIT.search(text)),
        "without digits": lambda text: not _DIGIT.search(text),
        "mostly capitals": _shouts,
        "with non-ASCII characters": lambda text: not text.isascii(),
    }
)


def by_slice(texts: Sequence[str], is_spam: ArrayLike, probabilities: ArrayLike, threshold: float) -> tuple[Slice, ...]:
    """Measure each of SLICES over rows of text, truth and probability (N each); a message may lie in many slices.

    Intervals are Wilson's, 95 %, each slice on its own. Raise DataError if the three do not match.
    """
    truth, called = _verdicts(texts, is_spam, probabilities, threshold)
    return tuple(
        _slice(name, np.fromiter(map(holds, texts), dtype=bool, count=len(texts)), truth, called)
        for name, holds in SLICES.items()
    )


def worst_errors(
    texts: Sequence[str], is_spam: ArrayLike, probabilities: ArrayLike, threshold: float, *, limit: int = 20
) -> tuple[Mistake, ...]:
    """Return at most `limit` wrong verdicts, the least probability given to the truth first; ties keep row order.

    Raise DataError if texts, truth and probabilities (N each) do not match.
    """
    truth, called = _verdicts(texts, is_spam, probabilities, threshold)
    p = np.asarray(probabilities, dtype=np.float64)
    given = np.where(truth, p, 1 - p)  # (N,) the probability of what the row really is
    order = np.argsort(given, kind="stable")
    wrong = order[(truth != called)[order]][:limit]
    return tuple(
        Mistake(text=texts[row], label=SPAM if truth[row] else NOT_SPAM, probability=float(p[row])) for row in wrong
    )


def _verdicts(
    texts: Sequence[str], is_spam: ArrayLike, probabilities: ArrayLike, threshold: float
) -> tuple[Bools, Bools]:
    truth, p = both_classes(is_spam, probabilities)
    if len(texts) != truth.size:
        raise DataError(f"slices: {len(texts)} texts do not match {truth.size} labels; give one text for each row")
    return truth, p >= threshold


def _slice(name: str, inside: Bools, truth: Bools, called: Bools) -> Slice:
    spam, rest = inside & truth, inside & ~truth
    return Slice(
        name=name,
        rows=int(inside.sum()),
        spam=int(spam.sum()),
        recall=proportion(int(called[spam].sum()), int(spam.sum())) if spam.any() else None,
        false_positive_rate=proportion(int(called[rest].sum()), int(rest.sum())) if rest.any() else None,
    )


MOST_ALONE = 800  # test messages that are scored one by one, and again in every other way


def evaluate(engine: Engine, test: Sequence[Message], *, seed: int) -> ProgressGenerator[Evaluation]:
    """Score test messages one by one, then in other batchings, those beyond the first 800 in batches; yield progress.

    They stand in the order of a hash, so the first are as if drawn. Raises ArtefactError if padding, batch size or row
    order change a verdict.
    """
    rows = engine.tokenize([message.text for message in test])
    sample = rows[:MOST_ALONE]
    alone = np.empty(len(sample))
    for index, logit in enumerate(parity.single_rows(engine, sample)):
        alone[index] = logit
        yield ProgressUpdate("test messages, one by one", index + 1, len(sample))
    proof = parity.check(engine, sample, alone, seed)
    proof.require()
    logits = np.concatenate([alone, engine.logits(rows[MOST_ALONE:])])
    truth, probabilities = np.array([message.is_spam for message in test]), engine.probabilities(logits)
    texts = [message.text for message in test]
    limit, novelties, called = engine.manifest.reach, [row.novelty for row in rows], probabilities >= engine.threshold
    return Evaluation(
        probabilities=probabilities.tolist(),
        score=scores.score(truth, probabilities, engine.threshold, seed=seed),
        parity=proof,
        slices=by_slice(texts, truth, probabilities, engine.threshold),
        mistakes=worst_errors(texts, truth, probabilities, engine.threshold),
        truncated=sum(row.truncated for row in rows),
        reach=Reach() if limit is None else ngrams.measure_novelty(truth, called, novelties, limit),
    )


def probabilities(engine: Engine, texts: Sequence[str]) -> list[float]:
    """Return the probabilities of spam (N,) that a package gives to texts."""
    found: list[float] = engine.probabilities(engine.logits(engine.tokenize(texts))).tolist() if texts else []
    return found


# Measure a filter by groups of messages: recall, false positives and ranking by medium, language and kind.

VIEWS: Final[Mapping[str, Callable[[Message], str]]] = MappingProxyType(
    {
        "dataset": lambda message: message.traits.dataset,
        "medium": lambda message: message.traits.medium,
        "language": lambda message: message.traits.language,
        "style": lambda message: ("border" if message.traits.border else "natural") if message.traits.kind else "",
        "family": lambda message: message.traits.family,
    }
)


def by_kind(messages: Sequence[Message], probabilities: ArrayLike, threshold: float) -> tuple[GroupScore, ...]:
    """Score each group of each of VIEWS, the largest first; messages without a value in a view are left out.

    Takes N messages and their probabilities of spam (N,); `p >= threshold` is called spam.
    """
    p, truth = np.asarray(probabilities, dtype=np.float64), np.array([message.is_spam for message in messages], bool)
    found: list[GroupScore] = []
    for view, name_of in VIEWS.items():
        names = np.array([name_of(message) for message in messages], dtype=object)
        sizes = {name: int((names == name).sum()) for name in dict.fromkeys(names) if name}
        ordered = sorted(sizes, key=lambda one: (-sizes[one], one))
        found += [group_score(view, name, truth[names == name], p[names == name], threshold) for name in ordered]
    return tuple(found)


def kinds_side_by_side(messages: Sequence[Message], model: Evaluation, baseline: Baseline) -> GroupScores:
    """Return `by_kind` of the model and of the baseline, from their probabilities (N,) and their thresholds."""
    return GroupScores(
        model=by_kind(messages, model.probabilities, model.score.threshold),
        baseline=by_kind(messages, baseline.probabilities, baseline.score.threshold),
    )


def held_out_kinds(messages: Sequence[Message], engine: Engine) -> tuple[GroupScore, ...]:
    """Return `by_kind` of messages of families that were held out whole; nothing if none were."""
    if not messages:
        return ()
    p = engine.probabilities(engine.logits(engine.tokenize([message.text for message in messages])))
    truth = np.array([message.is_spam for message in messages], bool)
    whole = group_score("held out", "kinds never seen", truth, p, engine.threshold)
    return (whole, *by_kind(messages, p, engine.threshold))


def group_score(view: str, name: str, truth: Bools, probabilities: Floats, threshold: float) -> GroupScore:
    """Score one group of messages (N,)."""
    spam, rest = probabilities[truth], probabilities[~truth]
    return GroupScore(
        view=view,
        name=name,
        rows=truth.size,
        spam=spam.size,
        recall=proportion(int((spam >= threshold).sum()), spam.size) if spam.size else None,
        false_positive_rate=proportion(int((rest >= threshold).sum()), rest.size) if rest.size else None,
        roc_auc=float(roc_auc(spam, rest)) if spam.size and rest.size else None,
    )


# Test a package on suites of messages that it must deliver or must catch, and on harmless changes to them.
#
# The lines of must-deliver and must-catch are minimum functionality tests, the changes invariance tests, in the sense
# of Ribeiro and others, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (2020).

MOST_FLAGGED: Final = (
    0.02  # of a line of must-deliver: more, at the lower end of the interval, and a filter cannot lead
)
LEAST_CAUGHT: Final = 0.70  # of a line of must-catch: less, at the upper end of the interval

MOST_CHANGED: Final = 240  # messages, drawn at random, that each harmless change is tried on: seconds, not a minute

CallsSpam = Callable[[Sequence[str]], Sequence[bool]]


def check_suites(suites: Mapping[str, Sequence[Message]], calls_spam: CallsSpam, *, seed: int = 0) -> SuiteReport:
    """Score every message of the suites, by name, and changed forms of some, with the function that serves."""
    every = [message for messages in suites.values() for message in messages]
    verdicts = dict(zip(every, calls_spam([message.text for message in every]), strict=True))
    lines = tuple(
        _line(suite, name, [message for message in messages if message.traits.kind == name], verdicts)
        for suite, messages in suites.items()
        for name in dict.fromkeys(message.traits.kind for message in messages)
    )
    chance = random.Random(seed)
    drawn = chance.sample(every, min(MOST_CHANGED, len(every)))
    invariances = []
    for change, applied in CHANGES.items():
        pairs = [(message, changed) for message in drawn if (changed := applied(message.text, chance)) != message.text]
        if not pairs:
            continue
        now = calls_spam([changed for _, changed in pairs])
        same = sum(verdicts[message] == flagged for (message, _), flagged in zip(pairs, now, strict=True))
        invariances.append(Invariance(change, len(pairs), proportion(same, len(pairs))))
    return SuiteReport(lines, tuple(invariances), tuple(line.fault for line in lines if line.fault))


def deciding_faults(report: SuiteReport, wanted: str, *, knows_today: bool) -> tuple[str, ...]:
    """Return the faults that keep a filter from leading.

    With `wanted` lead all of them do, with show none. With auto a user's own lines always decide; those that come with
    spamctl do where the filter learnt from the corpus of today, `knows_today`: one of 2003 would fail by its age.
    """
    every = wanted == "lead" or (wanted == "auto" and knows_today)
    own = wanted == "auto"
    return tuple(
        line.fault for line in report.lines if line.fault and (every or (own and line.name.endswith(OWN_LINE)))
    )


def _line(suite: str, name: str, messages: Sequence[Message], verdicts: Mapping[Message, bool]) -> SuiteLine:
    """Summarise one line of a suite, with a fault if it rules out promotion."""
    share = proportion(sum(verdicts[message] for message in messages), len(messages))
    fault = ""
    if not messages[0].is_spam and share.low > MOST_FLAGGED:
        fault = (
            f"{share.value:.0%} of {suite}, {name}, is called spam (at least {share.low:.1%}, not {MOST_FLAGGED:.0%})"
        )
    if messages[0].is_spam and share.high < LEAST_CAUGHT:
        fault = f"{share.value:.0%} of {suite}, {name}, is caught (at most {share.high:.1%}, not {LEAST_CAUGHT:.0%})"
    return SuiteLine(suite, name, len(messages), share, fault)


def _typos(text: str, chance: random.Random) -> str:
    """Swap two neighbouring letters in one of ten words of five letters and more, but in one at least."""
    places = [found.start() for found in re.finditer(r"\b[^\W\d_]{5,}\b", text)]
    for place in sorted(chance.sample(places, max(1, len(places) // 10)) if places else []):
        text = text[: place + 2] + text[place + 3] + text[place + 2] + text[place + 4 :]
    return text


def _look_alikes(text: str, chance: random.Random) -> str:
    """Write a third of the Latin a, e, o, p, c, y and x in Cyrillic, which looks the same."""
    twins = dict(zip("aeopcyx", "аеорсух", strict=True))  # noqa: RUF001  (that is the point)
    return "".join(twins[char] if char in twins and chance.random() < 1 / 3 else char for char in text)


def _other_amounts(text: str, chance: random.Random) -> str:
    """Write another digit for each digit but 0, so that amounts, times and references change."""
    return re.sub(r"[1-9]", lambda _: str(chance.randint(1, 9)), text)


CHANGES: Final[Mapping[str, Callable[[str, random.Random], str]]] = MappingProxyType(
    {
        "in capitals": lambda text, _: text.upper(),
        "without capitals": lambda text, _: text.lower(),
        "with typing errors": _typos,
        "with look-alike letters": _look_alikes,
        "with a greeting before it": lambda text, _: f"Hello,\n{text}",
        "with other numbers": _other_amounts,
    }
)

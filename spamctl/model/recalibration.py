"""Fit a package's calibration and threshold anew to labelled answers, and measure it beside what it was before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spamctl.errors import DataError
from spamctl.message import Message
from spamctl.model import artefact, finishing, novelty, scratch
from spamctl.model.artefact import MANIFEST, Files, Manifest
from spamctl.model.calibration import Bools, Calibration, logit, sigmoid
from spamctl.model.engine import Engine, Logits
from spamctl.model.finishing import Fitting
from spamctl.model.rates import ENOUGH, error_rates
from spamctl.model.score import CONFIDENCE
from spamctl.model.tick import Tick, Ticking
from spamctl.schema.comparison import RecalibratedPart
from spamctl.schema.evaluation import Reach
from spamctl.schema.rates import OperatingPoint
from spamctl.schema.recalibrate import VerdictRule

AT_A_TIME = 64  # rows between two ticks


@dataclass(frozen=True, slots=True)
class Setting(VerdictRule):
    """Rule that turns a package's raw logits into verdicts, and that can be applied to them."""

    @classmethod
    def of(cls, manifest: Manifest) -> Setting:
        """Take it from a package's manifest."""
        return cls(manifest.slope, manifest.intercept, manifest.threshold)

    def calls_spam(self, logits: Logits) -> Bools:
        """Return which raw logits (N,) are called spam."""
        called: Bools = Calibration(self.slope, self.intercept).apply(logits) >= self.threshold
        return called

    def threshold_in(self, other: Setting) -> float:
        """Return this threshold as a probability of another calibration; the two scales cannot be compared else."""
        raw = (logit(self.threshold) - self.intercept) / self.slope
        return float(sigmoid(other.slope * raw + other.intercept))


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """The new sealed package, what changed in it, and the rates of the new threshold on the fitted answers."""

    files: Files
    before: Setting
    after: Setting
    point: OperatingPoint


def require_enough(answers: Sequence[Message], store: str, because: str = "") -> None:
    """Raise DataError if either class has too few answers to fit to; `because` says what became of the others."""
    spam = sum(message.is_spam for message in answers)
    counts = {"spam": spam, "not spam": len(answers) - spam}
    if missing := [f"{ENOUGH - rows:,} more {label}" for label, rows in counts.items() if rows < ENOUGH]:
        raise DataError(
            f"--feedback {store}: {counts['spam']:,} spam and {counts['not spam']:,} not spam labelled answers are "
            f"left to fit to{because}, and a threshold needs {ENOUGH} of each beside those held out as recent: "
            f"label at least {' and '.join(missing)} with spamctl label, or lower --recent-share"
        )


def recalibrate(
    files: Files, answers: Sequence[Message], budget: float, about: Mapping[str, object]
) -> Ticking[Recalibrated]:
    """Return a package that differs from another in calibration, threshold and golden messages alone; yield progress.

    The package's own engine scores the answers (N,), to which calibration and threshold are fitted as a training fits
    them to its validation rows (Platt 1999): weights, tokenizer and second expert stay byte for byte. `budget` is the
    share, in [0, 1), of the good answers that may be called spam, and `about` is added to what the package says of
    itself. Raises DataError if a class is missing, NothingLearntError if spam scores no higher than the rest,
    ArtefactError if the package is damaged.
    """
    with scratch.folder() as place:
        engine = Engine(artefact.write(files, Path(place)))
        raw = yield from logits(engine, [message.text for message in answers], "labelled answers")
    draft = replace(engine.manifest, about=engine.manifest.about | dict(about) | {"max_false_positive_rate": budget})
    unsealed = {name: content for name, content in files.items() if name != MANIFEST}
    fitting = Fitting(np.array([message.is_spam for message in answers]), raw)
    scale, point = finishing.fit(fitting, budget)
    sealed = finishing.seal(unsealed, draft, scale, point.threshold)
    after = Setting(scale.slope, scale.intercept, point.threshold)
    return Recalibrated(sealed, Setting.of(engine.manifest), after, point)


def logits(engine: Engine, texts: Sequence[str], task: str) -> Ticking[Logits]:
    """Return the raw logits (N,) of texts, scored some at a time; yield progress."""
    found = [np.empty(0)]
    for start in range(0, len(texts), AT_A_TIME):
        part = texts[start : start + AT_A_TIME]
        found.append(engine.logits(engine.tokenize(part)))
        yield Tick(task, start + len(part), len(texts))
    return np.concatenate(found)


def unproven(point: OperatingPoint, answers: Sequence[Message]) -> str:
    """Describe that too few good answers show whether the false-positive budget is kept; empty if enough do."""
    budget = point.max_false_positive_rate
    if point.false_positive_rate_upper <= budget:
        return ""
    good = sum(not message.is_spam for message in answers)
    needed = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - budget))  # with none called spam
    would = f"{needed:,} good answers with none called spam would show it" if good < needed else "they are too few"
    return (
        f"the budget of {budget:.2%} is not proven: of {good:,} good answers that the threshold was chosen on "
        f"{point.false_positives:,} are called spam, so the rate may be {point.false_positive_rate_upper:.2%}; "
        f"{would}: label more with spamctl label"
    )


def beside(is_spam: Sequence[bool], raw: Logits, before: Setting, after: Setting) -> RecalibratedPart:
    """Return how a package did on rows, whose truth and raw logits (N,) are given, before and after.

    `roc_auc` is the share of pairs of spam and good rows that the package ranks rightly.
    """
    from sklearn.metrics import roc_auc_score

    both = len(set(is_spam)) > 1
    return RecalibratedPart(
        roc_auc=float(roc_auc_score(is_spam, raw)) if both else None,
        rows=len(is_spam),
        spam=sum(is_spam),
        challenger=error_rates(is_spam, after.calls_spam(raw)),
        champion=error_rates(is_spam, before.calls_spam(raw)),
    )


def out_of_reach(engine: Engine, messages: Sequence[Message], raw: Logits) -> Reach:
    """Count the rows that are unlike all that was trained on, which a server may deliver whatever their score.

    Takes messages and their raw logits (N,). From where on a message is out of reach belongs to what was trained on,
    and stays. Empty where every message is in reach.
    """
    if engine.manifest.reach is None:
        return Reach()
    called = Setting.of(engine.manifest).calls_spam(raw)
    novelties = [row.novelty for row in engine.tokenize([message.text for message in messages])]
    truth = [message.is_spam for message in messages]
    return novelty.measure(truth, called, novelties, engine.manifest.reach)

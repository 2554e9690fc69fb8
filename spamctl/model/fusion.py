"""Combine two experts in one logit: the language model, and a linear model over n-grams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spamctl.model import calibration
from spamctl.model.ngrams import NgramExpert


def fuse(
    is_spam: ArrayLike, logits: ArrayLike, margins: ArrayLike, expert: NgramExpert
) -> tuple[NgramExpert, NDArray[np.float64]]:
    """Return the expert brought to the scale of the language model's logits, and the sum of both (N,).

    Takes validation rows: their truth, logits and margins (N,). The sum ranks as the mean of both calibrated logits
    does, a logarithmic opinion pool (Genest & Zidek 1986): neither expert is trusted more on kinds that both have yet
    to see, where a stacked model would rest on rows that are like those of training. Raises DataError as
    `calibration.fit` does.
    """
    raw, other = np.asarray(logits, np.float64), np.asarray(margins, np.float64)
    ratio = calibration.fit(is_spam, other).slope / calibration.fit(is_spam, raw).slope
    scaled = replace(expert, weights=(expert.weights * ratio).astype(np.float32), bias=expert.bias * ratio)
    return scaled, raw + ratio * other

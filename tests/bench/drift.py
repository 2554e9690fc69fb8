"""Measure what each drift does to the champion and to the linear baseline, dose by dose.

    python tests/bench/drift.py [--model-version champion ...] [--folder demo] [--seeds 3] [--threads 2] [--quick]

It prints a table for each of them and asserts nothing. A version is a number or an alias, as it is registered in the
folder's mlflow.db; the baseline is trained on the train part of the same corpus. Every test row is put to drift (a
proportion of 1), so the column of strength 0 is the test part itself, and `prior` at 1 is nothing but spam. `--quick`
takes one seed, every third row, and a baseline that is not tuned.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from measuring import circumstances, fetched, say, table

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
PACKAGES = ("onnxruntime", "scikit-learn", "faker")
MAX_FALSE_POSITIVE_RATE = 0.005  # the default of `spamctl train`
ROWS_OF_QUICK = 3

CallsSpam = Callable[[Sequence[str]], Sequence[bool]]


def main() -> None:
    """Measure each version, then the baseline."""
    options = parsed()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read once, when numpy loads
    from spamctl.data.corpus import CorpusRequest, read_corpus
    from spamctl.data.split import split

    parts = split(read_corpus(CorpusRequest()).messages)
    test = parts.test[::ROWS_OF_QUICK] if options.quick else parts.test
    seeds = range(1 if options.quick else options.seeds)
    print(circumstances(options.threads, PACKAGES))
    print(f"{len(test)} test rows, {sum(message.is_spam for message in test)} of them spam, {len(seeds)} seed(s)")
    models = {
        **registered(options.folder, options.model_version),
        "linear baseline": baseline(parts.train, parts.validation, tuned=not options.quick),
    }
    for name, calls_spam in models.items():
        show(name, remembered(calls_spam), test, seeds)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    take_versions(parser)
    parser.add_argument("--seeds", type=int, default=3, help="over how many seeds to average")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of a version")
    parser.add_argument("--quick", action="store_true", help="one seed and fewer rows")
    return parser.parse_args()


def take_versions(parser: argparse.ArgumentParser) -> None:
    """Let a program be told which versions to measure, and where they are registered."""
    parser.add_argument("--model-version", nargs="+", default=["champion"], help="numbers or aliases")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[2] / "demo", help="where mlflow.db lies")


def registered(folder: Path, wanted: Sequence[str]) -> dict[str, CallsSpam]:
    """Open versions that are registered in a folder, by what they are called in a table."""
    from spamctl.engine.engine import Engine

    versions = [fetched(folder, one) for one in wanted]
    return {f"version {found.version}": partial(called_spam, Engine(Path(found.folder))) for found in versions}


def called_spam(engine, texts: Sequence[str]) -> list[bool]:  # type: ignore[no-untyped-def]
    """Return which texts a package calls spam."""
    return (engine.probabilities(engine.logits(engine.tokenize(texts))) >= engine.threshold).tolist()


def baseline(train: Sequence, validation: Sequence, *, tuned: bool) -> CallsSpam:  # type: ignore[type-arg]
    """Train the linear baseline, and set its threshold as training does."""
    import numpy as np

    from spamctl.engine import calibration
    from spamctl.metrics import scores
    from spamctl.metrics.baseline import build, tune

    texts, truth = [one.text for one in train], np.array([one.is_spam for one in train])
    chosen = tune(texts, truth, 0) if tuned else None
    model = build(chosen.view, chosen.cost) if chosen else build("words and characters", 1.0)
    model.fit(texts, truth)
    margins = model.decision_function([one.text for one in validation])
    is_spam = np.array([one.is_spam for one in validation])
    scale = calibration.fit(is_spam, margins)
    point = scores.choose_threshold(is_spam, scale.apply(margins), MAX_FALSE_POSITIVE_RATE)
    return lambda texts: (scale.apply(model.decision_function(list(texts))) >= point.threshold).tolist()


def remembered(calls_spam: CallsSpam) -> CallsSpam:
    """Ask about each text once: most drifts leave most messages as they are."""
    known: dict[str, bool] = {}

    def ask(texts: Sequence[str]) -> Sequence[bool]:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known.update(zip(new, calls_spam(new), strict=True) if new else ())
        return [known[text] for text in texts]

    return ask


def show(name: str, calls_spam: CallsSpam, test: Sequence, seeds: Sequence[int]) -> None:  # type: ignore[type-arg]
    """Print accuracy, and the rate of false positives, by drift type and strength."""
    from spamctl.traffic.drift import DRIFTS

    rows = []
    for drift_type in DRIFTS:
        say(f"{name}: {drift_type}")
        cells = [rates(calls_spam, test, drift_type, strength, seeds) for strength in STRENGTHS]
        rows.append([drift_type, *(percent(rate) for rate, _ in cells), *(percent(rate) for _, rate in cells)])
    headings = [f"{strength:g}" for strength in STRENGTHS]
    print(f"\n{name}: accuracy, then false-positive rate, by strength")
    print(table(["drift", *(f"acc {head}" for head in headings), *(f"FPR {head}" for head in headings)], rows))


def percent(rate: float) -> str:
    """Return a rate as a percentage, or a dash where there is none."""
    return "–" if math.isnan(rate) else f"{rate:.1%}"


def rates(
    calls_spam: CallsSpam,
    test: Sequence,
    drift_type: str,
    strength: float,
    seeds: Sequence[int],  # type: ignore[type-arg]
) -> tuple[float, float]:
    """Return accuracy and false-positive rate over all seeds."""
    from spamctl.traffic.drift import stream

    right = false_positives = negatives = rows = 0
    for seed in seeds:
        staged = stream(test, samples=len(test), drift_type=drift_type, strength=strength, proportion=1.0, seed=seed)
        for one, called in zip(staged, calls_spam([one.text for one in staged]), strict=True):
            is_spam = one.label == "spam"
            right += called == is_spam
            false_positives += called and not is_spam
            negatives += not is_spam
            rows += 1
    return right / rows, false_positives / negatives if negatives else math.nan


if __name__ == "__main__":
    main()

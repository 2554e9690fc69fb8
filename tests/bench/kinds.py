"""Measure what a version does to each kind of message, beside the linear baseline.

    python tests/bench/kinds.py [--model-version champion ...] [--folder demo] [--outside FOLDER] [--unseen]

It prints tables and asserts nothing. The first is of the test part of the default datasets, by dataset, medium,
language and family. `--outside` adds one of a folder of `label,text` files (csv; ham or spam), whose rows nobody here
wrote: recall and false-positive rate of each file at the filter's own threshold, the area under the ROC curve where a
file holds both labels, and smishing against bank_sms with codes_and_notices where there are such files. `--unseen`
trains a filter anew for each fold of the families of kinds, without them, and measures it on them (five trainings).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from drift import MAX_FALSE_POSITIVE_RATE, take_versions
from measuring import circumstances, fetched, say, table

from spamctl.schema.codec import to_json

PACKAGES = ("onnxruntime", "scikit-learn")
VIEWS = ("dataset", "medium", "style", "language", "family")
HEADINGS = ("messages", "good", "flagged", "95 %", "spam", "caught", "95 %", "area")
AGAINST = ("bank_sms", "codes_and_notices")
FOLDS = 5

Probabilities = Callable[[Sequence[str]], Sequence[float]]


def main() -> None:
    """Measure each version and the baseline, then unseen kinds if asked."""
    options = parsed()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read once, when numpy loads
    from spamctl.data.corpus import DEFAULT, CorpusRequest, read_datasets
    from spamctl.data.split import split

    print(circumstances(options.threads, PACKAGES))
    parts = split(read_datasets(CorpusRequest(DEFAULT)).messages)
    outside = files_of(options.outside) if options.outside else {}
    filters = versions(options.folder, options.model_version) | {"linear baseline": baseline(parts)}
    for name, (probabilities, threshold) in filters.items():
        say(name)
        show_test(name, parts.test, probabilities, threshold)
        if outside:
            show_outside(name, outside, probabilities, threshold)
    if options.unseen:
        show_unseen(options.threads)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    take_versions(parser)
    parser.add_argument("--outside", type=Path, help="folder of label,text files for measuring only")
    parser.add_argument("--unseen", action="store_true", help="train without each fold of kinds, and measure on it")
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    return parser.parse_args()


def versions(folder: Path, wanted: Sequence[str]) -> dict[str, tuple[Probabilities, float]]:
    """Open versions registered in a folder."""
    from spamctl.engine.engine import Engine

    found = {}
    for one in wanted:
        version = fetched(folder, one)
        engine = Engine(Path(version.folder))

        def probabilities(texts: Sequence[str], engine: Engine = engine) -> Sequence[float]:
            return engine.probabilities(engine.logits(engine.tokenize(texts))).tolist()  # type: ignore[no-any-return]

        found[f"version {version.version}"] = (probabilities, engine.threshold)
    return found


def baseline(parts) -> tuple[Probabilities, float]:  # type: ignore[no-untyped-def]
    """Train the linear baseline on the same training rows, and set its threshold as training does."""
    import numpy as np

    from spamctl.data.corpus import training_weights
    from spamctl.engine import calibration
    from spamctl.metrics import scores as threshold
    from spamctl.metrics.baseline import build, tune

    texts, truth = [one.text for one in parts.train], np.array([one.is_spam for one in parts.train])
    chosen = tune(texts, truth, 0)
    model = build(chosen.view, chosen.cost)
    weights = training_weights(parts.train)
    model.fit(texts, truth, linearsvc__sample_weight=np.array(weights)) if weights else model.fit(texts, truth)
    margins = model.decision_function([one.text for one in parts.validation])
    is_spam = np.array([one.is_spam for one in parts.validation])
    scale = calibration.fit(is_spam, margins)
    point = threshold.choose_threshold(is_spam, scale.apply(margins), MAX_FALSE_POSITIVE_RATE)
    return lambda texts: scale.apply(model.decision_function(list(texts))).tolist(), point.threshold


def files_of(folder: Path) -> dict[str, list[tuple[str, bool]]]:
    """Read the files of a folder as (text, is it spam)."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.stem] = [(row["text"], row["label"] == "spam") for row in csv.DictReader(file)]
    return found


def show_test(name: str, test: Sequence, probabilities: Probabilities, threshold: float) -> None:  # type: ignore[type-arg]
    """Print the test part by kind."""
    from spamctl.metrics.evaluation import by_kind

    groups = to_json(by_kind(test, probabilities([one.text for one in test]), threshold))
    for view in VIEWS:
        rows = [cells(one["name"], one) for one in groups if one["view"] == view]
        print(f"\n{name}, test part by {view}, threshold {threshold:.3f}")
        print(table(HEADINGS, rows))


def show_outside(
    name: str, outside: Mapping[str, list[tuple[str, bool]]], probabilities: Probabilities, threshold: float
) -> None:
    """Print what becomes of messages from outside, by file."""
    import numpy as np

    from spamctl.metrics.evaluation import group_score
    from spamctl.metrics.scores import roc_auc

    scores = {file: np.array(probabilities([text for text, _ in rows])) for file, rows in outside.items()}
    truths = {file: np.array([is_spam for _, is_spam in rows]) for file, rows in outside.items()}
    rows = [cells(file, to_json(group_score("file", file, truths[file], scores[file], threshold))) for file in outside]
    print(f"\n{name}, messages from outside, threshold {threshold:.3f}")
    print(table(HEADINGS, rows))
    if {*AGAINST, "smishing"} <= outside.keys():
        good = np.concatenate([scores[file] for file in AGAINST])
        spam = scores["smishing"]
        border = np.quantile(good, 0.99, method="higher")
        print(f"smishing against {' and '.join(AGAINST)}: area {float(roc_auc(spam, good)):.3f}, ", end="")
        print(f"caught where 1 % of them are flagged {(spam > border).mean():.1%}")


def cells(name: str, one: Mapping) -> list[str]:  # type: ignore[type-arg]
    """Return a line of HEADINGS."""
    flagged, caught, area = one["false_positive_rate"], one["recall"], one["roc_auc"]
    return [
        name,
        f"{one['rows'] - one['spam']:,}",
        *(shares(flagged) if flagged else ("–", "")),
        f"{one['spam']:,}",
        *(shares(caught) if caught else ("–", "")),
        "–" if area is None else f"{area:.3f}",
    ]


def shares(rate: Mapping[str, float]) -> tuple[str, str]:
    """Write a rate and its interval."""
    return f"{rate['value']:.1%}", f"{rate['low']:.1%}-{rate['high']:.1%}"


def show_unseen(threads: int) -> None:
    """Train without the first folds of kinds, one fold more at a time, and print what such filters do to them."""
    print(f"\nfilters trained without folds of kinds, of {FOLDS}, on the natural messages of those")
    rows = []
    for folds in range(1, FOLDS):
        say(f"training without {folds} of {FOLDS} folds")
        with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as folder:
            command = [sys.executable, "-m", "spamctl", "train", "--hold-out-kinds", str(folds), "--suites", "none"]
            subprocess.run([*command, "--threads", str(threads)], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            files = sorted(Path(folder).rglob("evaluation/held_out_kinds.json"))
            groups = json.loads(files[0].read_text(encoding="utf-8"))
        rows += [
            cells(f"{folds} held out: {one['name']}", one) for one in groups if one["view"] in {"held out", "medium"}
        ]
    print(table(HEADINGS, rows))


if __name__ == "__main__":
    main()

"""Count how often the alarm rings when nothing has changed, and when something has, beside Evidently's defaults.

    python tests/bench/alarm.py [--folder demo] [--windows 500] [--evidently 100] [--seed 0] [--threads 1] [--quick]

It prints tables and asserts nothing. The folder holds mlflow.db with a champion: `make record-demo` trains one. Its
test and validation rows, scored by its own engine, are the population; neither was trained on. Windows without drift:
each time the population is divided by lot into a reference and a window, so that windows are fresh messages (of the
kernels, those of the whole population serve every division: its words are weighed once). Windows
with drift: `spamctl traffic` stages 200 messages of the test part, all subject to drift at strength 0.5, and the engine
scores them. Evidently's are its preset for drift with nothing chosen, on text, verdict and probability.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from measuring import circumstances, fetched, say, table

PACKAGES = ("evidently", "scikit-learn", "onnxruntime", "faker")
RATE = 0.05
SIZES = (20, 100, 500)
POWER_ROWS = 200
STRENGTH = 0.5
KINDS = ("none", "vocabulary", "homoglyph", "modern", "prior")
PLANTED_SHARES = (0.1, 0.25)
PLANTED_SIZES = (200, 500)
REPLICATES = 2_000  # as in monitoring: with 199 the least p-value of 15 tests is too coarse, and the alarm too quiet


@dataclass(frozen=True, slots=True)
class Scale:
    """Say how many windows of each kind are drawn."""

    calm: int
    drifted: int
    evidently: int
    planted: int


def main() -> None:
    """Print a table for each question."""
    options = parsed()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read once, when numpy loads
    few = max(10, options.windows // 10)
    scale = Scale(few, 10, 5, 20) if options.quick else Scale(options.windows, few, options.evidently, few * 2)
    stage = Stage(options.folder, options.seed)
    print(circumstances(options.threads, PACKAGES))
    print(f"{len(stage.test)} test rows and {len(stage.everything) - len(stage.test)} validation rows, twins once")
    false_alarms(stage, scale)
    power(stage, scale)
    planted(stage, scale)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[2] / "demo", help="where mlflow.db lies")
    parser.add_argument("--windows", type=int, default=500, help="windows without drift of each size")
    parser.add_argument("--evidently", type=int, default=100, help="how many of them Evidently judges, too")
    parser.add_argument("--seed", type=int, default=0, help="other seeds draw other windows, drifts and words")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    parser.add_argument("--quick", action="store_true", help="a tenth of the windows")
    return parser.parse_args()


class Stage:
    """Hold the champion's engine, and the messages that it was not trained on, with its scores."""

    def __init__(self, folder: Path, seed: int) -> None:
        from spamctl.data.corpus import CorpusRequest, read_corpus
        from spamctl.data.split import split
        from spamctl.drift import hypothesis_tests

        self.engine, self.seed = champion(folder), seed
        parts = split(read_corpus(CorpusRequest()).messages)
        self.messages = parts.test
        self._known: dict[str, tuple[float, bool, Any]] = {}
        self.test = self.sample(parts.test).distinct()
        self.everything = self.sample([*parts.test, *parts.validation]).distinct()
        self.kernels = (
            hypothesis_tests.text_kernel(self.everything.texts),
            hypothesis_tests.feature_kernel(self.everything.features),
        )

    def sample(self, messages: Sequence[Any]) -> Any:
        """Score messages, each text once, and make a sample of them."""
        import numpy as np

        from spamctl.drift.sample import Sample

        texts = [message.text for message in messages]
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            features = drained(self.engine.features(new))
            for text, verdict, row in zip(new, self.engine.classify(new), features, strict=True):
                self._known[text] = verdict.probability, verdict.classification == "spam", row
        known = [self._known[text] for text in texts]
        words = [""] * len(texts)
        return Sample(
            texts,
            np.array([one[0] for one in known], np.float64),
            np.array([one[1] for one in known], np.bool_),
            [message.label for message in messages],
            ["oracle"] * len(texts),
            words,
            words,
            words,
            np.stack([one[2] for one in known]),
        )

    def division(self, rows: int, seed: int) -> tuple[Any, Any]:
        """Divide the population by lot into a reference, as large as the test part if that can be, and a window."""
        import numpy as np

        order = np.random.default_rng([self.seed, seed, rows]).permutation(len(self.everything))
        return order[rows : rows + len(self.test)], order[:rows]

    def window(self, rows: int, seed: int) -> tuple[Any, Any]:
        """Return the reference and the window of a division."""
        reference, current = self.division(rows, seed)
        return self.everything.take(reference), self.everything.take(current)

    def calm(self, rows: int, seed: int) -> dict[str, bool]:
        """Tell which ways of judging ring in a window without drift."""
        import numpy as np

        from spamctl.drift import hypothesis_tests

        both = np.concatenate(self.division(rows, seed))
        rng = np.random.default_rng([self.seed, seed])
        is_current = np.arange(both.size) >= both.size - rows
        deals = hypothesis_tests.permute(is_current, REPLICATES, rng)
        text, features = (kernel[np.ix_(both, both)] for kernel in self.kernels)
        sides = self.window(rows, seed)
        pooled = hypothesis_tests.Pool(*sides, deals, np.ones_like(is_current), text, features)
        return rings(hypothesis_tests.nulls(pooled, hypothesis_tests.quality_nulls(*sides, REPLICATES, rng)))

    def drifted(self, kind: str, seed: int) -> Any:
        """Stage a window of traffic, and score it."""
        from spamctl.traffic.drift import stream

        chosen = 1_000 * self.seed + seed
        return self.sample(
            stream(self.messages, samples=POWER_ROWS, drift_type=kind, strength=STRENGTH, proportion=1.0, seed=chosen)
        )


def champion(folder: Path) -> Any:
    """Open the champion that is registered in a folder."""
    from spamctl.engine.engine import Embedder

    return Embedder(Path(fetched(folder, "champion").folder))


def drained(task: Any) -> Any:
    """Run a task to its end, and return its outcome."""
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


def alarmed(reference: Any, current: Any, seed: int) -> dict[str, bool]:
    """Tell which ways of judging ring in a window of any kind, labels known."""
    import numpy as np

    from spamctl.drift import hypothesis_tests

    rng = np.random.default_rng(seed)
    sides = reference.distinct(), current.distinct()
    pooled = hypothesis_tests.pool_samples(*sides, REPLICATES, rng)
    return rings(hypothesis_tests.nulls(pooled, hypothesis_tests.quality_nulls(*sides, REPLICATES, rng)))


def rings(nulls: dict[str, Any]) -> dict[str, bool]:
    """Tell which ways of judging a family ring: ours, Holm's, and each test on its own."""
    from spamctl.drift.hypothesis_tests import judge_family

    found = judge_family(nulls, RATE).values()
    return {
        "ours": any(one.alarm for one in found),
        "Holm": any(one.holm_p <= RATE for one in found),
        "uncorrected": any(one.p_value <= RATE for one in found),
    }


def evidently(reference: Any, current: Any) -> dict[str, bool]:
    """Tell whether Evidently's preset reports drift of the data set, and of any column at all."""
    import warnings

    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        text_columns=["text"], categorical_columns=["verdict"], numerical_columns=["probability"]
    )
    frames = [
        pd.DataFrame(
            {"text": list(one.texts), "verdict": one.called_spam.astype(str), "probability": one.probabilities}
        )
        for one in (current, reference)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = [Dataset.from_pandas(frame, data_definition=definition) for frame in frames]
        report = Report([DataDriftPreset()]).run(*data).dict()
    drifted = next(metric["value"] for metric in report["metrics"] if "DriftedColumnsCount" in metric["metric_name"])
    return {"Evidently, data set": drifted["share"] >= 0.5, "Evidently, any column": drifted["count"] >= 1}


def counted(windows: int, ask: Callable[[int], dict[str, bool]]) -> dict[str, list[bool]]:
    """Ask about each window, and collect the answers."""
    answers: dict[str, list[bool]] = {}
    for number in range(windows):
        say(f"window {number + 1}")
        for name, ring in ask(number).items():
            answers.setdefault(name, []).append(bool(ring))
    return answers


def share(answers: Sequence[bool]) -> str:
    """Return a share with its 95 % interval and its number of windows."""
    from spamctl.metrics.scores import proportion

    found = proportion(sum(answers), len(answers))
    return f"{found.value:.1%} ({found.low:.1%}–{found.high:.1%}) of {len(answers)}"


def show(title: str, lines: dict[str, dict[str, list[bool]]]) -> None:
    """Print a table: a line a question, a column a way of judging."""
    names = list(next(iter(lines.values())))
    rows = [[what, *(share(found[name]) if name in found else "–" for name in names)] for what, found in lines.items()]
    print(f"\n{title}\n{table(['', *names], rows)}", flush=True)


def false_alarms(stage: Stage, scale: Scale) -> None:
    """Print how often the alarm rings in windows without drift."""
    lines = {}
    for rows in SIZES:
        ours = counted(scale.calm, partial(stage.calm, rows))
        theirs = counted(scale.evidently, lambda seed, rows=rows: evidently(*stage.window(rows, seed)))
        lines[f"{rows} messages"] = ours | theirs
    show(f"False alarms: windows without drift that ring, at a rate of {RATE:.0%} (share, 95 % interval)", lines)
    print("spamctl monitor answers to windows of fewer than 30: too few messages.")


def power(stage: Stage, scale: Scale) -> None:
    """Print how often it rings in windows with drift."""
    lines = {}
    for kind in KINDS:
        ours = counted(scale.drifted, lambda seed, kind=kind: alarmed(stage.test, stage.drifted(kind, seed), seed))
        theirs = counted(scale.evidently, lambda seed, kind=kind: evidently(stage.test, stage.drifted(kind, seed)))
        lines[kind] = ours | theirs
    show(f"Power: windows of {POWER_ROWS} messages at strength {STRENGTH:g} that ring", lines)
    print("`none` sends rows of the test part itself, so it rings less often than fresh messages do.")


def planted(stage: Stage, scale: Scale) -> None:
    """Print how often a new word in some of the spam is named among the ten first causes of the spam side."""
    lines = {}
    for rows, part in product(PLANTED_SIZES, PLANTED_SHARES):
        named, held = [], []
        for seed in range(scale.planted):
            lots = random.Random(f"{stage.seed} {seed} {rows} {part}")
            word = "".join(map(lots.choice, ("bdfgklmnprstvz", "aeiou") * 3))
            terms, messages = causes_of(*stage.window(rows, seed), (word, part), lots)
            named.append(word in terms)
            held.append(messages)
        lines[f"{rows} messages, the word in {part:.0%} of the spam: {min(held)} to {max(held)}"] = {"named": named}
    show("Causes: a new word is among the ten first", lines)


def causes_of(reference: Any, current: Any, plant: tuple[str, float], lots: random.Random) -> tuple[list[str], int]:
    """Plant a word in a share of what is called spam in a window; return the terms that are named, and in how many."""
    from spamctl.drift.causes import risen

    word, part = plant
    sides = [
        [text for text, called in zip(side.texts, side.called_spam, strict=True) if called]
        for side in (reference, current)
    ]
    chosen = lots.sample(range(len(sides[1])), max(2, round(part * len(sides[1]))))
    for row in chosen:
        words = sides[1][row].split()
        words.insert(lots.randrange(len(words) + 1), word)
        sides[1][row] = " ".join(words)
    ham = [text for text, called in zip(reference.texts, reference.called_spam, strict=True) if not called]
    return [one.term for one in risen(*sides, ham)], len(chosen)


if __name__ == "__main__":
    main()

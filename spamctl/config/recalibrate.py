"""Declare the options of `spamctl recalibrate`; most are those of a training, under the same names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from spamctl.config.models import experiment_faults, name_faults, version_faults
from spamctl.config.options import Fault, Options, option, same
from spamctl.config.train import TrainOptions, feedback_faults, thread_faults


@dataclass(frozen=True, kw_only=True)
class RecalibrateOptions(Options):
    """Options of a recalibration."""

    verb: ClassVar[str] = "recalibrate"
    summary: ClassVar[str] = "Refit a version's calibration and threshold to labelled answers, without training."
    example: ClassVar[str] = "spamctl recalibrate --feedback spam.db --max-false-positive-rate 0.01"

    feedback: str = option(
        "spam.db",
        "Store with the labelled answers: a SQLite file, or the URL of a database.",
        group="Feedback",
        secret=True,
    )
    feedback_sources: str = same(TrainOptions, "feedback_sources")
    feedback_max_age: str = option(
        "always",
        "Maximum age of the answers, such as 12h, 7d or 90d; always means no limit.",
        group="Feedback",
        advanced=True,
    )
    recent_share: Annotated[float, Ge(0), Lt(1)] = option(
        0.3,
        "Share of the labelled answers, the newest ones, held out to measure the result.",
        group="Feedback",
        advanced=True,
    )
    forgotten: str = same(TrainOptions, "forgotten")

    model_name: str = option("spam", "Name of the model in the registry.", group="Version")
    model_version: str = option(
        "champion", "Version to recalibrate: champion, challenger, latest, or its number.", group="Version"
    )

    max_false_positive_rate: Annotated[float, Gt(0), Lt(1)] = same(TrainOptions, "max_false_positive_rate")

    accuracy_threshold: Annotated[float, Ge(0), Le(1)] = same(TrainOptions, "accuracy_threshold")
    gate: Literal["point", "lower-bound"] = same(TrainOptions, "gate")
    suites: Literal["auto", "lead", "show", "none"] = same(TrainOptions, "suites")
    must_deliver: str = same(TrainOptions, "must_deliver")
    must_catch: str = same(TrainOptions, "must_catch")
    experiment: str = same(TrainOptions, "experiment")

    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(0, "Random seed.", group="Run", advanced=True)
    threads: Annotated[int, Ge(0)] = option(0, "CPU threads; 0 uses every core.", group="Run", advanced=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        if self.feedback == "none":
            yield Fault(("feedback",), "must name a store such as spam.db: labelled answers are all that is fitted to")
        yield from feedback_faults(self.feedback_sources, self.feedback_max_age)
        yield from name_faults("model_name", self.model_name)
        yield from version_faults("model_version", self.model_version)
        yield from experiment_faults("experiment", self.experiment)
        yield from thread_faults(self.threads)

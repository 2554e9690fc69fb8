"""Declare the options of `spamctl train`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from spamctl.config.encodings import encoding_faults
from spamctl.config.models import experiment_faults, name_faults
from spamctl.config.moments import is_duration
from spamctl.config.options import Fault, Options, option
from spamctl.config.words import shown
from spamctl.cores import cores

SOURCES = ("oracle", "file", "review", "user", "simulated")  # as the store calls where labels come from
_OF_FEEDBACK = {"feedback_sources", "feedback_max_age", "feedback_weight", "recent_share"}


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Options of a training."""

    verb: ClassVar[str] = "train"
    summary: ClassVar[str] = "Fine-tune a language model on labelled messages, prove how good it is, and register it."
    example: ClassVar[str] = "spamctl train --dataset mine.csv --spam-label junk --accuracy-threshold 0.95"

    dataset: str = option(
        "sms-spam,everyday",
        "Messages to learn from, by commas: sms-spam, everyday, and paths of csv, tsv, json, jsonl or parquet files.",
        group="Data",
    )
    text_column: str = option(
        "text", "Column of your file that holds the message; message.text is text inside message.", group="Data"
    )
    label_column: str = option("label", "Column of your file that holds the label.", group="Data")
    spam_label: str = option(
        "spam", "Label that means spam, or several by commas; any other means not spam.", group="Data"
    )
    header: bool = option(
        True,
        "The first line of your csv or tsv file names its columns; else they are called 1, 2, 3.",
        group="Data",
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "How your file spells characters, such as cp1252; auto finds out and says so.",
        group="Data",
        advanced=True,
    )
    bad_rows: Literal["refuse", "skip"] = option(
        "refuse", "Stop at rows of your file that cannot be used, or leave them out and count them.", group="Data"
    )
    hold_out_kinds: Annotated[int, Ge(0), Le(4)] = option(
        0,
        "Folds, of five, of the kinds of everyday that are left out whole, to measure a filter on kinds it never saw.",
        group="Data",
        advanced=True,
    )
    balance: Literal["none", "undersample"] = option(
        "none", "Keep the natural share of spam, or drop ham until both halves are equal.", group="Data", advanced=True
    )

    feedback: str = option(
        "none",
        "Store whose labelled answers are learnt from too: a SQLite file such as spam.db, or the URL of a database.",
        group="Feedback",
        secret=True,
    )
    feedback_sources: str = option(
        "oracle,file,review,user",
        "Whose labels count, by commas; simulated ones, made from verdicts, only if named here.",
        group="Feedback",
        advanced=True,
    )
    feedback_max_age: str = option(
        "always", "Learn only from answers this young: 12h, 7d, 90d; always takes all.", group="Feedback", advanced=True
    )
    feedback_weight: Annotated[float, Gt(0), Le(100)] = option(
        5.0,
        "How many messages of the dataset one labelled answer counts for in training: drift has made them rare.",
        group="Feedback",
        advanced=True,
    )
    recent_share: Annotated[float, Ge(0), Lt(1)] = option(
        0.3,
        "Share of the labelled answers, the newest, that is held out to compare the new version with the champion.",
        group="Feedback",
        advanced=True,
    )
    forgotten: str = option(
        "spam.db",
        "Store whose forgotten messages are left out, if it is there, beside that of --feedback; none looks nowhere.",
        group="Feedback",
        secret=True,
        advanced=True,
    )

    base_model: str = option(
        "gpt2",
        "Language model to start from: a name on Hugging Face, a folder, a GGUF file, or smollm2-135m.",
        group="Model",
    )
    fallback_base_model: str = option(
        "smollm2-135m",
        "Model to use, loudly, if the base model cannot be had; none makes that an error.",
        group="Model",
        advanced=True,
    )
    depth: str = option(
        "auto",
        "Blocks to keep: auto finds the shallowest that is as good as the best, full keeps all, or a number.",
        group="Model",
    )
    tune: Literal["head", "last-block", "lora", "full"] = option(
        "last-block", "Which weights learn; what stays frozen is computed only once.", group="Model"
    )
    max_tokens: Annotated[int, Ge(8), Le(8192)] = option(
        256, "Longest message in tokens; a longer one is cut, and the verdict says so.", group="Model", advanced=True
    )

    epochs: Annotated[int, Ge(1), Le(100)] = option(2, "Passes over the training messages, at most.", group="Training")
    learning_rate: Annotated[float, Gt(0), Le(1)] = option(
        1.5e-4, "Step size at the top of its schedule.", group="Training"
    )
    batch_size: Annotated[int, Ge(1), Le(4096)] = option(
        32, "Messages in one step of training.", group="Training", advanced=True
    )
    weight_decay: Annotated[float, Ge(0), Le(1)] = option(
        0.01, "Pull of the weights towards zero.", group="Training", advanced=True
    )
    warmup_share: Annotated[float, Ge(0), Le(1)] = option(
        0.1, "Share of the steps in which the step size rises from zero.", group="Training", advanced=True
    )
    patience: Annotated[int, Ge(1), Le(100)] = option(
        1, "Epochs without a better validation loss before training stops early.", group="Training", advanced=True
    )
    lora_rank: Annotated[int, Ge(1), Le(256)] = option(
        8, "Rank of the adapters; only --tune lora reads it.", group="Training", advanced=True
    )
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(0, "Seed of every random choice.", group="Training")
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Where to compute; auto takes a GPU if there is one.", group="Training"
    )
    threads: Annotated[int, Ge(0)] = option(
        0, "CPU threads to use; 0 takes every core.", group="Training", advanced=True
    )
    frozen_precision: Literal["auto", "bf16", "float32"] = option(
        "auto",
        "Numbers to multiply in while training; auto takes bf16 where the processor has it.",
        group="Training",
        advanced=True,
    )

    head_units: Annotated[int, Ge(0), Le(4096)] = option(
        256, "Units of the hidden layer of the head; 0 makes the head linear.", group="Model", advanced=True
    )
    second_expert: Literal["ngrams", "none"] = option(
        "ngrams",
        "Judge together with a linear model over n-grams, or by the language model alone.",
        group="Model",
        advanced=True,
    )

    max_false_positive_rate: Annotated[float, Gt(0), Lt(1)] = option(
        0.005, "Share of good messages that may be called spam: the threshold is chosen for it.", group="Verdict"
    )

    engine: Literal["auto", "int8", "int8-weights", "float32"] = option(
        "auto",
        "Numbers of the packaged model; auto takes the first of these that stays within the tolerance.",
        group="Engine",
    )
    int8_tolerance: Annotated[float, Ge(0), Le(1)] = option(
        0.02,
        "Largest fall in ROC-AUC, and largest share of verdicts changed, that int8 may cost on validation messages.",
        group="Engine",
        advanced=True,
    )

    accuracy_threshold: Annotated[float, Ge(0), Le(1)] = option(
        0.7, "Test accuracy below which the model is not registered (exit code 3).", group="Gate"
    )
    gate: Literal["point", "lower-bound"] = option(
        "point", "Compare the measured accuracy, or the lower end of its 95 % interval.", group="Gate"
    )
    suites: Literal["auto", "lead", "show", "none"] = option(
        "auto",
        "Suites decide whether a version may lead, are only shown, or are not run; auto lets yours decide, and those "
        "of spamctl where everyday is learnt from and no kinds are held out.",
        group="Gate",
        advanced=True,
    )
    must_deliver: str = option(
        "none",
        "File of messages of yours that must be delivered: one more line of that suite.",
        group="Gate",
        advanced=True,
    )
    must_catch: str = option(
        "none",
        "File of messages of yours that must be called spam: one more line of that suite.",
        group="Gate",
        advanced=True,
    )
    model_name: str = option("spam", "Name in the model registry.", group="Gate")
    experiment: str = option("spam", "MLflow experiment that the run belongs to.", group="Gate", advanced=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from encoding_faults("encoding", self.encoding)
        yield from self._faults_of_feedback()
        if not re.fullmatch(r"auto|full|[1-9]\d{0,3}", self.depth):
            yield Fault(("depth",), f"must be auto, full or a whole number of at least 1, got {shown(self.depth)}")
        yield from name_faults("model_name", self.model_name)
        yield from experiment_faults("experiment", self.experiment)
        yield from thread_faults(self.threads)

    def _faults_of_feedback(self) -> Iterator[Fault]:
        """Yield sources that no label has, an age that is none, and options that would do nothing."""
        yield from feedback_faults(self.feedback_sources, self.feedback_max_age)
        chosen = self.items()
        for option_ in self.declared():
            idle = option_.name in _OF_FEEDBACK and chosen[option_.name] != option_.default
            if idle and self.feedback == "none":
                yield Fault((option_.name,), "only --feedback reads it; name a store such as --feedback spam.db")


def feedback_faults(sources: str, max_age: str) -> Iterator[Fault]:
    """Yield sources that no label has, and an age that is none."""
    if unknown := [source for source in sources.split(",") if source not in SOURCES]:
        known = ", ".join(SOURCES)
        yield Fault(("feedback_sources",), f"must be of {known}, separated by commas, got {shown(unknown[0])}")
    if max_age != "always" and not is_duration(max_age):
        yield Fault(("feedback_max_age",), f"must be always, or a time such as 12h, 7d or 90d, got {shown(max_age)}")


def thread_faults(threads: int) -> Iterator[Fault]:
    """Yield more threads than there are cores."""
    if threads > cores():
        yield Fault(("threads",), f"must be at most {cores()}, the cores free to use here, got {threads}")

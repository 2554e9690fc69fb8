"""Declare the options of `spamctl train` and `spamctl recalibrate`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from spamctl.config.options import (
    Fault,
    Options,
    encoding_faults,
    experiment_faults,
    is_age,
    mail_faults,
    name_faults,
    option,
    same,
    shown,
    version_faults,
)
from spamctl.cores import cores
from spamctl.schema.message import SOURCES

PROMPT = r"Message:\n{message}\n\nSpam?"
_MESSAGE = "{message}"
_OF_FEEDBACK = {"feedback_sources", "feedback_max_age", "feedback_weight", "recent_share"}


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """Options of a training."""

    verb: ClassVar[str] = "train"
    summary: ClassVar[str] = "Fine-tune a language model on labelled messages, evaluate it, and register it."
    example: ClassVar[str] = "spamctl train --dataset mine.csv --spam-label junk --accuracy-threshold 0.95"

    dataset: str = option(
        "sms-spam,everyday",
        "Training data, separated by commas: sms-spam, everyday, and paths of csv, tsv, json, jsonl or parquet files "
        "or of mail (.eml, mbox, Maildir); none for --good and --spam alone.",
        group="Data",
    )
    text_column: str = option(
        "text",
        "Column of your file with the message text; message.text reads the field text inside message.",
        group="Data",
    )
    label_column: str = option("label", "Column of your file with the label.", group="Data")
    spam_label: str = option(
        "spam", "Labels that mean spam, separated by commas; any other label means not spam.", group="Data"
    )
    header: bool = option(
        True,
        "Read column names from the first line of your csv or tsv file; without it they are 1, 2, 3.",
        group="Data",
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "Character encoding of your file, such as cp1252; auto detects and reports it.",
        group="Data",
        advanced=True,
    )
    bad_rows: Literal["refuse", "skip"] = option(
        "refuse", "Invalid rows of your file: refuse stops with an error, skip drops and counts them.", group="Data"
    )
    spam_folder: str = option(
        "Junk,Spam",
        "Folders of your mail that hold spam, separated by commas; all others are good, without sent and deleted mail.",
        group="Data",
    )
    good: str = option("none", "Mail that is all good, whatever its folder, read beside --dataset.", group="Data")
    spam: str = option("none", "Mail that is all spam, whatever its folder, read beside --dataset.", group="Data")
    hold_out_kinds: Annotated[int, Ge(0), Le(4)] = option(
        0,
        "Folds, of five, of everyday's kinds of message to hold out, to measure generalization to unseen kinds.",
        group="Data",
        advanced=True,
    )
    balance: Literal["none", "undersample"] = option(
        "none",
        "Class balance: none keeps the natural share of spam, undersample drops ham until both classes are equal.",
        group="Data",
        advanced=True,
    )

    feedback: str = option(
        "none",
        "Store with labelled answers to train on as well: a SQLite file such as spam.db, or the URL of a database.",
        group="Feedback",
        secret=True,
    )
    feedback_sources: str = option(
        "oracle,file,review,user",
        "Label sources to train on, separated by commas; simulated labels, made from verdicts, only if listed.",
        group="Feedback",
        advanced=True,
    )
    feedback_max_age: str = option(
        "always",
        "Maximum age of the answers to train on, such as 12h, 7d or 90d; always means no limit.",
        group="Feedback",
        advanced=True,
    )
    feedback_weight: Annotated[float, Gt(0), Le(100)] = option(
        5.0,
        "Sample weight of a labelled answer relative to a message of the dataset.",
        group="Feedback",
        advanced=True,
    )
    recent_share: Annotated[float, Ge(0), Lt(1)] = option(
        0.3,
        "Share of the labelled answers, the newest ones, held out to compare the new version with the champion.",
        group="Feedback",
        advanced=True,
    )
    forgotten: str = option(
        "spam.db",
        "Store whose forgotten messages are excluded, besides that of --feedback; none: skip.",
        group="Feedback",
        secret=True,
        advanced=True,
    )

    base_model: str = option(
        "gpt2",
        "Pretrained language model to fine-tune: a Hugging Face name, a folder, a GGUF file, or smollm2-135m.",
        group="Model",
    )
    fallback_base_model: str = option(
        "smollm2-135m",
        "Base model to use, with a warning, if --base-model is unavailable; none makes that an error.",
        group="Model",
        advanced=True,
    )
    depth: str = option(
        "auto",
        "Transformer blocks to keep: a number, full, or auto, the fewest that score as well as the best depth.",
        group="Model",
    )
    tune: Literal["auto", "head", "last-block", "lora", "full"] = option(
        "auto",
        "Weights to train; frozen blocks are computed once. auto fits the head alone where kinds of message are known, "
        "as in everyday, and tunes the last block elsewhere.",
        group="Model",
    )
    prompt: str = option(
        PROMPT,
        "What the model reads of each message: its text stands for {message}, and \\n begins a line; none for the text "
        "alone. A question at the end has it look for the answer.",
        group="Model",
        advanced=True,
    )
    max_tokens: Annotated[int, Ge(8), Le(8192)] = option(
        256,
        "Maximum sequence length in tokens; longer messages are truncated, and the verdict says so.",
        group="Model",
        advanced=True,
    )

    epochs: Annotated[int, Ge(1), Le(100)] = option(2, "Maximum number of epochs.", group="Training")
    learning_rate: Annotated[float, Gt(0), Le(1)] = option(
        1.5e-4, "Peak learning rate of the schedule.", group="Training"
    )
    batch_size: Annotated[int, Ge(1), Le(4096)] = option(
        32, "Messages per training step.", group="Training", advanced=True
    )
    patience: Annotated[int, Ge(1), Le(100)] = option(
        1, "Early stopping: epochs without a better validation loss.", group="Training", advanced=True
    )
    lora_rank: Annotated[int, Ge(1), Le(256)] = option(
        8, "Rank of the LoRA adapters, with --tune lora only.", group="Training", advanced=True
    )
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(0, "Random seed.", group="Training")
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Device to train on; auto uses a GPU if there is one.", group="Training"
    )
    threads: Annotated[int, Ge(0)] = option(0, "CPU threads; 0 uses every core.", group="Training", advanced=True)
    processes: Annotated[int, Ge(1), Le(64)] = option(
        1,
        "Processes to fine-tune in, by torchrun, on one machine; each takes a GPU of its own where there are any.",
        group="Training",
        advanced=True,
    )
    step_memory: Annotated[int, Ge(0), Le(10_000_000)] = option(
        0,
        "Memory in MB of each step that computes with the model, where --with runs it elsewhere; 0 asks for none.",
        group="Training",
        advanced=True,
    )
    frozen_precision: Literal["auto", "bf16", "float32"] = option(
        "auto",
        "Compute precision of the frozen layers; auto uses that of an int8 engine if only the head is trained, else "
        "bf16 where the processor supports it.",
        group="Training",
        advanced=True,
    )

    head_units: Annotated[int, Ge(0), Le(4096)] = option(
        256, "Hidden units of the classification head; 0 makes it linear.", group="Model", advanced=True
    )
    second_expert: Literal["ngrams", "none"] = option(
        "ngrams",
        "Second expert in the ensemble: a linear model over n-grams, or none for the language model alone.",
        group="Model",
        advanced=True,
    )

    max_false_positive_rate: Annotated[float, Gt(0), Lt(1)] = option(
        0.005,
        "Budget of false positives, as a share of good messages; the threshold is chosen to meet it.",
        group="Threshold",
    )

    engine: Literal["auto", "int8", "int8-weights", "float32"] = option(
        "auto",
        "Precision of the packaged model; auto takes the first of the three that is within --int8-tolerance.",
        group="Engine",
    )
    int8_tolerance: Annotated[float, Ge(0), Le(1)] = option(
        0.02,
        "Largest loss of ROC-AUC, and largest share of changed verdicts, allowed for int8 on validation messages.",
        group="Engine",
        advanced=True,
    )

    accuracy_threshold: Annotated[float, Ge(0), Le(1)] = option(
        0.7, "Minimum test accuracy; a model below it is not registered (exit code 3).", group="Gate"
    )
    gate: Literal["point", "lower-bound"] = option(
        "point",
        "What --accuracy-threshold applies to: the measured accuracy, or the lower bound of its 95 % interval.",
        group="Gate",
    )
    suites: Literal["auto", "lead", "show", "none"] = option(
        "auto",
        "Test suites: lead makes them a condition for becoming champion, show only reports them, none skips them; "
        "auto is lead for your own, and for the bundled ones if everyday is trained on without held-out kinds.",
        group="Gate",
        advanced=True,
    )
    must_deliver: str = option(
        "none",
        "File of your own messages that must be delivered, reported as a line of the suite.",
        group="Gate",
        advanced=True,
    )
    must_catch: str = option(
        "none",
        "File of your own messages that must be called spam, reported as a line of the suite.",
        group="Gate",
        advanced=True,
    )
    model_name: str = option("spam", "Name of the model in the registry.", group="Gate")
    experiment: str = option("spam", "MLflow experiment of the run.", group="Gate", advanced=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from encoding_faults("encoding", self.encoding)
        yield from mail_faults(self.spam_folder, self.good, self.spam)
        yield from self._faults_of_feedback()
        if not re.fullmatch(r"auto|full|[1-9]\d{0,3}", self.depth):
            yield Fault(("depth",), f"must be auto, full or a whole number of at least 1, got {shown(self.depth)}")
        if self.prompt != "none" and self.prompt.count(_MESSAGE) != 1:
            yield Fault(("prompt",), f"must say {_MESSAGE} once, or be none, got {shown(self.prompt)}")
        yield from name_faults("model_name", self.model_name)
        yield from experiment_faults("experiment", self.experiment)
        yield from thread_faults(self.threads)

    def prompt_text(self) -> str:
        """Return the prompt with its line breaks; empty where there is none."""
        return "" if self.prompt == "none" else self.prompt.replace(r"\n", "\n")

    def step_resources(self) -> dict[str, dict[str, int]]:
        """Return what steps that compute with the model ask of a machine elsewhere, in Metaflow's words."""
        wanted = {"memory": self.step_memory} if self.step_memory else {}
        gpu = {"gpu": 1} if self.device == "cuda" else {}
        spread = {"gpu": self.processes} if gpu else {"cpu": self.processes} if self.processes > 1 else {}
        asked = dict.fromkeys(("choose_depth", "package"), gpu | wanted) | {"fine_tune": spread | wanted}
        return {step: each for step, each in asked.items() if each}

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
    if not is_age(max_age):
        yield Fault(("feedback_max_age",), f"must be always, or a time such as 12h, 7d or 90d, got {shown(max_age)}")


def thread_faults(threads: int) -> Iterator[Fault]:
    """Yield more threads than there are cores."""
    if threads > cores():
        yield Fault(("threads",), f"must be at most {cores()}, the cores free to use here, got {threads}")


# Declare the options of `spamctl recalibrate`; most are those of a training, under the same names.


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

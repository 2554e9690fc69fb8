"""Declare the options of `spamctl label`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from spamctl.config.options import Fault, Options, encoding_faults, is_age, is_duration, mail_faults, option, shown

# Options that only one source reads: with another they would do nothing, in silence.
_READ_BY = {
    "noise": "truth",
    "coverage": "truth",
    "delay": "truth",
    "labels": "file",
    "suspects": "review",
    "second_opinion": "review",
}
_LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Options):
    """Options of a labelling."""

    verb: ClassVar[str] = "label"
    summary: ClassVar[str] = (
        "Label the stored answers: from their verdicts, the saved truth, a file, or by human review."
    )
    example: ClassVar[str] = "spamctl label --source file --labels verdicts.csv --since 7d"

    target_uri: str = option(
        "spam.db", "Store to label: a SQLite file, or the URL of a database.", group="Rows", secret=True
    )
    since: str = option(
        "always", "Maximum age of the rows to label, such as 45m, 12h, 7d or 2w; always means no limit.", group="Rows"
    )
    where_version: str = option("any", "Label only rows answered by this model version.", group="Rows", advanced=True)
    limit: Annotated[int, Ge(0)] = option(
        0, "Maximum number of rows to label, oldest first; 0 means no limit.", group="Rows"
    )

    source: Literal["predictions", "truth", "file", "review"] = option(
        "predictions",
        "Label source: simulated from the verdicts, the truth saved by traffic, a file, or human review.",
        group="Source",
    )
    overwrite: bool = option(
        False, "Let truth or a file replace existing labels, and --export an existing file.", group="Source"
    )
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(
        0,
        "Random seed; results also depend on each row's uuid, never on the order of rows.",
        group="Source",
        advanced=True,
    )

    ground_truth_quality: Annotated[float, Ge(0), Le(1)] = option(
        0.9, "Probability that a simulated label equals the verdict.", group="Simulated labels"
    )

    noise: Annotated[float, Ge(0), Le(1)] = option(
        0.0, "Label noise: probability that a label is flipped.", group="Labels from truth", advanced=True
    )
    coverage: Annotated[float, Ge(0), Le(1)] = option(
        1.0, "Probability that a row is labelled at all.", group="Labels from truth", advanced=True
    )
    delay: str = option(
        "0s", "Label delay: minimum age of a row before it is labelled.", group="Labels from truth", advanced=True
    )

    labels: str = option(
        "none",
        "File of labels by uuid or by text: csv, tsv, json, jsonl or parquet; or mail, whose folders are labels.",
        group="Labels from a file",
    )
    text_column: str = option(
        "text",
        "Column of your file with the message text; message.text reads the field text inside message.",
        group="Labels from a file",
    )
    label_column: str = option("label", "Column of your file with the label.", group="Labels from a file")
    spam_label: str = option(
        "spam",
        "Labels that mean spam, separated by commas; not spam, ham, legit, 0, no and false mean not spam.",
        group="Labels from a file",
    )
    header: bool = option(
        True,
        "Read column names from the first line of your csv or tsv file; without it they are 1, 2, 3.",
        group="Labels from a file",
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "Character encoding of your file, such as cp1252; auto detects and reports it.",
        group="Labels from a file",
        advanced=True,
    )
    bad_rows: Literal["refuse", "skip"] = option(
        "refuse",
        "Invalid rows of your file: refuse stops with an error, skip drops and counts them.",
        group="Labels from a file",
        advanced=True,
    )

    spam_folder: str = option(
        "Junk,Spam",
        "Folders of your mail that hold spam, separated by commas; all others are good, without sent and deleted mail.",
        group="Labels from a file",
        advanced=True,
    )

    annotator: str = option("me", "Name of the annotator, for the record; me means your user name.", group="Review")
    suspects: bool = option(False, "Review first the labels that the model's probabilities contradict.", group="Review")
    second_opinion: bool = option(
        False,
        "Review rows that another annotator has reviewed, without showing the earlier label.",
        group="Review",
        advanced=True,
    )

    export: str = option(
        "none",
        "Export the labelled rows to this csv, tsv, jsonl or parquet file instead of labelling; a name that ends in / "
        "is that of a folder of parquet files.",
        group="Export",
    )
    export_simulated: bool = option(
        False,
        "Export simulated labels too; a model trained on them would learn its own verdicts.",
        group="Export",
        advanced=True,
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from mail_faults(self.spam_folder)
        if not is_age(self.since):
            yield Fault(("since",), f"must be always, or a time such as 45m, 12h or 7d, got {shown(self.since)}")
        if not is_duration(self.delay):
            yield Fault(("delay",), f"must be a time such as 30s, 45m, 12h or 7d, got {shown(self.delay)}")
        if len(self.annotator) > _LONGEST_NAME or not self.annotator.isprintable():
            yield Fault(("annotator",), f"must be at most {_LONGEST_NAME} printable characters")
        yield from encoding_faults("encoding", self.encoding)
        yield from self._idle()
        if self.source == "file" and self.labels == "none" and self.export == "none":
            yield Fault(("source",), "file needs a file: name it with --labels")
        if self.suspects and self.second_opinion:
            yield Fault(("suspects", "second_opinion"), "cannot go with --second-opinion; ask one after the other")

    def _idle(self) -> Iterator[Fault]:
        """Yield the options that would do nothing beside the source, or beside --export."""
        chosen = self.items()
        changed = {option.name for option in self.declared() if chosen[option.name] != option.default}
        for name, source in _READ_BY.items():
            if name in changed and self.source != source:
                yield Fault((name,), f"only --source {source} reads it, and the source is {self.source}")
        if self.overwrite and self.export == "none" and self.source not in {"truth", "file"}:
            yield Fault(("overwrite",), f"only truth or a file may replace labels, and the source is {self.source}")
        if self.export != "none" and "source" in changed:
            yield Fault(("export", "source"), "labels nothing; leave out --source, or label first and export then")
        if self.export_simulated and self.export == "none":
            yield Fault(("export_simulated",), "only --export reads it; name a file with --export")

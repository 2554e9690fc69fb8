"""Declare the options of `spamctl label`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from spamctl.config.encodings import encoding_faults
from spamctl.config.moments import is_duration
from spamctl.config.options import Fault, Options, option
from spamctl.config.words import shown

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
    summary: ClassVar[str] = "Label what the server answered: from its verdicts, a kept truth, a file, or by a person."
    example: ClassVar[str] = "spamctl label --source file --labels verdicts.csv --since 7d"

    target_uri: str = option(
        "spam.db", "Store to label: a SQLite file, or the URL of a database.", group="Rows", secret=True
    )
    since: str = option("always", "Label only rows this young: 45m, 12h, 7d, 2w; always takes all.", group="Rows")
    where_version: str = option(
        "any", "Label only rows that this version of the model answered.", group="Rows", advanced=True
    )
    limit: Annotated[int, Ge(0)] = option(0, "Rows to label at most, the oldest first; 0 takes all.", group="Rows")

    source: Literal["predictions", "truth", "file", "review"] = option(
        "predictions",
        "Where labels come from: made from the verdicts, the truth that traffic kept, a file, or a person.",
        group="Source",
    )
    overwrite: bool = option(
        False, "Let truth or a file replace labels that differ, and --export a file that exists.", group="Source"
    )
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(
        0,
        "Seed of the draws; a row's draw also depends on its uuid, never on the order of rows.",
        group="Source",
        advanced=True,
    )

    ground_truth_quality: Annotated[float, Ge(0), Le(1)] = option(
        0.9, "Probability that a label made from a verdict equals it.", group="From predictions"
    )

    noise: Annotated[float, Ge(0), Le(1)] = option(
        0.0, "Probability that a revealed label is the wrong one.", group="From truth", advanced=True
    )
    coverage: Annotated[float, Ge(0), Le(1)] = option(
        1.0, "Probability that a row's truth is revealed at all.", group="From truth", advanced=True
    )
    delay: str = option(
        "0s", "Age that a row must have before its truth is revealed.", group="From truth", advanced=True
    )

    labels: str = option(
        "none", "File with a column uuid, or with texts: csv, tsv, json, jsonl or parquet.", group="From a file"
    )
    text_column: str = option(
        "text", "Column of your file that holds the message; message.text is text inside message.", group="From a file"
    )
    label_column: str = option("label", "Column of your file that holds the label.", group="From a file")
    spam_label: str = option(
        "spam",
        "Label that means spam, or several by commas; not spam, ham, legit, 0, no and false mean the rest.",
        group="From a file",
    )
    header: bool = option(
        True,
        "The first line of your csv or tsv file names its columns; else they are called 1, 2, 3.",
        group="From a file",
        advanced=True,
    )
    encoding: str = option(
        "auto",
        "How your file spells characters, such as cp1252; auto finds out and says so.",
        group="From a file",
        advanced=True,
    )
    bad_rows: Literal["refuse", "skip"] = option(
        "refuse",
        "Stop at rows of your file that cannot be used, or leave them out and count them.",
        group="From a file",
        advanced=True,
    )

    annotator: str = option("me", "Who decides, for the record; me takes your user name.", group="By a person")
    suspects: bool = option(
        False, "Ask first about labels that the model's probabilities contradict.", group="By a person"
    )
    second_opinion: bool = option(
        False,
        "Ask about rows that somebody else has reviewed, without showing what was said.",
        group="By a person",
        advanced=True,
    )

    export: str = option(
        "none", "Label nothing; write the labelled rows to this csv, tsv, jsonl or parquet file.", group="Export"
    )
    export_simulated: bool = option(
        False,
        "Write labels that were made from verdicts too; a model would learn its own opinion.",
        group="Export",
        advanced=True,
    )

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        if self.since != "always" and not is_duration(self.since):
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

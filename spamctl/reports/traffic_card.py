"""Compose the card of a traffic run: responses, verdicts by kind of message, and where it is all stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spamctl.reports.page import Column, Markup, document, element, pictures, table
from spamctl.reports.sent import counts, facts, headline, judged_rows, missing
from spamctl.schema.traffic import Preview, TrafficResult

_PAIRS = (Column("what"), Column("value"))
_JUDGED = (
    Column("messages"),
    Column("n", "number"),
    Column("spam", "number"),
    Column("accuracy", "number"),
    Column("95 % interval", "faint"),
    Column("recall", "number"),
    Column("95 % interval", "faint"),
    Column("false-positive rate", "number"),
    Column("95 % interval", "faint"),
)
_CHANGES = (Column("drift", "faint"), Column("label", "faint"), Column("before", "text"), Column("after", "text"))


def page(result: TrafficResult, *, plots: Mapping[str, bytes]) -> str:
    """Return the card of a traffic run; takes its result, and PNGs by name."""
    return document(headline(result), _parts(result, plots))


def preview_page(preview: Preview) -> str:
    """Return the card of a preview: messages before and after drift, which are hostile and shown harmlessly."""
    title = f"{len(preview.preview):,} messages before and after drift; nothing was sent"
    rows = [
        (f"{change.after.drift_type} {change.after.dose:g}", change.after.label, change.before.text, change.after.text)
        for change in preview.preview
    ]
    return document(title, [element("h1", title), table(_CHANGES, rows)])


def _parts(result: TrafficResult, plots: Mapping[str, bytes]) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    fault = missing(result)
    yield element("h1", headline(result), "verdict bad" if fault else "verdict good")
    if fault:
        yield element("p", fault, "loud")
    yield element("h2", "Responses")
    yield table(_PAIRS, list(counts(result)))
    if result.judged:
        yield element("h2", "Verdicts against true labels")
        yield table(_JUDGED, list(judged_rows(result)))
        yield pictures(plots)
        yield element("p", "True labels come from the generator or the dataset; monitoring does not see them.", "quiet")
    yield element("h2", "Facts")
    yield table(_PAIRS, list(facts(result)))

"""Report a labelling in the terminal and on its card, and never present a simulated label as accuracy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from spamctl.reports import html as pages
from spamctl.reports import terminal
from spamctl.reports.html import Column, Markup
from spamctl.reports.scores import percent
from spamctl.schema.message import SIMULATED, Agreement, Conflict, LabelResult, ReviewCounts, SourceTally

_DEFAULT_STORE = "spam.db"
_COLUMNS = ("label source", "rows", "equal to the verdict", "share")


def sentence(result: LabelResult) -> str:
    """Summarise the outcome in one sentence."""
    match result.action:
        case "export":
            return _exported(result)
        case "review":
            return _reviewed(result.review or ReviewCounts())
        case _ if not result.labelled:
            return f"Nothing to label: {_why_nothing(result)}"
        case "predictions":
            return f"{_rows(result.labelled)} given labels simulated from their verdicts"
        case "truth":
            return f"{_rows(result.labelled)} labelled with the truth saved by traffic"
        case _:
            return f"{_rows(result.labelled)} labelled from {result.file}"


def warnings(result: LabelResult) -> Iterator[str]:
    """Yield what must not be overlooked."""
    simulated = sum(source.rows for source in result.sources if source.source == SIMULATED)
    labelled = sum(source.rows for source in result.sources)
    if simulated:
        yield (
            f"SIMULATED: {simulated:,} of {labelled:,} labels were simulated from the verdicts; "
            "how often they agree was chosen and is NOT AN ACCURACY"
        )
    if result.noise:
        yield f"{percent(result.noise)} of the labels are flipped on purpose (--noise)"
    if unknown := result.unknown:
        named = result.first_unknown or ()
        yield (
            f"{unknown:,} {'label' if unknown == 1 else 'labels'} of {result.file} "
            f"{'is' if unknown == 1 else 'are'} for no selected row: "
            f"{', '.join(named)}{', …' if unknown > len(named) else ''}"
        )
    if result.conflicts:
        yield (
            f"{_rows(result.conflicts)} kept a label that differs from the file's, such as "
            f"{'; '.join(map(_conflict, result.first_conflicts or ()))}; --overwrite takes the file's"
        )


def facts(result: LabelResult) -> Iterator[tuple[str, str]]:
    """Yield each fact as its name and its words."""
    yield "store", result.store
    yield "rows selected", f"{result.rows:,}, {result.found:,} of them without a label at first"
    if result.action == "file":
        yield "labels in the file", f"{result.standing or 0:,} stood already, {result.replaced or 0:,} replaced others"
        yield "for no selected row", f"{result.unknown or 0:,}"
    if result.action == "truth":
        yield "truth known", f"{result.known or 0:,} rows old enough"
    for pair in result.agreements or ():
        yield "annotators", _agreement(pair)
    yield "without a label now", f"{result.left:,}"


def show(result: LabelResult, console: Console) -> None:
    """Print the result, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    console.print()
    console.print(terminal.plain(sentence(result), console, "bold green"))
    for loud in warnings(result):
        console.print(terminal.plain(f"! {loud}", console, "bold yellow"))
    if result.sources:
        console.print(_table(result, console))
    console.print(terminal.grid(facts(result), console))
    for line in terminal.next_command(following(result), console):
        console.print(line, soft_wrap=True)


def page(result: LabelResult) -> str:
    """Return the card of a labelling."""
    return pages.document(sentence(result), _parts(result))


def following(result: LabelResult) -> str:
    """Return the next command to type."""
    if not (result.rows or result.sources):
        return "spamctl traffic"  # which has the server answer something
    real = sum(source.rows for source in result.sources if source.source != SIMULATED)
    store = "" if result.store == _DEFAULT_STORE else f" --target-uri {shlex.quote(result.store)}"
    if result.action == "export" and result.exported and result.file:
        return f"spamctl train --dataset {shlex.quote(result.file)}"
    if real and result.action != "export":
        return f"spamctl label --export labelled.csv{store}"
    if not result.sources and result.action == "export":
        return f"spamctl label{store}"
    return f"spamctl label --source review{store}"


def _parts(result: LabelResult) -> Iterator[Markup]:
    """Yield the parts of the card, from top to bottom."""
    yield pages.element("h1", sentence(result), "verdict good")
    for loud in warnings(result):
        yield pages.element("p", loud, "loud")
    if result.sources:
        yield pages.element("h2", "Labels by their source")
        heads = [Column(_COLUMNS[0]), *(Column(head, "number") for head in _COLUMNS[1:])]
        yield pages.table(heads, [_cells(source) for source in result.sources])
    yield pages.element("h2", "Facts")
    yield pages.table((Column("fact"), Column("value")), facts(result))


def _table(result: LabelResult, console: Console) -> Table:
    """Return the labels by their source."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(_COLUMNS):
        table.add_column(head, justify="right" if place else "left")
    for source in result.sources:
        table.add_row(*(terminal.plain(cell, console) for cell in _cells(source)))
    return table


def _cells(source: SourceTally) -> list[str]:
    """Return what is told of one source."""
    share = percent(source.agreeing / source.rows)
    told = f"{share} (made so)" if source.source == SIMULATED else share
    return [source.source, f"{source.rows:,}", f"{source.agreeing:,}", told]


def _why_nothing(result: LabelResult) -> str:
    """Explain why no row was labelled."""
    if not result.rows:
        return "no row was selected, or the store is empty"
    if result.action == "file":
        return f"no label of {result.file} is for a selected row without one"
    if not result.found:
        return f"all {result.rows:,} selected rows have a label"
    if result.known == 0:
        return f"no truth was saved for the {result.found:,} rows without a label, or they are too young"
    return "every row was left out at random (--coverage)"


def _exported(result: LabelResult) -> str:
    """Describe what was written."""
    if result.exported:
        return f"{_rows(result.exported)} written to {result.file}"
    others = sum(source.rows for source in result.sources)
    if others:
        return f"Nothing to export: the only labels are {others:,} simulated ones; --export-simulated writes them"
    return "Nothing to export: no selected row has a label to export"


def _reviewed(counts: ReviewCounts) -> str:
    """Describe what a person decided."""
    if not counts.asked:
        return "Nothing to review: no row is left to review"
    return (
        f"{counts.decided:,} of {counts.asked:,} questions decided by {counts.annotator}: "
        f"{_rows(counts.labelled)} labelled"
    )


def _agreement(pair: Agreement) -> str:
    """Describe how two annotators agree."""
    kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.3f}"
    both = f"{pair.first} and {pair.second} agree on {pair.agreeing:,} of {_rows(pair.rows)}"
    return f"{both} (Cohen's kappa {kappa})"


def _conflict(conflict: Conflict) -> str:
    """Name a row whose label is not the file's."""
    return f"{conflict.uuid} ({conflict.label} by {conflict.source}, {conflict.given} in the file)"


def _rows(count: int) -> str:
    """Count rows in words."""
    return f"{count:,} {'row' if count == 1 else 'rows'}"

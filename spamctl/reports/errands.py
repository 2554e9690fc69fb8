"""Print what an errand did: the rollback, what was forgotten, or where an answer comes from."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape
from spamctl.reports.monitored import count
from spamctl.schema.errands import ErrandAnswer, ForgetResult, RollbackResult, TraceResult

_MOST_LINES = 10


def show(answer: ErrandAnswer, console: Console) -> None:
    """Print the answer of an errand."""
    if answer.trace:
        _chain(answer.trace, console)
    lines = [*(rolled_back(answer.rollback) if answer.rollback else ())]
    lines += forgotten(answer.forget) if answer.forget else ()
    for line in lines:
        console.print(_text(line, console), soft_wrap=True)


def rolled_back(told: RollbackResult) -> Iterator[str]:
    """Yield what leads now."""
    before = f", version {told.before} before" if told.before else ""
    yield f"{told.name}: version {told.after} is champion{before}; a running server follows within seconds"


def forgotten(told: ForgetResult) -> Iterator[str]:
    """Yield what was removed, from where, and what may be left elsewhere."""
    single, retention = told.kind == "uuid", told.kind == "older_than"
    if single and told.already:
        yield f"already forgotten on {told.date}: {told.store} has no such row"
    else:
        rows = "the row" if single else f"{count(told.rows, 'row')} {_wished(told)}"
        more = f" and {told.related:,} labels, truths and shadow verdicts of it" if told.related else ""
        learnt = "" if retention else "; later trainings exclude it and its near duplicates"
        yield f"forgotten: {rows}{more if single else more.replace(' of it', '')}, in {told.store}{learnt}"
    if told.already and not single:
        yield f"{told.already:,} of them had been forgotten before"
    if places := told.places:
        yield f"removed from {', '.join(f'{number:,} {name}' for name, number in places.items())}"
    if told.copies:
        rows = "1 other row has" if told.copies == 1 else f"{told.copies:,} other rows have"
        verb = "is" if told.copies == 1 else "are"
        how = "it was sent again later" if retention else "forget each by its uuid, or all with --matching"
        yield f"{rows} the same text and {verb} not removed: {how}"
    if unknown := told.unknown:
        lines = ", ".join(f"{line:,}" for line in unknown[:_MOST_LINES])
        rest = f" and {len(unknown) - _MOST_LINES:,} more" if len(unknown) > _MOST_LINES else ""
        yield f"NOT FOUND in {told.store}: {count(len(unknown), 'line')} of {told.wish}: {lines}{rest}"
    if told.listed:
        yield f"{told.wish} lists messages itself: delete it"
    for place in told.left:
        yield f"LEFT: {place}"
    if told.rows:
        yield "a version trained on it is unchanged: retrain to replace it, then delete it in MLflow"


def _wished(told: ForgetResult) -> str:
    """Describe which rows were asked for."""
    return f"older than {told.wish}" if told.kind == "older_than" else f"that {told.wish} lists"


def _chain(told: TraceResult, console: Console) -> None:
    """Print an answer's chain, a link a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in told.chain.items():
        grid.add_row(name, _text(value, console))
    if told.text is not None:
        grid.add_row("text", _text(told.text, console))
    console.print(grid)


def _text(text: str, console: Console) -> Text:
    """Return harmless text in characters that this terminal can show."""
    return Text(escape.ascii_only(text) if console.options.ascii_only else escape.visible(text))

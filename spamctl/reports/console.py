"""Print what the short verbs did, and the greeting of a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl import display
from spamctl.reports import terminal
from spamctl.reports.monitor import count
from spamctl.schema.serve import DeployResult
from spamctl.schema.version import ForgetResult, RollbackResult, TraceResult

# Print what an errand did: the rollback, what was forgotten, or where an answer comes from.

_MOST_LINES = 10


def show(result: RollbackResult | ForgetResult | TraceResult, console: Console) -> None:
    """Print the result of a short verb."""
    if isinstance(result, TraceResult):
        _chain(result, console)
        return
    for line in rolled_back(result) if isinstance(result, RollbackResult) else forgotten(result):
        console.print(terminal.plain(line, console), soft_wrap=True)


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


def deployed(told: DeployResult, console: Console) -> None:
    """Print the parts of a deployment, and the commands that bring it into a cluster."""
    console.print(terminal.plain(f"{told.folder}: written; no cluster was changed", console), soft_wrap=True)
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    for name, purpose in told.files.items():
        grid.add_row("", Text(name), terminal.plain(purpose, console))
    console.print(grid)
    console.print("Next, on a machine with buildah, helm and kubectl:", style="dim")
    for command in told.next:
        console.print(terminal.plain(f"  {command}", console), soft_wrap=True)


def _wished(told: ForgetResult) -> str:
    """Describe which rows were asked for."""
    return f"older than {told.wish}" if told.kind == "older_than" else f"that {told.wish} lists"


def _chain(told: TraceResult, console: Console) -> None:
    """Print an answer's chain, a link a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in told.chain.items():
        grid.add_row(name, terminal.plain(value, console))
    if told.text is not None:
        grid.add_row("text", terminal.plain(told.text, console))
    console.print(grid)


# Print the greeting of a server: what is served, where answers are stored, and a command to try.

EXAMPLE = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."

_KEPT = {
    "required": "stored in {}; a request is refused if storing fails",
    "best-effort": "stored in {}; a request is answered even if storing fails, and says so",
    "off": "not stored",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a server prints at its start."""

    address: str
    model: str
    engine: str
    threshold: float
    capture: str
    store: str
    shadow: str
    follows: str
    with_token: bool
    workers: int
    spamd: str = ""


def greet(greeting: Greeting, console: Console) -> None:
    """Print the greeting, for a terminal or a log."""
    plain = console.options.ascii_only
    mark = "OK" if plain else "✔"
    told = f"{mark} Serving {_shown(greeting.model, plain=plain)} on {greeting.address}  (Ctrl-C stops it)"
    console.print(Text(told, "bold green"), soft_wrap=True)
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(greeting):
        grid.add_row(f" {name}", _shown(value, plain=plain))
    console.print()
    console.print(grid)
    console.print()
    console.print(Text("Try it:", "bold"))
    console.print(Text(curl(greeting), "cyan"), soft_wrap=True)


def curl(greeting: Greeting) -> str:
    """Return the command that asks the server for a verdict."""
    token = ' -H "Authorization: Bearer $SPAMCTL_SERVE_TOKEN"' if greeting.with_token else ""
    body = f'{{"inputs": [{{"text": "{EXAMPLE}"}}]}}'
    return f"curl -X POST {greeting.address}/invocations{token} -H \"Content-Type: application/json\" -d '{body}'"


def _facts(greeting: Greeting) -> Iterator[tuple[str, str]]:
    yield "engine", f"{greeting.engine}, threshold {greeting.threshold:.4f}"
    yield "answers", _KEPT[greeting.capture].format(greeting.store)
    if greeting.follows:
        yield "follows", greeting.follows
    if greeting.shadow:
        yield "shadow", f"version {greeting.shadow} scores every stored message in shadow mode"
    if greeting.workers > 1:
        yield "workers", f"{greeting.workers} processes"
    if greeting.spamd:
        host, _, port = greeting.spamd.rpartition(":")
        yield "mail", f"spamd protocol on {greeting.spamd}  (spamc -d {host.strip('[]')} -p {port} -R < message.eml)"
    yield "access", "clients must send the token" if greeting.with_token else "no token is required"
    yield "page", f"{greeting.address}/  (also /docs, /metrics, /ready, /version)"


def _shown(text: str, *, plain: bool) -> str:
    return display.ascii_only(text) if plain else display.visible(text)

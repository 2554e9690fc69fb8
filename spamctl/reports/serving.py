"""Print the greeting of a server: what is served, where answers are stored, and a command to try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.reports import escape

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
    return escape.ascii_only(text) if plain else escape.visible(text)

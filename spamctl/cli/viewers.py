"""Open the two web pages of past runs: Metaflow's cards and the MLflow server."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from spamctl.cli.environment import child_environment, log_file, working_folder
from spamctl.cli.flags import Flags
from spamctl.cli.launch import Flow
from spamctl.cli.stopping import telling
from spamctl.config.viewers import CardsOptions, UiOptions
from spamctl.errors import SpamctlError, UnavailableError, UsageError
from spamctl.redact import without_password
from spamctl.sqlite_url import file_of, url_of

if TYPE_CHECKING:
    from spamctl.cli.family import Family

LOOPBACK = "127.0.0.1"
SECONDS_TO_START = 120.0
DEFAULT_STORE = "sqlite:///mlflow.db"
HTTP_PORT = 80
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
FLOWS = ("train", "traffic", "label", "monitor", "recalibrate", "score")

Verb = Annotated[
    str,
    typer.Argument(
        metavar="VERB", help=f"Verb whose cards to open: {', '.join(FLOWS)}.", autocompletion=lambda: list(FLOWS)
    ),
]


@dataclass(frozen=True)
class Page:
    """A page to open: what starts its server, its address, and its name."""

    title: str
    name: str
    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    port: int


def cards(flags: Flags, *, verb: Verb) -> int:
    """Serve the cards of a verb's latest run, and follow new runs."""
    from spamctl.config.resolve import resolve

    if verb not in FLOWS:
        raise UsageError(f"{verb}: has no cards; there are those of {', '.join(FLOWS)}")
    settled = resolve(CardsOptions, flags, config=None, environ=os.environ, folder=Path.cwd())
    flow, folder = Flow.of(verb), working_folder()
    if not (folder / ".metaflow" / flow.name).is_dir():
        raise UsageError(f"no {verb} run has been started in this folder; type spamctl {verb} first")
    command = [sys.executable, "-m", "spamctl.flows.viewer", flow.command[-1], str(settled.options.port)]
    environment = child_environment(settled.variables, folder)
    return _open(Page(f"Cards of the latest {verb} run", "cards", command, environment, folder, settled.options.port))


def ui(flags: Flags) -> int:
    """Serve MLflow's own page over the store that training writes to."""
    from spamctl.config.resolve import resolve

    settled = resolve(UiOptions, flags, config=None, environ=os.environ, folder=Path.cwd())
    folder = working_folder()
    uri = settled.variables.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
    own = _own_port(uri)
    port = own or settled.options.port
    if own and flags["port"] is not None and settled.options.port != own:
        raise UsageError(f"--port {settled.options.port}: MLFLOW_TRACKING_URI says {uri}; leave one of them out")
    store = url_of(folder / "mlflow.db") if own else _store(uri, folder)
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    # By variable, not by flag: a database's password would stand in the list of processes.
    environment = child_environment(settled.variables, folder) | {"MLFLOW_BACKEND_STORE_URI": store}
    environment.setdefault(
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"
    )  # a process for judges that we have no use for
    environment.pop("MLFLOW_TRACKING_URI", None)
    return _open(Page("MLflow", "ui", command, environment, folder, port))


def _own_port(uri: str) -> int:
    """Return the port of a tracking server that is to run on this machine and does not yet, which is ours to start."""
    parts = urlsplit(uri)
    try:
        port = parts.port or HTTP_PORT
    except ValueError:
        return 0
    here = parts.scheme == "http" and parts.hostname in {LOOPBACK, "localhost"} and parts.path in {"", "/"}
    return port if here and not _answers(port) else 0


def _store(uri: str, folder: Path) -> str:
    """Check that a tracking URI is a database that a server can be put over, and that something is in it."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme in {"http", "https"}:
        raise UsageError(f"MLFLOW_TRACKING_URI: {without_password(uri)} has a page of its own; open it in a browser")
    if scheme not in DATABASES:
        raise UsageError(f"MLFLOW_TRACKING_URI: must be a database such as {DEFAULT_STORE}, got the scheme {scheme!r}")
    if scheme != "sqlite":
        return uri
    file = file_of(uri)
    if file is None or not (folder / file).is_file():
        raise UsageError(f"{uri}: nothing has been tracked there yet; type spamctl train first")
    from spamctl.reports.escape import visible
    from spamctl.serving import beforehand

    if told := beforehand.look({"MLFLOW_TRACKING_URI": uri}):
        typer.echo(f"warning: {visible(told)}", err=True)
    return url_of(folder / file)


def _open(page: Page) -> int:
    """Run the page's server until Ctrl-C (raised on) or SIGTERM (exit 0), and say where it answers."""
    from rich.console import Console

    from spamctl.cli.family import Family, Terminated

    _refuse_taken(page.port)
    log = log_file(page.folder, page.name)
    try:
        with (
            telling(lambda: "The page is closed; its data are kept."),
            log.open("x", encoding="utf-8") as pages,
            Family(page.command, environment=page.environment, folder=page.folder, output=pages) as family,
        ):
            with Console(stderr=True).status(f"Starting: {page.title}"):
                _wait_until_ready(page, family, log)
            typer.echo(f"{page.title}: http://{LOOPBACK}:{page.port}  (Ctrl-C stops it)")
            family.exit_code()
    except Terminated:
        return 0
    raise SpamctlError(f"the page ended unexpectedly; its log: {log.relative_to(page.folder)}")


def _wait_until_ready(page: Page, family: Family, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not _answers(page.port):
        if not family.is_running():
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise SpamctlError(f"the page could not start: {''.join(last)}; its log: {log.relative_to(page.folder)}")
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"the page did not start in {SECONDS_TO_START:g} s; its log: {log.relative_to(page.folder)}"
            )
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _refuse_taken(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((LOOPBACK, port))
        except OSError as error:
            raise UsageError(f"port {port} is not available: {error.strerror}; choose another with --port") from None

"""Run the short verbs: rollback, forget, trace, recalibrate, and the viewers of cards and runs."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlsplit

import typer

from spamctl.cli.options import Flags
from spamctl.cli.process import child_environment, log_file, reporting_stop, working_folder
from spamctl.cli.remote import Words
from spamctl.cli.run import Config, Debug, Flow, Start, run_verb
from spamctl.config.admin import CardsOptions, ForgetOptions, RollbackOptions, TraceOptions, UiOptions
from spamctl.config.options import Options
from spamctl.config.train import RecalibrateOptions
from spamctl.display import without_password
from spamctl.errors import GateRefusedError, SpamctlError, UnavailableError, UsageError
from spamctl.schema.codec import from_json
from spamctl.schema.train import RecalibrateResult
from spamctl.sqlite_url import file_of, url_of

if TYPE_CHECKING:
    from spamctl.cli.process import ProcessGroup
    from spamctl.schema.version import ForgetResult, RollbackResult, TraceResult

# What an errand leaves that is stopped: each writes once, at its end.
LEFT = {
    "rollback": "The champion was replaced completely or not at all: spamctl ui shows which version it is.",
    "forget": "spamctl trace shows whether the row still exists; run spamctl forget again to finish.",
    "trace": "Nothing was changed.",
}

Chosen = TypeVar("Chosen", bound=Options)

Uuid = Annotated[str, typer.Argument(metavar="UUID", help="The uuid of the answer.")]

MaybeUuid = Annotated[str, typer.Argument(metavar="[UUID]", help="The uuid of the answer.")]


def rollback(flags: Flags) -> int:
    """Make an earlier version champion."""
    from spamctl.jobs.admin import rollback as roll_back

    options = _prepare(RollbackOptions, flags)
    with reporting_stop(lambda: LEFT["rollback"]):
        return _shown(roll_back(options))


def forget(flags: Flags, *, uuid: MaybeUuid = "") -> int:
    """Remove a row, or many, for good; exit 1 if something of them could not be reached, or was not found."""
    options = _prepare(ForgetOptions, flags)
    named = (options.older_than, options.matching) != ("never", "none")  # by a flag, or by a variable
    if uuid and named:
        raise UsageError("a uuid, --older-than and --matching name different rows; give one of them")
    if not uuid and not named:
        raise UsageError("forget: nothing is named: give a uuid, --older-than 90d or --matching FILE")
    from spamctl.jobs import admin

    with reporting_stop(lambda: LEFT["forget"]):
        return _shown(admin.forget(options, uuid))


def trace(flags: Flags, *, uuid: Uuid) -> int:
    """Follow an answer back."""
    from spamctl.jobs import admin

    options = _prepare(TraceOptions, flags)
    with reporting_stop(lambda: LEFT["trace"]):
        return _shown(admin.trace(options, uuid))


def _prepare(declared: type[Chosen], flags: Flags) -> Chosen:
    """Return the options of a verb that runs in this process, and set the variables that MLflow reads."""
    from spamctl.config.sources import resolve

    settled = resolve(declared, flags, config=None, environ=os.environ, folder=Path.cwd())
    os.environ.update(child_environment(settled.variables, working_folder()))
    return settled.options


def _shown(result: RollbackResult | ForgetResult | TraceResult) -> int:
    """Print a result, and return the exit code: 1 if something of it is left, or was not found."""
    from rich.console import Console

    from spamctl.reports.console import show
    from spamctl.schema.version import ForgetResult

    show(result, Console(highlight=False))
    return 1 if isinstance(result, ForgetResult) and (result.left or result.unknown) else 0


# Fit a version's calibration and threshold anew, show before and after, and answer with the exit code.


def recalibrate(flags: Flags, *, words: Words, config: Config = None, debug: Debug = False) -> int:
    """Recalibrate, and say whether the new version leads; it is refused where it does not, as after a training."""
    from rich.console import Console

    from spamctl.reports.recalibration import show

    _, told = run_verb(RecalibrateOptions, flags, Start(config, None, debug, words))
    result = from_json(RecalibrateResult, told)
    show(result, Console(highlight=False))
    if result.alias != "champion":
        raise GateRefusedError(result.reason)
    return 0


# Open the two web pages of past runs: Metaflow's cards and the MLflow server.

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
    from spamctl.config.sources import resolve

    if verb not in FLOWS:
        raise UsageError(f"{verb}: has no cards; there are those of {', '.join(FLOWS)}")
    settled = resolve(CardsOptions, flags, config=None, environ=os.environ, folder=Path.cwd())
    flow, folder = Flow.of(verb), working_folder()
    if not (folder / ".metaflow" / flow.name).is_dir():
        raise UsageError(f"no {verb} run has been started in this folder; type spamctl {verb} first")
    command = [sys.executable, "-m", "spamctl.jobs.viewer", flow.command[-1], str(settled.options.port)]
    environment = child_environment(settled.variables, folder)
    return _open(Page(f"Cards of the latest {verb} run", "cards", command, environment, folder, settled.options.port))


def ui(flags: Flags) -> int:
    """Serve MLflow's own page over the store that training writes to."""
    from spamctl.config.sources import resolve

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
    from spamctl.display import visible
    from spamctl.serving import startup

    if told := startup.check_registry({"MLFLOW_TRACKING_URI": uri}):
        typer.echo(f"warning: {visible(told)}", err=True)
    return url_of(folder / file)


def _open(page: Page) -> int:
    """Run the page's server until Ctrl-C (raised on) or SIGTERM (exit 0), and say where it answers."""
    from rich.console import Console

    from spamctl.cli.process import ProcessGroup, Terminated

    _refuse_taken(page.port)
    log = log_file(page.folder, page.name)
    try:
        with (
            reporting_stop(lambda: "The page is closed; its data are kept."),
            log.open("x", encoding="utf-8") as pages,
            ProcessGroup(page.command, environment=page.environment, folder=page.folder, output=pages) as family,
        ):
            with Console(stderr=True).status(f"Starting: {page.title}"):
                _wait_until_ready(page, family, log)
            typer.echo(f"{page.title}: http://{LOOPBACK}:{page.port}  (Ctrl-C stops it)")
            family.exit_code()
    except Terminated:
        return 0
    raise SpamctlError(f"the page ended unexpectedly; its log: {log.relative_to(page.folder)}")


def _wait_until_ready(page: Page, family: ProcessGroup, log: Path) -> None:
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

"""Run child processes with all their descendants: their environment, their output, its events, and their end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

import typer

from spamctl.cores import cores
from spamctl.errors import UsageError
from spamctl.schema.codec import JsonObject, from_json
from spamctl.schema.event import Event, Failure, Found, Metric, Note, Notice, Progress, Refusal, Result, Stage

# Run child processes with all their descendants: their environment, their output and their end.

GRACE_SECONDS = 8.0  # Metaflow itself gives its steps five to clean up
AFTERMATH_SECONDS = 2.0
# Where we are killed, nobody is left to stop the family: a shell waits for our end of a pipe to close, and does.
# It is named with the group to stop as $1 and the seconds of grace as $2.
WATCH = 'read word && exit; kill -s INT -- "-$1"; sleep "$2"; kill -s KILL -- "-$1"'
SHELL = "/bin/sh"


class Terminated(KeyboardInterrupt):
    """KeyboardInterrupt raised by SIGTERM or SIGHUP."""


class ProcessGroup:
    """Child process in a session of its own; whatever of the session still runs is stopped on leaving."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: IO[str] | None = None,
        listens: bool = False,
        holds: Sequence[int] = (),
    ) -> None:
        """Prepare the command; what it says goes to the file `output`, or else to `lines()`; it may listen to `say`.

        It `holds` these open files, and whatever they lock, for as long as it runs.
        """
        self._holds = tuple(holds)
        self._command, self._environment, self._folder, self._output = command, environment, folder, output
        self._stdin = subprocess.PIPE if listens else subprocess.DEVNULL
        self._heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._handlers = {name: signal.signal(name, _terminate) for name in (signal.SIGTERM, signal.SIGHUP)}
        self._child = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._folder,
            stdin=self._stdin,
            stdout=self._output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,  # Ctrl-C reaches us alone, and we pass it on once
            umask=0o077,  # what it writes may hold messages: it is for its owner alone
            pass_fds=self._holds,
        )
        self._watch = self._watched()
        if self._child.stdout:
            threading.Thread(target=self._listen, args=(self._child.stdout,), daemon=True).start()
        return self

    def _watched(self) -> subprocess.Popen[bytes] | None:
        """Start a shell that stops the session if we are killed; a machine without one goes without."""
        try:
            return subprocess.Popen(
                [SHELL, "-c", WATCH, SHELL, str(self._child.pid), f"{GRACE_SECONDS:g}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return None

    def __exit__(self, *_: object) -> None:
        try:
            if self._child.poll() is None:
                self._send(signal.SIGINT)
                self._wait_until_gone(GRACE_SECONDS)
            else:
                self._wait_until_gone(AFTERMATH_SECONDS)
        except KeyboardInterrupt:
            pass  # asked twice: no more patience
        finally:
            self._send(signal.SIGKILL)
            self._child.wait()
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self._watch:
                    self._watch.communicate(b"done\n", timeout=AFTERMATH_SECONDS)
            for name, handler in self._handlers.items():
                signal.signal(name, handler)

    def lines(self) -> Iterator[str]:
        """Yield each line as it is written, until the child has ended and said its last."""
        while (line := self._next(AFTERMATH_SECONDS)) is not None:
            yield line

    def say(self, line: str) -> None:
        """Send one line to a child that listens; one that has ended hears nothing."""
        with contextlib.suppress(BrokenPipeError):
            assert self._child.stdin  # noqa: S101 - for the type checker
            self._child.stdin.write(f"{line}\n")
            self._child.stdin.flush()

    def exit_code(self) -> int:
        """Wait for the child to end; negative is the signal that killed it."""
        return self._child.wait()

    def is_running(self) -> bool:
        """Return whether the child still runs."""
        return self._child.poll() is None

    def _next(self, patience: float) -> str | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._heard.get(timeout=patience)
            if self._child.poll() is not None:  # a grandchild holds the pipe open and says nothing
                return None

    def _listen(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._heard.put(line.rstrip("\n"))
        self._heard.put(None)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._is_there():
            time.sleep(0.05)

    def _is_there(self) -> bool:
        self._child.poll()  # reap it: a dead leader would still count as one of the group
        try:
            os.killpg(self._child.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM and SIGHUP, also while no child runs."""
    handlers = {name: signal.signal(name, _terminate) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)


def _terminate(*_: object) -> None:
    raise Terminated


# Build the environment of a child process: the variables of Metaflow, MLflow and the numeric libraries.

STATE = ".spamctl"

QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONUTF8": "1",  # what steps tell is UTF-8, whatever the terminal reads
    "PYTHONSAFEPATH": "1",  # else a step, started by its file's path, finds flows/train.py when it imports `train`
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}

BOUNDED = {  # the client's own retries would wait for minutes when the tracking server is down
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

LOCAL = {  # runs are kept beside the work, whatever ~/.metaflowconfig says, unless a variable says otherwise
    "METAFLOW_DEFAULT_DATASTORE": "local",
    "METAFLOW_DEFAULT_METADATA": "local",
}
# Options reach a flow as its parameters, and cards are only found beside the runs: these would say otherwise.
UNHEEDED = ("METAFLOW_RUN_", "METAFLOW_HOME", "METAFLOW_DATASTORE_SYSROOT_LOCAL", "METAFLOW_CARD_LOCALROOT")

FASTER = {
    "THP_MEM_ALLOC_ENABLE": "1",  # PyTorch asks for huge pages: training takes a twentieth less time
    # Threads that wait spin otherwise: beside any other load, training took eighteen times as long.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",  # the same in Intel's words
}

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What Python itself may be told for a child; the others would have it warn, wait for a keyboard or drop its checks.
PYTHONS = {
    *("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONHASHSEED"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "PYTHONMALLOC"),
}
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
THIS_MACHINE = "127.0.0.1,localhost,::1"

USERS = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER", "LOGNAME")


def child_environment(variables: Mapping[str, str], folder: Path, *, threads: int = 0) -> dict[str, str]:
    """Build a child's environment: what the user set stays, what we need is added; `threads` 0 means every core.

    What Python is told elsewhere does not reach it, and Metaflow is told what the user's own METAFLOW_* variables say.
    Raises UsageError if certificates that are named cannot be read: a child would fail without naming them.
    """
    require_certificates(variables)
    kept = {name: value for name, value in variables.items() if _is_kept(name)} | metaflow_settings(variables)
    ours = {
        "METAFLOW_HOME": str(folder / STATE / "metaflow"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),  # cards are only found beside the runs
        "METAFLOW_USER": _user(variables),
    }
    environment = {**BOUNDED, **FASTER, **_bounds(cores()), **LOCAL, **kept, **QUIET, **ours}
    if any(variables.get(name) or variables.get(name.upper()) for name in PROXIES):  # which do not know this machine
        direct = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
        environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, [direct, THIS_MACHINE])))
    return environment | _bounds(threads) if threads else environment


def metaflow_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what the user tells Metaflow: by its variables, and by the file of a profile that METAFLOW_PROFILE names.

    No other file of Metaflow's is read: what was set up for other work decides nothing here. Raises UsageError if the
    profile cannot be read.
    """
    told: dict[str, str] = {}
    if profile := variables.get("METAFLOW_PROFILE"):
        home = Path(variables.get("METAFLOW_HOME") or "~/.metaflowconfig").expanduser()
        try:
            read = json.loads((home / f"config_{profile}.json").read_text(encoding="utf-8"))
            told = {name: value if isinstance(value, str) else json.dumps(value) for name, value in read.items()}
        except (OSError, ValueError, AttributeError) as error:
            why = getattr(error, "strerror", None) or "is no JSON object"
            place = home / f"config_{profile}.json"
            raise UsageError(f"METAFLOW_PROFILE: {place}: {why}; correct the variable, or unset it") from None
    told |= {name: value for name, value in variables.items() if name.startswith("METAFLOW_")}
    dropped = ("METAFLOW_USER", "METAFLOW_PROFILE", *UNHEEDED)
    return {name: value for name, value in told.items() if not name.startswith(dropped)}


def require_certificates(variables: Mapping[str, str]) -> None:
    """Raise UsageError if a variable names certificates that are not there, or are none."""
    for name in CERTIFICATES:
        place = Path(variables.get(name, ""))
        if not variables.get(name) or place.is_dir():
            continue
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=place)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            what = (
                "holds no certificates" if isinstance(error, ssl.SSLError) else str(getattr(error, "strerror", error))
            )
            raise UsageError(f"{name}: {place}: {what}; correct the variable, or unset it") from None


def _is_kept(name: str) -> bool:
    """Return whether a child process inherits a variable."""
    if name.startswith("PYTHON"):
        return name in PYTHONS
    return not name.startswith("METAFLOW_")


def working_folder() -> Path:
    """Give the folder that the user stands in, ready to hold runs and logs; raise UsageError if it cannot."""
    try:
        folder = Path.cwd()
        for name in (".metaflow", f"{STATE}/logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / ".probe").touch()
            (folder / name / ".probe").unlink()
    except OSError as error:
        place = error.filename or "the working folder"
        raise UsageError(f"{place}: cannot be written: {error.strerror}; go to a folder of your own") from None
    return folder


def logs_of(folder: Path) -> Path:
    """Name the folder of the logs."""
    return folder / STATE / "logs"


def log_file(folder: Path, name: str) -> Path:
    """Name the log of a run that starts now, as no other one is named: a watch may start two within a second."""
    begun = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    names = itertools.chain([begun], (f"{begun}-{turn}" for turn in itertools.count(2)))
    return next(log for name in names if not (log := logs_of(folder) / f"{name}.log").exists())


def _bounds(threads: int) -> dict[str, str]:
    return dict.fromkeys(THREADS, str(threads))


def _user(variables: Mapping[str, str]) -> str:
    """Name who runs: Metaflow takes the name root for no name at all."""
    return next((name for key in USERS if (name := variables.get(key)) and name != "root"), "spamctl")


# Report once, on Ctrl-C or SIGTERM, what a verb has done and how to go on.

TOLD = "told"


@contextlib.contextmanager
def reporting_stop(what: Callable[[], str], *, again: bool = False) -> Iterator[None]:
    """Report what a stop leaves, if it comes while the block runs and no inner block has reported it, or `again`."""
    try:
        yield
    except KeyboardInterrupt as stop:
        report_stop(stop, what, again=again)
        raise


def report_stop(stop: BaseException, what: Callable[[], str], *, again: bool = False) -> None:
    """Write one line to standard error, unless this stop has been told."""
    if is_reported(stop) and not again:
        return
    mark_reported(stop)
    with contextlib.suppress(OSError):
        typer.echo(f"Stopped. {what()}".rstrip(), err=True)


def mark_reported(stop: BaseException) -> None:
    """Note that a stop has been told."""
    stop.add_note(TOLD)


def is_reported(stop: BaseException) -> bool:
    """Return whether a stop has been reported."""
    return TOLD in getattr(stop, "__notes__", ())


# Parse the events of a flow's steps: one line of JSON each, behind Metaflow's own prefix.

_LINE = re.compile(r"\S+ \S+ \[[^/\]]+/(?P<step>[^/\]]+)/[^\]]+ \(pid \d+\)\] (?P<text>.*)")
_JOB = re.compile(r"\[[^\]\s]+\] (?=\{\"spamctl\")")  # which kubernetes and batch put before a line of their job
_HEADLINE = re.compile(r"(?:\[[^\]\s]+\] )? {4}(?P<text>[A-Z](?!tep failure)[\w ]+):")
_OF_A_JOB = re.compile(r"\[[^\]\s]+\] +")
_FAILURE = re.compile(r"(?P<text>[\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b.*)")

KINDS: Mapping[str, Any] = MappingProxyType(
    {
        "stage": Stage,
        "progress": Progress,
        "metric": Metric,
        "note": Note,
        "warning": Notice,
        "found": Found,
        "refusal": Refusal,
        "failure": Failure,
    }
)


@dataclass(frozen=True)
class Line:
    """A line of output: the step that wrote it, and the text."""

    step: str
    text: str


def read_line(line: str) -> Line | None:
    """Take Metaflow's prefix off a line; None if no step wrote it."""
    found = _LINE.fullmatch(line)
    return Line(found.group("step"), _JOB.sub("", found.group("text"), count=1)) if found else None


def read_event(text: str) -> Event | None:
    """Read a step's line as an event; None if it is anything else."""
    if not text.startswith('{"spamctl"'):
        return None
    try:
        fields: JsonObject = json.loads(text)
        kind = fields.pop("spamctl")
        if kind == "result":
            return Result(str(fields["verb"]), fields) if isinstance(fields.get("verb"), str) else None
        event: Event | None = from_json(KINDS[kind], fields) if isinstance(kind, str) and kind in KINDS else None
    except ValueError:  # which no JSON is, too
        return None
    return event


def read_headline(text: str) -> str:
    """Read the line with which Metaflow itself begins to say why it failed, `S3 object not found:`; else nothing."""
    found = _HEADLINE.fullmatch(text)
    return f"{found[1]}: " if found else ""


def read_reason(text: str) -> str:
    """Read the line after such a headline, which says why."""
    return _OF_A_JOB.sub("", text.strip(), count=1)


def read_failure(text: str) -> str | None:
    """Read the last line of a traceback, `ZeroDivisionError: division by zero`; None if it is anything else."""
    found = _FAILURE.fullmatch(text)
    return found.group("text") if found else None

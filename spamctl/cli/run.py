"""Run a verb's flow as a child process: check first, show its progress, and explain how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from spamctl.cli.options import Flags
from spamctl.cli.process import (
    STATE,
    child_environment,
    log_file,
    logs_of,
    mark_reported,
    read_event,
    read_failure,
    read_headline,
    read_line,
    read_reason,
    working_folder,
)
from spamctl.cli.remote import Words, fetch_left_files, kept_setup, planned
from spamctl.config.options import Options
from spamctl.config.train import TrainOptions
from spamctl.errors import GateRefusedError, OptionsError, SpamctlError, UnavailableError, UsageError
from spamctl.schema.codec import from_json
from spamctl.schema.event import Event, Failure, Progress, Refusal, Result, Stage
from spamctl.schema.train import LearntAnswers, TrainResult
from spamctl.sqlite_url import file_of

if TYPE_CHECKING:
    from rich.console import Console

    from spamctl.cli.progress import Plain
    from spamctl.config.sources import Settled

# Explain how a process ended that reported no reason, as far as it is known.

COUNTERS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")  # of this container, else of this machine


def kills_for_memory() -> int:
    """Count the processes that were killed because memory ran out; 0 where the system does not tell."""
    for place in COUNTERS:
        try:
            found = re.search(r"^oom_kill (\d+)$", Path(place).read_text(encoding="ascii"), re.MULTILINE)
        except (OSError, ValueError):
            continue
        if found:
            return int(found[1])
    return 0


def end_of(exit_code: int, kills_before: int) -> str:
    """Explain how a flow ended by itself; `kills_before` were counted at its start."""
    if kills_for_memory() > kills_before:
        return "the system ran out of memory and killed a process; provide more memory, or give it less to do at a time"
    if exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"a process ended without giving a reason (exit code {exit_code})"


# Mark running runs, so that none is resumed meanwhile: a mark is a locked file, which its flow holds open.

SUFFIX, RUN_ID = ".going", ".run-id"
SECONDS_TO_LOCK = 60.0  # after that, a mark that nobody has locked is of a run that was killed


@contextlib.contextmanager
def marked_as_running(log: Path, origin: str) -> Iterator[int]:
    """Mark the run of a log, and the run `origin` that it goes on with; give the open file that its flow must hold.

    The lock ends with the last process that holds the file: where the command is killed, the flow still has it.
    """
    mark = log.with_suffix(SUFFIX)
    with mark.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(origin)
        file.flush()
        try:
            yield file.fileno()
        finally:
            mark.unlink(missing_ok=True)


def running_ids(logs: Path, verb: str) -> set[str]:
    """Return the ids of a verb's runs that go on, those that they resume included; remove marks that nobody holds."""
    ids: set[str] = set()
    for mark in logs.glob(f"{verb}-*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError), mark.open(encoding="utf-8") as file:
            if _is_free(file.fileno()):
                if time.time() - mark.stat().st_mtime > SECONDS_TO_LOCK:
                    mark.unlink()
                    mark.with_suffix(RUN_ID).unlink(missing_ok=True)
                continue
            ids.add(file.read().strip())
            ids.add(mark.with_suffix(RUN_ID).read_text(encoding="utf-8").strip())
    return ids - {""}


def _is_free(file: int) -> bool:
    """Return whether nobody holds the lock of an open file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Check within a moment, before a flow is started, that its files, its store and its model exist.

WORDS = {"none", "sms-spam", "everyday"}  # which are no paths
FILES = ("dataset", "good", "spam", "replay", "labels", "token_file", "must_deliver", "must_catch")
# Verbs that read a store which another has made, by the option that names it.
STORES = {"label": "target_uri", "monitor": "datastore_uri", "train": "feedback", "recalibrate": "feedback"}
VERSIONED = ("serve", "monitor", "recalibrate", "score")


def check_beforehand(options: Options, variables: Mapping[str, str], console: Console) -> None:
    """Look for what the options name; tell what has changed by itself.

    Raises OptionsError for what is not there, as the flow would after seconds, and leaves no file behind for it.
    """
    if faults := [*_missing_files(options), *_missing_stores(options)]:
        raise OptionsError(faults)
    if not hasattr(options, "model_name") and not hasattr(options, "experiment"):
        return
    from spamctl.display import visible
    from spamctl.serving import startup

    told = startup.check_registry(
        variables,
        model=getattr(options, "model_name", ""),
        version=getattr(options, "model_version", "") if options.verb in VERSIONED else "",
        experiment=getattr(options, "experiment", ""),
    )
    if told:
        console.print(f"warning: {visible(told)}", style="bold yellow", markup=False, soft_wrap=True)


def _missing_files(options: Options) -> Iterator[str]:
    values = options.items()
    for option in options.declared():
        path = str(values[option.name])
        if option.name in FILES and path not in WORDS and "," not in path and not _is_there(path):
            yield f"{option.flag} {path} does not exist: correct the path"
    model = str(values.get("base_model", ""))
    if (model.startswith(("/", "./", "../", "~")) or model.endswith(".gguf")) and not _is_there(model):
        yield f"--base-model {model}: no such file or folder; correct the path"


def _missing_stores(options: Options) -> Iterator[str]:
    name = STORES.get(options.verb, "")
    address = str(options.items().get(name, "none"))
    file = file_of(address) if "://" in address else Path(address)
    if address != "none" and address.strip() and file is not None and not _is_there(str(file)):
        yield f"{file}: there is no store yet: spamctl serve makes it, or correct the address"


def _is_there(path: str) -> bool:
    """Return whether a path exists; one that cannot be checked is left to its reader."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return True


Chosen = TypeVar("Chosen", bound=Options)
Told = TypeVar("Told", Result, Refusal, Failure, Stage, Progress)

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file with options, one `key: value` per line.", metavar="FILE")
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Resume the latest run from its last finished step, with its original options."),
]
RunId = Annotated[str | None, typer.Option("--run-id", help="Resume this run instead of the latest one.", metavar="ID")]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the full output of all steps, and the traceback of a failure.")
]

Hear = Callable[[Event], None]

_LONGEST_SHOWN = 40
RESUMABLE = {"train", "traffic"}  # the others start over: their steps are short, or have an effect outside
COUNTED = {"traffic", "label", "score"}  # whose effects outside a stop leaves half done
# What a run leaves that is stopped and cannot go on.
STOPPED = {
    "label": "labels written so far are kept; spamctl label continues with the rest",
    "monitor": "nothing was judged, and the store is as it was; spamctl monitor starts over",
    "recalibrate": "no version was changed; spamctl recalibrate starts over",
    "score": "what was scored for an output is kept; the same command with --resume continues",
    "serve": "nothing was served; spamctl serve starts over",
}

_REFUSALS = {error.exit_code: error for error in (UsageError, GateRefusedError)}


def _nothing(_event: Event) -> None:
    """Need not hear what a flow tells."""


@dataclass(frozen=True)
class Flow:
    """A verb's flow: the command that starts it, and the name under which Metaflow files its runs."""

    verb: str
    name: str
    command: tuple[str, ...]

    @classmethod
    def of(cls, verb: str) -> Flow:
        """Find the flow of a verb inside the package."""
        return cls(verb, f"{verb.title()}Flow", ("-m", f"spamctl.flows.{verb}"))


@dataclass(frozen=True)
class Start:
    """How a verb was started: with which YAML file, to resume which run (None: a new one), and with --debug or not.

    `words` are Metaflow's own.
    """

    config: Path | None = None
    origin: str | None = None
    debug: bool = False
    words: Words = field(default_factory=Words)


def train(
    flags: Flags,
    *,
    words: Words,
    config: Config = None,
    resume: Resume = False,
    run_id: RunId = None,
    debug: Debug = False,
) -> int:
    """Train, or go on with a training that was cut short."""
    from rich.console import Console

    from spamctl.reports.train import show

    origin = run_id if run_id is not None else "" if resume else None
    _, told = run_verb(TrainOptions, flags, Start(config, origin, debug, words))
    result = from_json(TrainResult, told)
    show(result, Console(highlight=False))
    if not result.registered or _stays_behind(result):
        raise GateRefusedError(result.reason)
    return 0


def _stays_behind(result: TrainResult) -> bool:
    """Return whether a version was registered but not promoted, because of suites or feedback."""
    learnt = isinstance(result.feedback, LearntAnswers)
    return result.alias != "champion" and (bool(result.suites.deciding) or learnt)


def run_verb(
    options: type[Chosen], flags: Flags, start: Start, hear: Hear = _nothing
) -> tuple[Settled[Chosen], dict[str, Any]]:
    """Run a verb's flow with the options of all sources, or resume the run `start.origin`, the last one if empty.

    `hear` is called with each event. Return the settled options and what the flow told last.
    """
    from rich.console import Console

    from spamctl.config.sources import resolve

    if start.origin is not None:
        _refuse_new_options(options, flags, start.config)
    settled = resolve(options, flags, config=start.config, environ=os.environ, folder=Path.cwd())
    console = Console(stderr=True, highlight=False)
    if start.origin is None:
        check_beforehand(settled.options, settled.variables, console)
    flow, folder = Flow.of(options.verb), working_folder()
    threads = getattr(settled.options, "threads", 0)
    origin = "" if start.origin is None else _origin(flow, folder, start.origin)
    environment = child_environment(settled.variables, folder, threads=threads) | _secrets(settled.options)
    resumed = kept_setup(folder, flow.name, origin) if origin else None
    with planned(settled.options, start.words, settled.variables, folder, resumed) as plan:
        if plan.told:
            console.print(plan.told, style="dim", markup=False, soft_wrap=True)
        begun = ["resume", "--origin-run-id", origin] if origin else ["run", *_arguments(settled.options)]
        environment |= plan.environment
        run = Run(flow, [*begun, *plan.words], environment, folder, hear, origin)
        try:
            told = run.watch(console, debug=start.debug)
        finally:
            plan.keep(kept_setup(folder, flow.name, run.run_id))
        if plan.is_remote:
            fetch_left_files(flow.name, run.run_id, environment, folder)
    return settled, told


def _refuse_new_options(options: type[Options], flags: Flags, config: Path | None) -> None:
    """Refuse options beside --resume: a run goes on with those it was started with."""
    typed = [option.flag for option in options.declared() if flags[option.name] is not None]
    typed += ["--config"] if config else []
    if typed:
        raise UsageError(
            f"{', '.join(typed)}: cannot be given with --resume or --run-id: a run resumes with its original options"
        )


def _arguments(options: Options) -> list[str]:
    """Spell every option for Metaflow, so that no default of its own and no METAFLOW_RUN_* variable decides."""
    values = options.items()
    spelt = [f"{option.flag}={values[option.name]}" for option in options.declared() if not option.secret]
    workers = values.get("workers", 1)  # Metaflow itself stops at 16 side by side, and at 100 in all
    return spelt if workers == 1 else [*spelt, f"--max-workers={workers}", f"--max-num-splits={workers}"]


def _secrets(options: Options) -> dict[str, str]:
    """Spell what may hold a password as variables, which the list of processes and Metaflow's records do not show."""
    values = options.items()
    return {option.variable: str(values[option.name]) for option in options.declared() if option.secret}


def _origin(flow: Flow, folder: Path, run_id: str) -> str:
    """Find the run to resume among those of this folder; refuse one that still goes on."""
    runs = folder / ".metaflow" / flow.name
    latest = runs / "latest_run"
    if not latest.is_file():
        raise UsageError(f"--resume: no {flow.verb} run has been started in this folder; type spamctl {flow.verb}")
    last = latest.read_text(encoding="utf-8").strip()
    if run_id and not (re.fullmatch(r"\w{1,100}", run_id) and (runs / run_id).is_dir()):
        raise UsageError(
            f"--run-id: there is no run {run_id[:_LONGEST_SHOWN]!r} in this folder; the last one is {last}"
        )
    origin = run_id or last
    if (folder / STATE / "forgotten" / f"{flow.name}-{origin}").exists():  # as store/text_locations.py marks it
        raise UsageError(
            f"--resume: a message of run {origin} has been forgotten since, and the run's data were deleted; "
            f"start over: spamctl {flow.verb}"
        )
    if origin in running_ids(logs_of(folder), flow.verb):
        raise UnavailableError(
            f"--{'run-id' if run_id else 'resume'}: the {flow.verb} run {origin} is still running; "
            "wait for it to end, or stop it where it was started"
        )
    return origin


@dataclass
class Run:
    """One run of a flow, from its start to its outcome."""

    flow: Flow
    arguments: list[str]
    environment: Mapping[str, str]
    folder: Path
    hear: Hear = _nothing
    origin: str = ""
    told: dict[type[Event], Event] = field(default_factory=dict)  # the last event of each kind
    last_error: str = ""
    headline: str = ""  # of Metaflow's own reason, which the next line gives
    run_id: str = ""
    kills_before: int = field(default_factory=kills_for_memory)

    def watch(self, console: Console, *, debug: bool) -> dict[str, Any]:
        """Start the flow, show what it tells, and return its result; raise SpamctlError if there is none."""
        from spamctl.cli.process import ProcessGroup
        from spamctl.cli.progress import display

        log = log_file(self.folder, self.flow.verb)
        self.run_id_file = log.with_suffix(".run-id")
        command = [
            sys.executable,
            *self.flow.command,
            "--no-pylint",
            *self.arguments,
            "--run-id-file",
            str(self.run_id_file),
        ]
        with (
            display(console) as screen,
            log.open("x", encoding="utf-8", buffering=1) as pages,
            marked_as_running(log, self.origin) as held,
        ):
            try:
                with ProcessGroup(command, environment=self.environment, folder=self.folder, holds=[held]) as family:
                    for line in family.lines():
                        print(line, file=pages)
                        self._hear(line, screen, debug=debug)
                    exit_code = family.exit_code()
            except KeyboardInterrupt as stop:
                self._tell_how_to_go_on(screen)
                mark_reported(stop)
                raise
            finally:
                self.run_id = self._id()
                self.run_id_file.unlink(missing_ok=True)
            return self._outcome(exit_code, log.relative_to(self.folder))

    def _hear(self, text: str, screen: Plain, *, debug: bool) -> None:
        line = read_line(text)
        event = read_event(line.text) if line else None
        if event:
            self.told[type(event)] = event
            screen.tell(event)
            self.hear(event)
            return
        told = line.text if line else text
        reason = self.headline and self.headline + read_reason(told)
        self.last_error = read_failure(told.strip()) or self.last_error or reason
        self.headline = read_headline(told)
        if debug:
            screen.write(text, "dim", indent="")

    def _outcome(self, exit_code: int, log: Path) -> dict[str, Any]:
        """Return what the run told last, or raise what it was refused with, or why it failed."""
        if exit_code == 0 and (result := self._last(Result)):
            return result.told
        if refusal := self._last(Refusal):
            raise _REFUSALS.get(refusal.exit_code, SpamctlError)(refusal.text)
        reason = self._reason(exit_code) if exit_code else ": it ended without a result"
        raise SpamctlError(f"{self.flow.verb} failed{reason}; full log: {log}; --debug shows the traceback")

    def _last(self, kind: type[Told]) -> Told | None:
        """Return the last event of a kind."""
        event = self.told.get(kind)
        return event if isinstance(event, kind) else None

    def _reason(self, exit_code: int) -> str:
        """Describe in which step, and with which error."""
        if failure := self._last(Failure):
            return f" in step {failure.stage}: {failure.text.splitlines()[0]}"
        stage = self._last(Stage)
        step = f" in step {stage.stage}" if stage else ""
        return f"{step}: {self.last_error or end_of(exit_code, self.kills_before)}"

    def _id(self) -> str:
        """Return the run's id, once Metaflow has given it one."""
        return self.run_id_file.read_text(encoding="utf-8").strip() if self.run_id_file.is_file() else ""

    def _tell_how_to_go_on(self, screen: Plain) -> None:
        run_id, verb = self._id(), self.flow.verb
        if verb in COUNTED and (last := self._last(Progress)):
            screen.write(f"{last.task}: {last.done:,.0f} of {last.total:,.0f} {last.unit} were done", indent="")
        if run_id and verb in RESUMABLE:
            how = f"spamctl {verb} --run-id {run_id} resumes from the last finished step"
        else:
            how = STOPPED.get(verb, f"nothing was done yet; spamctl {verb} starts over")
        screen.write(f"Stopped. {how[0].upper() if verb in STOPPED else how[0]}{how[1:]}.", indent="")

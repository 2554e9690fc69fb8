"""Give every flow its parameters, its typed options and its progress events."""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tarfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from metaflow import FlowSpec, IncludeFile, Parameter, current, environment, resources

from spamctl.config.options import Given, Options
from spamctl.errors import SpamctlError, UsageError
from spamctl.progress import ProgressUpdate
from spamctl.schema import event
from spamctl.schema.codec import from_json
from spamctl.schema.event import StepSetup

if TYPE_CHECKING:
    from spamctl.config.label import LabelOptions
    from spamctl.config.traffic import TrafficOptions
    from spamctl.config.train import TrainOptions
    from spamctl.data.corpus import Corpus
    from spamctl.data.rows import FileLayout

Chosen = TypeVar("Chosen", bound=Options)
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

SECONDS_BETWEEN_EVENTS = 0.2


def parameters(options: type[Options]) -> dict[str, Parameter]:
    """Make one Metaflow parameter per option, spelled as its flag: `locals().update(parameters(TrainOptions))`.

    What may hold a password is read from its variable instead, since Metaflow records parameters.
    """
    made = {
        item.name: Parameter(item.flag.removeprefix("--"), default=item.default, type=item.kind, help=item.help)
        for item in options.declared()
        if not item.secret
    }
    if (setup := step_setup()) and setup.files:
        made[event.FILES] = IncludeFile(event.FILES, is_text=False, help="Archive of files of the caller's folder.")
    return made


def step_setup() -> StepSetup | None:
    """Return what the launcher hands to steps on other machines; None where all steps run on this one."""
    told = os.environ.get(event.VARIABLE)
    return from_json(StepSetup, json.loads(told)) if told else None


class VerbFlow(FlowSpec):
    """Base class of every verb's flow."""

    def __init_subclass__(cls, **more: Any) -> None:
        """Give the steps what their jobs need on other machines: variables, and what the machine must have."""
        super().__init_subclass__(**more)
        if setup := step_setup():
            handed = {name: os.environ[name] for name in setup.variables if name in os.environ}
            for name, member in vars(cls).items():
                if getattr(member, "is_step", False):
                    environment(vars=handed)(member)
                    if wanted := setup.resources.get(name):
                        resources(**wanted)(member)

    def options(self, options: type[Chosen]) -> Chosen:
        """Rebuild the typed options from the parameters; the first step also refuses what is out of range."""
        if setup := step_setup():
            self._settle(setup)
        declared = options.declared()
        values = {
            item.name: os.environ.get(item.variable, item.default) if item.secret else getattr(self, item.name)
            for item in declared
        }
        if current.step_name != "start":
            return options(**values)
        from spamctl.config.sources import validate  # Pydantic takes a while to import, and one check is enough

        return validate(options, [{item.name: Given(str(values[item.name]), item.flag) for item in declared}])

    def _settle(self, setup: StepSetup) -> None:
        """Lay out the caller's files in this machine's folder, and see that the job's secret holds what it must."""
        if missing := [name for name in setup.secrets if name not in os.environ]:
            raise UsageError(f"{', '.join(missing)}: not in the step's environment; put it into the secret of its job")
        Path(".spamctl").mkdir(exist_ok=True)
        packed = getattr(self, event.FILES, None) if setup.files else None
        if packed:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                members = [member for member in archive.getmembers() if not Path(member.name).is_file()]
                archive.extractall(members=members, filter="data")


@contextmanager
def stage(name: str, title: str, *, index: int, of: int) -> Iterator[None]:
    """Announce a step of the flow, and tell the launcher why it failed if it does."""
    emit("stage", stage=name, title=title, index=index, of=of)
    with reporting(name):
        yield


@contextmanager
def reporting(name: str) -> Iterator[None]:
    """Emit why a step has failed, if it does, for the launcher."""
    try:
        yield
    except SpamctlError as refusal:
        emit("refusal", exit_code=refusal.exit_code, text=str(refusal))
        raise
    except Exception as error:
        emit("failure", stage=name, text=f"{type(error).__name__}: {error}")
        raise


@contextmanager
def timed_step(flow: Any, options: type[Chosen], steps: Mapping[str, tuple[str, str]]) -> Iterator[Chosen]:
    """Announce a step of a flow that has an MLflow run, lend its options, and keep its seconds and the peak of memory.

    `steps` names each step's short name and title, in order. The flow holds `seconds`, by short name, and
    `peak_memory` in bytes.
    """
    name, title = steps[current.step_name]
    started = time.monotonic()
    number = list(steps).index(current.step_name) + 1
    with ending_run(flow), stage(name, title, index=number, of=len(steps)):
        yield flow.options(options)
    flow.seconds = {**flow.seconds, name: time.monotonic() - started}
    flow.peak_memory = max(flow.peak_memory, peak_memory())


@contextmanager
def ending_run(flow: Any) -> Iterator[None]:
    """End the run in MLflow that a flow has opened, `mlflow_run`, if its step fails."""
    try:
        yield
    except BaseException as error:
        if run_id := getattr(flow, "mlflow_run", ""):
            from spamctl.registry import runs

            stopped = not isinstance(error, Exception)
            runs.end_run(run_id, interrupted=stopped, reason=str(error) if isinstance(error, SpamctlError) else "")
        raise


class Progress:
    """Counter of the items of one long task, reported a few times a second."""

    def __init__(self, task: str, *, total: int, unit: str) -> None:
        self.task, self.total, self.unit = task, total, unit
        self.done = 0
        self._told = float("-inf")

    def advance(self, items: int = 1) -> None:
        """Add `items` to what is done."""
        self.reach(self.done + items)

    def reach(self, done: int) -> None:
        """Report that `done` items are done."""
        self.done = done
        if self.done >= self.total or time.monotonic() - self._told >= SECONDS_BETWEEN_EVENTS:
            self._told = time.monotonic()
            emit("progress", task=self.task, done=self.done, total=self.total, unit=self.unit)


def tracked(items: Iterable[Item], task: str, *, total: int, unit: str) -> Iterator[Item]:
    """Yield `items` one by one and tell how many are behind us."""
    progress = Progress(task, total=total, unit=unit)
    for item in items:
        yield item
        progress.advance()


def follow(ticking: Generator[ProgressUpdate, None, Outcome], watch: Callable[[Any], None] | None = None) -> Outcome:
    """Report each tick of a long task, pass it to `watch` too, and return the task's result."""
    report = reporter()
    while True:
        try:
            tick = next(ticking)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        report(tick)
        if watch:
            watch(tick)


def reporter() -> Callable[[ProgressUpdate], None]:
    """Return what reports the progress that a task tells it, a few times a second."""
    told: dict[str, Progress] = {}

    def report(tick: ProgressUpdate) -> None:
        told.setdefault(tick.task, Progress(tick.task, total=tick.total, unit=tick.unit)).reach(tick.done)

    return report


def layout(options: TrainOptions | TrafficOptions | LabelOptions) -> FileLayout:
    """Return how the options of a verb say that a user's files are to be read."""
    from spamctl.data.rows import FileLayout

    return FileLayout(
        text_column=options.text_column,
        label_column=options.label_column,
        spam_label=options.spam_label,
        header=options.header,
        encoding=options.encoding,
        bad_rows=options.bad_rows,
        spam_folder=options.spam_folder,
    )


def read_datasets(options: TrainOptions | TrafficOptions, *, may_ask: bool = True) -> Corpus:
    """Read the datasets that the options of a verb name, and report progress, notes and warnings."""
    from spamctl.data import corpus

    asked = corpus.CorpusRequest(options.dataset, options.good, options.spam, **asdict(layout(options)))
    found = corpus.read_datasets(asked, may_ask=may_ask, watch=reporter())
    tell([f"messages from {found.origin}", *found.notes], found.warnings)
    return found


def metric(name: str, value: float, *, epoch: int) -> None:
    """Emit one measurement of a training."""
    emit("metric", name=name, value=value, epoch=epoch)


def note(text: str) -> None:
    """Emit a fact that the user should see."""
    emit("note", text=text)


def warning(text: str) -> None:
    """Emit a warning about something the user may not expect."""
    emit("warning", text=text)


def tell(notes: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Emit facts and warnings."""
    for text in notes:
        note(text)
    for text in warnings:
        warning(text)


def result(verb: str, summary: dict[str, object]) -> None:
    """Emit the outcome of the whole run, as plain JSON values."""
    emit("result", **(summary | {"verb": verb}))


def left_files(*places: Path) -> dict[str, bytes]:
    """Return what a step wrote for its caller, by path, where that is another machine; nothing on this one.

    A step keeps it as `left_files`, and the launcher writes it into the caller's folder.
    """
    if not step_setup():
        return {}
    named = [place for place in places if str(place) not in {".", "none"}]  # an option that names no file
    files = [file for place in named for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return {os.path.relpath(file): file.read_bytes() for file in files if file.is_file()}


def peak_memory() -> int:
    """Return the most memory in bytes that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def emit(kind: str, **fields: object) -> None:
    """Write one event as one line of ASCII JSON, which the launcher reads from standard output."""
    print(json.dumps({"spamctl": kind, **fields}), flush=True)

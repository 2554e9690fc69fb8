"""Run the demonstration in one folder, each part by its own verb, and check the result of each."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spamctl.cli.options import Flags
from spamctl.cli.process import child_environment, log_file, reporting_stop, working_folder
from spamctl.cli.run import Debug, Start, run_verb
from spamctl.config.admin import DemoOptions
from spamctl.config.label import LabelOptions
from spamctl.config.monitor import MonitorOptions
from spamctl.config.options import Options
from spamctl.config.traffic import TrafficOptions
from spamctl.config.train import TrainOptions
from spamctl.errors import GateRefusedError, SpamctlError, UnavailableError, UsageError
from spamctl.schema.codec import from_json
from spamctl.schema.train import TrainResult

if TYPE_CHECKING:
    from rich.console import Console

    from spamctl.cli.process import ProcessGroup
    from spamctl.reports.demo import Act
    from spamctl.schema.message import LabelResult
    from spamctl.schema.monitor import MonitorResult
    from spamctl.schema.traffic import TrafficResult

MARK = ".spamctl-demo"  # in a folder that may be cleared, since a demo made it
PAGE = Path("reports", "demo.html")
SECONDS_TO_START, SECONDS_TO_FOLLOW = 120.0, 60.0
THRESHOLD = 0.7
# Two trainings in a few minutes: a head alone, as both are told, on fewer blocks and no more of a long mail.
SOON = {"depth": 6, "tune": "head", "max_tokens": 128, "suites": "none"}

Result = TypeVar("Result")
Told = dict[str, Any]  # what a flow told, as JSON


@dataclass
class DemoRun:
    """Acts of the demonstration, run one after the other, and their results."""

    console: Console
    debug: bool
    acts: list[Act] = field(default_factory=list)

    def act(self, title: str, command: str, run: Callable[[], tuple[Result, str, str]]) -> Result:
        """Run one act: `run` returns its result, its figure in words, and what is wrong with it, if anything."""
        from spamctl.reports.demo import Act, announce
        from spamctl.schema.monitor import MonitorResult

        announce(len(self.acts) + 1, title, command, self.console)
        began = time.monotonic()
        result, figure, fault = run()
        monitored = result if isinstance(result, MonitorResult) else None
        self.acts.append(Act(title, command, figure, time.monotonic() - began, monitored))
        if fault:
            raise SpamctlError(f"the demo stops: {title.lower()}: {fault}")
        return result

    def left(self, folder: str) -> str:
        """Describe what a stop leaves."""
        done = f"{len(self.acts)} {'act was' if len(self.acts) == 1 else 'acts were'} completed"
        return f"{done}, and {folder} keeps what they made; spamctl demo starts over."

    def verb(self, options: type[Options], **chosen: object) -> Told:
        """Run the flow of a verb with some options given as flags."""
        flags: dict[str, object] = dict.fromkeys(option.name for option in options.declared())
        flags |= {name: str(value) for name, value in chosen.items()}
        return run_verb(options, flags, Start(debug=self.debug))[1]


def demo(flags: Flags, *, debug: Debug = False) -> int:
    """Play the story, show it as a table, and leave a page that tells it."""
    from rich.console import Console

    from spamctl.config.sources import resolve
    from spamctl.reports import demo as story
    from spamctl.reports import monitor_page

    settled = resolve(DemoOptions, flags, config=None, environ=os.environ, folder=Path.cwd())
    options, console = settled.options, Console(highlight=False)
    began, folder = time.monotonic(), prepare(Path(options.folder))
    play = DemoRun(console, debug)
    with reporting_stop(lambda: play.left(options.folder), again=True), contextlib.chdir(folder):
        _play(play, options, settled.variables)
        _gather(settled.variables)
        PAGE.touch()  # which the list of all pages names, and which names the list
        monitor_page.list_pages(PAGE.parent)
        PAGE.write_text(story.page(play.acts, sorted(PAGE.parent.rglob("*.html"))), encoding="utf-8")
        story.show(play.acts, time.monotonic() - began, str(Path(options.folder, PAGE)), console)
        if options.open and _has_screen(os.environ):
            webbrowser.open(PAGE.resolve().as_uri())
    return 0


def prepare(folder: Path) -> Path:
    """Return an empty folder for the demo; raise UsageError if what is there is not an earlier demo's."""
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--folder {folder}: is not empty and was not made by a demo; choose another")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARK).touch()
    except OSError as error:
        raise UsageError(f"--folder {folder}: cannot be written: {error.strerror}; choose another") from None
    return folder.resolve()


def _play(play: DemoRun, options: DemoOptions, variables: Mapping[str, str]) -> None:
    """Play all acts; a server runs beside all but the first, and is stopped whatever happens."""
    # What drifts must be new to the filter: a fifth of the kinds is held out for that, where kinds are known.
    new_kinds = "everyday" in options.dataset.split(",")
    sources: dict[str, object] = {"dataset": options.dataset} | ({"hold_out_kinds": 1} if new_kinds else {})
    training = sources | SOON | {"base_model": options.base_model, "accuracy_threshold": THRESHOLD}
    words = _words({name: value for name, value in training.items() if name in SOON or name == "hold_out_kinds"})
    play.act(
        "Train a filter",
        f"spamctl train --accuracy-threshold {THRESHOLD}{words}",
        lambda: _train(play, training),
    )
    again = training | {"feedback": "spam.db"}
    with _server(variables) as address:
        sending = sources | {"target_uri": f"{address}/invocations", "samples": options.messages}
        before = _round(play, sending, "clean messages", drift_type="none", failing=False)
        drifted = {"drift_type": "new-kinds" if new_kinds else "modern", "strength": 1, "drift_proportion": 1}
        after = _round(play, sending, "drifted messages", **drifted, seed=1, failing=True)
        play.act(
            "Retrain on the labels",
            f"spamctl train --feedback spam.db{words}",
            lambda: _retrain(play, again, address),
        )
        at_last = _round(play, sending, "drifted messages again", **drifted, seed=2, failing=None)
    lost, regained = _accuracy(before) - _accuracy(after), _accuracy(at_last) - _accuracy(after)
    if lost > 0 and regained <= 0:
        raise SpamctlError(f"the demo stops: of {lost:.3f} of accuracy lost to drift, retraining recovered nothing")


def _round(
    play: DemoRun, sending: Mapping[str, object], what: str, *, failing: bool | None, **drift: object
) -> MonitorResult:
    """Send messages, reveal their truth, and watch; `failing` says which verdict is right, None that either is."""
    words = _words(drift)
    chosen = {**sending, **drift}
    play.act(f"Send {what}", f"spamctl traffic --samples {sending['samples']}{words}", lambda: _send(play, chosen))
    play.act("Label them", "spamctl label --source truth", lambda: _label(play))
    return play.act(
        f"Monitor: {what}",
        f"spamctl monitor --samples {sending['samples']}",
        lambda: _watch(play, int(str(sending["samples"])), failing=failing),
    )


def _words(options: Mapping[str, object]) -> str:
    """Write options as they are typed."""
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in options.items())


def _train(play: DemoRun, chosen: Mapping[str, object]) -> tuple[TrainResult, str, str]:
    from spamctl.reports.scores import three
    from spamctl.reports.train import show

    result = from_json(TrainResult, play.verb(TrainOptions, **chosen))
    show(result, play.console)
    if not result.registered:
        raise GateRefusedError(result.reason)
    scores = three(result.scores) if result.scores else ""
    figure = f"version {result.model_version}, on its test part {scores}"
    return result, figure, "" if result.alias == "champion" else result.reason


def _retrain(play: DemoRun, chosen: Mapping[str, object], address: str) -> tuple[TrainResult, str, str]:
    """Train with the labelled rows, and wait until the server has followed."""
    result, figure, fault = _train(play, chosen)
    if not fault:
        _wait_for(address, result.model_version)
    return result, f"{figure}; now served", fault


def _send(play: DemoRun, chosen: Mapping[str, object]) -> tuple[TrafficResult, str, str]:
    from spamctl.reports.traffic import headline, missing, show
    from spamctl.schema.traffic import TrafficResult

    result = from_json(TrafficResult, play.verb(TrafficOptions, **chosen))
    show(result, play.console)
    return result, headline(result), missing(result)


def _label(play: DemoRun) -> tuple[LabelResult, str, str]:
    from spamctl.reports.label import show
    from spamctl.schema.message import LabelResult

    result = from_json(LabelResult, play.verb(LabelOptions, source="truth"))
    show(result, play.console)
    return result, f"{result.labelled:,} labelled", "" if result.labelled else "there was nothing to label"


def _watch(play: DemoRun, samples: int, *, failing: bool | None) -> tuple[MonitorResult, str, str]:
    from spamctl.cli.monitor import fetched
    from spamctl.reports.monitor import show, three

    result = fetched(play.verb(MonitorOptions, samples=samples))
    show(result, play.console)
    if result.quality is None:
        return result, result.verdict, "no message has a trusted label"
    figure = f"{result.verdict}; {three(result.quality)} of {result.quality.rows:,} labelled"
    wrong = failing is not None and (result.verdict == "failed") != failing
    return result, figure, f"the verdict is {result.verdict}" if wrong else ""


def _accuracy(result: MonitorResult) -> float:
    return result.quality.accuracy.value if result.quality and result.quality.accuracy else 0.0


@contextlib.contextmanager
def _server(variables: Mapping[str, str]) -> Iterator[str]:
    """Serve the champion on a free port of this machine while the block runs."""
    from spamctl.cli.process import ProcessGroup

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = working_folder()
    log = log_file(folder, "demo-server")
    command = [sys.executable, "-m", "spamctl", "serve", "--port", str(port), "--follow-seconds", "1"]
    address = f"http://127.0.0.1:{port}"
    with (
        log.open("x", encoding="utf-8") as pages,
        ProcessGroup(command, environment=child_environment(variables, folder), folder=folder, output=pages) as family,
    ):
        _wait_until_ready(address, family, log.relative_to(folder))
        yield address


def _wait_until_ready(address: str, family: ProcessGroup, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while _version(address) is None:
        if not family.is_running():
            raise SpamctlError(f"the server could not start; its log: {log}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"the server did not start in {SECONDS_TO_START:g} s; its log: {log}")
        time.sleep(0.1)


def _wait_for(address: str, version: str) -> None:
    """Wait until the server answers as a version."""
    deadline = time.monotonic() + SECONDS_TO_FOLLOW
    while (served := _version(address)) != version:
        if time.monotonic() > deadline:
            raise UnavailableError(f"the server still answers as version {served} after {SECONDS_TO_FOLLOW:g} s")
        time.sleep(0.2)


def _version(address: str) -> str | None:
    """Ask the server which version of the model it serves, None if it does not answer yet."""
    import httpx

    try:
        answer = httpx.get(f"{address}/version", timeout=5, trust_env=False)
    except httpx.TransportError:
        return None
    return str(answer.json()["model_version"]) if answer.is_success else None


def _gather(variables: Mapping[str, str]) -> None:
    """Copy the cards of all runs beside the page."""
    from spamctl.cli.process import ProcessGroup

    folder = working_folder()
    log = log_file(folder, "demo-cards")
    command = [sys.executable, "-m", "spamctl.jobs.cards", str(PAGE.parent / "cards"), "train", "traffic", "label"]
    with (
        log.open("x", encoding="utf-8") as pages,
        ProcessGroup(command, environment=child_environment(variables, folder), folder=folder, output=pages) as family,
    ):
        if family.exit_code():
            raise SpamctlError(f"the cards could not be gathered; the log: {log.relative_to(folder)}")


def _has_screen(environ: Mapping[str, str]) -> bool:
    """Return whether there is a screen for a browser."""
    return sys.platform in {"darwin", "win32"} or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))

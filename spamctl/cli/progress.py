"""Show the progress of a run: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from spamctl.display import visible
from spamctl.schema.event import Event, Metric, Note, Notice, Progress, Stage

SECONDS_BETWEEN_LINES = 10.0
INDENT = "      "


def display(console: Console) -> Plain:
    """Choose how to show progress on this console."""
    return Live(console) if console.is_terminal and not console.is_dumb_terminal else Plain(console)


class Plain:
    """Progress as lines that a log file can keep."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._clocks: dict[str, _Clock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        return None

    def tell(self, event: Event) -> None:
        """Show one event; those that end a run are not shown here."""
        match event:
            case Stage():
                self._stage(event)
            case Progress():
                self._progress(event)
            case Note():
                self.write(event.text)
            case Notice():
                self.write(f"warning: {event.text}", "bold yellow")
            case Metric():
                when = f" after epoch {event.epoch}" if event.epoch is not None else ""
                self.write(f"{event.name}{when}: {event.value:.4g}", "dim")

    def write(self, text: str, style: str = "", *, indent: str = INDENT) -> None:
        """Write one line of hostile text, without reading any markup in it."""
        self.console.print(Text(indent + visible(text), style), soft_wrap=True)

    def _stage(self, stage: Stage) -> None:
        self.write(f"[{stage.index}/{stage.of}] {stage.title}", "bold", indent="")

    def _progress(self, told: Progress) -> None:
        task, done, total, unit = told.task, told.done, told.total, told.unit
        clock = self._clocks.setdefault(task, _Clock(done))
        if done >= total:
            del self._clocks[task]
            if clock.seconds >= SECONDS_BETWEEN_LINES:
                self.write(f"{task}: {total:,.0f} {unit} in {duration(clock.seconds)}")
        elif clock.is_due and clock.rate(done):
            clock.told = time.monotonic()
            left = (total - done) / clock.rate(done)
            self.write(f"{task}: {done:,.0f} of {total:,.0f} {unit}, {pace(clock.rate(done), left)}")


class Live(Plain):
    """Progress as a clock and bars at the foot of the terminal, below what is done."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        indent, spinner = TextColumn(INDENT[:-1]), SpinnerColumn(style="cyan")
        count = _Count(Column(no_wrap=True))
        self._bars = Bars(indent, spinner, _Name(), _Bar(20), count, console=console, transient=True)
        self._tasks = {"": self._bars.add_task("", total=None)}
        self._began: float | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bars.stop()
        self._close("✗" if kind else "✓", "bold red" if kind else "green")

    def _stage(self, stage: Stage) -> None:
        self._close("✓", "green")
        super()._stage(stage)
        self._began = time.monotonic()
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks = {"": self._bars.add_task("", total=None)}

    def _progress(self, told: Progress) -> None:
        task = told.task
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(visible(task), total=told.total, unit=visible(told.unit))
        self._bars.update(self._tasks[task], completed=told.done, total=told.total)
        if told.done >= told.total:
            self._bars.remove_task(self._tasks.pop(task))

    def _close(self, mark: str, style: str) -> None:
        """Leave below the finished step the time it took."""
        if self._began is not None:
            took = duration(time.monotonic() - self._began)
            self.console.print(Text.assemble(INDENT, (mark, style), (f" {took}", "dim")))
            self._began = None


class _Name(ProgressColumn):
    """Column with the name of a task; one of unknown length shows how long it has run."""

    def render(self, task: Task) -> Text:
        return Text(duration(task.elapsed or 0), "dim") if task.total is None else Text(task.description)


class _Bar(BarColumn):
    """Progress bar of a task of known length."""

    def render(self, task: Task) -> Any:
        return Text() if task.total is None else super().render(task)


class _Count(ProgressColumn):
    """Column with the items done, their rate, and the time left."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text()
        count = f"{task.completed:,.0f}/{task.total:,.0f} {task.fields['unit']}"
        if not task.speed or task.time_remaining is None:
            return Text(count)
        return Text.assemble(f"{count}, ", (pace(task.speed, task.time_remaining), "dim"))


class _Clock:
    """Stopwatch of one task, from its first event."""

    def __init__(self, done: float) -> None:
        self.first_done, self.began = done, time.monotonic()
        self.told = self.began

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self.told >= SECONDS_BETWEEN_LINES

    def rate(self, done: float) -> float:
        return (done - self.first_done) / self.seconds if self.seconds else 0.0


def pace(rate: float, left: float) -> str:
    """Describe the rate of a task, if it is a readable number, and the time left."""
    speed = f"{rate:.3g}/s, " if rate >= 1 else ""
    return f"{speed}{duration(left)} left"


def duration(seconds: float) -> str:
    """Format a time: 8 s, 2 min 5 s, 1 h 3 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

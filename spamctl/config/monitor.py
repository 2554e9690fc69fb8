"""Declare the options of `spamctl monitor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le

from spamctl.config.options import (
    Fault,
    Options,
    duration,
    experiment_faults,
    is_age,
    is_duration,
    name_faults,
    option,
    shown,
    version_faults,
)
from spamctl.cores import cores


@dataclass(frozen=True, kw_only=True)
class MonitorOptions(Options):
    """Options of a monitoring."""

    verb: ClassVar[str] = "monitor"
    summary: ClassVar[str] = "Test for drift and for loss of quality, and explain the causes; exit code 3 on failure."
    example: ClassVar[str] = "spamctl monitor --since 7d --samples 0 --fail-on warning"

    datastore_uri: str = option(
        "spam.db",
        "Store of the server: a SQLite file, or the URL of a PostgreSQL database.",
        group="Rows",
        secret=True,
    )
    samples: Annotated[int, Ge(0), Le(100_000_000)] = option(
        2000,
        "Number of newest rows to monitor; 0 means all, randomly sampled where a test needs no more.",
        group="Rows",
    )
    since: str = option(
        "always", "Maximum age of the rows to monitor, such as 45m, 12h, 7d or 2w; always means no limit.", group="Rows"
    )

    model_name: str = option("spam", "Name of the model in the registry.", group="Model")
    model_version: str = option(
        "champion",
        "Version to monitor, on the rows it answered: champion, challenger, latest or a number.",
        group="Model",
    )

    false_alarm_rate: Annotated[float, Gt(0), Le(0.5)] = option(
        0.05, "Family-wise false-alarm rate of all tests together.", group="Verdict"
    )
    fail_on: Literal["failed", "warning"] = option(
        "failed", "Least severe verdict for which the exit code is 3.", group="Verdict"
    )
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = option(
        0, "Random seed; the same rows and seed give the same verdict.", group="Verdict", advanced=True
    )

    report_dir: str = option(
        "reports", "Folder for the reports and their figures, created if missing.", group="Reports"
    )
    experiment: str = option(
        "spam-monitoring", "MLflow experiment for the figures and reports.", group="Reports", advanced=True
    )
    webhook: str = option(
        "none", "URL to post the verdict to as JSON, without any message text.", group="Reports",
        secret=True,
    )  # fmt: skip

    watch: str = option("none", "Interval between runs, such as 15m, until Ctrl-C; none runs once.", group="Run")
    threads: Annotated[int, Ge(0)] = option(0, "CPU threads; 0 uses every core.", group="Run", advanced=True)

    def faults(self) -> Iterator[Fault]:
        """Yield what a type and a range cannot say."""
        yield from name_faults("model_name", self.model_name)
        yield from version_faults("model_version", self.model_version)
        yield from experiment_faults("experiment", self.experiment)
        if not is_age(self.since):
            yield Fault(("since",), f"must be always, or a time such as 45m, 12h or 7d, got {shown(self.since)}")
        if self.watch != "none" and not (is_duration(self.watch) and duration(self.watch)):
            yield Fault(("watch",), f"must be none, or a time such as 30s, 15m or 1d, got {shown(self.watch)}")
        if self.webhook != "none" and not _is_address(self.webhook):
            yield Fault(("webhook",), "must be none, or an address such as https://host/path")  # it may hold a secret
        if not self.report_dir.strip() or "\0" in self.report_dir:
            yield Fault(("report_dir",), f"must name a folder, got {shown(self.report_dir)}")
        if self.threads > cores():
            yield Fault(("threads",), f"must be at most {cores()}, the cores free to use here, got {self.threads}")


def _is_address(uri: str) -> bool:
    """Return whether JSON can be posted to an address."""
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(host) and uri.isprintable() and " " not in uri

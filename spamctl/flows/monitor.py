"""Monitor: read the window, compare it with the reference, test, report, and store the result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from metaflow import card, current, step

from spamctl.config.monitor import MonitorOptions
from spamctl.config.options import COPIES, date_of_age
from spamctl.errors import UnavailableError, UsageError
from spamctl.flows import base

if TYPE_CHECKING:
    from spamctl.drift.evidently_html import Page
    from spamctl.drift.sample import PackedSample, Sample
    from spamctl.registry import versions
    from spamctl.registry.versions import Found
    from spamctl.schema.monitor import Causes, Judgement, LoggedRun, MonitorResult, Outcome
    from spamctl.store import queries, sampling
    from spamctl.store.database import Store
    from spamctl.store.sampling import Survey

STEPS = {
    "start": ("read", "Find the version, read the window"),
    "compare": ("compare", "Compare it with the reference, and judge"),
    "end": ("remember", "Write the reports, and remember the figures"),
}
PATIENCE_S = 60.0  # for the store's one lock, which a busy server takes too
MOST_JUDGED = 2_000  # beside a reference of some hundred rows, more of them make no test sharper
PAGES = ("data_quality", "drift", "classification")


class MonitorFlow(base.VerbFlow):
    """Flow that judges a version; steps pass samples as plain values, and messages by their uuids."""

    locals().update(base.parameters(MonitorOptions))

    @step
    def start(self) -> None:
        """Find the version and its reference, read the window, and see both as the model does."""
        self.began = datetime.now(UTC).isoformat()
        with self.part() as (options, store):
            from spamctl.engine import manifest
            from spamctl.registry import versions

            found = versions.fetch(options.model_name, options.model_version, COPIES.absolute())
            if found.remembered:
                base.warning(
                    f"the registry does not answer: judging version {found.version}, "
                    f"which was {options.model_version} when it did"
                )
            if not found.sealed:
                base.warning(f"{found.name} version {found.version}: {manifest.UNSEALED}")
            measured = versions.fetch_reference(found)
            survey = self._read(options, store, found)
            self.found, self.store_name = found, store.address.name
            self._embed(options, measured, survey)
        self.next(self.compare)

    @card(type="html", id="monitor", options={"attribute": "monitor_html"})
    @card(type="html", id="data_quality", options={"attribute": "data_quality_html"})
    @card(type="html", id="drift", options={"attribute": "drift_html"})
    @card(type="html", id="classification", options={"attribute": "classification_html"})
    @step
    def compare(self) -> None:
        """Judge the window, and draw the pages: the verdict and the trend first, Evidently's behind."""
        with self.part() as (options, store):
            from spamctl.drift import causes, verdict
            from spamctl.registry import versions
            from spamctl.reports import monitor_page, monitor_plots
            from spamctl.schema.codec import to_json
            from spamctl.store import sampling

            packed, version = (self.measured, self.seen, self.labelled), versions.at_hand(self.found, COPIES.absolute())
            read = load_samples(store, version, self.reference.digest, packed)
            plan = verdict.JudgementConfig(options.false_alarm_rate, seed=options.seed)
            found = base.follow(verdict.judge(read.measured, read.seen, plan, read.labelled))
            found = replace(found, causes=causes.by_uuid(found.causes, read.uuids))
            if found.quality:  # of all rows, not of those drawn
                coverage = self.window.trusted / self.window.rows
                found = replace(found, quality=replace(found.quality, coverage=coverage))
            self.evidently = self._pages(options, read, found.tests)
            result = self._result(found, sampling.monitoring_history(store, options.model_name))
            scores = (sample.probabilities.tolist() for sample in (read.measured, read.seen))
            plots = monitor_plots.monitoring_plots(result, *scores)
            self.monitor_html = monitor_page.page(result, plots)
            self.plots = {name: plot for name, plot in plots.items() if name != "words"}  # no search finds words in it
            self.result = to_json(result)
        self.next(self.end)

    @step
    def end(self) -> None:
        """Add the figures to MLflow and to the store, write the reports, and tell the result."""
        with self.part() as (options, store):
            from spamctl.reports import monitor_page, monitor_plots
            from spamctl.schema.codec import from_json, to_json
            from spamctl.schema.monitor import MonitorResult

            pages = {name: page.html for name, page in self.evidently.items()}
            result = from_json(MonitorResult, self.result)
            result = replace(result, mlflow=self._log(options, result, pages))
            self._append(store, result)
            plots = self.plots | monitor_plots.picture_of_words(result)
            quoted = load_quoted(store, result.causes)
            files = monitor_page.write_pages(Path(options.report_dir), result, pages, plots, quoted)
            self.result = to_json(replace(result, files=files))
            left = left_for_terminal(result.causes, current.run_id)
            self.left_files = base.left_files(Path(options.report_dir, current.run_id), Path(left))
            base.result("monitor", self.result | {"causes": left})

    @contextmanager
    def part(self) -> Iterator[tuple[MonitorOptions, Store]]:
        """Announce this step, give its options, and open the store once for all that the step does."""
        from spamctl.store import text_locations
        from spamctl.store.database import open_store

        name, title = STEPS[current.step_name]
        with base.stage(name, title, index=list(STEPS).index(current.step_name) + 1, of=len(STEPS)):
            options = self.options(MonitorOptions)
            if current.step_name == "start":
                _require_writable(Path(options.report_dir))
                text_locations.remember_reports(Path(options.report_dir))
            with open_store(options.datastore_uri, patience_s=PATIENCE_S) as store:
                yield options, store

    def _window(self, options: MonitorOptions, found: Found) -> queries.Window:
        """Choose the version's own rows, up to the moment at which the run began."""
        from spamctl.store.queries import Window

        began = datetime.fromisoformat(self.began)
        since = date_of_age(options.since, began)
        return Window(since, began, found.version, model_name=found.name, package=found.digest)

    def _read(self, options: MonitorOptions, store: Store, found: Found) -> Survey:
        """Read the window, and keep its figures."""
        from spamctl.store import sampling

        chosen = self._window(options, found)
        there = sampling.require_rows(store, chosen)
        wish = sampling.SampleRequest(options.samples, MOST_JUDGED, options.seed)
        survey = base.follow(sampling.survey(store, chosen, wish))
        of = f" of {there:,}, the newest (--samples)" if there > survey.rows else ""
        others = sampling.count_others(store, chosen)
        if others.of_another:
            base.warning(f"{others.of_another:,} answers of another package that had this number are left out")
        if others.of_unknown:
            base.note(f"{others.of_unknown:,} rows do not say which package answered: taken as this version's")
        base.note(f"{survey.rows:,} rows{of} of {found.name} version {found.version} in {store.address.name}")
        if survey.sampled:
            base.note(f"figures are over all of them; tests judge {len(survey.sample):,} that were drawn evenly")
        self.window = sampling.figures(survey, chosen)
        return survey

    def _embed(self, options: MonitorOptions, measured: versions.Reference, survey: Survey) -> None:
        """See both samples as the model does; the reference's features are computed once for each package."""
        import numpy as np

        from spamctl.drift.sample import current_sample, pack_sample, reference_sample
        from spamctl.engine import engine
        from spamctl.registry import runs, versions

        found = self.found
        embedder = engine.Embedder(Path(found.folder), threads=options.threads)
        key = f"{embedder.digest} {measured.digest}"
        kept = versions.beside(found, "features.npz")
        texts = [row.text for row in measured.rows]
        features = base.follow(engine.reference_features(embedder, texts, key, kept))
        now = base.follow(embedder.features([row.text for row in survey.sample]))
        threshold = embedder.threshold
        self.measured = pack_sample(reference_sample(measured.rows, threshold, found.version, features))
        sample, trusted = ([row.uuid for row in rows] for rows in (survey.sample, survey.labelled))
        self.seen = pack_sample(current_sample(survey.sample, survey.families, now), sample)
        nothing = np.empty((len(survey.labelled), 0), np.float32)  # quality asks for no features
        labelled = current_sample(survey.labelled, survey.families, nothing)
        self.labelled = pack_sample(labelled, trusted) if survey.sampled and survey.labelled else None
        self.reference = runs.describe(found, measured, embedder)

    def _pages(self, options: MonitorOptions, read: Samples, tests: Sequence[Outcome]) -> dict[str, Page]:
        """Return Evidently's pages, and hang each on its card."""
        from spamctl.drift import evidently_report
        from spamctl.reports.html import document, element

        thresholds = {test.name: test.threshold for test in tests}
        pages = evidently_report.evidently_pages(read.measured, read.seen, thresholds, options.seed, read.labelled)
        for name in PAGES:
            why = pages[name].summary.get("missing", "there is nothing to show")
            empty = document(name, [element("p", why)])
            setattr(self, f"{name}_html", pages[name].html or empty)
        return pages

    def _result(self, found: Judgement, past: Sequence[sampling.Finding]) -> MonitorResult:
        """Put together what was found, with the trend up to now."""
        from spamctl.registry import runs
        from spamctl.schema.monitor import MonitorResult, Past

        self.figures = runs.monitoring_figures(found, self.window.spam / self.window.rows)
        now = Past.of(self.began, found.verdict, self.reference.model_version, self.window.rows, self.figures)
        before = [Past.of(one.date.isoformat(), one.verdict, one.model_version, one.rows, one.figures) for one in past]
        return MonitorResult(
            verdict=found.verdict,
            checks=found.checks,
            tests=found.tests,
            drift_score=found.drift_score,
            quality=found.quality,
            simulated=found.simulated,
            quality_by=found.quality_by,
            estimate=found.estimate,
            causes=found.causes,
            data=found.data,
            domain_classifier=found.domain_classifier,
            window=self.window,
            reference=self.reference,
            store=self.store_name,
            history=(*before, now),
            evidently={name: page.summary for name, page in self.evidently.items()},
            run_id=current.run_id,
        )

    def _log(self, options: MonitorOptions, result: MonitorResult, pages: Mapping[str, str]) -> LoggedRun | None:
        """Write a run to MLflow; a registry that does not answer costs the run there, not the verdict."""
        from spamctl.registry import registration, runs, tracking
        from spamctl.reports import monitor_page
        from spamctl.schema.monitor import LoggedRun

        uri = tracking.tracking_uri()
        chosen = {item.name: getattr(options, item.name) for item in options.declared() if not item.secret}
        files = {f"{name}.html": html.encode(errors="replace") for name, html in pages.items() if html}
        files |= {f"plots/{name}.png": picture for name, picture in self.plots.items()}
        page = monitor_page.page(monitor_page.without_words(result), self.plots)
        files["monitor.html"] = page.encode(errors="replace")
        try:
            tracking.require_reachable(uri)
            with tracking.open_tracking(uri) as client:
                run_id = registration.log_run(
                    client, options.experiment, uri, runs.record_monitoring(chosen, result, files)
                )
        except UnavailableError as error:
            base.warning(f"MLflow keeps nothing of this run: {error}; {self.store_name} and the reports do")
            return None
        return LoggedRun(tracking.shown(uri), options.experiment, run_id)

    def _append(self, store: Store, result: MonitorResult) -> None:
        """Keep the figures in the store, for the next trend."""
        from spamctl.store import sampling

        since = self.window.since
        finding = sampling.Finding(
            run_id=current.run_id,
            date=datetime.fromisoformat(self.began),
            model_name=self.reference.model_name,
            model_version=self.reference.model_version,
            window_since=datetime.fromisoformat(since) if since else None,
            window_until=datetime.fromisoformat(self.began),
            rows=self.window.rows,
            verdict=result.verdict,
            figures=self.figures,
        )
        sampling.append_monitoring(store, finding)


def _require_writable(folder: Path) -> None:
    """Refuse at once a folder in which no report could be written in the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--report-dir {folder}: cannot be written: {error.strerror}; choose a folder of your own"
        ) from None


# Load the messages of a monitoring by their uuids, so that forgetting a message reaches its steps.


@dataclass(frozen=True)
class Samples:
    """Reference, window, its labelled rows if they are others, and the window's uuids by text."""

    measured: Sample
    seen: Sample
    labelled: Sample | None
    uuids: Mapping[str, str]


def load_samples(
    store: Store, found: Found, digest: str, packed: tuple[PackedSample, PackedSample, PackedSample | None]
) -> Samples:
    """Return samples that a step packed, with their texts; rows that were forgotten meanwhile are left out.

    `digest` is that of the version's test part then. Raises UsageError if the test part is another one.
    """
    from spamctl.drift.sample import unpack_sample
    from spamctl.registry.versions import fetch_reference
    from spamctl.store import sampling

    test_part = fetch_reference(found)
    if test_part.digest != digest:
        raise UsageError("the test part has changed since the run began, as spamctl forget may do: monitor again")
    measured, seen, labelled = packed
    texts = sampling.window_texts(store, seen.uuids)
    return Samples(
        unpack_sample(measured, [row.text for row in test_part.rows]),
        unpack_sample(seen, texts),
        unpack_sample(labelled, sampling.window_texts(store, labelled.uuids)) if labelled else None,
        {text: uuid for text, uuid in zip(texts, seen.uuids, strict=True) if text is not None},
    )


def load_quoted(store: Store, causes: Causes) -> dict[str, str]:
    """Return the texts of a finding's examples by uuid, for the one page that shows them."""
    from spamctl.store import queries

    rows = queries.find(store, [each.uuid for found in causes.examples.values() for each in found if each.uuid])
    return {uuid: row.text for uuid, row in rows.items()}


def left_for_terminal(causes: Causes, run_id: str) -> str:
    """Leave what holds words of messages in a file for us alone: logs keep what is told, and carry no message."""
    from spamctl.schema.codec import to_json

    path = Path(".spamctl", f"monitor-{run_id}.json")
    path.touch(mode=0o600)
    path.write_text(json.dumps(to_json(causes)), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    MonitorFlow()

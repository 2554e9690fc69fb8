"""Recalibrate: take a version's package and labelled answers, fit calibration and threshold, measure, and register."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from metaflow import card, current, step

from spamctl.config.options import COPIES
from spamctl.config.train import RecalibrateOptions
from spamctl.errors import UsageError
from spamctl.flows import base
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.evaluation import Reach, SuiteReport
from spamctl.schema.rates import BeforeAndAfter, RecalibratedPart
from spamctl.schema.train import FittedAnswers, RecalibrateFindings, RecalibrateStart
from spamctl.schema.version import MlflowRun

if TYPE_CHECKING:
    from spamctl.engine.engine import Engine
    from spamctl.metrics.evaluation import CallsSpam
    from spamctl.registry.recalibration import Origin, Setting
    from spamctl.registry.versions import Reference
    from spamctl.schema.message import Message

STEPS = {
    "start": ("read", "Read the version and the labelled answers"),
    "calibrate": ("calibrate", "Fit calibration and threshold"),
    "evaluate": ("evaluate", "Measure before and after"),
    "end": ("register", "Log and register"),
}
PARTS = {"recent": "recent messages", "test": "test messages"}
_OF_DATASETS = {"dataset", "text_column", "label_column", "spam_label", "header", "encoding", "bad_rows"}
_OF_DATASETS |= {"spam_folder", "good", "spam"}


class RecalibrateFlow(base.VerbFlow):
    """Flow that fits calibration and threshold of a trained version to labelled answers; weights stay as they are."""

    locals().update(base.parameters(RecalibrateOptions))

    @step
    def start(self) -> None:
        """Find the version, its test part and the answers that it did not learn, and divide these."""
        self.began, self.peak_memory = time.time(), 0
        self.seconds: dict[str, float] = {}
        self.suite_report = to_json(SuiteReport())
        with self.part() as options:
            from spamctl.data import feedback
            from spamctl.engine import manifest
            from spamctl.flows.feedback import read, tombstones
            from spamctl.registry import recalibration, runs, tracking, versions
            from spamctl.registry import recalibration as recalibrated
            from spamctl.schema.message import Split, digest, to_rows

            tracking.require_reachable(tracking.tracking_uri())
            found = versions.fetch(options.model_name, options.model_version, COPIES.absolute())
            measured = versions.fetch_reference(found)
            with tracking.open_tracking(tracking.tracking_uri()) as client:
                origin = recalibrated.origin(client, found.name, found.version)
            base.note(f"{found.name} version {found.version}, measured on {len(measured.rows):,} messages")
            gone = tombstones(options)
            test = [message for message in _test_part(measured, origin) if not gone.hold(message.text)]
            frozen = Split(tuple(_known(origin, {one.text for one in test})), (), tuple(test))
            answers = read(options, frozen, gone, origin.learnt_until)
            fitted = [answer.message for answer in (*answers.parts.train, *answers.parts.validation)]
            recalibration.require_enough(fitted, answers.told["store"], answers.because)
            told = {name: value for name, value in answers.told.items() if name not in {"train", "validation"}}
            self.feedback = told | {"fitted": feedback.balance([*answers.parts.train, *answers.parts.validation])}
            _tell(from_json(FittedAnswers, self.feedback))
            self.test, self.fitted = to_rows(test), to_rows(fitted)
            self.recent = to_rows(answer.message for answer in answers.parts.recent)
            self.test_sha256 = digest(test)
            self.found, self.files = to_json(found), manifest.read(Path(found.folder))
            self.origin_tags, self.training_run = dict(origin.tags), origin.run_id
            self.knows_today = origin.knows_today
            begun = recalibrated.opening(options.model_name, options.recorded(), self._start())
            self.mlflow_run = runs.begin_run(options.experiment, begun)
        self.next(self.calibrate)

    @step
    def calibrate(self) -> None:
        """Fit calibration and threshold to the answers, in the scores of the engine that serves."""
        with self.part() as options:
            from spamctl.registry import recalibration
            from spamctl.registry import recalibration as recalibrated
            from spamctl.schema import message

            answers = message.from_rows(self.fitted)
            about = recalibrated.about(self._start())
            made = base.follow(recalibration.recalibrate(self.files, answers, options.max_false_positive_rate, about))
            base.tell(made.point.notes, filter(None, [recalibration.unproven(made.point, answers)]))
            self.files, self.operating_point = made.files, to_json(made.point)
            self.before, self.after = to_json(made.before), to_json(made.after)
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Score the package on the test part and on the recent answers, and say what it made of them before."""
        with self.part() as options:
            from spamctl import folders
            from spamctl.data.bundled_sets import read_suites
            from spamctl.engine import manifest
            from spamctl.engine.engine import Engine
            from spamctl.metrics import evaluation
            from spamctl.registry import recalibration
            from spamctl.schema.message import from_rows

            before, after = (from_json(recalibration.Setting, rule) for rule in (self.before, self.after))
            told: dict[str, RecalibratedPart] = {}
            reach: dict[str, Reach] = {}
            with folders.temporary_folder() as place:
                engine = Engine(manifest.write(self.files, place))
                found = base.follow(evaluation.evaluate(engine, from_rows(self.test), seed=options.seed))
                for part, rows in (("recent", self.recent), ("test", self.test)):
                    messages = from_rows(rows)
                    raw = base.follow(recalibration.logits(engine, [one.text for one in messages], PARTS[part]))
                    truth = [message.is_spam for message in messages]
                    told |= {part: recalibration.beside(truth, raw, before, after)} if rows else {}
                    reach |= {part: recalibration.out_of_reach(engine, messages, raw)} if rows else {}
                    if part == "recent":
                        self.recent_probabilities: list[float] = engine.probabilities(raw).tolist()
                if options.suites != "none":
                    wanted = read_suites(options.must_deliver, options.must_catch)
                    report = evaluation.check_suites(wanted, _telling(engine, after), seed=options.seed)
                    decide = evaluation.deciding_faults(report, options.suites, knows_today=self.knows_today)
                    self.suite_report = to_json(replace(report, deciding=decide))
            self.measured = to_json(BeforeAndAfter(champion=self._start().version.version, parts=told))
            self.reach = to_json({part: counts for part, counts in reach.items() if counts.is_measured})
            self.after_on_old_scale = after.threshold_in(before)
            self.evaluation = to_json(found)
            base.tell(found.score.notes)
        self.next(self.end)

    @card(type="html", id="recalibration", options={"attribute": "recalibration_html"})
    @step
    def end(self) -> None:
        """Log the run; register the package if it passes the gate, and let it lead if it is better."""
        with self.part() as options:
            from spamctl.registry import promotion, runs, tracking, versions
            from spamctl.registry import recalibration as recalibrated
            from spamctl.reports import recalibration
            from spamctl.schema import message

            message.require_frozen(message.from_rows(self.test), self.test_sha256)
            run, params = self._findings(), options.recorded()
            answer = promotion.apply_gate(run.evaluation.score, options.accuracy_threshold, options.gate)
            result = recalibrated.summary(options.model_name, run, answer)
            uri, run_id = tracking.tracking_uri(), self.mlflow_run
            with tracking.open_tracking(uri) as client:
                noted = recalibrated.record(params, run, result)
                runs.close_run(client, run_id, noted)
                if answer.passed:
                    candidate = promotion.Candidate(options.model_name, run_id, self.files, noted.tags)
                    evidence = promotion.Evidence.of(
                        run.test,
                        run.evaluation,
                        run.start.feedback,
                        run.recent,
                        run.suites,
                        options.max_false_positive_rate,
                    )
                    result = promotion.noted(result, promotion.admit(client, candidate, evidence))
                    versions.leave_copy(options.model_name, COPIES.absolute())
            result = replace(result, mlflow=MlflowRun(tracking.shown(uri), options.experiment, run_id))
            self.result = to_json(result)
            self.recalibration_html = recalibration.page(result)
        base.result("recalibrate", self.result | {"seconds": self.seconds, "peak_memory": self.peak_memory})

    def part(self) -> AbstractContextManager[RecalibrateOptions]:
        """Announce this step, give its options, and keep how many seconds it took."""
        return base.timed_step(self, RecalibrateOptions, STEPS)

    def _start(self) -> RecalibrateStart:
        """Return what is known before anything is fitted."""
        known = {"run_id": current.run_id, "began": self.began, "version": self.found, "feedback": self.feedback}
        known |= {"origin_tags": self.origin_tags, "training_run": self.training_run, "test_sha256": self.test_sha256}
        return from_json(RecalibrateStart, known)

    def _findings(self) -> RecalibrateFindings:
        """Return all that the steps so far have found."""
        known = {"test": self.test, "before": self.before, "after": self.after, "reach": self.reach}
        known |= {"operating_point": self.operating_point, "evaluation": self.evaluation, "measured": self.measured}
        known |= {"after_on_old_scale": self.after_on_old_scale, "suites": self.suite_report, "start": self._start()}
        known |= {"recent": {"rows": self.recent, "probabilities": self.recent_probabilities}}
        return from_json(RecalibrateFindings, known)


def _tell(told: FittedAnswers) -> None:
    """Report which answers are fitted to, which are held out, and which are left out."""
    from spamctl.reports import train

    base.tell(train.feedback_notes(told), train.feedback_warnings(told))


def _telling(engine: Engine, setting: Setting) -> CallsSpam:
    """Return the function that serves, which tells how many of the messages it is given are behind it."""
    from spamctl.registry import recalibration

    def calls_spam(texts: Sequence[str]) -> list[bool]:
        called: list[bool] = setting.calls_spam(base.follow(recalibration.logits(engine, texts, "suites"))).tolist()
        return called

    return calls_spam


def _test_part(measured: Reference, origin: Origin) -> list[Message]:
    """Return the version's own test part, and warn if it is not all of the one that its training split off."""
    from spamctl.schema import message

    test = message.from_rows([row.text, row.label] for row in measured.rows if row.part == "test")
    if origin.test_sha256 and message.digest(test) != origin.test_sha256:
        base.warning(
            f"the test part is not the one that the training recorded, as after spamctl forget: before and after are "
            f"both measured on the {len(test):,} messages that are there"
        )
    return list(test)


def _known(origin: Origin, test: set[str]) -> Iterator[Message]:
    """Yield the messages of the training's datasets but those of the test part: what is like them was learnt."""
    from spamctl.data import corpus

    asked, usual = origin.params, corpus.CorpusRequest()
    unsure = "answers that it learnt from it may be fitted to"
    if "dataset" not in asked:
        base.warning(f"nobody wrote down which dataset the version was trained on: {unsure}")
        return
    try:
        found = corpus.read_datasets(
            corpus.CorpusRequest(
                asked.get("dataset", usual.dataset),
                asked.get("good", usual.good),
                asked.get("spam", usual.spam),
                text_column=asked.get("text_column", usual.text_column),
                label_column=asked.get("label_column", usual.label_column),
                spam_label=asked.get("spam_label", usual.spam_label),
                header=asked.get("header") != "False",  # MLflow keeps parameters as text
                encoding=asked.get("encoding", usual.encoding),
                bad_rows="skip" if asked.get("bad_rows") == "skip" else "refuse",
                spam_folder=asked.get("spam_folder", usual.spam_folder),
            ),
            may_ask=False,
        )
    except UsageError as error:
        base.warning(f"the dataset that the version was trained on cannot be read here ({error}): {unsure}")
        return
    if origin.tags.get("data.sha256") not in (None, found.sha256):
        base.warning(f"the dataset that the version was trained on has changed since: {unsure}")
    yield from (message for message in found.messages if message.text not in test)


if __name__ == "__main__":
    RecalibrateFlow()

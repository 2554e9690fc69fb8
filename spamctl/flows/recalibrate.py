"""Recalibrate: take a version's package and labelled answers, fit calibration and threshold, measure, and register."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaflow import card, current, step

from spamctl.config.models import COPIES
from spamctl.config.recalibrate import RecalibrateOptions
from spamctl.errors import UsageError
from spamctl.flows import base

if TYPE_CHECKING:
    from spamctl.message import Message
    from spamctl.model.engine import Engine
    from spamctl.model.recalibrated import Origin
    from spamctl.model.recalibration import Setting
    from spamctl.model.reference import Reference
    from spamctl.model.suites import CallsSpam

STEPS = {
    "start": ("read", "Read the version and the labelled answers"),
    "calibrate": ("calibrate", "Fit calibration and threshold"),
    "evaluate": ("evaluate", "Measure before and after"),
    "end": ("register", "Log and register"),
}
KEPT: tuple[str, ...] = ("began", "found", "origin_tags", "training_run", "test_sha256", "feedback", "recent")
KEPT += ("before", "after", "operating_point", "evaluation", "measured", "recent_probabilities", "suite_report")
KEPT += ("reach", "result")
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
        with self.part() as options:
            from spamctl.data import feedback, parts
            from spamctl.flows import feedback as labelled
            from spamctl.model import artefact, journal, recalibrated, recalibration, reference, tracking, versions

            tracking.require_reachable(tracking.tracking_uri())
            found = versions.fetch(options.model_name, options.model_version, COPIES.absolute())
            measured = reference.fetch(found)
            with tracking.open_tracking(tracking.tracking_uri()) as client:
                origin = recalibrated.origin(client, found.name, found.version)
            base.note(f"{found.name} version {found.version}, measured on {len(measured.rows):,} messages")
            gone = labelled.tombstones(options)
            test = [message for message in _test_part(measured, origin) if not gone.hold(message.text)]
            frozen = parts.Split(tuple(_known(origin, {one.text for one in test})), (), tuple(test))
            answers = labelled.read(options, frozen, gone, origin.learnt_until)
            fitted = [answer.message for answer in (*answers.parts.train, *answers.parts.validation)]
            recalibration.require_enough(fitted, answers.told["store"], answers.because)
            told = {name: value for name, value in answers.told.items() if name not in {"train", "validation"}}
            self.feedback = told | {"fitted": feedback.balance([*answers.parts.train, *answers.parts.validation])}
            self._tell()
            self.test, self.fitted = parts.to_rows(test), parts.to_rows(fitted)
            self.recent = parts.to_rows(answer.message for answer in answers.parts.recent)
            self.test_sha256 = parts.digest(test)
            self.found, self.files = asdict(found), artefact.read(Path(found.folder))
            self.origin_tags, self.training_run = dict(origin.tags), origin.run_id
            self.knows_today = origin.knows_today
            self.mlflow_run = journal.begin(
                options.experiment, recalibrated.opening(options.recorded(), self._values())
            )
        self.next(self.calibrate)

    @step
    def calibrate(self) -> None:
        """Fit calibration and threshold to the answers, in the scores of the engine that serves."""
        with self.part() as options:
            from spamctl.data import parts
            from spamctl.model import recalibrated, recalibration

            answers = parts.from_rows(self.fitted)
            about = recalibrated.about(self.found["version"], self.feedback)
            made = base.follow(recalibration.recalibrate(self.files, answers, options.max_false_positive_rate, about))
            base.tell(made.point.notes, filter(None, [recalibration.unproven(made.point, answers)]))
            self.files, self.operating_point = made.files, made.point.as_dict()
            self.before, self.after = made.before.as_dict(), made.after.as_dict()
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Score the package on the test part and on the recent answers, and say what it made of them before."""
        with self.part() as options:
            from spamctl.data import parts
            from spamctl.data import suites as written
            from spamctl.model import artefact, evaluation, recalibration, scratch, suites
            from spamctl.model.engine import Engine

            before, after = recalibration.Setting(**self.before), recalibration.Setting(**self.after)
            told: dict[str, Any] = {}
            reach: dict[str, Any] = {}
            with scratch.folder() as place:
                engine = Engine(artefact.write(self.files, place))
                found = base.follow(evaluation.evaluate(engine, parts.from_rows(self.test), seed=options.seed))
                for part, rows in (("recent", self.recent), ("test", self.test)):
                    messages = parts.from_rows(rows)
                    raw = base.follow(recalibration.logits(engine, [one.text for one in messages], PARTS[part]))
                    truth = [message.is_spam for message in messages]
                    told |= {part: recalibration.beside(truth, raw, before, after)} if rows else {}
                    reach |= {part: recalibration.out_of_reach(engine, messages, raw)} if rows else {}
                    if part == "recent":
                        self.recent_probabilities: list[float] = engine.probabilities(raw).tolist()
                if options.suites != "none":
                    wanted = written.read_suites(options.must_deliver, options.must_catch)
                    report = suites.check(wanted, _telling(engine, after), seed=options.seed)
                    decide = suites.deciding(report, options.suites, knows_today=self.knows_today)
                    self.suite_report = report.as_dict() | {"deciding": list(decide)}
            self.measured = {"champion": self.found["version"], "parts": told}
            self.reach = {part: counts for part, counts in reach.items() if counts}
            self.evaluation = asdict(found)
            base.tell(found.score["notes"])
        self.next(self.end)

    @card(type="html", id="recalibration", options={"attribute": "recalibration_html"})
    @step
    def end(self) -> None:
        """Log the run; register the package if it passes the gate, and let it lead if it is better."""
        with self.part() as options:
            from spamctl.data import parts
            from spamctl.model import gate, journal, promotion, recalibrated, tracking, versions
            from spamctl.reports import recalibration

            parts.require_frozen(parts.from_rows(self.test), self.test_sha256)
            answer = gate.judge(self.evaluation["score"], options.accuracy_threshold, options.gate)
            self.result = recalibrated.summary(options.recorded(), self._values(), answer)
            uri, run_id = tracking.tracking_uri(), self.mlflow_run
            with tracking.open_tracking(uri) as client:
                noted = recalibrated.record(options.recorded(), self._values())
                journal.close_run(client, run_id, noted)
                if answer.passed:
                    candidate = promotion.Candidate(options.model_name, run_id, self.files, noted.tags)
                    self.result |= promotion.admit(client, candidate, self._values(), options.max_false_positive_rate)
                    versions.leave_copy(options.model_name, COPIES.absolute())
            where = {"tracking_uri": tracking.shown(uri), "experiment": options.experiment}
            self.result["mlflow"] = where | {"run_id": run_id}
            self.recalibration_html = recalibration.page(self.result)
        base.result("recalibrate", self.result | {"seconds": self.seconds, "peak_memory": self.peak_memory})

    def part(self) -> AbstractContextManager[RecalibrateOptions]:
        """Announce this step, give its options, and keep how many seconds it took."""
        return base.timed_step(self, RecalibrateOptions, STEPS)

    def _values(self) -> dict[str, Any]:
        """Return what the steps so far have left, by name."""
        kept = {name: getattr(self, name) for name in KEPT if hasattr(self, name)}
        return kept | {"parts": {"test": self.test}, "run_id": current.run_id}

    def _tell(self) -> None:
        """Report which answers are fitted to, which are held out, and which are left out."""
        from spamctl.reports import feedback

        base.tell(feedback.notes(self.feedback), feedback.warnings(self.feedback))


def _telling(engine: Engine, setting: Setting) -> CallsSpam:
    """Return the function that serves, which tells how many of the messages it is given are behind it."""
    from spamctl.model import recalibration

    def calls_spam(texts: Sequence[str]) -> list[bool]:
        called: list[bool] = setting.calls_spam(base.follow(recalibration.logits(engine, texts, "suites"))).tolist()
        return called

    return calls_spam


def _test_part(measured: Reference, origin: Origin) -> list[Message]:
    """Return the version's own test part, and warn if it is not all of the one that its training split off."""
    from spamctl.data import parts

    test = parts.from_rows([row.text, row.label] for row in measured.rows if row.part == "test")
    if origin.test_sha256 and parts.digest(test) != origin.test_sha256:
        base.warning(
            f"the test part is not the one that the training recorded, as after spamctl forget: before and after are "
            f"both measured on the {len(test):,} messages that are there"
        )
    return list(test)


def _known(origin: Origin, test: set[str]) -> Iterator[Message]:
    """Yield the messages of the training's datasets but those of the test part: what is like them was learnt."""
    from spamctl.data import corpus, datasets

    asked: dict[str, Any] = {name: value for name, value in origin.params.items() if name in _OF_DATASETS}
    unsure = "answers that it learnt from it may be fitted to"
    if "dataset" not in asked:
        base.warning(f"nobody wrote down which dataset the version was trained on: {unsure}")
        return
    try:
        found = datasets.read_datasets(
            corpus.CorpusRequest(**asked | {"header": asked.get("header") != "False"}), may_ask=False
        )
    except UsageError as error:
        base.warning(f"the dataset that the version was trained on cannot be read here ({error}): {unsure}")
        return
    if origin.tags.get("data.sha256") not in (None, found.sha256):
        base.warning(f"the dataset that the version was trained on has changed since: {unsure}")
    yield from (message for message in found.messages if message.text not in test)


if __name__ == "__main__":
    RecalibrateFlow()

"""Train: read, choose depth, fine-tune, package, evaluate, and register, or refuse."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from metaflow import card, current, step

from spamctl.config.models import COPIES
from spamctl.config.train import TrainOptions
from spamctl.errors import UsageError
from spamctl.flows import base
from spamctl.message import SPAM

if TYPE_CHECKING:
    from spamctl.message import Message
    from spamctl.model.journal import Live
    from spamctl.model.packaging import Validation
    from spamctl.model.workbench import Workbench
    from spamctl.reports.live import LossCard

STEPS = {
    "start": ("read", "Read, clean and split the messages"),
    "choose_depth": ("depth", "Choose how many blocks to keep"),
    "fine_tune": ("tune", "Fine-tune"),
    "package": ("package", "Export and quantise"),
    "evaluate": ("evaluate", "Measure on the test part"),
    "register": ("register", "Log and register"),
}

PARTS = ("train", "validation", "test")
KEPT: tuple[str, ...] = (
    "baseline",
    "blocks",
    "chosen_depth",
    "chosen_engine",
    "chosen_model",
    "corpus",
    "depth_scores",
)
KEPT += ("engine_distances", "evaluation", "feedback", "leakage", "losses", "operating_point", "parts", "recent")
KEPT += ("reach", "recent_probabilities", "result", "kinds", "suite_report", "unseen", "held_out_kinds")


class TrainFlow(base.VerbFlow):
    """Flow that trains and registers a spam filter; steps pass plain values or bytes."""

    locals().update(base.parameters(TrainOptions))

    @step
    def start(self) -> None:
        """Read and split the messages, and see that the tracking server answers before minutes are spent."""
        self.began, self.peak_memory = time.time(), 0
        self.seconds: dict[str, float] = {}
        with self.part() as options:
            from spamctl.data import corpus, datasets, duplicates, families, parts, split
            from spamctl.flows import feedback
            from spamctl.model.tracking import require_reachable, tracking_uri

            _refuse_to_forget_feedback()
            require_reachable(tracking_uri())
            asked = {name: getattr(options, name) for name in corpus.CorpusRequest.__slots__}
            found = datasets.read_datasets(corpus.CorpusRequest(**asked))
            base.tell([f"messages from {found.origin}", *found.notes], found.warnings)
            kept, unseen = families.hold_out(found.messages, options.hold_out_kinds)
            self.held_out, self.held_out_traits = parts.to_rows(unseen), parts.to_traits(unseen)
            lesson = feedback.prepare(options, split.split(kept, options.balance))
            base.tell(lesson.notes, lesson.warnings)
            divided, self.recent, self.feedback = lesson.parts, lesson.recent, lesson.told
            self.weights = lesson.weights
            self.leakage = duplicates.leakage(divided)
            self.corpus = {"origin": found.origin, "sha256": found.sha256, "test_sha256": lesson.frozen_sha256}
            self.corpus |= {"feedback_sha256": lesson.told["sha256"]} if "sha256" in lesson.told else {}
            parts.require_frozen(divided.test, lesson.frozen_sha256)
            self.parts = {name: parts.to_rows(getattr(divided, name)) for name in PARTS}
            self.traits = {name: parts.to_traits(getattr(divided, name)) for name in PARTS}
        self.next(self.choose_depth)

    @card(type="html", id="depth", options={"attribute": "depth_html"})
    @step
    def choose_depth(self) -> None:
        """Find the base model, and how many of its blocks are worth keeping."""
        with self.part() as options:
            from spamctl.model import backbone, depth, journal, record
            from spamctl.reports import cards, plots

            found = backbone.find_base_model(options.base_model, options.fallback_base_model)
            if found.is_fallback:
                base.warning(f"FALLBACK: {found.requested} was not available, {found.name} is used instead")
            self.chosen_model = {"name": found.name, "requested": found.requested, "origin": found.origin}
            bench = self._workbench(options)
            self.blocks = bench.trunk.depth
            # As soon as nothing that was asked for can be refused any more.
            begun = record.opening(
                options.recorded(),
                self._values() | {"began": self.began, "origin_run_id": str(current.origin_run_id or "")},
            )
            self.mlflow_run = journal.begin(options.experiment, begun)
            self.depth_scores: list[dict[str, float]] = []
            self.more_pictures: dict[str, bytes] = {}
            if options.depth != "auto":
                self.chosen_depth = depth.fixed_depth(options.depth, self.blocks)
                self.depth_html = cards.fixed_depth_page(
                    depth=self.chosen_depth, blocks=self.blocks, base_model=found.name
                )
            else:
                rows = [row.ids for row in bench.tokenize(self.parts["train"])]
                truth, dtype, groups = self._truth("train"), bench.dtype, self._families()
                choice = base.follow(
                    depth.find_depth(bench.trunk, rows, truth, dtype=dtype, seed=options.seed, groups=groups)
                )
                self.chosen_depth = choice.depth
                self.depth_scores = [asdict(score) for score in choice.scores]
                known = {"chosen": choice.depth, "floor": choice.floor, "of": self.blocks}
                plot = plots.accuracy_by_depth(self.depth_scores, rows=choice.rows, **known)
                self.more_pictures = {"accuracy_by_depth": plot}
                self.depth_html = cards.depth_page(plot, scores=self.depth_scores, base_model=found.name, **known)
        self.next(self.fine_tune)

    @card(type="blank", id="loss", refresh_interval=2)
    @step
    def fine_tune(self) -> None:
        """Train the weights that learn; the frozen blocks run once."""
        with self.part() as options:
            from spamctl.data import parts
            from spamctl.model import checkpoint, journal, loop, tuning
            from spamctl.reports import plots
            from spamctl.reports.live import LossCard

            bench = self._workbench(options)
            stopping = tuning.thinned(self.parts["validation"])
            train, validation = ([row.ids for row in bench.tokenize(rows)] for rows in (self.parts["train"], stopping))
            truth = tuning.thinned(self._truth("validation"))
            lesson = tuning.Lesson(train, self._truth("train"), validation, truth, self.weights, self._families())
            plan = loop.Plan(**{name: getattr(options, name) for name in loop.Plan.__slots__ if hasattr(options, name)})
            recipe = tuning.Recipe(options.tune, options.lora_rank, plan, bench.dtype)
            learnt_from = [parts.digest(parts.from_rows(self.parts[part])) for part in ("train", "validation")]
            checkpoints = checkpoint.Checkpoints(
                checkpoint.folder_of(options.recorded(), self.corpus, learnt_from, self.chosen_model, self.chosen_depth)
            )
            chart = LossCard(current.card["loss"], steps=plan.steps(len(train)))
            training = tuning.tune(bench.classifier(self.chosen_depth, options.head_units), lesson, recipe, checkpoints)
            with journal.live(self.mlflow_run) as told:
                self.learnt, history = base.follow(training, lambda tick: _show(tick, chart, told))
            chart.draw()
            base.tell([], [f"MLflow took no more losses while training: {told.fault}"] if told.fault else [])
            self.losses = {"training": history.training, "validation": history.validation}
            self.unseen_logits = history.unseen
            epoch, sizes = plan.steps_per_epoch(len(train)), (len(train), len(validation))
            self.more_pictures |= {"loss_curve": plots.loss_curve(**self.losses, steps_per_epoch=epoch, rows=sizes)}
            checkpoints.clear()
        self.next(self.package)

    @step
    def package(self) -> None:
        """Export the model, make it small if that keeps its scores, calibrate it, and choose its threshold."""
        with self.part() as options:
            from spamctl.model import packaging, record, tuning

            bench = self._workbench(options)
            bench.learn_words(self.parts["train"])
            classifier = bench.classifier(self.chosen_depth, options.head_units)
            tuning.restore(classifier, options.tune, options.lora_rank, self.learnt)
            package = base.follow(
                packaging.package(
                    classifier,
                    bench.tokenizer,
                    [row.ids for row in bench.tokenize(self.parts["train"])],
                    self._validation(bench, options),
                    packaging.Wish(
                        options.engine, options.int8_tolerance, options.max_false_positive_rate, options.seed
                    ),
                    record.about(options.recorded(), self._values()),
                )
            )
            base.tell(package.point.notes, package.warnings)
            self.files, self.chosen_engine, self.operating_point = (
                package.files,
                package.engine,
                package.point.as_dict(),
            )
            self.reach = package.reach.as_dict() if package.reach else {}
            self.engine_distances = {name: asdict(distance) for name, distance in package.distances.items()}
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Score the package on the untouched test part, prove that batching changes nothing, and measure a baseline."""
        with self.part() as options:
            from spamctl.data import datasets, parts
            from spamctl.data import suites as written
            from spamctl.data.everyday import EVERYDAY
            from spamctl.model import artefact, baseline, evaluation, kinds, scratch, suites, unseen
            from spamctl.model.engine import Engine

            train, validation, test = map(self._messages, PARTS)
            with scratch.folder() as place:
                engine = Engine(artefact.write(self.files, place))
                found = base.follow(evaluation.evaluate(engine, test, seed=options.seed))
                self.recent_probabilities = evaluation.probabilities(engine, [text for text, _ in self.recent])
                self.held_out_kinds = kinds.held_out(parts.from_rows(self.held_out, self.held_out_traits), engine)
                if options.suites != "none":
                    wanted = written.read_suites(options.must_deliver, options.must_catch)
                    report = suites.check(wanted, engine.calls_spam, seed=options.seed)
                    knows_today = EVERYDAY in datasets.names(options.dataset) and not options.hold_out_kinds
                    decide = suites.deciding(report, options.suites, knows_today=knows_today)
                    self.suite_report = report.as_dict() | {"deciding": list(decide)}
            self.evaluation = asdict(found)
            self.baseline = baseline.measure(
                train, validation, test, options.max_false_positive_rate, seed=options.seed, weights=self.weights
            )
            self.kinds = kinds.side_by_side(test, {"model": self.evaluation, "baseline": self.baseline})
            if self.unseen_logits:
                measured = unseen.measure(train, self.unseen_logits, seed=options.seed)
                self.unseen = [score.as_dict() for score in measured]
            base.tell([*found.score["notes"], *self.baseline["notes"]])
        self.next(self.register)

    @card(type="html", id="evaluation", options={"attribute": "evaluation_html"})
    @step
    def register(self) -> None:
        """Log the run; register the package if it passes the gate."""
        with self.part() as options:
            from spamctl.data import parts
            from spamctl.model import gate, journal, promotion, record, tracking, versions
            from spamctl.reports import cards, plots

            parts.require_frozen(parts.from_rows(self.parts["test"]), self.corpus["test_sha256"])
            score, wanted = self.evaluation["score"], options.recorded()
            answer = gate.judge(score, options.accuracy_threshold, options.gate)
            self.result = record.summary(wanted, self._values(), answer)
            pictures = plots.evaluation_plots(
                self.evaluation["probabilities"],
                self._truth("test"),
                score=score,
                baseline=self.baseline["score"]["metrics"],
                budget=options.max_false_positive_rate,
            )
            pictures |= self.more_pictures
            uri = tracking.tracking_uri()
            with tracking.open_tracking(uri) as client:
                noted = record.record(wanted, self._values(), pictures)
                run_id = self.mlflow_run
                journal.close_run(client, run_id, noted)
                if answer.passed:
                    candidate = promotion.Candidate(options.model_name, run_id, self.files, noted.tags)
                    self.result |= promotion.admit(client, candidate, self._values(), options.max_false_positive_rate)
                    versions.leave_copy(options.model_name, COPIES.absolute())
            where = {"tracking_uri": tracking.shown(uri), "experiment": options.experiment}
            self.result["mlflow"] = where | {"run_id": run_id}
            self.evaluation_html = cards.evaluation_page(
                self.result, plots=pictures, slices=self.evaluation["slices"], mistakes=self.evaluation["mistakes"]
            )
        self.next(self.end)

    @step
    def end(self) -> None:
        """Emit the result."""
        spent = dict(self.seconds)
        if current.origin_run_id is None:  # a resumed run was idle in between
            spent["starting steps, drawing cards"] = time.time() - self.began - sum(spent.values())
        base.result("train", self.result | {"seconds": spent, "peak_memory": self.peak_memory})

    def part(self) -> AbstractContextManager[TrainOptions]:
        """Announce this step, give its options, and keep how many seconds it took."""
        return base.timed_step(self, TrainOptions, STEPS)

    def _values(self) -> dict[str, Any]:
        """Return what the steps so far have left, by name."""
        return {name: getattr(self, name) for name in KEPT if hasattr(self, name)} | {"run_id": current.run_id}

    def _messages(self, part: str) -> tuple[Message, ...]:
        """Return the messages of a part with all that is known of them."""
        from spamctl.data import parts

        return parts.from_rows(self.parts[part], self.traits[part])

    def _families(self) -> list[str]:
        """Return what each training row must share a fold with; nothing where no kinds are known."""
        from spamctl.data import families

        train = self._messages("train")
        return families.groups(train) if any(message.traits.family for message in train) else []

    def _validation(self, bench: Workbench, options: TrainOptions) -> Validation:
        """Return what chooses engine, calibration and threshold, and the second expert beside the language model."""
        from spamctl.model import linear_expert, packaging

        messages = self._messages("validation")
        found = packaging.Validation(
            bench.tokenize(self.parts["validation"]),
            self._truth("validation"),
            [message.traits.medium for message in messages],
        )
        if options.second_expert == "none":
            return found
        texts = [message.text for message in messages]
        return linear_expert.beside(found, self._messages("train"), texts, self.weights)

    def _truth(self, part: str) -> list[bool]:
        return [label == SPAM for _, label in self.parts[part]]

    def _workbench(self, options: TrainOptions) -> Workbench:
        """Load the base model that the run settled on; each step does, for it may run on another machine."""
        from spamctl.model import backbone, workbench

        return workbench.open_workbench(
            backbone.find_base_model(self.chosen_model["name"], "none"),
            max_tokens=options.max_tokens,
            device=options.device,
            threads=options.threads,
            precision=options.frozen_precision,
        )


def _refuse_to_forget_feedback() -> None:
    """Refuse to read the messages in a run that goes on: the stores' addresses are no parameters of the first one."""
    if current.origin_run_id is not None:
        raise UsageError("--resume: the run had not read its messages yet; start over with its options")


def _show(tick: Any, *charts: LossCard | Live) -> None:
    """Draw a tick of fine-tuning, and tell what is worth a line."""
    for chart in charts:
        chart.watch(tick)
    if progress := getattr(tick, "progress", None):
        base.tell(filter(None, [progress.note]), filter(None, [progress.warning]))
        if progress.validation_loss is not None:
            base.metric("validation loss", progress.validation_loss, epoch=progress.epoch)


if __name__ == "__main__":
    TrainFlow()

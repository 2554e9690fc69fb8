"""Train: read, choose depth, fine-tune, package, evaluate, and register, or refuse."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from metaflow import card, current, step

from spamctl.config.options import COPIES
from spamctl.config.train import TrainOptions
from spamctl.errors import UsageError
from spamctl.flows import base
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.evaluation import SuiteReport
from spamctl.schema.message import SPAM
from spamctl.schema.train import (
    ChosenModel,
    CorpusSource,
    Depth,
    Losses,
    PartRows,
    TrainFindings,
    TrainSettings,
    TrainStart,
)
from spamctl.schema.version import MlflowRun

if TYPE_CHECKING:
    from spamctl.export.package import Validation
    from spamctl.progress import ProgressGenerator
    from spamctl.registry.promotion import Evidence
    from spamctl.registry.runs import Live
    from spamctl.reports.train_cards import LossCard
    from spamctl.schema.message import Message
    from spamctl.training.fine_tune import History, TrainingSet, Workbench
    from spamctl.training.loop import Checkpoints, TrainingConfig

STEPS = {
    "start": ("read", "Read, clean and split the messages"),
    "choose_depth": ("depth", "Choose how many blocks to keep"),
    "fine_tune": ("tune", "Fine-tune"),
    "package": ("package", "Export and quantise"),
    "evaluate": ("evaluate", "Measure on the test part"),
    "register": ("register", "Log and register"),
}


class TrainFlow(base.VerbFlow):
    """Flow that trains and registers a spam filter; steps pass plain values or bytes, as `to_json` writes them."""

    locals().update(base.parameters(TrainOptions))

    @step
    def start(self) -> None:
        """Read and split the messages, and see that the tracking server answers before minutes are spent."""
        self.began, self.peak_memory = time.time(), 0
        self.seconds: dict[str, float] = {}
        self.unseen_logits: list[float] = []
        self.suite_report, self.unseen = to_json(SuiteReport()), to_json(())
        with self.part() as options:
            from spamctl.data import cleaning, split
            from spamctl.flows import feedback
            from spamctl.registry.tracking import require_reachable, tracking_uri
            from spamctl.schema import message

            _refuse_to_forget_feedback()
            require_reachable(tracking_uri())
            found = base.read_datasets(options)
            kept, unseen = split.hold_out_families(found.messages, options.hold_out_kinds)
            self.held_out, self.held_out_traits = message.to_rows(unseen), message.to_traits(unseen)
            lesson = feedback.prepare(options, split.split(kept, options.balance))
            base.tell(lesson.notes, lesson.warnings)
            divided, self.recent, self.feedback = lesson.parts, lesson.recent, lesson.told
            self.weights = lesson.weights
            self.leakage = to_json(cleaning.leakage(divided))
            self.corpus = to_json(
                CorpusSource(found.origin, found.sha256, lesson.frozen_sha256, lesson.told.get("sha256", ""))
            )
            message.require_frozen(divided.test, lesson.frozen_sha256)
            named = {"train": divided.train, "validation": divided.validation, "test": divided.test}
            self.parts = {name: message.to_rows(messages) for name, messages in named.items()}
            self.traits = {name: message.to_traits(messages) for name, messages in named.items()}
        self.next(self.choose_depth)

    @card(type="html", id="depth", options={"attribute": "depth_html"})
    @step
    def choose_depth(self) -> None:
        """Find the base model, and how many of its blocks are worth keeping."""
        with self.part() as options:
            from spamctl.registry import records
            from spamctl.registry import runs as journal
            from spamctl.reports import train as facts
            from spamctl.reports import train_cards, train_plots
            from spamctl.training import base_model, features
            from spamctl.training.fine_tune import choose_tune

            self.chosen_tune = choose_tune(options.tune, self._families())
            found = base_model.find_base_model(options.base_model, options.fallback_base_model)
            if found.is_fallback:
                base.warning(facts.fallback_warning(found.requested, found.name, "is"))
            self.chosen_model = to_json(ChosenModel(found.name, found.requested, found.origin))
            bench = self._workbench(options)
            self.blocks = bench.trunk.depth
            # As soon as nothing that was asked for can be refused any more.
            self.mlflow_run = journal.begin_run(
                options.experiment, records.opening(_settings(options, self.chosen_tune), self._start())
            )
            self.depth_scores: list[Any] = []
            self.more_pictures: dict[str, bytes] = {}
            if options.depth != "auto":
                self.chosen_depth = features.fixed_depth(options.depth, self.blocks)
                self.depth_html = train_cards.fixed_depth_page(
                    depth=self.chosen_depth, blocks=self.blocks, base_model=found.name
                )
            else:
                rows = [row.ids for row in bench.tokenize(self._rows().train)]
                truth, dtype, groups = self._truth("train"), bench.dtype, self._families()
                choice = base.follow(
                    features.find_depth(bench.trunk, rows, truth, dtype=dtype, seed=options.seed, groups=groups)
                )
                self.chosen_depth = choice.depth
                self.depth_scores = to_json(choice.scores)
                known = {"chosen": choice.depth, "floor": choice.floor, "of": self.blocks}
                plot = train_plots.accuracy_by_depth(choice.scores, rows=choice.rows, **known)
                self.more_pictures = {"accuracy_by_depth": plot}
                self.depth_html = train_cards.depth_page(plot, scores=choice.scores, base_model=found.name, **known)
        self.next(self.fine_tune)

    @card(type="blank", id="loss", refresh_interval=2)
    @step
    def fine_tune(self) -> None:
        """Train the weights that learn; the frozen blocks run once."""
        with self.part() as options:
            from spamctl.registry.runs import live_run
            from spamctl.reports import train_plots
            from spamctl.reports.train_cards import LossCard
            from spamctl.schema import message
            from spamctl.training import fine_tune as tuning
            from spamctl.training import loop

            # Several processes have a model, and a GPU, each of their own.
            bench = self._workbench(options if options.processes == 1 else replace(options, device="cpu"))
            rows = self._rows()
            stopping = tuning.thinned(rows.validation)
            train, validation = ([row.ids for row in bench.tokenize(part)] for part in (rows.train, stopping))
            truths = self._truth("train"), tuning.thinned(self._truth("validation"))
            lesson = tuning.TrainingSet(train, truths[0], validation, truths[1], self.weights, self._families())
            plan = _plan(options)
            learnt_from = [message.digest(message.from_rows(part)) for part in (rows.train, rows.validation)]
            checkpoints = loop.Checkpoints(
                loop.checkpoint_folder(
                    options.recorded(), self.corpus, learnt_from, self.chosen_model, self.chosen_depth
                )
            )
            chart = LossCard(current.card["loss"], steps=plan.steps(len(train)))
            training = self._tuning(options, bench, lesson, checkpoints)
            with live_run(self.mlflow_run) as told:
                self.learnt, history = base.follow(training, lambda tick: _show(tick, chart, told))
            chart.draw()
            base.tell([], [f"MLflow took no more losses while training: {told.fault}"] if told.fault else [])
            self.losses = to_json(Losses(history.training, history.validation))
            self.unseen_logits = history.unseen
            epoch, sizes = plan.steps_per_epoch(len(train)), (len(train), len(validation))
            curve = train_plots.loss_curve(history.training, history.validation, steps_per_epoch=epoch, rows=sizes)
            self.more_pictures |= {"loss_curve": curve}
            checkpoints.clear()
        self.next(self.package)

    @step
    def package(self) -> None:
        """Export the model, make it small if that keeps its scores, calibrate it, and choose its threshold."""
        with self.part() as options:
            from spamctl.export import package as packaging
            from spamctl.registry import records
            from spamctl.training.fine_tune import restore

            bench = self._workbench(options)
            rows, settings = self._rows(), _settings(options, self.chosen_tune)
            bench.learn_words(rows.train)
            classifier = bench.classifier(self.chosen_depth, options.head_units)
            restore(classifier, self.chosen_tune, options.lora_rank, self.learnt)
            package = base.follow(
                packaging.package(
                    classifier,
                    bench.tokenizer,
                    [row.ids for row in bench.tokenize(rows.train)],
                    self._validation(bench, options),
                    packaging.PackageRequest(
                        options.engine,
                        options.int8_tolerance,
                        options.max_false_positive_rate,
                        options.seed,
                        self.learnt_in_int8,
                    ),
                    records.about(settings, self._start().base_model, self._start().corpus, self._depth()),
                )
            )
            base.tell(package.point.notes, package.warnings)
            self.files, self.chosen_engine = package.files, package.engine
            self.operating_point, self.reach = to_json(package.point), to_json(package.summary.reach)
            self.engine_distances = to_json(package.distances)
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Score the package on the untouched test part, prove that batching changes nothing, and measure a baseline."""
        with self.part() as options:
            from spamctl import folders
            from spamctl.data import corpus
            from spamctl.data.bundled_sets import EVERYDAY, read_suites
            from spamctl.engine import manifest
            from spamctl.engine.engine import Engine
            from spamctl.metrics import baseline, evaluation
            from spamctl.schema import message
            from spamctl.training import linear_expert

            train, validation, test = map(self._messages, ("train", "validation", "test"))
            with folders.temporary_folder() as place:
                engine = Engine(manifest.write(self.files, place), in_bulk=True)
                found = base.follow(evaluation.evaluate(engine, test, seed=options.seed))
                self.recent_probabilities = evaluation.probabilities(engine, [text for text, _ in self.recent])
                unseen_messages = message.from_rows(self.held_out, self.held_out_traits)
                self.held_out_kinds = to_json(evaluation.held_out_kinds(unseen_messages, engine))
                if options.suites != "none":
                    wanted = read_suites(options.must_deliver, options.must_catch)
                    report = evaluation.check_suites(wanted, engine.calls_spam, seed=options.seed)
                    knows_today = EVERYDAY in corpus.dataset_names(options.dataset) and not options.hold_out_kinds
                    decide = evaluation.deciding_faults(report, options.suites, knows_today=knows_today)
                    self.suite_report = to_json(replace(report, deciding=decide))
            linear = baseline.measure(
                train, validation, test, options.max_false_positive_rate, seed=options.seed, weights=self.weights
            )
            self.evaluation, self.baseline = to_json(found), to_json(linear)
            self.kinds = to_json(evaluation.kinds_side_by_side(test, found, linear))
            if self.unseen_logits:
                self.unseen = to_json(linear_expert.measure_unseen(train, self.unseen_logits, seed=options.seed))
            base.tell([*found.score.notes, *linear.notes])
        self.next(self.register)

    @card(type="html", id="evaluation", options={"attribute": "evaluation_html"})
    @step
    def register(self) -> None:
        """Log the run; register the package if it passes the gate."""
        with self.part() as options:
            from spamctl.registry import promotion, records, tracking, versions
            from spamctl.registry import runs as journal
            from spamctl.reports import train_cards, train_plots
            from spamctl.schema import message

            run, settings = self._findings(), _settings(options, self.chosen_tune)
            message.require_frozen(message.from_rows(run.start.parts.test), run.start.corpus.test_sha256)
            score = run.evaluation.score
            answer = promotion.apply_gate(score, options.accuracy_threshold, options.gate)
            result = records.summary(settings, run, answer)
            pictures = train_plots.evaluation_plots(
                run.evaluation.probabilities,
                self._truth("test"),
                score=score,
                baseline=run.baseline.score.metrics,
                budget=options.max_false_positive_rate,
            )
            pictures |= self.more_pictures
            uri, run_id = tracking.tracking_uri(), self.mlflow_run
            with tracking.open_tracking(uri) as client:
                noted = records.record(settings, run, result, pictures)
                journal.close_run(client, run_id, noted)
                if answer.passed:
                    candidate = promotion.Candidate(options.model_name, run_id, self.files, noted.tags)
                    evidence = _evidence(run, options.max_false_positive_rate)
                    result = promotion.noted(result, promotion.admit(client, candidate, evidence))
                    versions.leave_copy(options.model_name, COPIES.absolute())
            result = replace(result, mlflow=MlflowRun(tracking.shown(uri), options.experiment, run_id))
            self.result = to_json(result)
            self.evaluation_html = train_cards.evaluation_page(
                result, plots=pictures, slices=run.evaluation.slices, mistakes=run.evaluation.mistakes
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

    def _rows(self) -> PartRows:
        """Return the [text, label] rows of the three parts."""
        return PartRows(**self.parts)

    def _start(self) -> TrainStart:
        """Return what is known before anything is computed."""
        known = {"base_model": self.chosen_model, "corpus": self.corpus, "feedback": self.feedback}
        known |= {"parts": self.parts, "leakage": self.leakage, "began": self.began}
        runs = {"run_id": current.run_id, "origin_run_id": str(current.origin_run_id or "")}
        return from_json(TrainStart, known | runs)

    def _depth(self) -> Depth:
        """Return how many blocks are kept, and what each of them scored."""
        return from_json(Depth, {"chosen": self.chosen_depth, "blocks": self.blocks, "scores": self.depth_scores})

    def _findings(self) -> TrainFindings:
        """Return all that the steps so far have found."""
        package = {"engine": self.chosen_engine, "point": self.operating_point}
        package |= {"reach": self.reach, "distances": self.engine_distances}
        known = {"losses": self.losses, "evaluation": self.evaluation, "baseline": self.baseline, "kinds": self.kinds}
        known |= {"unseen": self.unseen, "held_out_kinds": self.held_out_kinds, "suites": self.suite_report}
        known |= {"recent": {"rows": self.recent, "probabilities": self.recent_probabilities}}
        known |= {"start": self._start(), "depth": self._depth(), "package": package}
        return from_json(TrainFindings, known)

    def _messages(self, part: str) -> tuple[Message, ...]:
        """Return the messages of a part with all that is known of them."""
        from spamctl.schema import message

        return message.from_rows(self.parts[part], self.traits[part])

    def _families(self) -> list[str]:
        """Return what each training row must share a fold with; nothing where no kinds are known."""
        from spamctl.data import split

        train = self._messages("train")
        return split.family_groups(train) if any(message.traits.family for message in train) else []

    def _validation(self, bench: Workbench, options: TrainOptions) -> Validation:
        """Return what chooses engine, calibration and threshold, and the second expert beside the language model."""
        from spamctl.export.package import Validation
        from spamctl.training import linear_expert

        messages = self._messages("validation")
        found = Validation(
            bench.tokenize(self._rows().validation),
            self._truth("validation"),
            [message.traits.medium for message in messages],
        )
        if options.second_expert == "none":
            return found
        texts = [message.text for message in messages]
        expert, margins = linear_expert.learn_expert(self._messages("train"), texts, self.weights)
        return replace(found, expert=expert, margins=margins)

    def _truth(self, part: str) -> list[bool]:
        return [label == SPAM for _, label in self.parts[part]]

    def _tuning(
        self, options: TrainOptions, bench: Workbench, lesson: TrainingSet, checkpoints: Checkpoints
    ) -> ProgressGenerator[tuple[bytes, History]]:
        """Return the fine-tuning, in this process or in several."""
        from spamctl.cores import cores
        from spamctl.training.fine_tune import Recipe, tune
        from spamctl.training.torchrun import TuneJob, tune_in_processes

        self.learnt_in_int8 = False
        if options.processes == 1:
            classifier = bench.classifier(self.chosen_depth, options.head_units)
            recipe = Recipe(self.chosen_tune, options.lora_rank, _plan(options), bench.dtype)
            if self._learns_from_int8(options, bench):
                from spamctl.export.package import features_in_int8

                features = features_in_int8(classifier, bench.tokenizer, lesson.train, options.seed)
                recipe, self.learnt_in_int8 = replace(recipe, features=features), features is not None
            return tune(classifier, lesson, recipe, checkpoints)
        job = TuneJob(
            base_model=from_json(ChosenModel, self.chosen_model).name,
            max_tokens=options.max_tokens,
            depth=self.chosen_depth,
            units=options.head_units,
            tune=self.chosen_tune,
            lora_rank=options.lora_rank,
            precision=options.frozen_precision,
            device=options.device,
            threads=max(1, (options.threads or cores()) // options.processes),
            checkpoints=str(checkpoints.folder.absolute()),
            plan=_plan(options),
            lesson=lesson,
            prompt=options.prompt_text(),
        )
        return tune_in_processes(job, options.processes)

    def _learns_from_int8(self, options: TrainOptions, bench: Workbench) -> bool:
        """Return whether a head alone is trained, for an engine that may be int8."""
        alone = self.chosen_tune == "head" and options.head_units > 0 and bench.device.type == "cpu"
        return alone and options.frozen_precision == "auto" and options.engine in ("auto", "int8")

    def _workbench(self, options: TrainOptions) -> Workbench:
        """Load the base model that the run settled on; each step does, for it may run on another machine."""
        from spamctl.training import base_model
        from spamctl.training import fine_tune as workbench

        return workbench.open_workbench(
            base_model.find_base_model(from_json(ChosenModel, self.chosen_model).name, "none"),
            max_tokens=options.max_tokens,
            device=options.device,
            threads=options.threads,
            precision=options.frozen_precision,
            prompt=options.prompt_text(),
        )


def _plan(options: TrainOptions) -> TrainingConfig:
    """Return the options that the training loop takes."""
    from spamctl.training.loop import TrainingConfig

    return TrainingConfig(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        patience=options.patience,
        seed=options.seed,
    )


def _evidence(run: TrainFindings, budget: float) -> Evidence:
    """Return what decides whether the new version leads."""
    from spamctl.registry.promotion import Evidence

    return Evidence.of(run.start.parts.test, run.evaluation, run.start.feedback, run.recent, run.suites, budget)


def _settings(options: TrainOptions, tune: str) -> TrainSettings:
    """Return the options that the record of a training tells apart, and which weights it trained."""
    return TrainSettings(
        model_name=options.model_name,
        dataset=options.dataset,
        tune=tune,
        max_false_positive_rate=options.max_false_positive_rate,
        seed=options.seed,
        recorded=options.recorded(),
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
        if progress.validation_loss is not None and progress.epoch:
            base.metric("validation loss", progress.validation_loss, epoch=progress.epoch)
        elif progress.validation_loss is not None:
            base.note(f"validation loss of the head as fitted: {progress.validation_loss:.4f}")


if __name__ == "__main__":
    TrainFlow()

"""Convert the findings of a training into its result, and into what MLflow and the package keep of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from spamctl import __version__
from spamctl.registry.registration import FEEDBACK_TAG, Record, git_commit
from spamctl.registry.runs import Opening
from spamctl.schema.codec import to_json
from spamctl.schema.evaluation import GroupScore, GroupScores, of_views
from spamctl.schema.rates import Rates
from spamctl.schema.train import (
    ChosenModel,
    CorpusSource,
    DataSizes,
    Depth,
    LabelledRows,
    LearntAnswers,
    NoAnswers,
    RecentRows,
    TrainFindings,
    TrainResult,
    TrainSettings,
    TrainStart,
    spam_rows,
)
from spamctl.schema.version import Gate, MetaflowRun

_DATASETS = {"sms-spam": "sms", "everyday": "everyday"}  # what a file of one's own is called is nobody's business
SHOWN = ("dataset", "medium", "language")  # of a table by kind, in a terminal; all views are among the files of a run


def about(settings: TrainSettings, base_model: ChosenModel, corpus: CorpusSource, depth: Depth) -> dict[str, object]:
    """Return what a package says of itself to people, as JSON: where it comes from, never whose messages."""
    return {
        "spamctl": __version__,
        "base_model": {key: without_folder(value) for key, value in to_json(base_model).items()},
        "fallback": base_model.is_fallback,
        "depth": depth.chosen,
        "blocks": depth.blocks,
        "tune": settings.tune,
        "dataset": {key: without_folder(value) for key, value in to_json(corpus).items() if value},
        "max_false_positive_rate": settings.max_false_positive_rate,
        "seed": settings.seed,
    }


def summary(settings: TrainSettings, run: TrainFindings, gate: Gate) -> TrainResult:
    """Return the result of a training before it is registered."""
    start, evaluation = run.start, run.evaluation
    return TrainResult(
        registered=gate.passed,
        reason=gate.reason,
        model_name=settings.model_name,
        gate=gate,
        base_model=start.base_model.name,
        wanted_base_model=start.base_model.requested,
        fallback=start.base_model.is_fallback,
        depth=run.depth.chosen,
        blocks=run.depth.blocks,
        tune=settings.tune,
        engine=run.package.engine,
        data=_sizes(start),
        threshold=run.package.point.threshold,
        scores=evaluation.score.metrics,
        baseline=run.baseline.score.metrics,
        reach={"validation": run.package.reach, "test": evaluation.reach} if run.package.reach.is_measured else {},
        parity=evaluation.parity,
        leakage=start.leakage,
        notes=(*run.package.point.notes, *evaluation.score.notes, *run.baseline.notes),
        kinds=GroupScores(_shown(run.kinds.model), _shown(run.kinds.baseline)),
        unseen=run.unseen,
        held_out_kinds=tuple(of_views(run.held_out_kinds, (*SHOWN, "held out"))),
        suites=run.suites,
        feedback=start.feedback,
        metaflow=MetaflowRun(start.run_id),
    )


def opening(settings: TrainSettings, start: TrainStart) -> Opening:
    """Return what a training's run in MLflow is called and described as when it begins."""
    base_model, dataset = without_folder(start.base_model.name), without_folder(settings.dataset)
    told = start.feedback
    learnt = f" and labelled answers from {without_folder(told.store)}" if isinstance(told, LearntAnswers) else ""
    rows = {"train": start.parts.train, "validation": start.parts.validation, "test": start.parts.test}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in rows.items())
    return Opening(
        name=f"{settings.model_name}: {base_model} on {dataset}{' + feedback' if learnt else ''}",
        description=(
            f"Training of the spam filter {settings.model_name}: {base_model}, {settings.tune} tuned, on "
            f"{without_folder(start.corpus.origin)}{learnt} ({sizes} messages). Metaflow run {start.run_id}."
        ),
        began=start.began,
        metaflow_runs=(start.run_id, start.origin_run_id),
        params=settings.recorded,
        tags={"spamctl.version": __version__, "mlflow.source.git.commit": git_commit()},
    )


def record(settings: TrainSettings, run: TrainFindings, result: TrainResult, pictures: Mapping[str, bytes]) -> Record:
    """Return what a training leaves in MLflow."""
    scores, corpus = run.evaluation.score.metrics, run.start.corpus
    blocks = {f"block_{score.block:02d}_log_loss": score.log_loss for score in run.depth.scores}
    names = (_DATASETS.get(name.strip(), "own file") for name in settings.dataset.split(","))
    return Record(
        params={
            **settings.recorded,
            "used_base_model": result.base_model,
            "used_depth": result.depth,
            "used_engine": result.engine,
        },
        metrics={
            **metrics_of(scores, "test"),
            **values_of(run.baseline.score.metrics, "baseline"),
            "threshold": result.threshold,
            **blocks,
        },
        curves={"train_loss": run.losses.training, "validation_loss": run.losses.validation},
        tags=tags(run, result),
        files={**{f"plots/{name}.png": picture for name, picture in pictures.items()}, **_files(run, result)},
        dataset=(" and ".join(dict.fromkeys(names)), corpus.origin, corpus.sha256),
    )


def _files(run: TrainFindings, result: TrainResult) -> dict[str, bytes]:
    """Return the files of a run that say how it was measured, by path."""
    told: dict[str, object] = {
        "score": run.evaluation.score,
        "baseline": {key: value for key, value in to_json(run.baseline).items() if key != "probabilities"},
        "test_part": test_part(run.start.parts.test, run.evaluation.probabilities, run.recent),
        "parity": run.evaluation.parity,
        "engines": run.package.distances,
    }
    told |= {"kinds": run.kinds} if run.kinds.model else {}
    told |= {"unseen": run.unseen} if run.unseen else {}
    told |= {"held_out_kinds": run.held_out_kinds} if run.held_out_kinds else {}
    told |= {"suite_report": run.suites} if run.suites.lines else {}
    told |= {"reach": result.reach} if result.reach else {}
    return {f"evaluation/{name}.json": json_file(value) for name, value in told.items()}


def metrics_of(rates: Rates, part: str) -> dict[str, float]:
    """Return the metrics of a part and the ends of their intervals, as MLflow names them."""
    told = to_json(rates)
    bounds = {f"{part}_{name}_{end}": one[end] for name, one in told.items() for end in ("low", "high")}
    return values_of(rates, part) | bounds


def values_of(rates: object, part: str, after: str = "") -> dict[str, float]:
    """Return the values of all rates of a part, as MLflow names them."""
    return {f"{part}_{name}{after}": rate["value"] for name, rate in to_json(rates).items()}


def test_part(test: LabelledRows, probabilities: Sequence[float], recent: RecentRows) -> list[dict[str, str | float]]:
    """Return each test message with its truth and the model's probability: the reference of what comes later.

    After feedback the recent rows join it, each row saying which part it is of: what was learnt is no drift any more.
    """
    rows = _scored(test, probabilities)
    if not recent.rows:
        return rows
    newest = _scored(recent.rows, recent.probabilities)
    return [row | {"part": "test"} for row in rows] + [row | {"part": "recent"} for row in newest]


def _scored(rows: LabelledRows, probabilities: Sequence[float]) -> list[dict[str, str | float]]:
    return [
        {"text": text, "label": label, "probability": probability}
        for (text, label), probability in zip(rows, probabilities, strict=True)
    ]


def tags(run: TrainFindings, result: TrainResult) -> dict[str, str]:
    """Return what a run and a model version are tagged with."""
    corpus, base_model = run.start.corpus, run.start.base_model
    beaten = run.baseline.score.metrics.roc_auc.value > run.evaluation.score.metrics.roc_auc.value
    return {
        "spamctl.version": __version__,
        "mlflow.source.git.commit": git_commit(),
        "metaflow.run_id": run.start.run_id,
        "base_model": without_folder(base_model.name),
        "fallback_for": without_folder(base_model.requested) if base_model.is_fallback else "",
        "data.sha256": corpus.sha256,
        "data.test_sha256": corpus.test_sha256,
        "gate": "passed" if result.registered else result.reason,
        "warning": "the linear baseline ranks the test messages better" if beaten else "",
        **feedback_tags(run.start.feedback),
    }


def feedback_tags(told: LearntAnswers | NoAnswers) -> dict[str, str]:
    """Return what was learnt beside the dataset, and what was left out of it for good, for the lineage."""
    found = {"data.forgotten": str(told.forgotten)} if told.forgotten else {}
    if isinstance(told, LearntAnswers):
        found |= {
            FEEDBACK_TAG: without_folder(told.store),
            "data.feedback_rows": str(told.train.rows + told.validation.rows),
            "data.feedback_recent": str(told.recent.rows),
            "data.feedback_sources": ",".join(sorted(told.sources)),
            "data.feedback_newest": told.newest,
            "data.feedback_sha256": told.sha256,
            "data.feedback_set_aside": str(told.doubtful),
        }
    return found


def without_folder(place: str) -> str:
    """Return the last part of a path of this machine, and any other name (org/model, sms-spam) as it is."""
    return Path(place).name if place.startswith((".", "/", "~")) else place


def json_file(value: object) -> bytes:
    """Return a noun, or a list or dict of nouns, as a JSON file."""
    return json.dumps(to_json(value), indent=1).encode()


def _sizes(start: TrainStart) -> DataSizes:
    parts = start.parts
    return DataSizes(
        start.corpus.origin, len(parts.train), len(parts.validation), len(parts.test), spam_rows(parts.test)
    )


def _shown(scores: tuple[GroupScore, ...]) -> tuple[GroupScore, ...]:
    return tuple(of_views(scores, SHOWN))

"""Show the result of a training: the verdict, scores, facts, what it learnt, the next command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl.display import without_password
from spamctl.reports.scores import (
    HEADS,
    INVARIANCE_HEADS,
    MEASURES,
    SUITE_HEADS,
    UNSEEN_HEADS,
    Measure,
    baseline_wins,
    comparison,
    interval,
    invariance_rows,
    kind_rows,
    number,
    percent,
    suite_rows,
    three,
    unseen_rows,
    winner,
)
from spamctl.reports.terminal import grid, next_command, plain
from spamctl.schema.evaluation import GroupScores, Reach
from spamctl.schema.rates import Comparison, Interval, PartRates, Rates
from spamctl.schema.train import Answers, FittedAnswers, LearntAnswers, NoAnswers, RecalibrateResult, Side, TrainResult
from spamctl.schema.version import MlflowRun

# Describe what a training used of labelled answers, and how the new version compares with the champion.

PARTS = {"test": "frozen test part", "recent": "recent messages"}
SHOWN = (
    Measure("accuracy", "accuracy"),
    Measure("recall", "recall"),
    Measure("false_positive_rate", "false-positive rate", lower_is_better=True),
)
COMPARISON_COLUMNS = ("part", "messages", "score", "new version", "95 % interval", "champion", "95 % interval")


def feedback_notes(told: Answers | NoAnswers) -> Iterator[str]:
    """Yield what was added, left out and set aside."""
    if told.forgotten:
        yield f"left out: {_rows(told.forgotten, 'forgotten message')} of the dataset (spamctl forget)"
    if isinstance(told, NoAnswers):
        return
    yield f"feedback from {told.store}: {feedback_summary(told)}"
    for reason, count in {**told.left_out, **told.passed_over}.items():
        yield f"feedback left out: {_rows(count, 'label')} {reason}"
    if told.doubtful:
        first = ", ".join(label.uuid for label in told.set_aside[:3]) + (", …" if told.doubtful > 3 else "")  # noqa: PLR2004 - as many as fit a line
        yield f"feedback excluded: {_rows(told.doubtful, 'doubtful label')}, {told.doubt:.0%} of them ({first})"
    if isinstance(told, LearntAnswers):
        yield from map(_one_sided, told.one_sided)


def _one_sided(side: Side) -> str:
    """Describe a surface pattern whose answers are of one class, and what balances it."""
    learnt = f"{_rows(side.answers, 'answer')} {side.look} labelled {side.label}, and none labelled {side.other}"
    if not side.counterparts:
        return f"feedback of one class: {learnt}: the dataset has no such message either, so each counts for 1"
    return (
        f"feedback of one class: {learnt}: balanced by {_rows(side.counterparts, 'message')} of the dataset "
        f"(counting {side.counterpart_weight:.3g} each, the answers {side.answer_weight:.3g} each)"
    )


def feedback_warnings(told: Answers | NoAnswers) -> Iterator[str]:
    """Yield what may mislead: labels of one kind alone, and labels made from verdicts."""
    if isinstance(told, NoAnswers):
        return
    if isinstance(told, LearntAnswers) and told.train.spam in {0, told.train.rows}:
        kind = "spam" if told.train.spam else "not spam"
        yield f"all labelled answers for training are {kind}: no label was checked against the others"
    if made := told.sources.get("simulated"):
        yield f"{_rows(made, 'label')} simulated from verdicts: the model learns its own predictions"


def feedback_summary(told: Answers) -> str:
    """Return how many answers each part got, and how many of them are spam."""
    counts = [("held out as recent", told.recent)]
    if isinstance(told, LearntAnswers):
        counts = [("training", told.train), ("validation", told.validation), *counts]
    if isinstance(told, FittedAnswers):
        counts = [("to fit to", told.fitted), *counts]
    listed = ", ".join(f"{part.rows:,} {word} ({part.spam:,} spam)" for word, part in counts)
    return f"{listed}; the newest from {told.newest}"


def comparison_rows(parts: Mapping[str, PartRates]) -> Iterator[tuple[str, str, str, str, str, str, str, str]]:
    """Yield the cells of the table of both versions on each part, and which of them is better."""
    for part, found in parts.items():
        title = PARTS.get(part, f"{part}, of the class without labels")
        for index, measure in enumerate(SHOWN):
            new, old = measure.of(found.challenger), measure.of(found.champion)
            head = (title, f"{found.rows:,}") if index == 0 else ("", "")
            better = {"model": "new", "baseline": "old"}.get(winner(measure, new, old), "")
            yield (
                *head,
                measure.name,
                number(new.value),
                interval(new),
                number(old.value),
                interval(old),
                better,
            )


def _rows(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# Describe a training run in sentences: the verdict, a loud fallback, and the facts behind the scores.

Outcome = Literal["champion", "challenger", "refused"]

_SMALL = 10  # seconds, below which tenths are told

GIB = 2**30

_TUNING = {
    "head": "only the head tuned",
    "last-block": "last block and head tuned",
    "lora": "tuned with LoRA",
    "full": "every block tuned",
}


def verdict(result: TrainResult | RecalibrateResult) -> tuple[Outcome, str]:
    """Return the outcome of a run and the sentence that tells it."""
    scores = f" ({three(result.scores)})" if result.scores else ""  # accuracy alone means little where spam is rare
    if not result.registered:
        return "refused", f"Not registered: {result.reason or _gate(result)}{scores}"
    name = f"Registered as {result.model_name} version {result.model_version}"
    if result.alias == "champion":
        return "champion", f"{name}, now the champion{scores}" + (f": {result.reason}" if result.reason else "")
    return "challenger", f"{name}, as a challenger{scores}: " + (
        result.reason or "the champion is better on the same test part"
    )


def fallback(result: TrainResult) -> str:
    """Return the sentence that says loudly that another base model was used, or nothing."""
    wanted = result.wanted_base_model or "the base model asked for"
    return fallback_warning(wanted, result.base_model, "was") if result.fallback else ""


def fallback_warning(wanted: str, used: str, verb: Literal["is", "was"]) -> str:
    """Return the warning that a base model `is` or `was` used in place of the one that was wanted."""
    return f"FALLBACK: {wanted} was not available, {used} {verb} used instead"


def facts(result: TrainResult) -> Iterator[tuple[str, str]]:
    """Yield each fact of a run as its name and its words; what the run did not reach is left out."""
    yield from ((name, told) for name, words in _FACTS if (told := words(result)))
    yield from (("note", note) for note in (*feedback_notes(result.feedback), *result.notes))


def mlflow_run(run: MlflowRun | None) -> str:
    """Describe where a run is tracked."""
    return f"{run.run_id} in experiment {run.experiment}, {without_password(run.tracking_uri)}" if run else ""


def reach(parts: Mapping[str, Reach]) -> str:
    """Describe how many messages are unlike the training data, and what delivering them costs in recall."""
    return "; ".join(f"{_out_of_reach(counts)} ({part})" for part, counts in parts.items() if counts.is_measured)


def _out_of_reach(counts: Reach) -> str:
    """Describe the share of a part that is out of reach, and how much of the caught spam is lost with it."""
    good, spam, lost = (
        percent(out / max(1, of))
        for out, of in ((counts.good_out, counts.good), (counts.spam_out, counts.spam), (counts.lost, counts.spam))
    )
    caught = f"{counts.lost:,} of {counts.caught:,} caught"
    return f"{good} of good messages and {spam} of spam out of reach; delivering them costs {lost} of recall, {caught}"


def _gate(result: TrainResult | RecalibrateResult) -> str:
    """Describe how the model missed the accuracy threshold."""
    gate = result.gate
    low = gate.mode == "lower-bound"
    measured = f"the lower bound of accuracy, {number(gate.low)}," if low else f"accuracy {number(gate.accuracy)}"
    return f"{measured} is below --accuracy-threshold {gate.threshold:g}"


def _model(result: TrainResult) -> str:
    """Describe what was trained."""
    depth = f", block {result.depth} of {result.blocks}" if result.depth else ""
    return f"{result.base_model}{depth}, {_TUNING.get(result.tune, result.tune)}"


def _messages(result: TrainResult) -> str:
    """Describe how the messages were split."""
    data = result.data
    chosen_on = f"{data.train:,} training, {data.validation:,} validation"
    return f"{chosen_on}, {data.test:,} test ({data.test_spam:,} spam)"


def _threshold(result: TrainResult) -> str:
    """Describe the threshold, and how many good messages it flags."""
    rate = result.scores and result.scores.false_positive_rate
    cost = f": flags {percent(rate.value)} of good messages (at most {percent(rate.high)})" if rate else ""
    return f"{number(result.threshold)}{cost}"


def _parity(result: TrainResult) -> str:
    """Describe how far the packaged model's answers move with batch size, padding and row order."""
    parity = result.parity
    return f"{parity.rows:,} test messages, probabilities move by {parity.max_delta:.1e} at most" if parity else ""


def _leakage(result: TrainResult) -> str:
    """Describe how many test messages have a twin in another part of the split."""
    leakage = result.leakage
    return f"{leakage.exact} exact, {leakage.masked} digit-masked twins across the split" if leakage else ""


def _seconds(result: TrainResult) -> str:
    """Describe the duration of each part."""
    parts = ", ".join(f"{name} {_duration(spent)}" for name, spent in result.seconds.items())
    return f"{_duration(sum(result.seconds.values()))} ({parts})" if parts else ""


def _memory(result: TrainResult) -> str:
    """Describe the most memory that a step has held."""
    return f"{result.peak_memory / GIB:.1f} GiB peak in one step" if result.peak_memory else ""


def _duration(seconds: float) -> str:
    """Write seconds so that small parts do not read as nothing."""
    return f"{seconds:.1f} s" if seconds < _SMALL else f"{seconds:.0f} s"


_FACTS: tuple[tuple[str, Callable[[TrainResult], str]], ...] = (
    ("model", _model),
    ("engine", lambda result: result.engine),
    ("data", lambda result: result.data.origin),
    ("messages", _messages),
    ("leakage", _leakage),
    ("threshold", _threshold),
    ("reach", lambda result: reach(result.reach)),
    ("parity", _parity),
    ("time", _seconds),
    ("memory", _memory),
    ("MLflow run", lambda result: mlflow_run(result.mlflow)),
    ("Metaflow run", lambda result: result.metaflow.run_id),
)


_STYLES = {"champion": "bold green", "challenger": "bold yellow", "refused": "bold red"}
_MARKS = {"champion": "✔", "challenger": "✔", "refused": "✘"}
_MARKS_ASCII = {"champion": "OK", "challenger": "OK", "refused": "NO"}


def show(result: TrainResult, console: Console) -> None:
    """Print the result of training, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    for line in _lines(result, console):
        console.print(line, highlight=False, soft_wrap=False)


def _lines(result: TrainResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    outcome, sentence = verdict(result)
    marks = _MARKS_ASCII if console.options.ascii_only else _MARKS
    yield ""
    yield plain(f"{marks[outcome]} {sentence}", console, _STYLES[outcome])
    if loud := fallback(result):
        yield plain(f"! {loud}", console, "bold yellow")
    yield from _by_kind(result, console)
    if result.scores:
        yield from _evaluation(result.scores, result.baseline, console)
    if result.comparison.parts:
        yield _beside(result.comparison, console)
    yield grid(facts(result), console)
    yield from next_command(result.next, console)


def _by_kind(result: TrainResult, console: Console) -> Iterator[Text | Table | str]:
    """Yield what a user gets: good messages kept and spam caught by kind, on unseen kinds, and in the suites."""
    tables = (
        (HEADS, kind_rows(result.kinds, ("dataset", "medium"))),
        (HEADS, kind_rows(GroupScores(result.held_out_kinds), ("held out", "medium"))),
        (UNSEEN_HEADS, unseen_rows(result.unseen)),
        (SUITE_HEADS, suite_rows(result.suites)),
        (INVARIANCE_HEADS, invariance_rows(result.suites)),
    )
    for heads, rows in tables:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place == 0 else "right")
        for row in rows:
            table.add_row(*(plain(cell, console, "bold red" if cell == "FAILS" else "") for cell in row))
        if table.row_count:
            yield table


def _evaluation(scores: Rates, baseline: Rates | None, console: Console) -> Iterator[Text | Table | str]:
    """Yield the table of scores and what the baseline says about them."""
    yield _table(scores, baseline, console)
    if baseline_wins(scores, baseline):
        yield plain("! The linear baseline is more accurate than this model.", console, "bold red")
    if sentence := comparison(scores, baseline):
        yield plain(f" * marks the better score. {sentence}", console, "dim")
    yield ""


def _table(scores: Rates, baseline: Rates | None, console: Console) -> Table:
    """Return the scores beside the baseline's; the better one is bold and starred."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("test score", no_wrap=True)
    for title in ("this model", "baseline"):
        table.add_column(title, justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for measure in MEASURES:
        ours, theirs = measure.of(scores), measure.of(baseline) if baseline else None
        better = winner(measure, ours, theirs) if theirs else "neither"
        cells = [*_cells(ours, best=better == "model"), *(_cells(theirs, best=better == "baseline") if theirs else ())]
        table.add_row(measure.name, *(plain(cell, console, cell.style) for cell in cells))
    return table


def _beside(comparison: Comparison, console: Console) -> Table:
    """Return the new version beside the champion, on the frozen test part and on what is new."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("score", no_wrap=True)
    for title in ("new version", f"version {comparison.champion}"):
        table.add_column(plain(title, console), justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for part, rows, score, new, of_new, old, of_old, better in comparison_rows(comparison.parts):
        if part:
            table.add_row(plain(f"{part}, {rows}", console, "bold"))
        new_cell = plain(f"* {new}", console, "bold") if better == "new" else plain(new, console)
        old_cell = plain(f"* {old}", console, "bold") if better == "old" else plain(old, console)
        table.add_row(plain(f" {score}", console), new_cell, plain(of_new, console), old_cell, plain(of_old, console))
    return table


def _cells(score: Interval, *, best: bool) -> tuple[Text, Text]:
    """Return a score and its interval; the mark of the better one does not need colour."""
    value = Text(f"{'* ' if best else ''}{number(score.value)}", style="bold" if best else "")
    return value, Text(interval(score))

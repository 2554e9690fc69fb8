"""Show the result of a training: the verdict, scores, facts, what it learnt, the next command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spamctl import display
from spamctl.reports.scores import (
    HEADS,
    INVARIANCE_HEADS,
    MEASURES,
    SUITE_HEADS,
    UNSEEN_HEADS,
    Measure,
    Score,
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
from spamctl.schema.message import NOT_SPAM, SPAM

# Describe what a training used of labelled answers, and how the new version compares with the champion.

PARTS = {"test": "frozen test part", "recent": "recent messages"}
SHOWN = (
    Measure("accuracy", "accuracy"),
    Measure("recall", "recall"),
    Measure("false_positive_rate", "false-positive rate", lower_is_better=True),
)
COMPARISON_COLUMNS = ("part", "messages", "score", "new version", "95 % interval", "champion", "95 % interval")


def feedback_notes(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was added, left out and set aside."""
    if told.get("forgotten"):
        yield f"left out: {_rows(told['forgotten'], 'forgotten message')} of the dataset (spamctl forget)"
    if "store" not in told:
        return
    yield f"feedback from {told['store']}: {feedback_summary(told)}"
    for reason, count in {**told["left_out"], **told["passed_over"]}.items():
        yield f"feedback left out: {_rows(count, 'label')} {reason}"
    if told["doubtful"]:
        first = ", ".join(row["uuid"] for row in told["set_aside"][:3]) + (", …" if told["doubtful"] > 3 else "")  # noqa: PLR2004 - as many as fit a line
        yield f"feedback excluded: {_rows(told['doubtful'], 'doubtful label')}, {told['doubt']:.0%} of them ({first})"

    yield from map(_one_sided, told.get("one_sided", ()))


def _one_sided(side: Mapping[str, Any]) -> str:
    """Describe a surface pattern whose answers are of one class, and what balances it."""
    other = NOT_SPAM if side["label"] == SPAM else SPAM
    learnt = f"{_rows(side['answers'], 'answer')} {side['look']} labelled {side['label']}, and none labelled {other}"
    if not side["counterparts"]:
        return f"feedback of one class: {learnt}: the dataset has no such message either, so each counts for 1"
    return (
        f"feedback of one class: {learnt}: balanced by {_rows(side['counterparts'], 'message')} of the dataset "
        f"(counting {side['counterpart_weight']:.3g} each, the answers {side['answer_weight']:.3g} each)"
    )


def feedback_warnings(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may mislead: labels of one kind alone, and labels made from verdicts."""
    if "store" not in told:
        return
    learnt = told.get("train")
    if learnt and learnt["spam"] in {0, learnt["rows"]}:
        kind = "spam" if learnt["spam"] else "not spam"
        yield f"all labelled answers for training are {kind}: no label was checked against the others"
    if made := told["sources"].get("simulated"):
        yield f"{_rows(made, 'label')} simulated from verdicts: the model learns its own predictions"


def feedback_summary(told: Mapping[str, Any]) -> str:
    """Return how many answers each part got, and how many of them are spam."""
    words = {"train": "training", "validation": "validation", "fitted": "to fit to", "recent": "held out as recent"}
    counts = [
        f"{told[part]['rows']:,} {word} ({told[part]['spam']:,} spam)" for part, word in words.items() if part in told
    ]
    return f"{', '.join(counts)}; the newest from {told['newest']}"


def comparison_rows(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str, str, str, str]]:
    """Yield the cells of the table of both versions on both parts, and which of them is better."""
    for part, found in comparison.get("parts", {}).items():
        title = PARTS.get(part, f"{part}, of the class without labels")
        if found:
            for index, measure in enumerate(SHOWN):
                new: Score = found["challenger"][measure.key]
                old: Score = found["champion"][measure.key]
                head = (title, f"{found['rows']:,}") if index == 0 else ("", "")
                better = {"model": "new", "baseline": "old"}.get(winner(measure, new, old), "")
                yield (
                    *head,
                    measure.name,
                    number(new["value"]),
                    interval(new),
                    number(old["value"]),
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


def verdict(result: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Return the outcome of a run and the sentence that tells it."""
    reason = result.get("reason", "")
    if not result["registered"]:
        return "refused", f"Not registered: {reason or _gate(result)}{_scores(result)}"
    name = f"Registered as {result['model_name']} version {result['model_version']}"
    if result["alias"] == "champion":
        return "champion", f"{name}, now the champion{_scores(result)}" + (f": {reason}" if reason else "")
    return "challenger", f"{name}, as a challenger{_scores(result)}: " + (
        reason or "the champion is better on the same test part"
    )


def _scores(result: Mapping[str, Any]) -> str:
    """Describe in brackets how good the model is: accuracy alone means little where few messages are spam."""
    told = three(result.get("scores", {}))
    return f" ({told})" if told else ""


def fallback(result: Mapping[str, Any]) -> str:
    """Return the sentence that says loudly that another base model was used, or nothing."""
    if not result.get("fallback"):
        return ""
    wanted = result.get("wanted_base_model", "the base model asked for")
    return f"FALLBACK: {wanted} was not available, {result['base_model']} was used instead"


def facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fact of a run as its name and its words; what the run did not reach is left out."""
    for name, key, words in _FACTS:
        if result.get(key):
            yield name, words(result)
    for note in [*feedback_notes(result.get("feedback", {})), *result.get("notes", ())]:
        yield "note", note


def without_password(uri: str) -> str:
    """Return a URI that names a server and a user, and keeps the password to itself."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", uri)


def _gate(result: Mapping[str, Any]) -> str:
    """Describe how the model missed the accuracy threshold."""
    gate = result["gate"]
    low = gate["mode"] == "lower-bound"
    measured = f"the lower bound of accuracy, {number(gate['low'])}," if low else f"accuracy {number(gate['accuracy'])}"
    return f"{measured} is below --accuracy-threshold {gate['threshold']:g}"


def _model(result: Mapping[str, Any]) -> str:
    """Describe what was trained."""
    depth = f", block {result['depth']} of {result['blocks']}" if result.get("depth") else ""
    return f"{result['base_model']}{depth}, {_TUNING.get(result['tune'], result['tune'])}"


def _messages(result: Mapping[str, Any]) -> str:
    """Describe how the messages were split."""
    data = result["data"]
    chosen_on = f"{data['train']:,} training, {data['validation']:,} validation"
    return f"{chosen_on}, {data['test']:,} test ({data['test_spam']:,} spam)"


def _threshold(result: Mapping[str, Any]) -> str:
    """Describe the threshold, and how many good messages it flags."""
    rate = result.get("scores", {}).get("false_positive_rate")
    cost = f": flags {percent(rate['value'])} of good messages (at most {percent(rate['high'])})" if rate else ""
    return f"{number(result['threshold'])}{cost}"


def reach(result: Mapping[str, Any]) -> str:
    """Describe how many messages are unlike the training data, and what delivering them costs in recall."""
    return "; ".join(f"{_out_of_reach(counts)} ({part})" for part, counts in result["reach"].items() if counts)


def _out_of_reach(counts: Mapping[str, Any]) -> str:
    """Describe the share of a part that is out of reach, and how much of the caught spam is lost with it."""
    good, spam, lost = (
        percent(counts[out] / max(1, counts[of]))
        for out, of in (("good_out", "good"), ("spam_out", "spam"), ("lost", "spam"))
    )
    caught = f"{counts['lost']:,} of {counts['caught']:,} caught"
    return f"{good} of good messages and {spam} of spam out of reach; delivering them costs {lost} of recall, {caught}"


def _parity(result: Mapping[str, Any]) -> str:
    """Describe how far the packaged model's answers move with batch size, padding and row order."""
    parity = result["parity"]
    return f"{parity['rows']:,} test messages, probabilities move by {parity['max_delta']:.1e} at most"


def _leakage(result: Mapping[str, Any]) -> str:
    """Describe how many test messages have a twin in another part of the split."""
    leakage = result["leakage"]
    return f"{leakage['exact']} exact, {leakage['masked']} digit-masked twins across the split"


def _seconds(result: Mapping[str, Any]) -> str:
    """Describe the duration of each part."""
    seconds = result["seconds"]
    parts = ", ".join(f"{name} {_duration(spent)}" for name, spent in seconds.items())
    return f"{_duration(sum(seconds.values()))} ({parts})"


def _mlflow(result: Mapping[str, Any]) -> str:
    """Describe where the run is tracked."""
    run = result["mlflow"]
    return f"{run['run_id']} in experiment {run['experiment']}, {without_password(run['tracking_uri'])}"


def _duration(seconds: float) -> str:
    """Write seconds so that small parts do not read as nothing."""
    return f"{seconds:.1f} s" if seconds < _SMALL else f"{seconds:.0f} s"


_FACTS = (
    ("model", "base_model", _model),
    ("engine", "engine", lambda result: str(result["engine"])),
    ("data", "data", lambda result: str(result["data"]["origin"])),
    ("messages", "data", _messages),
    ("leakage", "leakage", _leakage),
    ("threshold", "threshold", _threshold),
    ("reach", "reach", reach),
    ("parity", "parity", _parity),
    ("time", "seconds", _seconds),
    ("memory", "peak_memory", lambda result: f"{result['peak_memory'] / GIB:.1f} GiB peak in one step"),
    ("MLflow run", "mlflow", _mlflow),
    ("Metaflow run", "metaflow", lambda result: str(result["metaflow"]["run_id"])),
)


_STYLES = {"champion": "bold green", "challenger": "bold yellow", "refused": "bold red"}
_MARKS = {"champion": "✔", "challenger": "✔", "refused": "✘"}
_MARKS_ASCII = {"champion": "OK", "challenger": "OK", "refused": "NO"}


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the result of training, for 80 columns or more, with or without colour, in a terminal or a pipe."""
    for line in _lines(result, console):
        console.print(line, highlight=False, soft_wrap=False)


def _lines(result: Mapping[str, Any], console: Console) -> Iterator[Text | Table | str]:
    """Yield what is printed, from top to bottom."""
    outcome, sentence = verdict(result)
    marks = _MARKS_ASCII if console.options.ascii_only else _MARKS
    yield ""
    yield _text(f"{marks[outcome]} {sentence}", console, _STYLES[outcome])
    if loud := fallback(result):
        yield _text(f"! {loud}", console, "bold yellow")
    yield from _by_kind(result, console)
    if "scores" in result:
        yield from _evaluation(result, console)
    if compared := result.get("comparison"):
        yield _beside(compared, console)
    yield _facts(result, console)
    yield ""
    yield Text.assemble(("Next: ", "bold"), _text(result["next"], console, "bold cyan"))


def _by_kind(result: Mapping[str, Any], console: Console) -> Iterator[Text | Table | str]:
    """Yield what a user gets: good messages kept and spam caught by kind, on unseen kinds, and in the suites."""
    tables = (
        (HEADS, kind_rows(result.get("kinds", {}), ("dataset", "medium"))),
        (HEADS, kind_rows({"model": result.get("held_out_kinds", ())}, ("held out", "medium"))),
        (UNSEEN_HEADS, unseen_rows(result.get("unseen", ()))),
        (SUITE_HEADS, suite_rows(result.get("suites", {}))),
        (INVARIANCE_HEADS, invariance_rows(result.get("suites", {}))),
    )
    for heads, rows in tables:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="left" if place == 0 else "right")
        for row in rows:
            table.add_row(*(_text(cell, console, "bold red" if cell == "FAILS" else "") for cell in row))
        if table.row_count:
            yield table


def _evaluation(result: Mapping[str, Any], console: Console) -> Iterator[Text | Table | str]:
    """Yield the table of scores and what the baseline says about them."""
    scores, baseline = result["scores"], result.get("baseline", {})
    yield _table(scores, baseline, console)
    if baseline_wins(scores, baseline):
        yield _text("! The linear baseline is more accurate than this model.", console, "bold red")
    if sentence := comparison(scores, baseline):
        yield _text(f" * marks the better score. {sentence}", console, "dim")
    yield ""


def _table(scores: Mapping[str, Score], baseline: Mapping[str, Score], console: Console) -> Table:
    """Return the scores beside the baseline's; the better one is bold and starred."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("test score", no_wrap=True)
    for title in ("this model", "baseline"):
        table.add_column(title, justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for measure in MEASURES:
        ours, theirs = scores.get(measure.key), baseline.get(measure.key)
        if ours is None:
            continue
        better = winner(measure, ours, theirs) if theirs else "neither"
        cells = [*_cells(ours, best=better == "model"), *(_cells(theirs, best=better == "baseline") if theirs else ())]
        table.add_row(measure.name, *(_text(cell, console, cell.style) for cell in cells))
    return table


def _beside(comparison: Mapping[str, Any], console: Console) -> Table:
    """Return the new version beside the champion, on the frozen test part and on what is new."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("score", no_wrap=True)
    for title in ("new version", f"version {comparison['champion']}"):
        table.add_column(_text(title, console), justify="right", no_wrap=True)
        table.add_column("95 % interval", style="dim", no_wrap=True)
    for part, rows, score, new, of_new, old, of_old, better in comparison_rows(comparison):
        if part:
            table.add_row(_text(f"{part}, {rows}", console, "bold"))
        new_cell = _text(f"* {new}", console, "bold") if better == "new" else _text(new, console)
        old_cell = _text(f"* {old}", console, "bold") if better == "old" else _text(old, console)
        table.add_row(_text(f" {score}", console), new_cell, _text(of_new, console), old_cell, _text(of_old, console))
    return table


def _cells(score: Score, *, best: bool) -> tuple[Text, Text]:
    """Return a score and its interval; the mark of the better one does not need colour."""
    value = Text(f"{'* ' if best else ''}{number(score['value'])}", style="bold" if best else "")
    return value, Text(interval(score))


def _facts(result: Mapping[str, Any], console: Console) -> Table:
    """Return the facts behind the scores, a name and its value a line."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(result):
        grid.add_row(f" {name}", _text(value, console))
    return grid


def _text(text: object, console: Console, style: Any = "") -> Text:
    """Return harmless text in characters that this terminal can show; markup in it is not read."""
    shown = (
        display.ascii_only(str(text).replace("\N{EN DASH}", "-"))
        if console.options.ascii_only
        else display.visible(text)
    )
    return Text(shown, style=style)

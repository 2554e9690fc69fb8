"""Describe a monitoring in sentences: the verdict, each check, each test, and how good the model still is."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from spamctl.reports.facts import without_password
from spamctl.reports.scores import UNDEFINED, from_keys, interval, number, percent

SIDES = {"spam": "spam side", "not spam": "not-spam side"}
BREAKDOWNS = ("version", "source", "family")

_DEFAULT_STORE = "spam.db"
_TITLE = 110  # characters that a title may have
_DIGEST = 12  # characters of a sha256 that tell test parts apart
_ENOUGH_LABELS = 30  # below which a new training would learn little from them
_MEASURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_positive_rate": "false-positive rate",
    "calibration_error": "calibration error",
}


def headline(result: Mapping[str, Any]) -> str:
    """Summarise the verdict in one sentence: what is wrong, or that nothing is."""
    verdict, rows = result["verdict"], result["window"]["rows"]
    if wrong := [each for each in result["checks"] if each["status"] == verdict != "ok"]:
        wrong.sort(key=lambda check: check["name"] != "quality")  # what labels say counts most
        others = f" (and {count(len(wrong) - 1, 'other check')})" if len(wrong) > 1 else ""
        return f"{verdict.upper()}: {_brief(wrong[0]['sentence'].rstrip('.'))}{others}"
    undone = ", ".join(plain(each["name"]) for each in result["checks"] if each["status"] == "not done")
    unsaid = f"; not checked: {undone}" if undone else ""
    like = f"{'look' if rows != 1 else 'looks'} like the test part"
    return f"OK: {count(rows, 'message')} {like}, and no test raises an alarm{unsaid}"


def loud(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what must not be overlooked."""
    if simulated := result["simulated"]:
        made = (
            f"{count(simulated['rows'], 'label')} were simulated from the verdicts; "
            if simulated["rows"] > 1
            else "1 label was simulated from its verdict; "
        )
        yield (
            f"SIMULATED LABELS: {made}their agreement with the verdicts, {percent(simulated['agreement'])}, "
            "was chosen and is NOT AN ACCURACY"
        )
    if result["estimate"] and not result["estimate"]["trustworthy"]:
        yield "The accuracy estimated without labels is not reliable on this window"


def told_apart(classifier: Mapping[str, float]) -> str:
    """Describe whether a classifier separates window and reference; an AUC below chance means nothing."""
    chance = f"{number(classifier['threshold'])} expected by chance"
    if classifier["auc"] <= classifier["threshold"]:
        return f"A classifier cannot separate current from reference messages: its AUC is not above the {chance}."
    told = f"A classifier separates current from reference messages with an AUC of {number(classifier['auc'])}"
    return f"{told}, above the {chance}."


def advised(checks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each check with what to do about it; what was said for an earlier one is not said again."""
    said = set()
    for check in checks:
        yield check, "" if check["advice"] in said else check["advice"]
        said.add(check["advice"])


def times(test: Mapping[str, Any]) -> float:
    """Return how many times its threshold a test's statistic is."""
    return test["statistic"] / test["threshold"] if test["threshold"] else 0.0


def ordered(tests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return tests with alarms first, the others by how near they are to their threshold."""
    return sorted(tests, key=lambda test: (not test["alarm"], -times(test)))


def cells_of(test: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a test's name, reference, current, statistic in thresholds, adjusted p and rows."""
    return (
        plain(test["name"]),
        figure(test["reference"]),
        figure(test["current"]),
        f"{times(test):.2f}",
        probability(test["adjusted_p"]),
        f"{test['rows']:,}",
    )


def quality_rows(result: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield each measure: name, measured, interval, estimated without labels, interval."""
    quality, estimate = result["quality"] or {}, result["estimate"] or {}
    for key, name in _MEASURES.items():
        measured, guessed = quality.get(key), estimate.get(key)
        if key in quality or guessed:
            yield (
                name,
                value(measured),
                interval(from_keys(measured)) if measured else "",
                value(guessed) if guessed else "",
                interval(from_keys(guessed)) if guessed else "",
            )


def labels(result: Mapping[str, Any]) -> str:
    """Describe how many rows have a trustworthy label, and its source."""
    quality = result["quality"]
    if not quality:
        return "no row has a trusted label"
    sources = ", ".join(f"{name} {rows:,}" for name, rows in quality["label_sources"].items())
    share = f"{percent(quality['coverage'])} of the window"
    return f"{count(quality['rows'], 'row')} ({share}), {quality['spam']:,} of them spam; labelled by {sources}"


def trust(result: Mapping[str, Any]) -> str:
    """Describe what the label-free estimate rests on, and whether it holds."""
    estimate = result["estimate"]
    if not estimate:
        return "no estimate could be made"
    outside = estimate["outside_support"]
    beyond = "too few messages to tell how many lie outside the reference"
    if outside:
        lie = f"{percent(outside['share'])} of the messages lie outside the reference"
        beyond = f"{lie}, where {percent(outside['expected'])} are expected"
    held = "the messages show nothing against it" if estimate["trustworthy"] else "NOT RELIABLE HERE"
    return f"assumes that {estimate['assumption']}; {held}: {beyond}"


def breakdown(result: Mapping[str, Any], by: str) -> list[tuple[str, ...]]:
    """Return quality by version, source or family: name, rows, accuracy, recall, false-positive rate."""
    return [
        (
            str(each["name"]),
            f"{each['rows']:,}",
            *(value(each.get(key)) for key in ("accuracy", "recall", "false_positive_rate")),
        )
        for each in result["quality_by"].get(by, ())
    ]


def terms(result: Mapping[str, Any], side: str) -> list[tuple[str, ...]]:
    """Return the words of one side that moved most: term, others of the same messages, score, share now and before."""
    return [
        (
            each["term"],
            ", ".join(each.get("beside", ())),
            f"{each['z']:+.1f}",
            percent(each["current_rate"]),
            percent(each["reference_rate"]),
        )
        for each in result["causes"].get(side, ())
    ]


def carriers(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return which versions and sources carry the change: kind, name, rows, share, drift in thresholds."""
    return [
        (each["by"], str(each["name"]), f"{each['rows']:,}", percent(each["share"]), figure(each["drift"]))
        for each in result["causes"].get("carriers", ())
    ]


def data_rows(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what the messages are like: name, reference, current."""
    pair = [result["data"]["reference"], result["data"]["current"]]
    for name, words in _DATA.items():
        yield name, words(pair[0]), words(pair[1])


def facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was compared with what, and where the run is kept."""
    window, reference = result["window"], result["reference"]
    yield "window", _window(window)
    yield "versions", _counted(window["versions"])
    if window.get("reach_known"):
        yield "out of reach", _out_of_reach(window, reference.get("out_of_reach") or {})
    yield "sources", _counted(window["sources"])
    yield (
        "reference",
        (
            f"test part of {reference['model_name']} version {reference['model_version']}, "
            f"sha256 {reference['digest'][:_DIGEST]}: "
            f"{count(reference['rows'], 'message')}, {reference['spam']:,} spam"
        ),
    )
    yield "store", without_password(str(result["store"]))
    for name, place in (result.get("files") or {}).items():
        yield name, str(place)
    if run := result.get("mlflow"):
        yield (
            "MLflow run",
            f"{run['run_id']} in experiment {run['experiment']}, {without_password(run['tracking_uri'])}",
        )
    if result.get("run_id"):
        yield "monitor run", str(result["run_id"])


def following(result: Mapping[str, Any]) -> str:
    """Return the next command to type."""
    if given := result.get("next"):
        return str(given)
    store = str(result["store"])
    where = "" if store == _DEFAULT_STORE else f" --target-uri {shlex.quote(without_password(store))}"
    labelled = result["quality"]["rows"] if result["quality"] else 0
    match result["verdict"]:
        case "failed" if labelled >= _ENOUGH_LABELS:
            return f"spamctl label --export labelled.csv{where}"
        case "failed" | "warning":
            return f"spamctl label --source review{where}"
        case _:
            return "spamctl cards monitor"


def plain(name: str) -> str:
    """Return the words of a name that code writes with underscores."""
    return name.replace("_", " ")


def value(score: Mapping[str, float | None] | None) -> str:
    """Write the value of a score, which may be undefined."""
    return number(score["value"]) if score else UNDEFINED


def figure(found: float | None) -> str:
    """Write a figure of any size with four digits."""
    return UNDEFINED if found is None or math.isnan(found) else f"{found:,.4g}"


def probability(found: float | None) -> str:
    """Write a p-value so that a small one does not read as nothing."""
    least = 0.001
    return UNDEFINED if found is None else f"< {least}" if found < least else f"{found:.3f}"


def _brief(sentence: str) -> str:
    """Return the first of many things that a sentence lists, when all of them are too long for a title."""
    parts = sentence.split("; ")
    if len(sentence) <= _TITLE or len(parts) == 1:
        return sentence
    shown = max((n for n in range(1, len(parts)) if len("; ".join(parts[:n])) <= _TITLE), default=1)
    return f"{'; '.join(parts[:shown])}; and {len(parts) - shown} more"


def _window(window: Mapping[str, Any]) -> str:
    """Describe which rows were examined."""
    asked = [f"{name} {window[name]}" for name in ("since", "until") if window.get(name)]
    seen = [str(window[name]) for name in ("oldest", "newest") if window.get(name)]
    parts = [
        f"{count(window['rows'], 'row')}, {window['distinct']:,} distinct",
        *([f"a random {window['judged']:,} of which are tested"] if window["sampled"] else ()),
        *asked,
        *(["from " + " to ".join(seen)] if seen else ()),
    ]
    return ", ".join(parts)


def _out_of_reach(window: Mapping[str, Any], validation: Mapping[str, Any]) -> str:
    """Describe how many rows are unlike the training data, beside the validation rows."""
    share = percent(window["out_of_reach"] / window["reach_known"])
    told = f"{window['out_of_reach']:,} of {count(window['reach_known'], 'row')} ({share}) unlike the training data"
    if not validation:
        return told
    good, spam = (percent(validation[f"{kind}_out"] / max(1, validation[kind])) for kind in ("good", "spam"))
    return f"{told}; of the validation rows {good} of the good ones and {spam} of spam were"


def _counted(counts: Mapping[str, int]) -> str:
    """Name each group with its rows."""
    return ", ".join(f"{name or 'unnamed'} ({rows:,})" for name, rows in counts.items()) or "none"


def _scripts(shares: Mapping[str, float]) -> str:
    """Name the scripts in which the messages are written."""
    most = sorted(shares.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{name} {percent(share)}" for name, share in most) or UNDEFINED


def count(number_of: int, noun: str, plural: str = "") -> str:
    """Count in words."""
    return f"{number_of:,} {noun if number_of == 1 else plural or f'{noun}s'}"


_DATA: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "rows": lambda part: f"{part['rows']:,}",
    "distinct texts": lambda part: f"{part['distinct']:,}",
    "repeated": lambda part: f"{part['repeated']:,}",
    "empty": lambda part: f"{part['empty']:,}",
    "median length": lambda part: figure(part["length_median"]),
    "odd Unicode": lambda part: percent(part["odd_unicode_share"]),
    "scripts": lambda part: _scripts(part["scripts"]),
}

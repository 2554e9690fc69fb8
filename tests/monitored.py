"""Make up what a monitoring found: a window that drifted, one that did not, one that is too small to tell."""

from spamctl.schema.codec import from_json
from spamctl.schema.monitor import MonitorResult

NAMES = ("length", "words", "digits", "links", "currency", "capitals", "non_letters", "odd_unicode", "word_length")


def told(finding):
    """Return a finding as the rooms pass it on."""
    return from_json(MonitorResult, finding)


def span(value, arm):
    """Return a value with its 95 % interval."""
    return {"value": value, "low": max(value - arm, 0.0), "high": min(value + arm, 1.0)}


def outcome(name, times, kind="input", reference=0.1, current=0.12):
    """Return a test whose statistic is so many times its threshold."""
    alarm = times >= 1
    p_value = 0.0005 if alarm else 0.4
    return {
        "name": name,
        "kind": kind,
        "statistic": 0.25 * times,
        "threshold": 0.25,
        "p_value": p_value,
        "adjusted_p": min(p_value * 10, 1.0),
        "alarm": alarm,
        "reference": reference,
        "current": current,
        "rows": 412,
    }


def check(name, status="ok", sentence="nothing rings", advice=""):
    return {"name": name, "status": status, "sentence": sentence, "advice": advice}


def part(rows, repeated=3, **changes):
    return {
        "rows": rows,
        "distinct": rows - repeated,
        "repeated": repeated,
        "empty": 0,
        "length_median": 61.0,
        "odd_unicode_share": 0.012,
        "scripts": {"Latin": 0.985, "Cyrillic": 0.011, "Common": 0.004},
    } | changes


def term(word, z, current_rate=0.04, reference_rate=0.001, beside=()):
    return {
        "term": word,
        "z": z,
        "current_rate": current_rate,
        "reference_rate": reference_rate,
        "beside": list(beside),
    }


def group(name, rows=100, accuracy=0.93):
    return {
        "name": name,
        "rows": rows,
        "accuracy": span(accuracy, 0.05),
        "false_positive_rate": span(0.01, 0.01),
        "recall": None,
    }


def past(day, score, accuracy=0.98, **changes):
    return {
        "date": f"2026-03-{day:02d}T09:30:00+00:00",
        "verdict": "failed" if score >= 1 else "ok",
        "drift_score": score,
        "spam_share": 0.13 + 0.06 * score,
        "accuracy": span(accuracy, 0.015),
        "false_positive_rate": 0.004 + 0.01 * score,
        "estimated_accuracy": 0.985,
        "model_version": "3",
        "rows": 420,
    } | changes


UNKNOWN = ("drift_score", "accuracy", "false_positive_rate")
HISTORY = [
    *(past(day, 0.3 + 0.06 * day + 0.1 * (day % 3), 0.99 - 0.002 * day, rows=300 + 17 * day) for day in range(1, 12)),
    past(12, 2.31, 0.94, rows=415, spam_share=0.2403, false_positive_rate=0.0128, estimated_accuracy=0.9712),
]

DRIFTED = {
    "verdict": "failed",
    "checks": [
        check("rows", sentence="412 distinct messages are enough to tell"),
        check("labels", "warning", "48.3 % of the rows have a label", "spamctl label --source review"),
        check(
            "drift",
            "failed",
            "messages have changed: currency signs 0.10% → 0.12%; length 61 → 104",
            "read what moved, then label some of it: spamctl label --source review",
        ),
        check("quality", "failed", "accuracy fell from 0.9912 to 0.9400", "spamctl label --export labelled.csv"),
        check("estimate", sentence="without labels an accuracy of 0.9712 is expected"),
    ],
    "tests": [
        *(
            outcome(name, times)
            for name, times in zip(NAMES, (1.62, 0.9, 0.5, 0.2, 2.31, 0.4, 0.1, 0.0, 0.7), strict=True)
        ),
        outcome("probability", 1.2, "output", 0.139, 0.248),
        outcome("spam_share", 0.8, "output", 0.134, 0.2403),
        outcome("text", 1.9, reference=None, current=None),
        outcome("features", 0.9, reference=None, current=None),
        outcome("accuracy", 0.6, "quality", 0.9912, 0.94),
    ],
    "drift_score": 2.31,
    "quality": {
        "rows": 200,
        "spam": 44,
        "coverage": 0.4831,
        "label_sources": {"oracle": 150, "human:ann": 50},
        "accuracy": span(0.94, 0.03),
        "precision": span(0.95, 0.05),
        "recall": span(0.8182, 0.12),
        "f1": span(0.8793, 0.07),
        "false_positive_rate": span(0.0128, 0.0127),
        "calibration_error": span(0.0411, 0.01),
    },
    "simulated": {"rows": 100, "agreement": 0.9},
    "quality_by": {
        "version": [group("3", 180), group("2", 20, 0.9)],
        "family": [group("modern", 60, 0.7), group("none", 140, 0.99)],
        "source": [group("api", 200)],
    },
    "estimate": {
        "accuracy": span(0.9712, 0.011),
        "outside_support": {"share": 0.03, "expected": 0.01, "p_value": 0.2},
        "trustworthy": True,
        "assumption": "the probabilities are as well calibrated in this window as on the test part",
    },
    "causes": {
        "spam": [
            term("parcel", 9.1, beside=("courier", "unpaid")),
            term("held at the depot", 7.7),
            term("usdt", 6.2),
            term("$50,000", 5.9),
        ],
        "not spam": [term("standup", 4.4), term("see you in the call", 3.9, 0.02, 0.004)],
        "examples": {
            "spam": [
                {
                    "text": "Your parcel is held at the depot, pay 2.99 at http://evil.example/x",
                    "probability": 0.42,
                    "score": 3.1,
                }
            ],
            "not spam": [{"text": "standup moved to ten, see you in the call", "probability": 0.03, "score": 1.4}],
        },
        "carriers": [
            {"by": "version", "name": "3", "rows": 300, "share": 0.73, "drift": 2.4},
            {"by": "source", "name": "api", "rows": 412, "share": 1.0, "drift": 2.31},
        ],
    },
    "data": {"reference": part(908, 0), "current": part(415, length_median=104.0)},
    "domain_classifier": {"auc": 0.71, "threshold": 0.6},
    "window": {
        "rows": 415,
        "distinct": 412,
        "judged": 415,
        "sampled": False,
        "since": "",
        "until": "",
        "oldest": "2026-03-12T08:00:00+00:00",
        "newest": "2026-03-12T09:29:00+00:00",
        "versions": {"3": 395, "2": 20},
        "sources": {"api": 415},
    },
    "reference": {"model_name": "spam", "model_version": "3", "rows": 908, "spam": 122, "digest": "9f2c" * 16},
    "store": "spam.db",
    "history": HISTORY,
    "files": {"folder": "reports/17", "index": "reports/index.html"},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db", "experiment": "spam-monitoring", "run_id": "8f1e0c"},
    "run_id": "17",
}

CALM = DRIFTED | {
    "verdict": "ok",
    "checks": [check("rows", sentence="412 distinct messages are enough to tell"), check("drift")],
    "tests": [outcome(test["name"], 0.5, test["kind"]) for test in DRIFTED["tests"]],
    "drift_score": 0.5,
    "simulated": None,
    "history": HISTORY[:3],
    "run_id": "18",
}

TOO_FEW = DRIFTED | {
    "verdict": "warning",
    "checks": [check("rows", "warning", "12 messages are too few to tell", "widen the window: --samples or --since")],
    "tests": [],
    "drift_score": None,
    "quality": None,
    "simulated": {"rows": 4, "agreement": 1.0},
    "quality_by": {"version": [], "family": [], "source": []},
    "estimate": DRIFTED["estimate"] | {"outside_support": None, "trustworthy": False},
    "causes": {"spam": [], "not spam": [], "examples": {"spam": [], "not spam": []}, "carriers": []},
    "data": {"reference": part(908, 0), "current": part(12)},
    "domain_classifier": None,
    "history": [past(1, 0.4), past(2, 0.4) | dict.fromkeys(UNKNOWN)],
    "run_id": "19",
}

EVERY = {"drifted": DRIFTED, "calm": CALM, "too few": TOO_FEW}


def hostile(payloads):
    """Return a finding in which every name, label, version, source, family, term and text is a payload."""
    everything = "".join(payloads)
    return DRIFTED | {
        "checks": [check(payload, "failed", payload, payload) for payload in payloads],
        "tests": [outcome(payload, 2.0, payload) for payload in payloads],
        "quality": DRIFTED["quality"] | {"label_sources": dict.fromkeys(payloads, 1)},
        "quality_by": {by: [group(payload) for payload in payloads] for by in ("version", "family", "source")},
        "estimate": DRIFTED["estimate"] | {"assumption": everything},
        "causes": {
            "spam": [term(payload, 3.0, beside=(payload, payload)) for payload in payloads],
            "not spam": [term(payload, 2.0) for payload in payloads],
            "examples": {
                side: [{"text": payload, "probability": 0.5, "score": 1.0} for payload in payloads]
                for side in ("spam", "not spam")
            },
            "carriers": [
                {"by": "source", "name": payload, "rows": 1, "share": 0.1, "drift": 1.5} for payload in payloads
            ],
        },
        "data": {"reference": part(9), "current": part(9, scripts=dict.fromkeys(payloads, 0.01))},
        "window": DRIFTED["window"]
        | {"versions": dict.fromkeys(payloads, 1), "sources": dict.fromkeys(payloads, 1), "since": everything},
        "reference": DRIFTED["reference"] | {"model_name": everything, "model_version": everything},
        "store": everything,
        "history": [past(index % 28 + 1, 1.0, model_version=p, date=p) for index, p in enumerate(payloads)],
        "files": {"folder": everything},
        "mlflow": dict.fromkeys(("tracking_uri", "experiment", "run_id"), everything),
    }

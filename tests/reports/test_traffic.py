"""What became of traffic is told whole: in a terminal of 80 columns, in a pipe, in a card, and with hostile names."""

import io
import re

import pytest
from rich.console import Console

from spamctl.reports import traffic
from spamctl.reports.traffic import following, missing, show
from spamctl.schema.codec import from_json
from spamctl.schema.message import Message
from spamctl.schema.traffic import Change, Preview, Staged, TrafficResult
from tests.each import each
from tests.hostile import PAYLOADS

COMPLETE = """
✔ All 200 messages were answered, 97.50 % of them correctly

 sent         200 of 200 messages
 answered     200
 captured     200
 latency      p50 12.3 ms, p95 20.0 ms, p99 41.2 ms a request
 pace         400 messages/s
 spam share   11.00 % of the verdicts; in truth 13.50 %
 version      3 (200)

 messages                 n  spam  accuracy  95 % interval  recall     FPR
 ──────────────────────────────────────────────────────────────────────────
 all                    200    27    0.9750  0.9428–0.9893  0.8148  0.0000
 synthetic, vocabulary   80     9    0.9375  0.8622–0.9730  0.4444  0.0000
 test part              120    18    1.0000  0.9690–1.0000  1.0000     n/a

 server       http://127.0.0.1:8080/invocations
 data         bundled copy, test part of 925 messages, sha256 ba90915bb5d1
 drift        vocabulary, strength 0.5 on 50.00 % of the messages, seed 0
 truth        200 labels kept in spam.db, apart from the answers
 traffic run  e9eecf87

Next: spamctl label --source truth
"""


def score(value, low, high):
    return {"value": value, "low": low, "high": high}


def scores(accuracy, recall, false_positive_rate=None):
    rates = {"accuracy": accuracy, "recall": recall, "false_positive_rate": false_positive_rate}
    return {name: rate for name, rate in rates.items() if rate}


def group(name, rows, spam, found):
    return {"name": name, "rows": rows, "spam": spam, "called_spam": 0, "scores": found}


CALM = score(0.0, 0.0, 0.0217)
PARTS = (
    group("synthetic, vocabulary", 80, 9, scores(score(0.9375, 0.8622, 0.973), score(0.4444, 0.1888, 0.7333), CALM)),
    group("test part", 120, 18, scores(score(1.0, 0.969, 1.0), score(1.0, 0.8241, 1.0))),
)


def sent(**changes):
    """Return the result of a run in which all went well, with some of it changed."""
    told = {
        "samples": 200,
        "sent": 200,
        "answered": 200,
        "captured": 200,
        "refused": {},
        "garbled": {},
        "unanswered": {},
        "repeated": 0,
        "versions": {"3": 200},
        "latency_ms": {"p50": 12.34, "p95": 20.0, "p99": 41.2},
        "seconds": 0.5,
        "spam_share": 0.11,
        "true_spam_share": 0.135,
        "judged": 200,
        "scores": scores(score(0.975, 0.9428, 0.9893), score(0.8148, 0.6330, 0.9182), CALM),
        "groups": list(PARTS),
        "target": "http://127.0.0.1:8080/invocations",
        "start": "spamctl serve",
        "data": {"origin": "bundled copy", "sha256": "ab" * 32, "test_sha256": "ba90915bb5d1" + "0" * 52, "test": 925},
        "drift": {"drift_type": "vocabulary", "drift_proportion": 0.5, "strength": 0.5, "seed": 0},
        "run": "e9eecf87",
        "truth": {"store": "spam.db", "rows": 200, "joined": 200},
    }
    return from_json(TrafficResult, told | changes)


FAILED = {
    "answered": 140,
    "captured": 100,
    "refused": {"500 Internal Server Error": 20, "429 RESOURCE_EXHAUSTED": 10},
    "garbled": {"5 predictions for 10 messages": 10},
    "unanswered": {"no connection": 20},
    "repeated": 12,
    "sent": 190,
}
PREVIEW = from_json(Preview, {
    "preview": [
        {
            "before": {"text": "free cash", "label": "spam"},
            "after": {"text": "fr\u200bee cash", "label": "spam", "origin": "synthetic", "family": "test part",
                      "drift_type": "zero-width", "dose": 0.5},
        },
        {
            "before": {"text": "see you", "label": "not spam"},
            "after": {"text": "see you", "label": "not spam", "origin": "test part", "family": "test part",
                      "drift_type": "zero-width", "dose": 0.5},
        },
    ]
})  # fmt: skip


def shown(result, **console):
    """Return what a console of 80 columns prints, without the blanks at the end of lines."""
    settings = {"width": 80, "file": io.StringIO(), "color_system": None, "_environ": {}} | console
    show(result, Console(**settings))
    return re.sub(r" +$", "", settings["file"].getvalue(), flags=re.MULTILINE)


def words(page):
    """Return what a reader reads, in reading order."""
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()


def card(result):
    return traffic.page(result, plots={"accuracy_by_group": b"\x89PNG"})


def test_traffic_in_a_pipe():
    assert shown(sent()) == COMPLETE


def test_colour_adds_nothing_but_colour():
    coloured = shown(sent(), color_system="truecolor", force_terminal=True)
    assert coloured != COMPLETE
    assert re.sub(r" +$", "", re.sub(r"\x1b\[[\d;]*m", "", coloured), flags=re.MULTILINE) == COMPLETE


def test_an_ascii_terminal_gets_every_number():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show(sent(), Console(file=stream, width=80, _environ={}))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert "OK All 200 messages were answered" in text
    assert "0.9428-0.9893" in text


def test_what_has_no_verdict_is_told_by_its_cause():
    text = shown(sent(**FAILED))
    assert text.startswith("\n✘ 140 of 200 messages were answered\n")
    for line in (
        " sent         190 of 200 messages\n",
        " refused      20: 500 Internal Server Error\n",
        " refused      10: 429 RESOURCE_EXHAUSTED\n",
        " garbled      10: 5 predictions for 10 messages\n",
        " unanswered   20: no connection\n",
        " tried again  12 times, under the same request id\n",
        " captured     100; 40 were answered and not captured\n",
    ):
        assert line in text


def test_nothing_at_all_came_back():
    nothing = {"answered": 0, "captured": 0, "unanswered": {"no connection": 200}, "versions": {}, "latency_ms": {}}
    nothing |= {"spam_share": None, "true_spam_share": None, "judged": 0, "scores": {}, "groups": []}
    text = shown(sent(**nothing))
    assert " unanswered   200: no connection\n" in text
    assert "latency" not in text
    assert "accuracy" not in text
    assert "Verdicts against true labels" not in words(card(sent(**nothing)))


def test_the_line_that_ends_a_failed_run_names_causes_and_cure():
    assert missing(sent(**FAILED)) == (
        "60 of 200 messages have no verdict: 20 refused with 500 Internal Server Error, 10 refused with "
        "429 RESOURCE_EXHAUSTED, 10 answered in another format (5 predictions for 10 messages), "
        "20 without an answer (no connection); lower --rate or --concurrency"
    )
    assert missing(sent()) == missing(PREVIEW) == ""


@each(
    ("fates", "cure"),
    [
        ({"refused": {"401 UNAUTHENTICATED": 200}}, "--token-file"),
        ({"refused": {"404 Not Found": 200}}, "the path of --target-uri"),
        ({"refused": {"413 x": 200}}, "--batch-size"),
        ({"unanswered": {"no connection": 200}}, "spamctl serve still runs"),
        ({"garbled": {"the answer is no JSON": 200}}, "--target-uri is a server of spamctl"),
    ],
)
def test_each_cause_has_its_cure(fates, cure):
    assert cure in missing(sent(answered=0, **fates)).rpartition("; ")[2]


def test_truth_that_is_not_kept_or_not_known_is_said():
    text = shown(sent(truth={}, next="spamctl label"))
    assert " truth        not kept\n" in text
    assert text.endswith("Next: spamctl label\n")
    replay = sent(data={"origin": "mine.csv"}, judged=0, groups=[], scores={}, true_spam_share=None)
    text = shown(replay)
    assert " data         mine.csv\n" in text
    assert "seed" not in text
    assert "rightly" not in text


def test_a_preview_shows_what_cannot_be_seen_and_that_nothing_was_sent():
    text = shown(PREVIEW)
    assert "1. zero-width, dose 0.5: spam\n  before  free cash\n  after   fr\\u200bee cash\n" in text
    assert "  before  see you\n  after   (the same)\n" in text
    assert text.endswith("Nothing was sent. Leave out --preview to send.\n")
    page = words(traffic.preview_page(PREVIEW))
    assert "fr\\u200bee cash" in page
    assert "nothing was sent" in page


def test_the_card_tells_the_verdict_first_then_counts_truth_and_facts():
    text = words(card(sent()))
    order = [
        "All 200 messages were answered, 97.50 % of them correctly",
        "Responses",
        "latency p50 12.3 ms",
        "Verdicts against true labels",
        "all 200 27 0.9750 0.9428–0.9893 0.8148 0.6330–0.9182 0.0000 0.0000–0.0217",
        "test part 120 18 1.0000",
        "Facts",
        "vocabulary, strength 0.5",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert missing(sent(**FAILED)) in words(card(sent(**FAILED)))


def hostile(payload):
    parts = [PARTS[0] | {"name": payload}, PARTS[1]]
    reasons = {fate: {payload: 1} for fate in ("refused", "garbled", "unanswered")}
    data = {"origin": payload, "sha256": payload, "test_sha256": payload, "test": 3}
    truth = {"store": payload, "rows": 1, "joined": 0}
    return sent(groups=parts, data=data, truth=truth, target=payload, next=payload, versions={payload: 1}, **reasons)


def hostile_preview(payload):
    after = Staged(payload + "x", payload, "synthetic", "test part", payload, 0.5)
    return Preview((Change(Message(payload, payload), after),))


@pytest.mark.parametrize("colours", [None, "truecolor"])
def test_hostile_words_reach_the_terminal_as_harmless_text(colours):
    for payload in PAYLOADS:
        for result in (hostile(payload), hostile_preview(payload)):
            text = shown(result, color_system=colours, width=4000)
            assert re.sub(r"\x1b\[[\d;]*m", "", text).replace("\n", "").isprintable()
            assert ("\x1b" in text) == (colours is not None)


@pytest.mark.browser
@pytest.mark.slow
def test_hostile_words_in_the_card_run_nothing_and_ask_for_nothing(visit, tmp_path):
    everything = "".join(PAYLOADS)
    pages = (card(hostile(everything)), traffic.preview_page(hostile_preview(everything)))
    for number, page in enumerate(pages):
        path = tmp_path / f"card-{number}.html"
        path.write_text(page, encoding="utf-8")
        seen = visit(path)
        assert "<title>RAN" not in seen.dom
        assert seen.dom.count("<script") == 0
        assert seen.asked == []


NOTHING = {"answered": 0, "captured": 0, "judged": 0, "latency_ms": {}, "versions": {}}


@each(
    ("changes", "command"),
    [
        ({}, "spamctl label --source truth"),
        ({"truth": {}}, "spamctl label"),
        ({"truth": {"store": "my db", "rows": 2, "joined": 2}}, "spamctl label --source truth --target-uri 'my db'"),
        (NOTHING | {"unanswered": {"no connection": 200}}, "spamctl serve"),
        (
            NOTHING | {"unanswered": {"no connection": 200}, "start": "spamctl serve --port 8181"},
            "spamctl serve --port 8181",
        ),
        (NOTHING | {"refused": {"404 Not Found": 200}}, "spamctl traffic --help"),
        ({"captured": 0}, "spamctl serve --capture required"),
    ],
)
def test_the_next_command_follows_from_what_was_answered(changes, command):
    assert following(sent(**changes)) == command

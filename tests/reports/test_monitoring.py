"""A monitoring in a terminal: verdict first, then every check, what rings, and no invented label as truth."""

import io
import re

import pytest
from rich.console import Console

from spamctl.reports.monitor import facts, following, headline, probability, show
from spamctl.reports.monitor_page import page
from spamctl.schema.codec import from_json
from spamctl.schema.monitor import Outcome
from tests.each import each
from tests.hostile import PAYLOADS
from tests.monitored import CALM, DRIFTED, EVERY, TOO_FEW, check, hostile, outcome, told


def shown(result, **console):
    """Return what a console of 80 columns prints."""
    settings = {"width": 80, "file": io.StringIO(), "color_system": None, "_environ": {}} | console
    show(told(result), Console(**settings))
    return settings["file"].getvalue()


def words(text):
    return re.sub(r"\s+", " ", text)


def test_the_verdict_comes_first_then_checks_tests_quality_causes_places_and_the_next_command():
    text = words(shown(DRIFTED))
    order = [
        "✘ FAILED: accuracy fell from 0.9912 to 0.9400 (and 1 other check)",
        "! SIMULATED LABELS: 100 labels were simulated from the verdicts; their agreement",
        "90.00 %, was chosen and is NOT AN ACCURACY",
        "✔ rows 412 distinct messages are enough to tell",
        "! labels 48.3 % of the rows have a label -> spamctl label --source review",
        "✘ quality accuracy fell",
        "currency 0.1 0.12 2.31 ALARM text n/a n/a 1.90 ALARM length",
        "odd unicode 0.1 0.12 0.00",
        "accuracy 0.9400 0.9100–0.9700 0.9712 0.9602–0.9822",
        "labels 200 rows (48.31 % of the window), 44 of them spam; labelled by oracle 150, human:ann 50",
        "estimate assumes that the probabilities are as well",
        "by version rows accuracy recall FPR",
        "modern 60 0.7000 n/a 0.0100",
        "spam side parcel, held at the depot, usdt, $50,000",
        "not-spam side standup, see you in the call",
        "index reports/index.html",
        "MLflow run 8f1e0c in experiment spam-monitoring, sqlite:///mlflow.db",
        "The whole report: spamctl cards monitor",
        "Next: spamctl label --export labelled.csv",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.parametrize("result", EVERY.values(), ids=EVERY)
def test_every_verdict_fits_eighty_columns_with_and_without_colour(result):
    plain = shown(result)
    coloured = shown(result, color_system="truecolor", force_terminal=True)
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


@pytest.mark.parametrize(
    ("result", "colour", "mark"), [(DRIFTED, "31", "✘"), (CALM, "32", "✔"), (TOO_FEW, "33", "!")], ids=EVERY
)
def test_the_verdict_has_its_colour_and_its_mark(result, colour, mark):
    coloured = shown(result, color_system="standard", force_terminal=True)
    assert coloured.lstrip("\n").startswith(f"\x1b[1;{colour}m{mark} {result['verdict'].upper()}: ")


def test_a_terminal_of_ascii_gets_everything():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show(told(DRIFTED), Console(file=stream, width=80, _environ={}))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert text.startswith("\nNO FAILED: accuracy fell")
    assert "0.9100-0.9700" in text
    assert "!! labels" in text


def test_nothing_rings_and_nothing_is_wrong_in_a_calm_window():
    text = shown(CALM)
    assert text.startswith("\n✔ OK: 415 messages look like the test part, and no test raises an alarm\n")
    assert "ALARM" not in text
    assert "NOT AN ACCURACY" not in text
    assert text.endswith("Next: spamctl cards monitor\n")


def test_a_check_that_was_not_done_has_no_tick_and_the_verdict_says_so():
    undone = CALM | {"checks": [*CALM["checks"], check("quality", "not done", "not measured")], "quality": None}
    text = shown(undone)
    assert (
        words(text)
        .lstrip()
        .startswith("✔ OK: 415 messages look like the test part, and no test raises an alarm; not checked: quality")
    )
    (line,) = [line for line in text.splitlines() if "not measured" in line]
    assert line.split()[:2] == ["-", "quality"]
    card = page(told(undone), {})
    assert '<span class="faint">- not done</span>' in card
    assert card.count("✔ ok") == len(CALM["checks"])


@pytest.mark.parametrize(
    ("auc", "words"), [(0.1434, "cannot separate"), (0.6, "cannot separate"), (0.71, "an AUC of 0.7100")]
)
def test_what_a_classifier_reaches_by_chance_is_no_figure(auc, words):
    card = page(told(CALM | {"domain_classifier": {"auc": auc, "threshold": 0.6}}), {})
    assert words in card
    assert "0.6000 expected by chance" in card
    assert "0.1434" not in card


def test_too_few_rows_are_no_ok():
    text = words(shown(TOO_FEW))
    assert "! WARNING: 12 messages are too few to tell ! SIMULATED" in text
    assert "no row has a trusted label" in text
    assert "accuracy n/a 0.9712" in text
    assert "NOT RELIABLE HERE: too few messages to tell how many lie outside the reference" in text


def test_a_label_made_from_a_verdict_is_never_accuracy():
    text = words(shown(TOO_FEW))
    assert "SIMULATED LABELS: 4 labels were simulated from the verdicts" in text
    assert "is NOT AN ACCURACY" in text
    assert "1 label was simulated from its verdict" in words(
        shown(TOO_FEW | {"simulated": {"rows": 1, "agreement": 1.0}})
    )


def test_what_several_checks_say_is_counted():
    checks = [check("a", "warning", "first."), check("b", "failed", "second."), check("c", "failed", "third.")]
    assert headline(told(DRIFTED | {"checks": checks})) == "FAILED: second (and 1 other check)"
    assert headline(told(DRIFTED | {"checks": checks, "verdict": "warning"})) == "WARNING: first"


def test_advice_is_given_once_and_a_long_list_is_cut_in_a_title():
    text = words(shown(DRIFTED | {"checks": [check(name, "failed", "no", "do that") for name in "abc"]}))
    assert text.count("-> do that") == 1
    long = check("inputs", "failed", "; ".join(f"thing {n} has become quite another" for n in range(9)))
    assert headline(told(DRIFTED | {"checks": [long]})).endswith("thing 2 has become quite another; and 6 more")
    assert "thing 8" in words(shown(DRIFTED | {"checks": [long]}))
    quality = check("quality", "failed", "verdicts are worse")
    assert headline(told(DRIFTED | {"checks": [long, quality]})) == "FAILED: verdicts are worse (and 1 other check)"


def test_a_statistic_without_a_threshold_is_no_multiple_of_it():
    assert from_json(Outcome, outcome("a", 2.0)).exceeds == 2
    assert from_json(Outcome, outcome("a", 2.0) | {"threshold": 0.0}).exceeds == 0
    assert [probability(p) for p in (None, 0.0005, 0.25)] == ["n/a", "< 0.001", "0.250"]


@each(
    ("result", "command"),
    [
        (DRIFTED, "spamctl label --export labelled.csv"),
        (DRIFTED | {"quality": DRIFTED["quality"] | {"rows": 29}}, "spamctl label --source review"),
        (DRIFTED | {"quality": None, "store": "my db"}, "spamctl label --source review --target-uri 'my db'"),
        (CALM, "spamctl cards monitor"),
        (CALM | {"next": "spamctl serve"}, "spamctl serve"),
    ],
)
def test_the_next_command_can_be_typed(result, command):
    assert following(told(result)) == command
    assert shown(result).endswith(f"Next: {command}\n")


def test_no_password_is_shown():
    result = DRIFTED | {
        "store": "postgresql://ann:geheim@db/spam",
        "mlflow": DRIFTED["mlflow"] | {"tracking_uri": "https://ann:geheim@mlflow"},
    }
    assert "geheim" not in shown(result)
    assert "postgresql://ann:***@db/spam" in dict(facts(told(result)))["store"]


def test_a_sample_of_a_larger_window_is_said():
    window = DRIFTED["window"] | {"rows": 1_000_000, "judged": 2000, "sampled": True}
    words = dict(facts(told(DRIFTED | {"window": window})))["window"]
    assert words.startswith("1,000,000 rows, 412 distinct, a random 2,000 of which are tested, from 2026-03-12T08")


def test_what_is_out_of_reach_is_told_beside_what_validation_had():
    validation = {"good": 200, "good_out": 4, "spam": 100, "spam_out": 1}
    window = DRIFTED["window"] | {"out_of_reach": 83, "reach_known": 415}
    reference = DRIFTED["reference"] | {"out_of_reach": validation}
    beside = dict(facts(told(DRIFTED | {"window": window, "reference": reference})))["out of reach"]
    assert beside == (
        "83 of 415 rows (20.00 %) unlike the training data; "
        "of the validation rows 2.00 % of the good ones and 1.00 % of spam were"
    )
    alone = dict(facts(told(DRIFTED | {"window": window})))["out of reach"]
    assert alone == "83 of 415 rows (20.00 %) unlike the training data"
    assert "out of reach" not in dict(facts(told(DRIFTED | {"window": window | {"reach_known": 0}})))


@pytest.mark.parametrize("colours", [None, "truecolor"])
def test_hostile_words_reach_the_terminal_as_harmless_text(colours):
    for width in (80, 4000):
        text = shown(hostile(PAYLOADS), color_system=colours, width=width)
        assert re.sub(r"\x1b\[[\d;]*m", "", text).replace("\n", "").isprintable()
        assert ("\x1b" in text) == (colours is not None)
    assert "[bold red]markup[/] [link=http" in text

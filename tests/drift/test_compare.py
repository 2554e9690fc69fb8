"""Evidently's pages agree with the alarm, hold no word of a message, and run nothing but their own scripts."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest

from spamctl.drift import evidently_report
from spamctl.drift.evidently_html import quiet, safe, text_auc
from spamctl.drift.evidently_report import MOST_ROWS, evidently_pages
from spamctl.drift.quality import measured
from spamctl.drift.verdict import JudgementConfig, judge
from spamctl.errors import ArtefactError
from spamctl.schema.message import NOT_SPAM, SPAM
from tests import chromium
from tests.drift.moving_samples import SECRET, made
from tests.each import each
from tests.hostile import PAYLOADS
from tests.ticks import last

NAMES = ("data_quality", "drift", "classification")
COLUMNS = (
    "length", "words", "digits", "links", "currency", "capitals", "non_letters", "odd_unicode", "word_length",
    "probability", "spam_share",
)  # fmt: skip


def judged(reference, current):
    """Return what our alarm says, and its thresholds by test name."""
    found = {test.name: test for test in last(judge(reference, current, JudgementConfig(replicates=400))).tests}
    return found, {name: test.threshold for name, test in found.items()}


def by_column(page):
    """Return the status and the value of each column that a page tests."""
    values = {metric["column"]: metric["value"] for metric in page.summary["metrics"] if "column" in metric}
    return {test["column"]: (test["status"], values[test["column"]]) for test in page.summary["tests"]}


@pytest.fixture(scope="module")
def drifted():
    """Return what our alarm and what Evidently say of a window that moved."""
    reference, current = made(400), made(150, seed=1, moved=1.0)
    found, thresholds = judged(reference, current)
    return found, evidently_pages(reference, current, thresholds, seed=0)


@pytest.fixture(scope="module")
def hostile():
    """Return Evidently's pages of a window with payloads in every place that holds a word."""
    reference, current = made(120), made(120, seed=1, moved=1.0, hostile=True)
    return evidently_pages(reference, current, judged(reference, current)[1], seed=0)


def agree(found, page):
    """Tell what Evidently said of the columns that we test too, after checking that it said the same."""
    told = by_column(page)
    for name in COLUMNS:
        status, value = told[name]
        assert value == pytest.approx(found[name].statistic, abs=1e-9), name
        assert (status == "FAIL") == found[name].alarm, name
    return {status for status, _ in told.values()}


@pytest.mark.slow
def test_evidently_measures_and_says_of_each_column_what_the_alarm_does(drifted):
    found, pages = drifted
    assert agree(found, pages["drift"]) == {"FAIL", "SUCCESS"}


@pytest.mark.slow
def test_they_agree_that_nothing_moved_too():
    reference, current = made(300), made(200, seed=2)
    found, thresholds = judged(reference, current)
    assert not any(test.alarm for test in found.values())
    assert agree(found, evidently_pages(reference, current, thresholds, seed=0)["drift"]) == {"SUCCESS"}


@pytest.mark.slow
def test_messages_that_repeat_count_once_in_both():
    reference, current = made(200), made(60, seed=3, moved=0.3)
    again = current.take(np.repeat(np.arange(60), 4))
    found, thresholds = judged(reference, again)
    page = evidently_pages(reference, again, thresholds, seed=0)["drift"]
    agree(found, page)
    assert page.summary["rows"]["current"] == {
        "of": 240,
        "compared": 240,
        "different": len(current.distinct()),
    }
    assert f"240 current rows ({len(current.distinct())} different)" in page.html


@pytest.mark.slow
def test_evidently_fails_quality_where_the_alarm_rings(drifted):
    found, pages = drifted
    ended = {test["metric"]: test["status"] for test in pages["classification"].summary["tests"]}
    assert ended == {
        "Accuracy": "FAIL" if found["accuracy"].alarm else "SUCCESS",
        "FPR": "FAIL" if found["false_positive_rate"].alarm else "SUCCESS",
    }
    assert found["accuracy"].alarm


def figures(page):
    """Return the figures of a page of classification by Evidently's names."""
    return {metric["metric"]: metric["value"] for metric in page.summary["metrics"]}


@pytest.mark.slow
@each("repeats", [1, 3])
@each("threshold", [0.03, 0.97])
def test_evidently_measures_the_verdicts_that_were_served_as_our_own_page_does(threshold, repeats):
    reference, current = made(120, width=0), made(80, seed=1, moved=0.5, width=0).take(np.arange(80).repeat(repeats))
    served = dataclasses.replace(current, called_spam=current.probabilities >= threshold)
    ours = measured(served, np.random.default_rng(0))
    told = figures(evidently_pages(reference, served, {"accuracy": 0.2}, seed=0)["classification"])
    names = {"Accuracy": "accuracy", "Recall": "recall", "Precision": "precision", "FPR": "false_positive_rate"}
    for theirs, name in names.items():
        assert told[theirs] == pytest.approx(getattr(ours, name).value), name
    assert {"RocAuc", "LogLoss"} <= told.keys()


@pytest.mark.slow
def test_of_a_sampled_window_all_labelled_rows_are_measured_and_the_reference_is_counted_alike():
    reference, labelled = made(60).take(np.arange(60).repeat(2)), made(90, seed=6, moved=0.4)
    pages = evidently_pages(reference, labelled.take(range(40)), {"accuracy": 0.2}, seed=0, labelled=labelled)
    assert figures(pages["classification"])["Accuracy"] == pytest.approx(
        float((labelled.called_spam == labelled.is_spam).mean())
    )
    assert {page.summary["rows"]["reference"]["compared"] for page in pages.values()} == {120}


@pytest.mark.slow
def test_verdicts_that_are_righter_than_before_fail_nothing():
    worse, better = made(300, moved=0.8), made(200, seed=4)
    thresholds = judged(worse, better)[1]
    page = evidently_pages(worse, better, thresholds, seed=0)["classification"]
    assert {test["status"] for test in page.summary["tests"]} == {"SUCCESS"}


@pytest.mark.slow
def test_text_is_tested_on_what_its_classifier_reaches_by_chance(drifted):
    page = drifted[1]["drift"]
    (told,) = [metric for metric in page.summary["metrics"] if metric.get("column") == "domain classifier"]
    assert 0.5 <= told["threshold"] < 0.7
    assert by_column(page)["domain classifier"] == ("FAIL", told["value"])
    assert [metric["metric"] for metric in page.summary["metrics"]].count("EmbeddingsDrift") == 1


@pytest.mark.slow
def test_ranks_teach_a_classifier_what_words_do():
    before, now = made(120).texts, made(120, seed=5, moved=0.3).texts
    ranks = evidently_report.word_ranks(before, now)
    with quiet():
        assert text_auc(*ranks) == text_auc(before, now)
    assert re.fullmatch(r"[w\d ]+", " ".join([*ranks[0], *ranks[1]]))


def test_names_that_could_harm_are_numbered_and_rare_ones_put_together():
    names = ["1.2-rc", "1.2-rc", "a" * 41, "<script>", "", "others", "web app"]
    assert evidently_report.safe_names([names], "source") == {
        "1.2-rc": "1.2-rc",
        "a" * 41: "source no. 2",
        "<script>": "source no. 3",
        "": "source no. 4",
        "others": "source no. 5",
        "web app": "web app",
    }
    many = evidently_report.safe_names([[f"v{n}" for n in range(20)]], "version")
    assert set(many.values()) == {*(f"v{n}" for n in range(12)), "others"}


@pytest.mark.slow
def test_no_word_of_a_message_is_in_a_page(drifted):
    for page in drifted[1].values():
        assert len(page.html) > 1_000_000
        assert SECRET not in page.html
        assert SECRET not in json.dumps(page.summary)


@pytest.mark.slow
def test_no_payload_is_in_a_page_and_what_stands_for_it_is_told(hostile):
    for name in NAMES:
        page = hostile[name].html
        rest, scripts = re.subn(r"<script>.*?</script>", "", page, flags=re.DOTALL)
        assert scripts == 4
        assert "<script" not in rest
        assert SECRET not in page
        for payload in PAYLOADS:
            assert payload not in page or len(payload) < 8
    names = hostile["data_quality"].summary["names"]
    assert names["source no. 3"] in PAYLOADS


@pytest.mark.slow
def test_a_page_names_each_script_that_may_run(drifted):
    page = drifted[1]["drift"].html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert not re.search(r"https?:|\*|unsafe-eval|connect-src", policy)
    assert page.startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in page
    assert "<title>Drift</title>" in page


def test_data_that_would_end_its_script_does_not():
    drawn = (
        '<html lang="en"><head><meta charset="UTF-8"><script>var metric_' + "0" * 32 + ' = {"a": "<b><!--"};</script>'
        "</head><body><script>1</script><script>2</script><script>3</script></body></html>"
    )
    page = safe(drawn, "<t>", "a & b")
    assert r'var report = {"a": "\u003cb>\u003c!--"};' in page
    assert "<title>&lt;t&gt;</title>" in page
    assert "a &amp; b" in page


def test_a_page_of_another_build_is_refused():
    with pytest.raises(ArtefactError, match=r"another build than 0\.7\.23; install that version"):
        safe("<html><head></head><body><script>1</script></body></html>", "t", "")


@pytest.mark.slow
def test_the_same_samples_make_the_same_page():
    reference, current = made(60, width=0), made(40, seed=1, width=0)
    first, second = (evidently_pages(reference, current, {"length": 0.1}, seed=0)["drift"] for _ in range(2))
    assert first.summary == second.summary
    assert set(first.summary["left_out"]) == {*COLUMNS, "embedding"} - {"length"}


@pytest.mark.slow
def test_more_rows_than_a_page_can_show_are_drawn_by_lot(monkeypatch):
    assert MOST_ROWS == 20_000
    monkeypatch.setattr(evidently_report, "MOST_ROWS", 50)
    pages = evidently_pages(made(90, width=0), made(40, seed=1, width=0), {}, seed=0)
    assert pages["data_quality"].summary["rows"] == {
        "reference": {"of": 90, "compared": 50},
        "current": {"of": 40, "compared": 40},
    }
    assert "50 reference rows (of 90) and 40 current rows" in pages["data_quality"].html


@pytest.mark.slow
@each(
    ("change", "reason"),
    [
        ({"truth": [""] * 40}, "0 rows have a trusted label, fewer than 10"),
        ({"label_sources": ["simulated"] * 40}, "0 rows have a trusted label, fewer than 10"),
        ({"truth": [NOT_SPAM] * 40}, f"all 40 labelled rows are {NOT_SPAM}"),
        ({"truth": [SPAM] * 40}, f"all 40 labelled rows are {SPAM}"),
    ],
)
def test_quality_that_cannot_be_measured_has_no_page_and_a_reason(change, reason):
    current = dataclasses.replace(made(40, seed=1, width=0), **change)
    page = evidently_pages(made(60, width=0), current, {}, seed=0)["classification"]
    assert (page.html, page.summary) == ("", {"missing": reason})


@pytest.mark.slow
def test_a_reference_of_one_class_leaves_the_current_rows_alone_on_the_page():
    reference = dataclasses.replace(made(60, width=0), truth=[NOT_SPAM] * 60)
    page = evidently_pages(reference, made(40, seed=1, width=0), {"accuracy": 0.2}, seed=0)["classification"]
    assert len(page.html) > 1_000_000
    assert {metric["metric"] for metric in page.summary["metrics"]} >= {"Accuracy", "Recall", "FPR"}


@pytest.mark.slow
def test_samples_without_rows_or_words_have_reasons_and_no_trace():
    empty, some = made(40).take([]), made(40)
    for pages in (evidently_pages(empty, some, {}, 0), evidently_pages(some, empty, {}, 0)):
        assert {page.summary["missing"] for page in pages.values()} == {"one of the two samples has no row"}
    wordless = dataclasses.replace(made(40, width=0), texts=["" if row % 2 else "the" for row in range(40)])
    page = evidently_pages(wordless, wordless, {}, seed=0)["drift"]
    assert page.summary == {"missing": "nothing can be tested"}


@pytest.mark.slow
def test_evidently_neither_calls_home_nor_leaves_anything(home, drifted):
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert not [path for path in home.rglob("*") if "evidently" in path.name]


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_draws_each_page_runs_no_payload_and_asks_nobody(hostile, tmp_path):
    shown = {}
    with chromium.driven(tmp_path) as browser:
        for name in NAMES:
            path = tmp_path / f"{name}.html"
            path.write_text(hostile[name].html, encoding="utf-8")
            browser.get(path.as_uri())
            browser.implicitly_wait(20)
            assert browser.find_elements("css selector", ".js-plotly-plot svg")
            shown[name] = browser.find_element("tag name", "body").text
            assert browser.title == name.replace("_", " ").capitalize()
            links = browser.find_elements("css selector", "a[href^='http']")
            assert not [link for link in links if link.is_displayed()]
            complaints = [entry for entry in browser.get_log("browser") if "Content Security" in entry["message"]]
            assert complaints == []
    assert "distinct texts" in shown["data_quality"]
    assert "source no. 1" in shown["data_quality"]
    assert "Drift in column 'length'" in shown["drift"]
    assert "Confusion Matrix" in shown["classification"]
    assert chromium.elsewhere(tmp_path / "requests.json") == []

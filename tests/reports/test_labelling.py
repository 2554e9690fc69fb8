"""A simulated label is never shown without saying so, and every outcome has its sentence and its next command."""

import html
import io
from dataclasses import replace

import pytest
from rich.console import Console

from spamctl.reports import label
from spamctl.schema.codec import from_json
from spamctl.schema.message import Agreement, Conflict, LabelResult, SourceTally
from tests.each import each
from tests.hostile import PAYLOADS
from tests.reports.test_cards import calm_title

SIMULATED = {"source": "simulated", "rows": 900, "agreeing": 810}
ORACLE = {"source": "oracle", "rows": 100, "agreeing": 97}


def result(**changes):
    told = {
        "action": "predictions",
        "store": "spam.db",
        "rows": 1000,
        "found": 1000,
        "left": 0,
        "labelled": 900,
        "sources": [ORACLE, SIMULATED],
    }
    return from_json(LabelResult, told | changes)


FILE = {
    "action": "file",
    "file": "labels.csv",
    "labelled": 0,
    "standing": 3,
    "replaced": 0,
    "unknown": 1,
    "first_unknown": ["row\x1b[31m 7"],
    "conflicts": 2,
    "first_conflicts": [{"uuid": "u1", "label": "spam", "source": "oracle\x1b[31m", "given": "not spam"}],
}
PAIR = {"first": "ann", "second": "bob", "rows": 50, "agreeing": 35, "kappa": 0.4}
REVIEWED = {"asked": 5, "decided": 3, "labelled": 7, "annotator": "ann", "taken": 0}

CASES = {
    "900 rows given labels simulated from their verdicts": result(),
    "1 row labelled with the truth saved by traffic": result(action="truth", labelled=1, known=5, noise=0.0),
    "3 rows labelled from labels.csv": result(**FILE | {"labelled": 3}),
    "Nothing to label: no label of labels.csv is for a selected row without one": result(**FILE),
    "Nothing to label: no row was selected, or the store is empty": result(rows=0, found=0, labelled=0, sources=[]),
    "Nothing to label: all 1,000 selected rows have a label": result(found=0, labelled=0),
    "Nothing to label: no truth was saved for the 9 rows without a label, or they are too young": result(
        action="truth", found=9, labelled=0, known=0, noise=0.0
    ),
    "Nothing to label: every row was left out at random (--coverage)": result(
        action="truth", labelled=0, known=3, noise=0.0
    ),
    "100 rows written to out.csv": result(action="export", labelled=0, exported=100, file="out.csv"),
    "Nothing to export: the only labels are 900 simulated ones; --export-simulated writes them": result(
        action="export", labelled=0, exported=0, file="out.csv", sources=[SIMULATED]
    ),
    "Nothing to export: no selected row has a label to export": result(
        action="export", labelled=0, exported=0, file="out.csv", sources=[]
    ),
    "3 of 5 questions decided by ann: 7 rows labelled": result(action="review", review=REVIEWED, agreements=[PAIR]),
    "Nothing to review: no row is left to review": result(action="review", review={"asked": 0}, agreements=[]),
}


def shown(told, width=100):
    paper = io.StringIO()
    label.show(told, Console(file=paper, width=width, highlight=False))
    return paper.getvalue()


@each("sentence", CASES)
def test_every_outcome_has_a_sentence_in_the_terminal_and_on_the_card(sentence):
    assert label.sentence(CASES[sentence]) == sentence
    assert sentence in shown(CASES[sentence])
    assert f'<h1 class="verdict good">{sentence}</h1>' in label.page(CASES[sentence])


@each("told", CASES.values())
def test_a_simulated_label_never_passes_for_accuracy(told):
    loud = "SIMULATED: 900 of "
    is_there = SourceTally(**SIMULATED) in told.sources
    for page in (shown(told), label.page(told)):
        assert (loud in page) is is_there
        assert ("NOT AN ACCURACY" in page) is is_there
        assert ("(made so)" in page) is is_there


def test_labels_are_told_by_source():
    lines = [line.split() for line in shown(result()).splitlines()]
    assert ["oracle", "100", "97", "97.00", "%"] in lines
    assert ["simulated", "900", "810", "90.00", "%", "(made", "so)"] in lines


def test_conflicts_are_named_harmlessly():
    for page in (shown(result(**FILE), width=300), label.page(result(**FILE))):
        assert "2 rows kept a label that differs from the file" in page
        assert r"u1 (spam by oracle\x1b[31m, not spam in the file)" in page
        assert "\x1b" not in page


@pytest.mark.parametrize(
    ("unknown", "words"), [(1, "1 label of labels.csv is for"), (9, "9 labels of labels.csv are for")]
)
def test_labels_for_no_row_are_named_harmlessly(unknown, words):
    told = result(**FILE | {"unknown": unknown, "first_unknown": ["row\x1b[31m 7"]})
    for page in (shown(told, width=300), label.page(told)):
        assert rf"{words} no selected row: row\x1b[31m 7{', …' if unknown == 9 else ''}" in page
        assert "\x1b" not in page
    assert "for no selected row:" not in shown(result(**FILE | {"unknown": 0, "first_unknown": []}))


def test_noise_is_told():
    assert "2.00 % of the labels are flipped on purpose" in shown(
        result(action="truth", known=5, noise=0.02, labelled=5)
    )


def test_agreement_of_annotators_is_told():
    assert "ann and bob agree on 35 of 50 rows (Cohen's kappa 0.400)" in shown(
        result(action="review", review=REVIEWED, agreements=[PAIR])
    )
    assert "kappa undefined" in shown(result(action="review", review={}, agreements=[PAIR | {"kappa": None}]))


@each(
    ("told", "command"),
    [
        (result(), "spamctl label --export labelled.csv"),
        (result(sources=[SIMULATED]), "spamctl label --source review"),
        (result(sources=[SIMULATED], store="my db"), "spamctl label --source review --target-uri 'my db'"),
        (result(action="export", exported=3, file="a b.csv"), "spamctl train --dataset 'a b.csv'"),
        (result(action="export", exported=0, file="a.csv"), "spamctl label --source review"),
        (result(action="export", exported=0, file="a.csv", sources=[]), "spamctl label"),
        (result(rows=0, found=0, sources=[]), "spamctl traffic"),
    ],
)
def test_the_next_command_can_be_typed(told, command):
    assert label.following(told) == command
    assert f"Next: {command}\n" in shown(told)


@pytest.mark.parametrize("width", [80, 200])
def test_it_fits_eighty_columns_without_a_terminal(width):
    assert max(map(len, shown(result(), width).splitlines())) <= width


def hostile(action):
    """Return what a labelling did, in which every name, label, source and uuid is a payload."""
    everything = "".join(PAYLOADS)
    changes = FILE | {"action": action, "file": everything, "labelled": 3, "exported": 3, "store": everything}
    return replace(
        result(**changes, review=REVIEWED | {"annotator": everything}),
        first_conflicts=tuple(Conflict(payload, payload, payload, payload) for payload in PAYLOADS),
        sources=tuple(SourceTally(payload, 2, 1) for payload in PAYLOADS),
        agreements=tuple(Agreement(**PAIR | {"first": payload, "second": payload}) for payload in PAYLOADS),
    )


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("action", ["file", "export", "review"])
def test_hostile_words_on_the_card_run_nothing_and_ask_for_nothing(visit, tmp_path, action):
    page = label.page(hostile(action))
    assert page.count(html.escape(PAYLOADS[0])) > 9  # the sentence, the conflicts, the sources, the facts
    assert calm_title(visit, tmp_path / "card.html", page) != "calm"

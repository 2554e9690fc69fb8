"""A word's push is what the message's score loses without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.engine.engine import Engine
from spamctl.schema.message import WordPush
from spamctl.serving.explain import MOST_WORDS, explanation, pushes, variants
from tests import tiny_models, tiny_packages
from tests.each import each


def test_each_word_is_left_out_in_turn_and_no_space_is_doubled():
    made = variants("  win cash  now ")
    assert [(word.text, word.start, word.end) for word in made.words] == [
        ("win", 2, 5),
        ("cash", 6, 10),
        ("now", 12, 15),
    ]
    assert made.texts == ("  cash  now ", "  win now ", "  win cash ")


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "Cc"]), min_size=1), max_size=MOST_WORDS), st.data())
def test_what_is_left_are_the_other_words(words, data):
    spaces = st.text(" \n\t\u2003", min_size=1, max_size=3)
    text = data.draw(spaces) + "".join(word + data.draw(spaces) for word in words)
    made = variants(text)
    assert [word.text for word in made.words] == words
    assert all(text[word.start : word.end] == word.text for word in made.words)
    assert [left.split() for left in made.texts] == [[*words[:i], *words[i + 1 :]] for i in range(len(words))]


@given(st.text())
def test_any_text_has_one_variant_a_word(text):
    made = variants(text)
    assert len(made.texts) == len(made.words) <= MOST_WORDS


@pytest.mark.parametrize("text", ["", " ", "\n\t \u2003"])
def test_a_message_without_words_has_no_explanation(text):
    made = variants(text)
    assert made.words == made.texts == ()
    assert explanation(made, 1.0, []) == []


@each("count", [1, 4, 5, 8, 9, 130])
def test_many_words_go_together_in_runs_that_cover_the_message(count):
    words = [f"w{index}" for index in range(count)]
    made = variants(" ".join(words), most_words=4)
    assert len(made.texts) <= 4
    assert [word for run in made.words for word in run.text.split()] == words
    assert len({len(run.text.split()) for run in made.words[:-1]}) <= 1


@each("text", ["a " * 5_000_000, "a" * 10_000_000, " " * 10_000_000, "\U0001f4b0 " * 3_000_000])
def test_a_text_of_megabytes_costs_no_more_than_a_page(text):
    made = variants(text)
    assert len(made.words) <= MOST_WORDS
    assert sum(map(len, made.texts)) <= 65_536 * MOST_WORDS


def test_a_push_is_what_the_score_loses_without_the_word():
    assert pushes(2.0, [0.5, 3.0]) == [1.5, -1.0]


def test_an_explanation_says_word_place_and_push():
    assert explanation(variants("win now"), 2.0, [0.5, 3.0]) == [
        WordPush(word="win", start=0, end=3, push=1.5),
        WordPush(word="now", start=4, end=7, push=-1.0),
    ]


def test_a_score_too_few_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        explanation(variants("win now"), 2.0, [0.5])


def test_the_engine_agrees_with_arithmetic_on_paper(tmp_path):
    engine = Engine(tiny_packages.write(tmp_path / "package"), threads=1)
    weights = tiny_packages.words()
    offer = tiny_models.messages(1)[0].text
    made = variants(offer)
    logit, *without = engine.logits(engine.tokenize([offer, *made.texts])).tolist()
    words = [weights[word] for word in offer.split()]
    paper = [4 * (sum(words) / len(words) - (sum(words) - weight) / (len(words) - 1)) for weight in words]
    assert [row.push for row in explanation(made, logit, without)] == pytest.approx(paper, abs=1e-4)


def test_an_odd_word_is_a_word():
    made = variants("a\0b zero\u200bwidth \ud800 \u202eevil")
    assert [word.text for word in made.words] == ["a\0b", "zero\u200bwidth", "\ud800", "\u202eevil"]

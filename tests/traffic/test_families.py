"""Phrases are expanded as their file says, and names stay the same through a message."""

import re

import pytest

from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.traffic.rewrites import ENDINGS
from spamctl.traffic.rng import SeededRandom
from spamctl.traffic.synthetic import FILES, VALUES, Family, TemplateValues, families, text_of
from tests.each import each


def made(*messages, hand="tidy", seeds=40, **phrases):
    family = Family("made up", 1, hand, {"messages": list(messages), **phrases})
    return {text_of(family, TemplateValues(SeededRandom(seed), "modern")) for seed in range(seeds)}


def test_choices_are_settled_from_the_inside_out():
    assert made("[one|two [big|small]|] end") == {"One end", "Two big end", "Two small end", "End"}


def test_a_phrase_of_the_family_goes_before_one_of_all():
    assert made("{when}", when=["never"]) == {"Never"}
    assert len(made("{when}")) > 20


def test_a_role_is_the_same_all_through_a_message_and_a_phrase_is_not():
    assert all(len(set(text.split(" / "))) == 1 for text in made("{bank} / {bank} / {bank}"))
    assert any(len(set(text.split(" / "))) > 1 for text in made("{food} / {food} / {food}", hand="tidy"))


def test_gaps_left_by_empty_choices_are_closed():
    assert made("now [|] , please  go [|] .") == {"Now, please go."}
    assert made("It closes at {end}.", end=["9 p.m."]) == {"It closes at 9 p.m."}
    assert made("wait... {end}.", end=["ok..."]) == {"Wait... ok..."}


def test_a_message_begins_with_a_capital_unless_it_begins_with_a_link():
    assert made("your code") == {"Your code"}
    assert all(re.match(r"https?://|[a-z0-9-]+\.", text) for text in made("{link}"))


def test_a_hand_shortens_words_some_of_the_time():
    texts = made("I will see you tomorrow, thanks.", hand="keypad", seeds=200)
    assert len(texts) > 20
    assert any("2moro" in text for text in texts)
    assert any("tomorrow" in text for text in texts)


def test_every_value_is_a_word_and_stays_for_the_message():
    casts = [TemplateValues(SeededRandom(seed), era) for seed in range(30) for era in ("2003", "modern")]
    for name in VALUES:
        for cast in casts:
            assert cast.value(name).strip() == cast.value(name) != ""
            assert "\n" not in cast.value(name)
        assert len({cast.value(name) for cast in casts}) > 4, name


def test_the_later_time_is_later_and_written_alike():
    for seed in range(60):
        cast = TemplateValues(SeededRandom(seed), "modern")
        first, later = cast.value("time"), cast.value("later_time")
        assert first != later
        assert re.sub(r"\d+", "", first).strip("apm") == re.sub(r"\d+", "", later).strip("apm")


@each(("era", "label"), list(FILES))
def test_no_link_and_no_number_is_anybodys(era, label):
    for family in families(era, label):
        for seed in range(60):
            text = text_of(family, TemplateValues(SeededRandom(family.name, seed), era))
            for host in re.findall(r"(?:https?://|www\.|wap\.)([\w.-]+)", text):
                assert host.rstrip(".").rsplit(".", 1)[-1] in ENDINGS, text
                assert "--" not in host, text
            for number in re.findall(r"(?<![\w£$])(?:\+44|0)[\d ]{9,}", text):
                assert re.match(r"(?:\+44|0)(?:7700900|8081570|9098790)", number.replace(" ", "")), text
            assert not re.search(r"[{}\[\]|]|  |^\s|\s$", text), text


@pytest.mark.parametrize("label", [SPAM, NOT_SPAM])
def test_links_and_amounts_tell_no_label(label):
    """A filter must not be able to tell modern spam by a link or a price alone: both kinds carry them."""
    texts = [
        text_of(family, TemplateValues(SeededRandom(family.name, seed), "modern"))
        for family in families("modern", label)
        for seed in range(80)
    ]
    assert sum("." + ending in text for text in texts for ending in ENDINGS) > len(texts) * 0.08
    assert sum("£" in text or "$" in text for text in texts) > len(texts) * 0.08
    assert sum(bool(re.search(r"\d", text)) for text in texts) > len(texts) * 0.3

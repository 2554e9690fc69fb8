"""Labelled answers teach only what is new, each once, and never what the frozen test part asks."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.cleaning import leakage, seen_key
from spamctl.data.feedback import (
    Answer,
    Feedback,
    balance,
    carve,
    distinct,
    merge,
    not_learnt,
    pattern_sides,
    weights,
    without,
)
from spamctl.data.split import split
from spamctl.schema.message import NOT_SPAM, SPAM, Message, Split, digest
from spamctl.schema.train import Leakage
from tests import tiny_models

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
FROZEN = split(tiny_models.messages(120))


def answer(text, day=0, label=SPAM, **changes):
    known = {"uuid": f"{day}-{text}", "source": "oracle", "probability": 0.5, "called_spam": True}
    return Answer(**(known | {"date": BEGAN + timedelta(days=day), "text": text, "label": label} | changes))


def nothing(_text):
    return False


def texts(answers):
    return [one.text for one in answers]


def test_what_the_frozen_split_holds_in_any_part_is_left_out_and_so_are_its_near_duplicates():
    known = [part[0].text for part in (FROZEN.train, FROZEN.validation, FROZEN.test)]
    shouted = [f"  {text.upper()} ".replace("1", "7") for text in known]
    kept, left_out = distinct([answer(text) for text in [*known, *shouted, "new to all"]], FROZEN, nothing)
    assert texts(kept) == ["new to all"]
    assert left_out == {"known from the dataset": 6}


def test_a_frozen_message_in_another_spelling_is_left_out_too():
    known = FROZEN.test[0].text
    spellings = [known[:1] + "\u200b" + known[1:], known.translate({ord("a"): "\uff41", ord("e"): "\uff45"}) + "\ufeff"]
    kept, left_out = distinct([answer(text) for text in [*spellings, "n\u200bew", "new"]], FROZEN, nothing)
    assert texts(kept) == ["n\u200bew"]
    assert left_out == {"known from the dataset": 2, "near duplicates": 1}


def test_of_near_duplicates_the_newest_is_kept():
    rows = [answer("win 100 now", 2), answer("WIN 200 now", 3), answer("win 300 now", 1), answer("other", 0)]
    kept, left_out = distinct(rows, FROZEN, nothing)
    assert texts(kept) == ["other", "WIN 200 now"]
    assert left_out == {"near duplicates": 2}


def test_near_duplicates_with_both_labels_are_all_left_out():
    rows = [answer("win 100 now", 1), answer("win 200 now", 2, NOT_SPAM), answer("win 300 now", 3)]
    assert distinct(rows, FROZEN, nothing) == ([], {"with both labels": 3})


def test_texts_are_cleaned_as_those_of_a_dataset_and_empty_ones_are_counted():
    kept, left_out = distinct([answer("win &lt;now&gt;"), answer(" \t"), answer("\0")], FROZEN, nothing)
    assert texts(kept) == ["win <now>"]
    assert left_out == {"without text": 2}


def test_what_was_forgotten_is_left_out_and_counted():
    kept, left_out = distinct([answer("a secret"), answer("no secret")], FROZEN, lambda text: text == "a secret")
    assert texts(kept) == ["no secret"]
    assert left_out == {"forgotten": 1}


def test_the_newest_share_is_held_out_and_no_older_row_is_in_it():
    rows = [answer(f"message {chr(97 + day)}", day) for day in range(20)]
    carved = carve(rows, 0.3)
    assert texts(carved.recent) == texts(rows[14:])
    assert sorted(texts(carved.train + carved.validation)) == sorted(texts(rows[:14]))
    assert carve(rows, 0.0).recent == ()


def words(number):
    return " ".join(f"{index}{chr(97 + number // 26**index % 26)}" for index in range(3))


def test_one_in_eight_validates_and_does_so_in_each_later_training():
    rows = [answer(words(number), number) for number in range(2000)]
    first, later = carve(rows[:1000], 0.3), carve(rows, 0.3)
    assert len(first.validation) / 700 == pytest.approx(1 / 8, abs=0.03)
    assert set(texts(first.validation)) <= set(texts(later.validation))
    assert set(texts(first.train)) <= set(texts(later.train))
    assert set(texts(first.recent)) & set(texts(later.train))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=12), st.integers(0, 9), st.booleans()), max_size=30))
def test_whatever_is_labelled_the_test_part_stays_and_nothing_leaks(given_rows):
    rows = [answer(text, day, SPAM if spam else NOT_SPAM) for text, day, spam in given_rows]
    rows += [answer(message.text, 1, message.label) for message in FROZEN.test]
    kept, left_out = distinct(rows, FROZEN, nothing)
    carved = carve(kept, 0.3)
    merged = merge(FROZEN, carved)
    assert digest(merged.test) == digest(FROZEN.test)
    assert leakage(merged) == Leakage(exact=0, masked=0)
    counts = Counter(seen_key(one.text) for one in kept)
    assert set(counts.values()) <= {1}
    assert len(kept) + sum(left_out.values()) == len(rows)
    assert len(carved.train) + len(carved.validation) + len(carved.recent) == len(kept)
    learnt = {seen_key(message.text) for message in (*merged.train, *merged.validation)}
    assert not learnt & {seen_key(one.text) for one in carved.recent}


def test_forgotten_messages_leave_each_part_and_no_other_message_moves():
    gone = {part[0].text for part in (FROZEN.train, FROZEN.validation, FROZEN.test)}
    left, count = without(FROZEN, gone.__contains__)
    assert count == 3
    for name in ("train", "validation", "test"):
        before = getattr(FROZEN, name)
        assert getattr(left, name) == tuple(message for message in before if message.text not in gone)


def test_an_empty_feedback_changes_no_part():
    assert merge(FROZEN, Feedback((), (), ())) == Split(FROZEN.train, FROZEN.validation, FROZEN.test)


def test_balance_counts_spam():
    assert balance([answer("a"), answer("b", label=NOT_SPAM)]) == {"rows": 2, "spam": 1}
    assert answer("a").message == Message("a", SPAM)


def test_an_answer_counts_for_so_many_messages_of_the_dataset():
    carved = carve([answer(words(number), number) for number in range(40)], 0.3)
    merged = merge(FROZEN, carved)
    heavy = {
        message.text for message, weight in zip(merged.train, weights(merged, carved, 5.0), strict=True) if weight > 1
    }
    assert heavy == set(texts(carved.train))
    assert set(weights(merged, carved, 5.0)) == {1.0, 5.0}


def test_answers_of_one_class_weigh_as_much_as_what_evens_them_out():
    carved = carve([answer(words(number), number) for number in range(40)], 0.3)
    merged, found = merge(FROZEN, carved), pattern_sides([one.message for one in carved.train], FROZEN.train, 5.0)
    evened = list(zip(merged.train, weights(merged, carved, 5.0, found), strict=True))
    learnt = sum(weight for message, weight in evened if message.text in set(texts(carved.train)))
    against = sum(weight for message, weight in evened if not message.is_spam)
    assert learnt == pytest.approx(against)


def test_what_an_earlier_training_may_have_learnt_is_left_out_and_what_validated_stays():
    answers = [answer(f"message {'x' * number}", number) for number in range(80)]
    until = BEGAN + timedelta(days=60)
    kept = not_learnt(answers, until)
    validated = {one.text for one in carve(answers[:60], 0.0).validation}
    assert validated
    assert texts(kept) == [one.text for one in answers if one.date >= until or one.text in validated]

"""What a message looks like is told by letters and links, and a look that was learnt of one class is evened out."""

import pytest

from spamctl.data.feedback import ACCENTED, FOREIGN, LINKED, PLAIN, evened, looks, pattern_sides
from spamctl.schema.message import NOT_SPAM, SPAM, Message
from tests.each import each


@each(
    ("text", "found"),
    [
        ("Call £5 now", {PLAIN}),
        ("", {PLAIN}),
        ("ｆｕｌｌ width, f\u200bree", {PLAIN}),  # which the model reads as plain ones
        ("smile 😀", {PLAIN}),
        ("à bientôt", {ACCENTED}),
        ("до завтра", {FOREIGN}),
        ("frее", {FOREIGN}),  # two Cyrillic letters
        ("ώρα, à demain", {FOREIGN}),
        ("see www.example.com", {PLAIN, LINKED}),
        ("жми example.info/x", {FOREIGN, LINKED}),
    ],
)
def test_a_look_is_that_of_what_the_model_reads(text, found):
    assert looks(text) == found


def good(text, count):
    return [Message(f"{text} {number}", NOT_SPAM) for number in range(count)]


def spam(text, count):
    return [Message(f"{text} {number}", SPAM) for number in range(count)]


KNOWN = [*good("see you", 100), *good("à bientôt", 30), *good("до завтра", 2), *spam("win", 40)]


def test_spam_in_other_letters_is_evened_out_by_good_messages_beyond_plain_letters():
    (side,) = pattern_sides([*spam("frее", 48), *good("hello", 20), *spam("win", 20)], KNOWN, 5.0)
    assert (side.look, side.label, side.answers, side.counterparts, side.new) == (FOREIGN, SPAM, 48, 32, True)
    assert side.counterpart_weight == 5.0
    assert side.answer_weight * side.answers == pytest.approx(5.0 * 32)
    counts = {text: evened(Message(text, NOT_SPAM), [side], 5.0, answer=False) for text in ("à", "до", "see you")}
    assert counts == {"à": 5.0, "до": 5.0, "see you": 1.0}
    assert evened(Message("frее", SPAM), [side], 5.0, answer=True) == side.answer_weight
    assert evened(Message("win", SPAM), [side], 5.0, answer=True) == 5.0


def test_answers_without_any_counterpart_count_for_one_each():
    (side,) = pattern_sides(spam("frее", 48), good("see you", 100), 5.0)
    assert (side.counterparts, side.answer_weight, side.counterpart_weight) == (0, 1.0, 1.0)


def test_many_counterparts_even_out_as_they_are():
    (side,) = pattern_sides(spam("win", 8), KNOWN, 5.0)
    assert (side.look, side.counterpart_weight, side.answer_weight, side.new) == (PLAIN, 1.0, 5.0, False)


@pytest.mark.parametrize(("other", "one_sided"), [(0, True), (1, True), (3, False)])
def test_a_few_of_the_other_class_are_none(other, one_sided):
    answers = [*spam("frее", 48), *good("привет", other)]
    assert bool(pattern_sides(answers, KNOWN, 5.0)) is one_sided


def test_good_messages_alone_are_of_one_class_too():
    (side,) = pattern_sides(good("привет", 9), KNOWN, 5.0)
    assert (side.label, side.other, side.new) == (NOT_SPAM, SPAM, True)


def test_four_answers_teach_no_look():
    assert pattern_sides(spam("frее", 4), KNOWN, 5.0) == ()

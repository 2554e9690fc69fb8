"""What a reader cannot see is shown, and what a page or terminal would act on is not acted on."""

import html.parser
import re

import pytest

from spamctl import display
from tests.each import each


@each(
    ("text", "shown"),
    [
        ("Hi, you won £100!", "Hi, you won £100!"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        ("\u202egnp.exe\u202c", r"\u202egnp.exe\u202c"),
        ("a\u200bb\u200dc\ufeffd\u00ade", r"a\u200bb\u200dc\ufeffd\xade"),
        ("a\u3164b\u2800c\u115f", r"a\u3164b\u2800c\u115f"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800", r"\ud800"),
        ("\U000e0041\U000e0100", r"\U000e0041\U000e0100"),
        ("\ufffe\ue000", r"\ufffe\ue000"),
        ("שלום عربي 你好 é 🎉", "שלום عربي 你好 é 🎉"),
        (42, "42"),
    ],
)
def test_hidden_characters_become_escapes_and_letters_stay(text, shown):
    assert display.visible(text) == shown


def test_visible_text_is_one_line_that_can_be_printed(payloads):
    for payload in payloads:
        shown = display.visible(payload)
        assert shown.isprintable()
        assert len(shown.splitlines()) == 1
        shown.encode("utf-8")


def test_html_reads_back_as_the_visible_text_and_holds_no_markup(payloads):
    for payload in payloads:
        read = []
        parser = html.parser.HTMLParser()
        parser.handle_data = read.append
        parser.handle_starttag = lambda tag, _: pytest.fail(f"<{tag}> got through")
        parser.feed(f"{display.html(payload)}")
        parser.close()
        assert "".join(read) == display.visible(payload)
        assert not re.search(r"""[<>"']|&(?!amp;|lt;|gt;|quot;|#x27;)""", display.html(payload))


def test_ascii_only_is_ascii_and_keeps_an_interval_readable():
    assert display.ascii_only("0.98–0.99 £5 \u202e") == r"0.98-0.99 \xa35 \u202e"

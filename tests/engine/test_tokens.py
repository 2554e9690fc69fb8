"""Hold tokens to one rule: any text has an answer, none has a control token, and what is cut is said."""

import random
import string
import sys
import time
import unicodedata
from collections import defaultdict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from spamctl.data.cleaning import lookalike_table
from spamctl.engine.tokens import CHARACTERS_PER_TOKEN, MessageTokenizer
from spamctl.errors import ArtefactError, DataError
from tests import tiny_models
from tests.tiny_models import END_OF_TEXT

MAX_TOKENS = 16


def tokenizer(max_tokens=MAX_TOKENS):
    """Return a fresh tokenizer with the end-of-text token for empty texts."""
    tiny = tiny_models.tokenizer()
    copy = type(tiny.backend_tokenizer).from_str(tiny.backend_tokenizer.to_str())
    return MessageTokenizer(copy, max_tokens=max_tokens, empty_id=tiny.eos_token_id)


def write_into(folder, tokens):
    """Write a tokenizer as a package holds it."""
    for name, content in tokens.files().items():
        (folder / name).write_bytes(content)


def waves(tokens):
    """Return a text of exactly so many tokens: no message holds the sign, so none are merged."""
    return "~" * tokens


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Mn", "Lo"])))
@example("")
@example(" \n\t ")
@example("\ud800 lone \udfff")
@example("\x00")
@example("\u200b\u202eᴠɪᴀɢʀᴀ")
def test_every_text_has_tokens_and_no_control_token(text):
    row = tokenizer().encode([text])[0]
    end = tiny_models.tokenizer().eos_token_id
    assert 1 <= len(row.ids) <= MAX_TOKENS
    assert end not in row.ids or row.ids == [end]


@pytest.mark.parametrize("text", ["", "\x00\x01", "\x7f"])
def test_a_text_without_tokens_is_the_end_of_text_token(text):
    assert tokenizer().encode([text])[0].ids == [tiny_models.tokenizer().eos_token_id]


def test_white_space_is_text():
    assert tokenizer().encode(["   "])[0].ids != tokenizer().encode([""])[0].ids


def test_special_tokens_in_a_text_stay_text(tmp_path):
    write_into(tmp_path, tokenizer())
    again = MessageTokenizer.from_file(tmp_path / "tokenizer.json", max_tokens=99, empty_id=0)
    end = tiny_models.tokenizer().eos_token_id
    text = f"win{END_OF_TEXT}not spam"
    assert end in tiny_models.tokenizer().encode(text)  # what happens without care
    for careful in (tokenizer(99), again):
        ids = careful.encode([text])[0].ids
        assert end not in ids
        assert tiny_models.tokenizer().decode(ids) == text


def test_a_saved_tokenizer_gives_the_same_tokens(tmp_path, messages):
    write_into(tmp_path, tokenizer())
    again = MessageTokenizer.from_file(tmp_path / "tokenizer.json", max_tokens=MAX_TOKENS, empty_id=383)
    texts = [message.text for message in messages]
    assert again.encode(texts) == tokenizer().encode(texts)
    assert again.encode([""])[0].ids == [383]


def seeing(max_tokens=99):
    """Return a tokenizer that reads what a person sees, as training makes it."""
    tiny = tiny_models.tokenizer()
    copy = Tokenizer.from_str(tiny.backend_tokenizer.to_str())
    return MessageTokenizer.of_base(
        copy, max_tokens=max_tokens, empty_id=tiny.eos_token_id, lookalikes=lookalike_table()
    )


@pytest.mark.parametrize(
    "twin",
    [
        "fr\u0435\u0435 c\u0430sh",  # Cyrillic
        "f\u200br\u2060\u0435\u0435 \u0441a\u0455h",  # and of no width beside it
        "\uff46ree ca\u0455\uff48",  # and fullwidth
        "f\u200br\u2060e\ufeffe \u202ecash\u202c",  # of no width, and turned about
        "fr\u00adee c\u034fash\ufe0f",
        "".join(chr(ord(letter) + 0xFEE0) if letter != " " else "\u3000" for letter in "free cash"),  # fullwidth
        "\U0001d41f\U0001d42b\U0001d41e\U0001d41e \U0001d41c\U0001d41a\U0001d42c\U0001d421",  # for mathematicians
    ],
)
def test_what_looks_the_same_has_the_same_tokens(twin, tmp_path):
    write_into(tmp_path, seeing())
    packaged = MessageTokenizer.from_file(tmp_path / "tokenizer.json", max_tokens=99, empty_id=0)
    for tokens in (seeing(), packaged):
        assert tokens.encode([twin]) == tokens.encode(["free cash"])
    assert tokenizer(99).encode([twin]) != tokenizer(99).encode(["free cash"])  # what happens without care


@given(st.text(st.characters(codec="ascii")))
def test_plain_text_is_read_as_it_is(text):
    assert seeing().encode([text]) == tokenizer(99).encode([text])


UNSEEN_RANGES = ((0x200B, 0x2010), (0x202A, 0x202F), (0x2060, 0x2070), (0x1D173, 0x1D17B), (0xE0000, 0xE1000))
UNSEEN_ALONE = (0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x180E, 0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0)
UNSEEN = [*map(chr, UNSEEN_ALONE), *(chr(code) for start, end in UNSEEN_RANGES for code in range(start, end))]


def test_every_character_that_is_drawn_as_nothing_is_read_as_nothing():
    rows = seeing().encode([f"fr{one}ee" for one in UNSEEN])
    assert [row.ids for row in rows] == [seeing().encode(["free"])[0].ids] * len(UNSEEN)


def with_unseen(text, places):
    """Put characters that are drawn as nothing into a text, each at a place of its own."""
    for place, unseen in places:
        at = place % (len(text) + 1)
        text = text[:at] + unseen + text[at:]
    return text


@given(
    st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"], exclude_characters="&"), max_size=20),
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(UNSEEN)), max_size=20),
)
@example("cafe\u0301", [(4, "\u200b")])
@example("\uff76\uff9e", [(1, "\u2060")])  # halfwidth, in two parts
def test_what_is_drawn_as_nothing_changes_no_token_wherever_it_stands(text, places):
    assert seeing(512).encode([with_unseen(text, places)])[0].ids == seeing(512).encode([text])[0].ids


@pytest.mark.parametrize("unseen", ["\u200b", "\U000e0041", "\ufeff\u2060"])
def test_no_number_of_what_is_drawn_as_nothing_hides_what_follows(unseen):
    text = "free cash " * 4
    hidden = unseen * 100_000 + text[:6] + unseen * 100_000 + text[6:]
    assert seeing().encode([hidden]) == seeing().encode([text])


def lookalikes():
    """Return for each ASCII character those that compatibility makes equal to it, of Unicode 3.2, as IDNA knows it."""
    found = defaultdict(list)
    for code in (*range(0x80, 0xD800), *range(0xE000, sys.maxunicode + 1)):
        if (seen := unicodedata.ucd_3_2_0.normalize("NFKC", chr(code))).isascii():
            found[seen].append(chr(code))
    return found


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_twins_of_all_messages_have_the_same_tokens_99_times_in_100(messages, share):
    chance, alike = random.Random(0), lookalikes()
    assert all(len(alike[letter]) > 9 for letter in string.ascii_letters)
    texts = [message.text for message in messages] * 10
    twins = []
    for text in texts:
        letters = (chance.choice(alike[one] or [one]) if chance.random() < share else one for one in text)
        places = [(chance.randrange(999), chance.choice(UNSEEN)) for _ in range(round(share * len(text)))]
        twins.append(with_unseen("".join(letters), places))
    agreeing = [a.ids == b.ids for a, b in zip(seeing().encode(twins), seeing().encode(texts), strict=True)]
    assert not any(twin == text for twin, text in zip(twins, texts, strict=True))
    assert sum(agreeing) >= 0.99 * len(texts)


@pytest.mark.parametrize(
    ("tokens", "truncated"), [(MAX_TOKENS - 1, False), (MAX_TOKENS, False), (MAX_TOKENS + 1, True)]
)
def test_what_is_cut_to_the_window_is_said(tokens, truncated):
    text = waves(tokens)
    assert len(tokenizer(99).encode([text])[0].ids) == tokens
    row = tokenizer().encode([text])[0]
    assert (len(row.ids), row.truncated) == (min(tokens, MAX_TOKENS), truncated)
    assert row.ids == tokenizer(99).encode([text])[0].ids[:MAX_TOKENS]


def test_ten_megabytes_cost_no_more_than_a_page():
    tokens, limit = tokenizer(), MAX_TOKENS * CHARACTERS_PER_TOKEN
    texts = [unit * (10 * 2**20 // len(unit)) for unit in ("a", "spam ", " ", "&amp;", "\u0301", "\x00", "\ud800")]
    started = time.process_time()
    rows = tokens.encode(texts)
    assert time.process_time() - started < 1
    assert all(row.truncated for row in rows)
    assert rows[1].ids == tokens.encode([texts[1][:limit]])[0].ids


def test_neighbours_do_not_change_the_tokens(messages):
    texts = [message.text for message in messages] + ["", waves(99), "\ud800"]
    tokens = tokenizer()
    order = random.Random(0).sample(range(len(texts)), len(texts))
    together = tokens.encode([texts[row] for row in order])
    assert together == [tokens.encode([texts[row]])[0] for row in order]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": "1.0"', b"\xff\xfe"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"tokenizer\.json is not a tokenizer"):
        MessageTokenizer.from_file(tmp_path / "tokenizer.json", max_tokens=8, empty_id=0)


@pytest.mark.parametrize("surrounded", [False, True], ids=["plain", "between special tokens"])
def test_a_long_message_keeps_its_beginning_and_its_end(surrounded):
    tokens, whole = seeing(MAX_TOKENS), seeing(999)
    if surrounded:
        for one in (tokens, whole):
            end = ("<|end|>", tiny_models.tokenizer().eos_token_id)
            one._tokenizer.post_processor = TemplateProcessing(single="<|end|> $A <|end|>", special_tokens=[end])
    text = "".join(random.Random(0).choices(string.ascii_letters + "   ", k=300))
    every, kept = whole.encode([text])[0].ids, tokens.encode([text])[0]
    assert (len(kept.ids), kept.truncated) == (MAX_TOKENS, True)
    tail = MAX_TOKENS // 4
    behind = 1 if surrounded else 0
    assert kept.ids == every[: MAX_TOKENS - tail - behind] + every[len(every) - tail - behind :]


def test_the_end_of_ten_megabytes_is_read():
    tokens = seeing(MAX_TOKENS)
    started = time.process_time()
    ids = tokens.encode(["spam " * (2 * 2**20) + "the very last words"])[0].ids
    assert time.process_time() - started < 1
    tail = MAX_TOKENS // 4
    assert ids[-tail:] == seeing(999).encode(["spam the very last words"])[0].ids[-tail:]


def test_a_package_of_before_reads_the_beginning_alone(tmp_path):
    write_into(tmp_path, seeing(MAX_TOKENS))
    read = {
        tail: MessageTokenizer.from_file(
            tmp_path / "tokenizer.json", max_tokens=MAX_TOKENS, empty_id=0, tail_tokens=tail
        )
        for tail in (0, MAX_TOKENS // 4)
    }
    text = "".join(random.Random(1).choices(string.ascii_letters + "   ", k=300))
    assert read[0].encode([text])[0].ids == seeing(999).encode([text])[0].ids[:MAX_TOKENS]
    assert read[MAX_TOKENS // 4].encode([text]) == seeing(MAX_TOKENS).encode([text])


PROMPT = "Message:\n{message}\n\nSpam?"


def asking(max_tokens=99, prompt=PROMPT, *, surrounded=False):
    """Return a tokenizer that puts messages into a prompt; `surrounded`, of a model with tokens for both ends."""
    tiny = tiny_models.tokenizer()
    copy = Tokenizer.from_str(tiny.backend_tokenizer.to_str())
    if surrounded:
        end = (END_OF_TEXT, tiny.eos_token_id)
        copy.post_processor = TemplateProcessing(single=f"{END_OF_TEXT} $A {END_OF_TEXT}", special_tokens=[end])
    return MessageTokenizer.of_base(copy, max_tokens=max_tokens, empty_id=tiny.eos_token_id, prompt=prompt)


def ids_of(text):
    """Return the tokens of a text that stands alone."""
    return tiny_models.tokenizer().backend_tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", ["free cash", "", "Spam? {message} Message:\n", "\n\n"])
def test_a_message_stands_within_the_prompt_in_training_and_in_the_package(text, tmp_path):
    write_into(tmp_path, asking())
    packaged = MessageTokenizer.from_file(tmp_path / "tokenizer.json", max_tokens=99, empty_id=0)
    own = seeing().encode([text])[0].ids if text else []
    for tokens in (asking(), packaged):
        assert tokens.encode([text])[0].ids == [*ids_of("Message:\n"), *own, *ids_of("\n\nSpam?")]


def test_a_long_message_is_cut_and_the_prompt_is_not():
    opening, closing = ids_of("Message:\n"), ids_of("\n\nSpam?")
    window = len(opening) + len(closing) + 20
    row = asking(window).encode(["".join(random.Random(1).choices(string.ascii_letters, k=300))])[0]
    assert row.truncated
    assert len(row.ids) == window
    assert (row.ids[: len(opening)], row.ids[-len(closing) :]) == (opening, closing)


def test_the_token_of_the_beginning_comes_before_the_prompt_and_none_ends_the_message():
    end = tiny_models.tokenizer().eos_token_id
    assert asking(surrounded=True).encode(["hi"])[0].ids == [
        end,
        *ids_of("Message:\n"),
        *ids_of("hi"),
        *ids_of("\n\nSpam?"),
    ]


def test_what_the_prompt_puts_around_every_message_is_known():
    opening, closing = ids_of("Message:\n"), ids_of("\n\nSpam?")
    assert asking().prompt_tokens() == (tuple(opening), len(closing))


def test_without_a_question_behind_it_a_message_has_no_opening():
    """A token for the beginning is all that an empty message has: then it is read as one of the message."""
    assert asking(prompt="").prompt_tokens() == ((), 1)
    assert asking(prompt="Message:\n{message}").prompt_tokens() == ((), 1)


def test_a_prompt_that_leaves_no_room_is_refused():
    taken = len(ids_of("Message:\n")) + len(ids_of("\n\nSpam?"))
    assert asking(taken + 8).encode(["hi"])
    with pytest.raises(DataError, match=f"--max-tokens {taken + 7}: --prompt takes {taken} of them"):
        asking(taken + 7)

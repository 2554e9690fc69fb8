from hypothesis import example, given
from hypothesis import strategies as st

from spamctl.store.text import decode, encode

# Every code point, lone surrogates included; those that the mapping touches come often.
ANY_TEXT = st.text(
    st.characters(codec=None, exclude_categories=()) | st.sampled_from("\0\x10\ud83d\ude00\ufffe\uffff0d8f")
)


@given(ANY_TEXT)
@example("\x100000")
@example("\x10\x10")
@example("\ud83d\ude00")
def test_what_was_encoded_is_decoded_unchanged(text):
    assert decode(encode(text)) == text


@given(ANY_TEXT)
def test_what_is_stored_fits_every_database(text):
    stored = encode(text)
    assert "\0" not in stored
    assert stored.encode("utf-8").decode("utf-8") == stored
    assert not {"\ufffe", "\uffff"} & set(stored)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\x10\ufffe\uffff")))
def test_ordinary_text_is_stored_as_it_is(text):
    assert encode(text) == text


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_stay_different(one, other):
    assert (encode(one) == encode(other)) == (one == other)


@given(ANY_TEXT)
def test_what_another_program_wrote_can_be_read(text):
    assert isinstance(decode(text), str)


def test_the_mapping_is_the_documented_one():
    assert encode("a\0b") == "a\x100000b"
    assert encode("\ud83d") == "\x10d83d"
    assert encode("\x10") == "\x100010"
    assert decode("\x10 no escape") == "\x10 no escape"

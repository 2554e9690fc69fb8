from hypothesis import example, given
from hypothesis import strategies as st

from spamctl.store.tables import decode_text, encode_text

# Every code point, lone surrogates included; those that the mapping touches come often.
ANY_TEXT = st.text(
    st.characters(codec=None, exclude_categories=()) | st.sampled_from("\0\x10\ud83d\ude00\ufffe\uffff0d8f")
)


@given(ANY_TEXT)
@example("\x100000")
@example("\x10\x10")
@example("\ud83d\ude00")
def test_what_was_encoded_is_decoded_unchanged(text):
    assert decode_text(encode_text(text)) == text


@given(ANY_TEXT)
def test_what_is_stored_fits_every_database(text):
    stored = encode_text(text)
    assert "\0" not in stored
    assert stored.encode("utf-8").decode("utf-8") == stored
    assert not {"\ufffe", "\uffff"} & set(stored)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\x10\ufffe\uffff")))
def test_ordinary_text_is_stored_as_it_is(text):
    assert encode_text(text) == text


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_stay_different(one, other):
    assert (encode_text(one) == encode_text(other)) == (one == other)


@given(ANY_TEXT)
def test_what_another_program_wrote_can_be_read(text):
    assert isinstance(decode_text(text), str)


def test_the_mapping_is_the_documented_one():
    assert encode_text("a\0b") == "a\x100000b"
    assert encode_text("\ud83d") == "\x10d83d"
    assert encode_text("\x10") == "\x100010"
    assert decode_text("\x10 no escape") == "\x10 no escape"

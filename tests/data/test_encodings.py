"""Files are read in the encoding that they are in, and what had to be guessed is said."""

import codecs

import pytest

from spamctl.data.files import open_rows
from spamctl.data.rows import Columns
from spamctl.errors import DataError
from tests.each import each

UNREADABLE = "unreadable bytes (save the file as UTF-8)"
POUNDS = ["free £5 now", "it’s “so”", "see you", "déjà vu at the café", "für Größe"]
RUSSIAN = ["Привет, ты где? Позвони мне вечером, пожалуйста.", "Вы выиграли приз! Ответьте сейчас."]
POLISH = ["Cześć, gdzie jesteś? Zadzwoń wieczorem, proszę.", "Gratulacje, wygrałeś nagrodę! Odbierz ją już dziś."]
CHINESE = ["你好，你在哪里？今天晚上一起吃饭吧", "恭喜您中奖了，请点击链接领取", "我们明天见，谢谢你的帮助"]
JAPANESE = ["こんにちは、今どこですか？", "当選おめでとうございます、今すぐクリック"]


def read(tmp_path, texts, codec, name="a.csv", mark=b"", **columns):
    content = "text,label\n" + "".join(f'"{text}",ham\n' for text in texts)
    if name.endswith("jsonl"):
        content = "".join(f'{{"text": "{text}", "label": "ham"}}\n' for text in texts)
    path = tmp_path / name
    path.write_bytes(mark + content.encode(codec))
    reading = open_rows(path, Columns(**columns))
    return [row.fault or row.text for row in reading.rows], reading.notes


@each("name", ["a.csv", "a.jsonl"])
@each(
    ("texts", "codec"),
    [
        (POUNDS, "cp1252"),
        (POUNDS[:1], "cp1252"),
        (["São João não é bom, coração", "¿Dónde estás? ¡Mañana!"], "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (POLISH * 5, "cp1250"),
        (CHINESE * 5, "gb18030"),
        (JAPANESE * 5, "cp932"),
    ],
)
def test_what_is_not_utf8_is_named_and_read(tmp_path, name, texts, codec):
    found, notes = read(tmp_path, [text.replace('"', "'") for text in texts], codec, name)
    assert found == texts
    assert notes == (f"read as {codec}, for it is not UTF-8: if letters are wrong, name the right one with --encoding",)


def test_latin_1_is_read_as_what_it_is_a_part_of(tmp_path):
    assert read(tmp_path, ["naïve £5"], "latin-1")[0] == ["naïve £5"]


@each("texts", [POUNDS, CHINESE, ["plain"]])
@each("name", ["a.csv", "a.jsonl"])
@each(
    ("codec", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
def test_unicode_with_its_mark_needs_no_words(tmp_path, name, texts, codec, mark):
    assert read(tmp_path, texts, codec, name, mark) == (texts, ())


@pytest.mark.parametrize("texts", [POUNDS, RUSSIAN, CHINESE * 50])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_is_known_without_a_mark(tmp_path, texts, codec):
    found, notes = read(tmp_path, texts, codec)
    assert found == texts
    assert notes == (f"read as {codec.upper()}, though no mark at its beginning says so",)


def test_a_nul_in_a_text_is_no_utf16(tmp_path):
    assert read(tmp_path, ["a\0b", "£5"], "utf-8") == (["a\0b", "£5"], ())


def test_a_file_that_is_mostly_utf8_stays_so_and_names_the_other_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nnaïve,ham\ncafé,ham\n".encode() + b"only \xa35,spam\nplain,ham\n")
    reading = open_rows(path, Columns())
    assert [(row.fault or row.text, row.label) for row in reading.rows] == [
        ("naïve", "ham"), ("café", "ham"), (UNREADABLE, "spam"), ("plain", "ham"),
    ]  # fmt: skip
    assert reading.notes == ()


def test_a_byte_far_behind_the_beginning_is_found(tmp_path):
    texts = ["plain words of a message"] * 80_000
    found, notes = read(tmp_path, [*texts, "only £5"], "cp1252")
    assert found[-1] == "only £5"
    assert "read as cp1252" in notes[0]


def test_who_knows_the_encoding_may_name_it(tmp_path):
    found, notes = read(tmp_path, ["Grüße, Straße"], "cp850", encoding="cp850")
    assert found == ["Grüße, Straße"]
    assert notes == ("read as cp850 (--encoding)",)
    assert read(tmp_path, POUNDS, "utf-16-le", mark=codecs.BOM_UTF16_LE, encoding="utf-16-le")[0] == POUNDS
    assert read(tmp_path, POUNDS, "utf-8", mark=codecs.BOM_UTF8, encoding="UTF8")[0] == POUNDS
    assert read(tmp_path, ["é"], "latin-1", encoding="ascii")[0] == [UNREADABLE]


def test_utf16_that_ends_in_half_a_character_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(("text,label\na,ham\n" * 9).encode("utf-16") + b"a")
    with pytest.raises(DataError, match="is not utf-16"):
        list(open_rows(path, Columns()).rows)

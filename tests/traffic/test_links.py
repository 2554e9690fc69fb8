"""Links lead nowhere, and only hosts of links change."""

import re

from hypothesis import given
from hypothesis import strategies as st

from spamctl.traffic.rewrites import ENDINGS, has_link, host, is_live, rotate
from spamctl.traffic.rng import SeededRandom
from tests.each import each

HOST = rf"[a-z0-9-]+\.(?:{'|'.join(ENDINGS)})"


def rotated(text, strength=1.0, seed=0):
    return rotate(text, SeededRandom(seed), strength)


@each(
    ("text", "pattern"),
    [
        ("see www.ldew.com now", rf"see www\.{HOST} now"),
        ("http://img.sms.ac/W/icb3cktz8r7!-4", rf"http://{HOST}/W/icb3cktz8r7!-4"),
        ("https://www.getzed.co.uk?x=1", rf"https://www\.{HOST}\?x=1"),
        ("wap.xxx.com/a, or tones2you.co.uk.", rf"wap\.{HOST}/a, or {HOST}\."),
        ("(WWW.Win.COM)", rf"\(WWW\.{HOST}\)"),
        ("http//www.gr8prizes.com", rf"http//www\.{HOST}"),
        ("old-shop.example/x", rf"{HOST}/x"),
    ],
)
def test_a_link_gets_another_host_and_keeps_its_path(text, pattern):
    assert rotated(text) != text
    assert re.fullmatch(pattern, rotated(text))
    assert has_link(text)


@each(
    "text",
    [
        "ok.see you",
        "me@mail.com",
        "150p.now",
        "at 8.30.Call",
        "no link",
        "www",
        "http://",
        "...",
        "come.to me",
        "Mr.Big",
    ],
)
def test_what_is_no_link_stays(text):
    assert rotated(text) == text
    assert not has_link(text)


def test_two_links_may_go_to_two_hosts():
    assert len(set(re.findall(HOST, rotated("www.a.com www.b.com")))) == 2


def test_a_link_that_was_rotated_can_be_rotated_again():
    once = rotated("www.ldew.com", seed=1)
    assert re.fullmatch(rf"www\.{HOST}", rotated(once, seed=2))


@given(st.integers(), st.sampled_from(["", "smith", "x"]))
def test_a_made_up_host_is_one_that_nobody_can_own(seed, about):
    name = host(SeededRandom(seed), about=about)
    assert re.fullmatch(HOST, name)
    assert "--" not in name
    assert name.startswith(about)


@given(st.text())
def test_any_text_can_be_rotated(text):
    assert rotated(text, 0.0) == text
    assert rotated(text) == rotated(text)


def test_a_long_text_takes_no_long_time():
    for text in ("a." * 50_000, "www." * 30_000, "a-" * 50_000, "http://" * 20_000):
        rotated(text)


@each(
    ("token", "live"),
    [("08712400", True), ("a@b", True), ("x.co/y", True), ("now!", False), ("Mr.", False), ("ok.see", True)],
)
def test_what_must_work_is_live(token, live):
    assert is_live(token) is live

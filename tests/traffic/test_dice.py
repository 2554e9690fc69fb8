"""Lots fall the same way everywhere."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from spamctl.traffic.rng import SeededRandom, whole
from tests.each import each


def test_a_key_names_one_stream_for_ever():
    assert [SeededRandom("message", 7, 1).below(1000) for _ in range(2)] == [
        SeededRandom("message", 7, 1).below(1000)
    ] * 2
    dice = SeededRandom("pinned", 1)
    assert [dice.below(1_000_000) for _ in range(4)] == [818115, 703106, 914564, 278455]


def test_other_keys_name_other_streams():
    keys = [("a", 1), ("a", 2), ("b", 1), ("a1",), (1, "a"), ("a", "1", "")]
    assert len({SeededRandom(*key).lot() for key in keys}) == len(keys)


def test_a_key_may_hold_any_character():
    assert 0 <= SeededRandom("\ud800\x00é", -1).lot() < 1


@given(st.lists(st.integers(), max_size=40), st.integers())
def test_shuffling_keeps_every_item(items, seed):
    shuffled = SeededRandom(seed).shuffled(items)
    assert Counter(shuffled) == Counter(items)
    assert shuffled == SeededRandom(seed).shuffled(items)


def test_every_order_of_three_is_as_likely():
    orders = Counter(tuple(SeededRandom("order", seed).shuffled("abc")) for seed in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 150 for count in orders.values())


def test_bounds_are_both_reached():
    dice = SeededRandom(0)
    assert {dice.between(3, 5) for _ in range(100)} == {3, 4, 5}
    assert {dice.pick("xy") for _ in range(100)} == {"x", "y"}


@each(("share", "count", "expected"), [(0, 9, 0), (1, 9, 9), (0.5, 9, 5), (0.1, 20, 2), (0.3, 10, 3)])
def test_a_share_is_rounded_half_up(share, count, expected):
    assert whole(share, count) == expected

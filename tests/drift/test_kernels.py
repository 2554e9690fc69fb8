"""Likeness is symmetric, bounded, and defined for every text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.drift.hypothesis_tests import feature_kernel, text_kernel, without_surrogates

ANY_TEXT = st.text(st.characters(), max_size=30)


@given(st.lists(ANY_TEXT, min_size=1, max_size=8))
def test_texts_of_any_kind_are_as_alike_both_ways(texts):
    kernel = text_kernel(texts)
    assert kernel.shape == (len(texts), len(texts))
    assert kernel == pytest.approx(kernel.T)
    assert (kernel >= 0).all()
    assert (kernel <= 1 + 1e-5).all()


def test_a_text_is_like_itself_and_more_like_its_neighbour_than_like_a_stranger():
    texts = ["claim your cash prize now", "claim the cash prize today", "see you at dinner tonight", ""]
    kernel = text_kernel(texts)
    assert np.diagonal(kernel)[:3] == pytest.approx(1)
    assert kernel[0, 1] > kernel[0, 2]
    assert (kernel[3] == 0).all()


def test_features_at_the_median_distance_are_alike_by_one_over_e():
    kernel = feature_kernel([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    assert np.diagonal(kernel).tolist() == [1, 1, 1]
    assert kernel[0, 1] == pytest.approx(np.exp(-1), rel=1e-4)


@pytest.mark.parametrize("features", [np.zeros((4, 3)), np.full((4, 2), 7.7), np.zeros((1, 2))])
def test_features_that_are_all_the_same_are_wholly_alike(features):
    assert (feature_kernel(features) == 1).all()


def test_only_lone_surrogates_are_replaced():
    assert without_surrogates("a\ud800b😀ü") == "a\ufffdb😀ü"

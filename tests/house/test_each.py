"""A sweep tries every case, and fails with all of them that do not hold."""

import pytest

from tests.each import each


def test_every_case_is_tried_and_each_that_fails_is_named():
    tried = []

    @each("left", [1, 2])
    @each("right, both", [(1, 2), (2, 4)])
    def adds_up(left, right, both):
        tried.append((left, right))
        assert left + right == both

    with pytest.raises(BaseExceptionGroup, match="2 of 2 cases fail") as failed:
        adds_up()
    assert tried == [(1, 1), (1, 2), (2, 1), (2, 2)]
    notes = [(group.__notes__, [fault.__notes__ for fault in group.exceptions]) for group in failed.value.exceptions]
    assert notes == [
        (["with {'left': 1}"], [["with {'right': 2, 'both': 4}"]]),
        (["with {'left': 2}"], [["with {'right': 1, 'both': 2}"]]),
    ]


@each("name", ["a", "b"])
def test_a_sweep_takes_fixtures_and_all_its_cases_share_them(tmp_path, name):
    (tmp_path / name).touch()
    assert (tmp_path / "a").exists()


def test_what_should_have_raised_is_named_too():
    @each("case", ["a"])
    def raises(case):
        with pytest.raises(ValueError, match=case):
            pass

    with pytest.raises(BaseExceptionGroup) as failed:
        raises()
    assert failed.value.exceptions[0].__notes__ == ["with {'case': 'a'}"]

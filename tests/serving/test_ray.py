"""On Ray Data, the registered model gives a table the verdicts of `spamctl score`, and stores nothing."""

from importlib import util

import pytest

from tests.serving.test_spark import answers_in, assert_verdicts_of_score, run, table, topic

__all__ = ["table"]

pytestmark = pytest.mark.scale


def test_the_lines_of_the_topic_give_the_verdicts_of_score_to_the_last_bit(table):
    if not util.find_spec("ray"):
        pytest.skip("needs ray: uv sync --group scale")
    done = run(table, topic("Ray Data"), RAY_USAGE_STATS_ENABLED="0")
    assert done.returncode == 0, done.stderr
    answers = answers_in(table)
    assert_verdicts_of_score(table, answers)
    assert not any(answer["captured"] for answer in answers)
    assert not list(table.rglob("spam.db"))

"""What a monitoring found is kept once, and read back in its order for the trend."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spamctl.errors import UnavailableError
from spamctl.schema.monitor import Figures
from spamctl.schema.rates import Interval
from spamctl.store import sampling
from spamctl.store.sampling import Finding

FIRST = Finding(
    run_id="1764000000000000",
    date=datetime(2026, 11, 1, tzinfo=UTC),
    model_name="spam",
    model_version="3",
    window_since=None,
    window_until=datetime(2026, 11, 1, tzinfo=UTC),
    rows=2_000_000_000_000,
    verdict="ok",
    figures=Figures(drift_score=0.5, accuracy=Interval(0.9, 0.8, 1.0)),
)


def test_findings_come_back_the_oldest_first_and_each_once(store):
    later = [replace(FIRST, run_id=f"run {n}", date=FIRST.date + timedelta(hours=n), verdict="failed") for n in (3, 1)]
    assert [sampling.append_monitoring(store, one) for one in (FIRST, *later, FIRST)] == [True, True, True, False]
    assert sampling.monitoring_history(store, "spam") == [FIRST, later[1], later[0]]
    assert sampling.monitoring_history(store, "spam", most=2) == [later[1], later[0]]
    assert sampling.monitoring_history(store, "other") == []


def test_a_verdict_of_another_kind_is_refused(store):
    with pytest.raises(UnavailableError, match="it refused the values"):
        sampling.append_monitoring(store, replace(FIRST, verdict="fine"))
    assert sampling.monitoring_history(store, "spam") == []


def test_a_figure_that_is_no_number_is_no_json(store):
    with pytest.raises(ValueError, match="not JSON compliant"):
        sampling.append_monitoring(store, replace(FIRST, figures=Figures(drift_score=float("nan"))))

"""What a recalibration changed is told in one short table, and no text in it is markup."""

import io

import pytest
from rich.console import Console

from spamctl.reports import recalibration, train
from spamctl.schema.codec import from_json
from spamctl.schema.train import RecalibrateResult
from tests.reports.conftest import GATE, SCORES
from tests.reports.test_feedback import COMPARISON, TOLD

FITTED = {name: value for name, value in TOLD.items() if name not in {"train", "validation"}}
FITTED |= {"fitted": {"rows": 374, "spam": 92}}
TOLD_RESULT = {
    "registered": True,
    "reason": "",
    "alias": "champion",
    "model_name": "spam",
    "model_version": "4",
    "from_version": "3",
    "before": {"slope": 1.0, "intercept": 0.0, "threshold": 0.9731},
    "after": {"slope": 2.0, "intercept": 1.0, "threshold": 0.4112},
    "after_on_old_scale": 0.621,
    "gate": GATE,
    "operating_point": {
        "threshold": 0.4112,
        "max_false_positive_rate": 0.005,
        "false_positives": 1,
        "false_positive_rate": SCORES["false_positive_rate"],
        "false_positive_rate_upper": 0.0132,
        "recall": SCORES["recall"],
    },
    "measured": {
        **COMPARISON,
        "parts": {
            part: COMPARISON["parts"][part] | {"roc_auc": auc} for part, auc in (("recent", 0.9), ("test", None))
        },
    },
    "scores": SCORES,
    "reach": {
        "recent": {"good": 100, "good_out": 4, "spam": 50, "spam_out": 10, "caught": 40, "lost": 5},
        "test": {},
    },
    "notes": ["[red]no markup[/red] \x1b[31m"],
    "suites": {"lines": [], "invariances": []},
    "feedback": FITTED,
    "metaflow": {"run_id": "1764"},
    "mlflow": {"run_id": "ab", "experiment": "spam", "tracking_uri": "postgresql://ada:hunter2@db/mlflow"},
}
LINE = {"suite": "must-catch", "name": "loans", "rows": 48, "fault": "2% is caught"}
LINE |= {"called_spam": {"value": 0.02, "low": 0.0, "high": 0.1}}


RESULT = from_json(RecalibrateResult, TOLD_RESULT)


def shown(result, width=80, encoding="utf-8"):
    paper = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    recalibration.show(result, Console(file=paper, width=width, highlight=False))
    paper.flush()
    return paper.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120])
def test_before_and_after_stand_side_by_side_on_both_parts(width):
    page = shown(RESULT, width)
    assert "Registered as spam version 4, now the champion" in page
    lines = page.splitlines()
    (recall,) = [line.split() for line in lines if line.split()[:1] == ["recall"] and "0.6000" in line]
    assert recall == ["recall", "0.6000", "0.5900–0.6100", "0.9500", "0.9400–0.9600"]
    assert sum(" recall" in line and "–" in line for line in lines) == 2
    assert not any(line.strip().startswith("accuracy") for line in lines)
    assert "0.9731 → 0.4112, which is 0.6210 on the scale of before" in page
    assert "374 to fit to (92 spam)" in " ".join(page.split())
    assert "0.9000 on recent messages: how spam ranks" in " ".join(page.split())
    assert "delivering them costs 10.00 % of recall, 5 of 40 caught (recent)" in " ".join(page.split())
    assert "hunter2" not in page
    assert "[red]no markup[/red]" in page
    assert "\x1b" not in page
    assert max(map(len, lines)) <= width


def test_a_terminal_that_knows_no_arrows_gets_others():
    page = shown(RESULT, encoding="ascii")
    assert page.isascii()
    assert "0.9731 -> 0.4112" in page


def test_lines_of_suites_that_fail_are_counted_and_the_card_names_them():
    suites = {"lines": [LINE, LINE | {"fault": ""}], "invariances": []}
    result = from_json(RecalibrateResult, TOLD_RESULT | {"suites": suites})
    assert "1 of 2 lines fail" in shown(result)
    card = recalibration.page(result)
    for word in ("must-catch: loans", "FAILS", "frozen test part, 925", "0.9731", "[red]no markup[/red]"):
        assert word in card


def test_notes_of_answers_say_what_is_fitted_to():
    added = list(train.feedback_notes(RESULT.feedback))[1]
    assert added.startswith("feedback from spam.db: 374 to fit to (92 spam), 187 held out as recent (66 spam)")
    assert list(train.feedback_warnings(RESULT.feedback)) == []

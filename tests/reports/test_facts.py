"""The verdict and the facts of a run are told in words, without secrets."""

from spamctl.reports.train import facts, fallback, verdict, without_password
from tests.each import each
from tests.reports.conftest import GATE


def test_a_champion_a_challenger_and_a_refusal_read_differently(result):
    refused = {"registered": False, "alias": "", "gate": GATE | {"threshold": 0.9999}}
    three = "(accuracy 0.9956, recall 0.9754, false-positive rate 0.0013)"
    low = GATE | {"threshold": 0.99, "mode": "lower-bound"}
    assert verdict(result()) == ("champion", f"Registered as spam version 3, now the champion {three}")
    assert verdict(result(alias="challenger", reason="version 2 is better")) == (
        "challenger",
        f"Registered as spam version 3, as a challenger {three}: version 2 is better",
    )
    assert verdict(result(**refused)) == (
        "refused",
        f"Not registered: accuracy 0.9956 is below --accuracy-threshold 0.9999 {three}",
    )
    assert verdict(result(registered=False, gate=low)) == (
        "refused",
        f"Not registered: the lower bound of accuracy, 0.9887, is below --accuracy-threshold 0.99 {three}",
    )
    assert verdict(result(registered=False, reason="parity failed")) == (
        "refused",
        f"Not registered: parity failed {three}",
    )
    assert verdict(result(registered=False, reason="parity failed", scores=None)) == (
        "refused",
        "Not registered: parity failed",
    )


def test_a_fallback_is_loud_and_names_both_models(result):
    assert fallback(result()) == ""
    assert fallback(result(fallback=True, wanted_base_model="gpt2")) == (
        "FALLBACK: gpt2 was not available, smollm2-135m was used instead"
    )


def test_the_facts_of_a_run(result):
    assert list(facts(result())) == [
        ("model", "smollm2-135m, block 9 of 30, last block and head tuned"),
        ("engine", "int8"),
        ("data", "bundled copy"),
        ("messages", "3,173 training, 453 validation, 908 test (122 spam)"),
        ("leakage", "0 exact, 0 digit-masked twins across the split"),
        ("threshold", "0.4300: flags 0.13 % of good messages (at most 0.72 %)"),
        ("parity", "908 test messages, probabilities move by 3.1e-06 at most"),
        ("time", "158 s (read 0.4 s, depth 65 s, tune 71 s, package 21 s)"),
        ("MLflow run", "8f1e0c in experiment spam, sqlite:///mlflow.db"),
        ("Metaflow run", "1795413"),
    ]


def test_a_run_says_what_is_out_of_reach_and_what_delivering_it_costs(result):
    counts = {"limit": 0.5, "good": 1632, "good_out": 32, "spam": 1067, "spam_out": 15, "caught": 719, "lost": 4}
    told = dict(facts(result(reach={"validation": counts, "test": {}})))["reach"]
    assert told == (
        "1.96 % of good messages and 1.41 % of spam out of reach; "
        "delivering them costs 0.37 % of recall, 4 of 719 caught (validation)"
    )
    assert "reach" not in dict(facts(result(reach={})))


def test_what_a_run_did_not_reach_is_left_out(result):
    named = dict(facts(result(parity=None, mlflow=None, seconds={})))
    assert {"parity", "MLflow run", "time"}.isdisjoint(named)


def test_notes_stand_under_the_facts(result):
    notes = ["no message was called spam: precision is unknown", "the budget is less than one message"]
    assert list(facts(result(notes=notes)))[-2:] == [("note", notes[0]), ("note", notes[1])]


@each(
    ("uri", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("postgresql://ann:s3cret@db:5432/ml", "postgresql://ann:***@db:5432/ml"),
        ("https://:token@host/", "https://:***@host/"),
    ],
)
def test_a_password_is_never_shown(uri, shown):
    assert without_password(uri) == shown

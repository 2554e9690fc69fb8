"""The result in a terminal: whole at 80 columns, without colour, in a pipe, and with hostile names."""

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from spamctl.reports.train import show
from tests.reports.conftest import BASELINE, GATE, score

CHAMPION = """
✔ Registered as spam version 3, now the champion (accuracy 0.9956, recall
0.9754, false-positive rate 0.0013)

 test score           this model  95 % interval  baseline  95 % interval
 ────────────────────────────────────────────────────────────────────────
 accuracy               * 0.9956  0.9887–0.9983    0.9857  0.9757–0.9916
 precision                0.9917  0.9543–0.9985  * 1.0000  0.9648–1.0000
 recall                 * 0.9754  0.9301–0.9916    0.8934  0.8261–0.9367
 F1                     * 0.9835  0.9642–0.9959    0.9437  0.9097–0.9717
 MCC                    * 0.9810  0.9596–0.9953    0.9376  0.9003–0.9683
 ROC AUC                * 0.9991  0.9980–0.9999    0.9942  0.9893–0.9978
 PR AUC                 * 0.9952  0.9893–0.9994    0.9836  0.9710–0.9929
 false-positive rate      0.0013  0.0002–0.0072  * 0.0000  0.0000–0.0049
 Brier score            * 0.0061  0.0040–0.0089    0.0143  0.0109–0.0184
 calibration error        0.0123  0.0098–0.0201    0.0123  0.0090–0.0161

 * marks the better score. The linear baseline is better on precision and
false-positive rate.

 model         smollm2-135m, block 9 of 30, last block and head tuned
 engine        int8
 data          bundled copy
 messages      3,173 training, 453 validation, 908 test (122 spam)
 leakage       0 exact, 0 digit-masked twins across the split
 threshold     0.4300: flags 0.13 % of good messages (at most 0.72 %)
 parity        908 test messages, probabilities move by 3.1e-06 at most
 time          158 s (read 0.4 s, depth 65 s, tune 71 s, package 21 s)
 MLflow run    8f1e0c in experiment spam, sqlite:///mlflow.db
 Metaflow run  1795413

Next: spamctl cards train
"""


def shown(summary, **console):
    """Return what a console of 80 columns prints, without the blanks at the end of lines."""
    settings = {"width": 80, "file": io.StringIO(), "color_system": None, "_environ": {}} | console
    show(summary, Console(**settings))
    return re.sub(r" +$", "", settings["file"].getvalue(), flags=re.MULTILINE)


def test_a_champion_in_a_pipe(result):
    assert shown(result()) == CHAMPION


def test_colour_adds_nothing_but_colour(result):
    coloured = shown(result(), color_system="truecolor", force_terminal=True)
    assert coloured != CHAMPION
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert re.sub(r" +$", "", plain, flags=re.MULTILINE) == CHAMPION
    assert re.search(r"\x1b\[1m *\* 0\.9956\x1b\[0m", coloured)


def test_a_refusal_says_why_and_what_next(result):
    gate = GATE | {"threshold": 0.9999}
    text = shown(result(registered=False, alias="", gate=gate, mlflow=None, next="spamctl train --epochs 4"))
    assert text.startswith(
        "\n✘ Not registered: accuracy 0.9956 is below --accuracy-threshold 0.9999 (accuracy\n0.9956, recall 0.9754,"
    )
    assert text.endswith("\nNext: spamctl train --epochs 4\n")
    assert "MLflow run" not in text


def test_a_refusal_before_any_score_still_ends_in_a_next_command(result):
    text = shown(result(registered=False, reason="parity failed", scores=None, baseline=None))
    assert "Not registered: parity failed" in text
    assert "threshold     0.4300\n" in text
    assert text.endswith("Next: spamctl cards train\n")


def test_a_fallback_and_a_better_baseline_are_said_loudly(result):
    better = BASELINE | {"accuracy": score(0.9999, 0.99, 1.0)}
    text = shown(result(fallback=True, wanted_base_model="gpt2", baseline=better))
    assert "! FALLBACK: gpt2 was not available, smollm2-135m was used instead\n" in text
    assert "! The linear baseline is more accurate than this model.\n" in text


def test_a_narrow_or_ascii_terminal_gets_every_score(result):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show(result(base_model="modèle"), Console(file=stream, width=80, _environ={}))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert "OK Registered as spam version 3" in text
    assert "* 0.9956 |0.9887-0.9983" in text
    assert r"mod\xe8le" in text


@pytest.mark.parametrize("colours", [None, "truecolor"])
def test_hostile_names_reach_the_terminal_as_harmless_text(result, payloads, colours):
    for payload in payloads:
        summary = result(
            registered=False, reason=payload, base_model=payload, next=payload, fallback=True, model_name=payload
        )
        text = shown(summary, color_system=colours, width=4000)
        assert re.sub(r"\x1b\[[\d;]*m", "", text).replace("\n", "").isprintable()
        assert ("\x1b" in text) == (colours is not None)


def test_brackets_in_a_name_are_not_markup(result):
    assert "[bold red]x[/] :skull:, block 9" in shown(result(base_model="[bold red]x[/] :skull:"))


def test_the_terminal_needs_neither_metaflow_nor_matplotlib():
    code = "import sys, spamctl.reports.train as t; print(sorted(set(sys.modules) & set(sys.argv)))"
    heavy = ["matplotlib", "metaflow", "numpy", "mlflow", "torch"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

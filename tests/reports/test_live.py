"""The live card draws often enough to be watched, and never slows the training that it shows."""

import base64
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spamctl.reports import train_cards
from spamctl.reports.train_cards import LossCard
from spamctl.schema.evaluation import Mistake

# Metaflow looks for a module `_yaml`, which PyYAML keeps for old callers and warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The _yaml extension module:DeprecationWarning")

FLOW = Path(__file__).with_name("cards_flow.py")


class Page(list):
    """Be what Metaflow hands to a step, without the process that renders: a list, and how often it was drawn."""

    drawn = 0

    def refresh(self):
        self.drawn += 1


def shown(page):
    """Return the chart's points (part, step, loss) as Metaflow would render them."""
    return [(each["part"], each["step"], each["loss"]) for each in page[-1].render()["spec"]["data"]["values"]]


def test_each_loss_stands_at_its_step_and_what_is_not_a_number_is_not_drawn():
    page = Page()
    live = LossCard(page, steps=2)
    live.add(1, 0.5)
    live.add(2, math.nan, 0.4)
    live.draw()
    assert shown(page) == [("training", 1, 0.5), ("validation", 2, 0.4)]
    assert page[1].render()["value"] == 2
    assert page.drawn == 1


def test_two_drawings_are_at_least_two_seconds_apart():
    page = Page()
    live = LossCard(page, steps=100, seconds=0.0)
    for step in range(100):
        live.add(step, 0.5)
    assert page.drawn == 0
    live._told -= 2.0
    live.add(100, 0.5)
    live.add(101, 0.5)
    assert page.drawn == 1


def test_a_long_training_costs_little_time_and_few_points():
    page = Page()
    live = LossCard(page, steps=50_000)
    began = time.perf_counter()
    for step in range(1, 50_001):
        live.add(step, 1 / step)
    assert (time.perf_counter() - began) / 50_000 < 1e-4
    live.draw()
    points = shown(page)
    assert 200 < len(points) <= 600
    assert points[-1][1] > 49_800


@pytest.mark.slow
def test_a_flow_keeps_the_composed_card_as_it_is_and_draws_the_live_one(result, payloads, tmp_path):
    mistakes = [Mistake(text=payload, label="spam", probability=0.1) for payload in payloads]
    page = train_cards.evaluation_page(result(), plots={}, slices=[], mistakes=mistakes)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / ".metaflow").mkdir()
    settings = {"METAFLOW_USER": "tester", "METAFLOW_DEFAULT_DATASTORE": "local", "METAFLOW_DEFAULT_METADATA": "local"}
    command = [sys.executable, str(FLOW), "--no-pylint", "run"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr

    loop = float(re.search(r"loop ([\d.]+)", done.stdout + done.stderr)[1])
    assert loop < 24 * 0.2 + 1
    (composed,) = (tmp_path / ".metaflow").rglob("html-evaluation-*.html")
    assert composed.read_text(encoding="utf-8") == page, "the html card comes with metaflow-card-html: run uv sync"
    (live,) = (tmp_path / ".metaflow").rglob("blank-loss-*.html")
    data = re.search(r'__MF_DATA__\["[^"]+"\] = "([^"]+)"', live.read_text(encoding="utf-8"))[1]
    parts = json.loads(base64.b64decode(data))["components"][0]["contents"][0]["contents"]
    assert [part["type"] for part in parts] == ["markdown", "progressBar", "vegaChart"]
    assert len(parts[2]["spec"]["data"]["values"]) == 24 + 3
